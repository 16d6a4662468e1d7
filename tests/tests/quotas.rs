//! Apps in one process share its instances, its memory and its processors: one that takes all it can get leaves enough.

use std::fs;

use http::Method;
use runner_tests::{App, Server, Wire, around, get, module};
use serde_json::Value;

/// An app, for this host where it has one.
fn manifest(name: &str, host: &str, more: &str) -> String {
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"{name}\"\n{host}\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"guest:probe\"\n{more}"
    )
}

/// One that nobody complains of.
fn neighbour() -> App {
    let host = "[application.trigger.http]\nhost = \"neighbour.test\"\n";
    App::new(&manifest("neighbour", host, ""))
}

/// One that has this component too, on `/guest`, with these limits.
fn app(guest: &[u8], limits: &str) -> App {
    let more = format!(
        "[[trigger.http]]\nroute = \"/guest\"\ncomponent = \"guest\"\n\
         [component.guest]\nsource = \"guest.wasm\"\nlimits = {{ {limits} }}\n"
    );
    let app = App::new(&manifest("story", "", &more));
    fs::write(app.path().join("guest.wasm"), guest).expect("writable");
    app
}

async fn start(app: &App, neighbour: &App) -> Server {
    let paths = [app, neighbour].map(|app| app.path().to_str().expect("text"));
    Server::start(app, &[&paths[..], &["--admin", "127.0.0.1:0"]].concat()).await
}

async fn ask_neighbour(server: &Server) {
    let request = http::Request::get("/hello").header("host", "neighbour.test");
    let request = request.body(Default::default()).expect("a request");
    let reply = server.connect().await.send(request).await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.body),
        (200, "hello from probe\n")
    );
}

/// As many instances of modules as a component may have: an instance of it takes sixteen places of the two thousand.
fn large() -> Vec<u8> {
    let others = "(core instance (instantiate $other))".repeat(63);
    around(
        &format!("(core module $other (table 1 funcref)) {others}"),
        "(func (export \"handle\") (param i32 i32) (loop (br 0)))",
        "",
        "",
    )
}

#[tokio::test]
async fn an_app_of_large_instances_leaves_room_for_the_others() {
    const FIT: usize = 62;
    const MORE: usize = 8;
    let (app, neighbour) = (
        app(&large(), "cpu = \"5 min\", request_timeout = \"5 min\""),
        neighbour(),
    );
    let server = start(&app, &neighbour).await;
    let mut clients = Vec::new();
    for _ in 0..FIT + MORE {
        let mut wire = Wire::open(server.address()).await;
        wire.send(b"GET /guest HTTP/1.1\r\nhost: a.test\r\n\r\n")
            .await;
        clients.push(wire);
        ask_neighbour(&server).await;
    }
    let refused =
        "runner_guest_faults_total{app=\"story\",component=\"guest\",reason=\"instances\"}";
    let url = format!("{}/metrics", server.admin().await);
    let wanted = format!("{refused} {MORE}");
    let mut told = false;
    for _ in 0..1000 {
        let page = get(&url).await.body;
        told = page.lines().any(|line| line == wanted);
        if told {
            break;
        }
        ask_neighbour(&server).await;
    }
    assert!(told, "{wanted}");
    let log = server.log();
    let told = log.iter().find(|line| line["reason"] == "instances");
    let told = told.expect("it was counted");
    assert_eq!(
        told["message"],
        "its app has as many instances as the server has left"
    );
    let is_refused = |line: &Value| line["event"] == "request" && line["status"] == 503;
    server.logged(is_refused).await;
    ask_neighbour(&server).await;
}

/// Fills a gigabyte again and again: nothing interrupts one fill.
const FILLS: &str = "(memory 16384) (func (export \"handle\") (param i32 i32)
    (loop (memory.fill (i32.const 0) (i32.const 7) (i32.const 1073741824)) (br 0)))";

/// How often the threads behind the others have had something to do.
fn worked(server: &Server) -> u64 {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let statuses =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok());
    let behind = statuses.filter(|status| status.starts_with("Name:\trunner-behind\n"));
    let switches = behind.filter_map(|status| {
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt_switches:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    switches.sum()
}

#[tokio::test]
async fn who_cannot_be_interrupted_is_served_behind_the_others_and_just_as_well() {
    let limits = "cpu = \"100 ms\", memory = \"1 GiB\"";
    let (app, neighbour) = (app(&module(FILLS), limits), neighbour());
    let server = start(&app, &neighbour).await;
    assert_eq!(server.get("/hello").await.body, "hello from probe\n");
    assert_eq!(server.get("/guest").await.status, 504);
    let before = worked(&server);
    assert_eq!(server.get("/hello").await.body, "hello from probe\n");
    assert!(worked(&server) > before);
    for (method, path, body, status, answer) in [
        (Method::GET, "/hello", "", 200, "hello from probe\n"),
        (Method::HEAD, "/hello", "", 200, ""),
        (Method::POST, "/echo", "some words", 200, "some words"),
        (Method::GET, "/status?code=204", "", 204, ""),
        (Method::GET, "/guest", "", 504, "Gateway Timeout\n"),
        (Method::GET, "/trap", "", 500, "Internal Server Error\n"),
    ] {
        let request = http::Request::builder().method(&method).uri(path);
        let request = request
            .header("host", "a.test")
            .body(body.into())
            .expect("a request");
        let reply = server.connect().await.send(request).await;
        let body = reply.body.split("request id").next().expect("the first");
        assert_eq!(
            (reply.status.as_u16(), body),
            (status, answer),
            "{method} {path}"
        );
    }
    let mut wire = Wire::open(server.address()).await;
    wire.send(b"GET /big?bytes=3000000 HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
        .await;
    assert!(wire.rest().await.len() > 3_000_000);
    let mut wire = Wire::open(server.address()).await;
    wire.send(b"GET /trap-after-head HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
        .await;
    let cut = wire.rest().await;
    assert!(!cut.ends_with("0\r\n\r\n"), "{cut}");
    let wire = {
        let mut wire = Wire::open(server.address()).await;
        wire.send(b"GET /sleep-after-head?ms=3600000 HTTP/1.1\r\nhost: a.test\r\n\r\n")
            .await;
        wire.head().await;
        wire
    };
    wire.reset();
    let gone = |line: &Value| {
        line["event"] == "request"
            && line["path"] == "/sleep-after-head"
            && line["outcome"] == "client-gone"
    };
    server.logged(gone).await;
    ask_neighbour(&server).await;
}
