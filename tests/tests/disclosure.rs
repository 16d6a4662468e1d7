//! What a client can learn from an error, and what it can write into the log.

use runner_tests::{App, Canary, Server, Wire, without_id};
use serde_json::Value;

const BOTH: [&str; 2] = ["probe", "probe3"];

/// Component `keeper` of a guest on `/app/...`-less paths, a private one beside it, and a limit of time.
fn app(guest: &str, rules: &str) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"keeper\"\n\
         [component.keeper]\nsource = \"guest:{guest}\"\nallowed_outbound_hosts = [{rules}]\n\
         [component.keeper.limits]\nrequest_timeout = \"300 ms\"\n"
    ))
}

/// What came back for one request, and its line in the log.
struct Outcome {
    status: String,
    headers: Vec<String>,
    body: String,
    line: Value,
}

async fn send(server: &Server, bytes: &[u8]) -> Outcome {
    let mut wire = Wire::open(server.address()).await;
    let me = wire.local_addr().to_string();
    wire.send(bytes).await;
    let answer = wire.rest().await;
    let is_it = |line: &Value| line["event"] == "request" && line["client"] == *me;
    let line = server.logged(is_it).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let names = lines.map(|line| line.split(':').next().unwrap_or_default().to_owned());
    Outcome {
        status: status.expect("a status").to_owned(),
        headers: names.collect(),
        body: body.to_owned(),
        line,
    }
}

fn request(method: &str, target: &str, host: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn d59_an_error_of_the_runtime_names_its_request_and_nothing_else() {
    for guest in BOTH {
        let app = app(guest, "");
        let server = Server::start(&app, &[]).await;
        for (method, target, host, status, reason) in [
            ("GET", "/trap", "a", "500", "Internal Server Error"),
            ("GET", "/no-response", "a", "500", "Internal Server Error"),
            (
                "GET",
                "/error?name=secret",
                "a",
                "500",
                "Internal Server Error",
            ),
            (
                "GET",
                "/error?name=connection-refused",
                "a",
                "502",
                "Bad Gateway",
            ),
            (
                "GET",
                "/proxy?url=http://secret.test/",
                "a",
                "500",
                "Internal Server Error",
            ),
            ("GET", "/loop", "a", "504", "Gateway Timeout"),
            (
                "GET",
                "/error?name=loop-detected",
                "a",
                "508",
                "Loop Detected",
            ),
            ("GET", "/%zz", "a", "400", "Bad Request"),
            ("GET", "/hello", "keeper.spin.internal", "404", "Not Found"),
            ("GET", "/hello", "a@b", "400", "Bad Request"),
            ("CONNECT", "a:443", "a:443", "501", "Not Implemented"),
            ("TRACE", "/hello", "a", "405", "Method Not Allowed"),
        ] {
            if (guest, target) == ("probe3", "/no-response") {
                // That guest cannot do without one.
                continue;
            }
            let outcome = send(&server, &request(method, target, host)).await;
            let row = format!("{guest}: {method} {target}");
            assert_eq!(outcome.status, status, "{row}");
            let id = outcome.line["request"].as_str().expect("an id");
            assert_eq!(
                outcome.body,
                format!("{reason}\nrequest id: {id}\n"),
                "{row}"
            );
            assert!(outcome.body.len() < 200, "{row}");
            let others = outcome.headers.iter().filter(|name| {
                !["allow", "connection", "content-length", "date"].contains(&name.as_str())
            });
            assert_eq!(others.count(), 0, "{row}: {:?}", outcome.headers);
        }
        let failed = server.log();
        let failed = failed.iter().filter(|line| line["event"] == "failed");
        assert!(failed.count() >= 5, "why, is in the log");
    }
}

#[tokio::test]
async fn causes_are_shown_to_clients_only_where_that_was_asked_for() {
    let canary = Canary::start().await;
    let app = app("probe", &format!("\"{}\"", canary.url()));
    let denied = format!("/proxy?url=https://{}/", canary.address());
    let quiet: [&[&str]; 3] = [&[], &["--watch"], &["--dev-errors=false"]];
    for args in quiet {
        let server = Server::start(&app, args).await;
        for path in ["/trap", &*denied] {
            let reply = server.get(path).await;
            assert_eq!(reply.reason(), "Internal Server Error", "{args:?} {path}");
        }
    }
    let server = Server::start(&app, &["--dev-errors"]).await;
    let shown = async |path: &str| {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 500, "{path}");
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        let (told, cause) = reply.body.split_once("\n\n").expect("a cause");
        assert_eq!(without_id(&format!("{told}\n")), "Internal Server Error");
        cause.to_owned()
    };
    let trap =
        "component: keeper\nerror: trapped: wasm trap: wasm `unreachable` instruction executed\n";
    assert_eq!(shown("/trap").await, trap);
    let cause = shown(&denied).await;
    let begin = format!(
        "component: keeper\nerror: answered with the error `HTTP-request-denied`\n\n\
         denied: keeper may not connect to https://{}\n",
        canary.address()
    );
    let end = format!("runner allow keeper https://{}\n", canary.address());
    assert!(
        cause.starts_with(&begin) && cause.ends_with(&end),
        "{cause}"
    );
    assert_eq!(
        shown("/trap").await,
        trap,
        "another request's denials are not its own"
    );
}

#[tokio::test]
async fn d61_nothing_that_a_client_sends_forges_a_line_of_the_log() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let long = "x".repeat(16 * 1024);
    let huge = "u".repeat(1 << 20);
    let forged = "{\"event\":\"denied\"}";
    let mut clients = Vec::new();
    for (target, host, agent) in [
        ("/a%0a%0d{\"event\":\"denied\"}%1b[2J", "a", "plain"),
        ("/a\n{\"event\":\"denied\"}", "a", "plain"),
        ("/a\u{1b}[2J", "a", "plain"),
        ("/a\u{9b}2J\u{202e}", "a", "plain"),
        ("/a\"},{\"event\":\"denied\"", "a", "plain"),
        (&*format!("/{long}"), "a", "plain"),
        ("/host", &*format!("a\n{forged}"), "plain"),
        ("/host", "a\u{1b}[2J", "plain"),
        ("/host", "a\u{202e}", "plain"),
        ("/agent", "a", &*format!("a\n{forged}\n{forged}")),
        ("/agent", "a", "a\u{1b}[2J\u{9b}2J"),
        ("/agent", "a", &*huge),
    ] {
        let mut wire = Wire::open(server.address()).await;
        let me = wire.local_addr().to_string();
        let bytes = format!(
            "GET {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\nconnection: close\r\n\r\n"
        );
        // A head that is too long is refused before its end.
        wire.try_send(bytes.as_bytes()).await;
        wire.rest().await;
        clients.push(me);
    }
    server.get("/the-last").await;
    server.logged(|line| line["path"] == "/the-last").await;
    let known = ["admin", "listening", "request"];
    let log = server.stop().await.log;
    for line in &log {
        let event = line["event"].as_str().expect("every line is one of ours");
        let is_known = known.contains(&event) || ["draining", "stopped"].contains(&event);
        assert!(is_known, "{line}");
        if let Some(path) = line["path"].as_str() {
            assert!(path.len() <= 8 * 1024 + 64, "{} bytes", path.len());
        }
    }
    for client in clients {
        let lines = log.iter().filter(|line| line["client"] == *client).count();
        assert!(lines <= 1, "{client}: {lines} lines");
    }
}
