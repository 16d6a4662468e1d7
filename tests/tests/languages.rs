//! Guests in other languages are served, and held to the same policy.

use std::path::PathBuf;

use runner_tests::{App, Canary, Server, guests};

/// The usual app, with this `.wasm` on every path.
fn app(wasm: &str) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello\"\n\
         [component.hello]\nsource = \"{wasm}\"\n"
    ))
}

async fn says(wasm: &str, hello: &str) {
    let app = app(wasm);
    let server = Server::start(&app, &[]).await;

    // Each request may have an instance of its own; a second one has to find the component as the first did.
    for _ in 0..2 {
        let reply = server.get("/hello").await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, hello));
    }

    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn a_guest_in_c_says_hello() {
    says("guest:c", "hello from c\n").await;
}

#[tokio::test]
async fn a_guest_in_go_says_hello() {
    says("guest:go", "hello from go\n").await;
}

#[tokio::test]
async fn a_core_module_with_a_component_type_says_hello() {
    says("guest:preview1", "hello from preview1\n").await;
}

/// Both are built by `guests/build-languages.sh`, and too big to be committed.
#[tokio::test]
async fn guests_in_javascript_and_python_say_hello_and_may_not_call_out() {
    let Some(folder) = std::env::var_os("RUNNER_TESTS_LANGUAGES").map(PathBuf::from) else {
        return;
    };
    // Cargo runs the tests of a package in its folder; the variable is as seen from the workspace's.
    let folder = guests().join("../..").join(folder);
    // What each makes of `HTTP-request-denied`: `fetch` of JavaScript has one error for all that can go wrong.
    for (language, error) in [
        ("js", "NetworkError"),
        ("python", "ErrorCode_HttpRequestDenied"),
    ] {
        let wasm = folder.join(language).with_extension("wasm");
        let wasm = wasm.to_str().expect("a path in UTF-8");
        says(wasm, &format!("hello from {language}\n")).await;
        may_not_call_out(wasm, error).await;
    }
}

async fn may_not_call_out(wasm: &str, spelled: &str) {
    let (app, canary) = (app(wasm), Canary::start().await);
    let server = Server::start(&app, &[]).await;

    let reply = server
        .get(&format!("/fetch?url={}/collect", canary.url()))
        .await;

    let error = reply.json()["error"].to_string();
    assert!(error.contains(spelled), "{error}");
    let denied = server.logged(|line| line["event"] == "denied").await;
    assert_eq!(denied["destination"], canary.url());
    assert_eq!(canary.connections(), 0);
    assert_eq!(server.stop().await.code, 0);
}
