//! What a component may use, and what the operator allows: each limit over real sockets, with real guests.

use std::fs;

use runner_tests::{App, Server};
use rustix::process::Signal;

/// `probe` on every path, with these lines as its limits.
fn limited(lines: &str) -> App {
    App::probe(&format!("[component.probe.limits]\n{lines}"))
}

#[tokio::test]
async fn the_operators_file_lowers_what_a_component_has_and_is_read_again_with_a_reload() {
    let app = limited("queue = 4");
    let config = app.path().join("runner.toml");
    let config = config.to_str().expect("text");
    app.file("runner.toml", "[limits]\nmemory = \"64 MiB\"\n");
    let server = Server::start(&app, &["--config", config]).await;
    let forty = "/memory?bytes=40000000";
    assert_eq!(server.get(forty).await.body, "{\"got\":40000000}");

    app.file("runner.toml", "[ceilings]\nmemory = \"16 MiB\"\n");
    server.signal(Signal::HUP);
    server.logged(|line| line["event"] == "reloaded").await;
    assert_eq!(server.get(forty).await.body, "{\"refused\":40000000}");

    app.file("runner.toml", "[ceilings]\nqueue = 3\n");
    server.signal(Signal::HUP);
    let failed = server.logged(|line| line["event"] == "reload-failed").await;
    assert_eq!(failed["diagnostics"][0]["code"], "limit-above-ceiling");
    assert_eq!(
        server.get(forty).await.body,
        "{\"refused\":40000000}",
        "the old version goes on serving"
    );

    fs::remove_file(config).expect("there");
    app.file("runner.toml", "[ceilings]\nmemory = \"64 MiB\"\n");
    server.signal(Signal::HUP);
    server
        .logged(|line| line["event"] == "reloaded" && line["generation"] == 4)
        .await;
    assert_eq!(server.get(forty).await.body, "{\"got\":40000000}");
}

#[tokio::test]
async fn a_change_of_the_operators_file_is_seen_by_watch() {
    let app = limited("");
    let config = app.path().join("runner.toml");
    app.file("runner.toml", "");
    let config = config.to_str().expect("text");
    let server = Server::start(&app, &["--watch", "--config", config]).await;

    app.file("runner.toml", "[ceilings]\nmemory = \"16 MiB\"\n");

    server.logged(|line| line["event"] == "reloaded").await;
    let forty = server.get("/memory?bytes=40000000").await;
    assert_eq!(forty.body, "{\"refused\":40000000}");
}
