//! Guests in other languages are served, and held to the same policy.

use runner_tests::{App, Server};

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
