//! Guests that are built by `guests/build-languages.sh`, and too big to be committed. Run by name, with
//! `RUNNER_TESTS_LANGUAGES` naming the folder they were built into: `cargo test -p runner-tests --test languages-built`.

use std::path::PathBuf;

use runner_tests::{App, Canary, Server};

/// The usual app, with this `.wasm` on every path.
fn app(wasm: &str) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello\"\n\
         [component.hello]\nsource = \"{wasm}\"\n"
    ))
}

#[tokio::test]
async fn a_guest_in_javascript_says_hello_and_may_not_call_out() {
    // `fetch` has one error for all that can go wrong.
    says_hello_and_may_not_call_out("js", "NetworkError").await;
}

#[tokio::test]
async fn a_guest_in_python_says_hello_and_may_not_call_out() {
    says_hello_and_may_not_call_out("python", "ErrorCode_HttpRequestDenied").await;
}

async fn says_hello_and_may_not_call_out(language: &str, spelled: &str) {
    let folder = std::env::var_os("RUNNER_TESTS_LANGUAGES")
        .expect("the folder with the guests, as an absolute path");
    let wasm = PathBuf::from(folder).join(language).with_extension("wasm");
    let (app, canary) = (
        app(wasm.to_str().expect("a path in UTF-8")),
        Canary::start().await,
    );
    let server = Server::start(&app, &[]).await;

    let reply = server.get("/hello").await;
    assert_eq!(
        (reply.status.as_u16(), reply.body),
        (200, format!("hello from {language}\n"))
    );

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
