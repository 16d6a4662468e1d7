//! The policy changes and the server ends without anybody losing a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use runner_tests::{App, Canary, Connection, Http2, Server};
use rustix::process::Signal;
use tokio::task::JoinSet;

/// Keep-alive clients that send all the time.
const CLIENTS: usize = 16;

fn allowing(port: u16) -> String {
    format!("allowed_outbound_hosts = [\"http://127.0.0.1:{port}\"]")
}

fn manifest(lines: &str) -> String {
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"guest:probe\"\n{lines}\n"
    )
}

fn fetch(canary: &Canary) -> String {
    format!("/fetch?url={}/collect", canary.url())
}

/// Sends `/hello` on sixteen kept connections and one of HTTP/2 until told to stop or a connection ends.
struct Load {
    clients: JoinSet<Result<(), String>>,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Load {
    async fn on(server: &Server) -> Load {
        let mut load = Load {
            clients: JoinSet::new(),
            answered: Arc::default(),
            stop: Arc::default(),
        };
        for _ in 0..CLIENTS {
            let (connection, answered, stop) = (
                server.connect().await,
                load.answered.clone(),
                load.stop.clone(),
            );
            load.clients
                .spawn(async move { http1(connection, &answered, &stop).await });
        }
        let (connection, answered, stop) = (
            Http2::open(server.address()).await,
            load.answered.clone(),
            load.stop.clone(),
        );
        load.clients
            .spawn(async move { http2(connection, &answered, &stop).await });
        load
    }

    /// Waits until this many more requests have been answered.
    async fn answers(&self, more: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + more;
        while self.answered.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
    }

    /// Stops, and gives the number of answers and what failed.
    async fn ended(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let ends = self.clients.join_all().await;
        (
            self.answered.load(Ordering::Relaxed),
            ends.into_iter().filter_map(Result::err).collect(),
        )
    }
}

async fn http1(
    mut connection: Connection,
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Result<(), String> {
    while !stop.load(Ordering::Relaxed) {
        let reply = connection
            .try_get("/hello")
            .await
            .map_err(|error| format!("HTTP/1.1: {error:?}"))?;
        if reply.status != 200 {
            return Err(format!("HTTP/1.1: {}", reply.status));
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if reply
            .headers
            .get("connection")
            .is_some_and(|value| value == "close")
        {
            break;
        }
    }
    Ok(())
}

async fn http2(
    mut connection: Http2,
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Result<(), String> {
    while !stop.load(Ordering::Relaxed) {
        let status = connection
            .try_get("/hello")
            .await
            .map_err(|error| format!("HTTP/2: {error:?}"))?;
        if status != 200 {
            return Err(format!("HTTP/2: {status}"));
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_load_fail_no_request() {
    let app = App::new(&manifest(""));
    let server = Server::start(&app, &[]).await;
    let load = Load::on(&server).await;

    for reload in 1..=200 {
        let lines = if reload % 2 == 0 {
            String::new()
        } else {
            allowing(9000 + reload)
        };
        app.write(&manifest(&lines));
        server.signal(Signal::HUP);
        server
            .logged(|line| {
                line["event"] == "reloaded" && line["generation"] == u64::from(reload) + 1
            })
            .await;
        load.answers(1).await;
    }

    let (answered, failed) = load.ended().await;
    assert_eq!(failed, [""; 0], "of {answered} requests");
    assert!(answered >= 200, "{answered}");
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_told_to_end_under_load_answers_all_it_has_read_and_ends_with_0() {
    let app = App::new(&manifest(""));
    let server = Server::start(&app, &[]).await;
    let load = Load::on(&server).await;
    load.answers(200).await;

    let stopped = server.stop().await;
    let (answered, failed) = load.ended().await;

    assert_eq!(stopped.code, 0);
    // HTTP/2 is told by GOAWAY, which is no answer to a request that was never read; HTTP/1.1 by `connection: close`.
    let failed: Vec<_> = failed
        .into_iter()
        .filter(|error| !error.starts_with("HTTP/2"))
        .collect();
    assert_eq!(failed, [""; 0], "of {answered} requests");
    let records: Vec<_> = stopped
        .log
        .iter()
        .filter(|line| line["event"] == "request")
        .collect();
    assert!(
        records
            .iter()
            .all(|record| record["outcome"] == "complete" && record["status"] == 200)
    );
    assert_eq!(
        records.len(),
        answered,
        "every request that was read was answered in full"
    );
}

#[tokio::test]
async fn a_head_that_was_half_read_when_the_end_was_told_is_read_and_answered() {
    let app = App::new(&manifest(""));
    let server = Server::start(&app, &[]).await;
    let mut client = runner_tests::Wire::open(server.address()).await;
    client.send(b"GET /hello HTTP/1.1\r\nhost: a\r\n").await;
    server.get("/hello").await;

    server.signal(Signal::TERM);
    server.logged(|line| line["event"] == "draining").await;
    client.send(b"\r\n").await;

    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(server.ended().await.code, 0);
}

#[tokio::test]
async fn a_line_that_is_added_allows_the_same_call_on_the_same_process_and_connection() {
    let (app, canary) = (App::new(&manifest("")), Canary::start().await);
    let server = Server::start(&app, &["--watch"]).await;
    let mut connection = server.connect().await;
    assert_eq!(
        connection.get(&fetch(&canary)).await.json()["error"],
        "HTTP-request-denied"
    );
    assert_eq!(canary.connections(), 0);

    app.write(&manifest(&allowing(canary.port())));
    let reloaded = server.logged(|line| line["event"] == "reloaded").await;

    assert_eq!(
        reloaded["changes"][0],
        format!("probe +net {}", canary.url())
    );
    let reply = connection.get(&fetch(&canary)).await.json();
    assert_eq!(
        (&reply["status"], &reply["body"]),
        (&200.into(), &"collected".into())
    );
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn a_line_that_is_taken_away_denies_even_over_a_connection_that_was_kept() {
    let canary = Canary::start().await;
    let app = App::new(&manifest(&allowing(canary.port())));
    let server = Server::start(&app, &[]).await;
    assert_eq!(server.get(&fetch(&canary)).await.json()["status"], 200);

    app.write(&manifest(""));
    server.signal(Signal::HUP);
    server.logged(|line| line["event"] == "reloaded").await;

    assert_eq!(
        server.get(&fetch(&canary)).await.json()["error"],
        "HTTP-request-denied"
    );
    assert_eq!(canary.connections(), 1);
}

#[tokio::test]
async fn a_broken_manifest_is_refused_with_its_diagnostics_and_the_old_app_goes_on() {
    let app = App::new(&manifest(""));
    let server = Server::start(&app, &[]).await;

    app.write(&manifest("allowed_outbound_hosts = [\"example.com\"]"));
    server.signal(Signal::HUP);

    let refused = server.logged(|line| line["event"] == "reload-failed").await;
    let text = refused["text"].as_str().expect("a text");
    assert!(
        text.contains("spin-like.toml:9:27") && text.contains("example.com"),
        "{text}"
    );
    assert_eq!(server.get("/hello").await.status, 200);
}

#[tokio::test]
async fn requests_in_flight_finish_on_the_app_that_took_them() {
    let app = App::new(&manifest("environment = { WHICH = \"old\" }"));
    let server = Server::start(&app, &[]).await;
    let mut old = runner_tests::Wire::open(server.address()).await;
    old.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n1")
        .await;
    let head = old.head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");

    app.write(&manifest("environment = { WHICH = \"new\" }"));
    server.signal(Signal::HUP);
    server.logged(|line| line["event"] == "reloaded").await;
    assert!(server.get("/env").await.body.contains("new"));

    old.send(b"23").await;
    let rest = old.until("23").await;
    assert!(rest.contains("23"), "{rest}");
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let app = App::new(&manifest(
        "[component.probe.limits]\nrequest_timeout = \"60 s\"",
    ));
    let server = Server::start(&app, &[]).await;
    let mut slow = runner_tests::Wire::open(server.address()).await;
    slow.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n1")
        .await;
    slow.head().await;

    server.signal(Signal::TERM);
    server.logged(|line| line["event"] == "draining").await;
    server.signal(Signal::TERM);

    assert_eq!(server.ended().await.code, 143);
}
