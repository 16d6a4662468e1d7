//! Upstreams that mean harm: what they cost the server, and what the guest is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runner_tests::{Dns, Server, Wire};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw::{Raw, read_head};
use crate::scene::{Scene, ask, fetch, target};

/// More than any of these stories takes, and less than any of these upstreams sends.
const FLAT: u64 = 32 * 1024 * 1024;

/// What an upstream sends of something without an end, where that would be refused much earlier.
const ENDLESS: usize = 100 * 1024 * 1024;

static CHUNK: [u8; 64 * 1024] = [b'y'; 64 * 1024];

/// Answers with `head`, then with `again`, over and over, up to [`ENDLESS`] bytes or until nobody reads.
async fn endless(head: &'static str, again: impl Into<Vec<u8>>) -> Raw {
    let again: Arc<[u8]> = again.into().into();
    Raw::start(move |mut stream, _| {
        let again = again.clone();
        async move {
            let _ = read_head(&mut stream).await;
            let mut sent = 0;
            let mut fine = stream.write_all(head.as_bytes()).await.is_ok();
            while fine && sent < ENDLESS {
                fine = stream.write_all(&again).await.is_ok();
                sent += again.len();
            }
        }
    })
    .await
}

async fn scene(upstream: &Raw, lines: &str) -> Scene {
    Scene::with(&[&upstream.url()], lines, Dns::start(&[]).await, &[]).await
}

/// Runs `story`, and looks at how much more memory the server had in use than before.
async fn flat<F: Future>(server: &Server, story: F) -> F::Output {
    assert_eq!(server.get("/hello").await.status, 200);
    server.forget_peak_memory();
    let before = server.peak_memory();
    let outcome = story.await;
    let peak = server.peak_memory();
    assert!(peak < before + FLAT, "it had {before} and then {peak}");
    outcome
}

/// The error of a call, which costs no memory.
async fn error(server: &Server, parameters: &[(&str, &str)]) -> String {
    let report = flat(server, fetch(server, parameters)).await;
    let error = report["error"].as_str();
    error.unwrap_or_else(|| panic!("{report}")).to_owned()
}

#[tokio::test]
async fn c43_a_head_without_an_end_is_an_error_and_costs_no_memory() {
    let rows: [(&str, Vec<u8>); 3] = [
        // 100 MB of one field, of short fields, of long fields.
        ("HTTP/1.1 200 OK\r\nx: ", CHUNK.into()),
        ("HTTP/1.1 200 OK\r\n", "x: y\r\n".repeat(10_000).into()),
        (
            "HTTP/1.1 200 OK\r\n",
            format!("x: {}\r\n", "y".repeat(8_000)).into(),
        ),
    ];
    for (head, again) in rows {
        let upstream = endless(head, again).await;
        let scene = scene(&upstream, "").await;
        for server in scene.servers() {
            let error = error(server, &[("url", &upstream.url())]).await;
            assert_eq!(error, "HTTP-response-header-section-size", "{head}");
        }
    }
}

#[tokio::test]
async fn c43_ten_thousand_fields_are_an_error() {
    let fields: String = (0..10_000).map(|n| format!("x{n}: y\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
    let upstream = Raw::answering(answer).await;
    let scene = scene(&upstream, "").await;
    for server in scene.servers() {
        let error = error(server, &[("url", &upstream.url())]).await;
        assert_eq!(error, "HTTP-response-header-section-size");
    }
}

#[tokio::test]
async fn c43_interim_answers_without_an_end_are_no_answer() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n".repeat(100);
    let upstream = Raw::start(move |mut stream, _| {
        let interim = interim.clone();
        async move {
            let _ = read_head(&mut stream).await;
            while stream.write_all(interim.as_bytes()).await.is_ok() {}
        }
    })
    .await;
    let scene = scene(&upstream, "").await;
    for server in scene.servers() {
        let parameters = [("url", &*upstream.url()), ("first-byte", "500ms")];
        let error = error(server, &parameters).await;
        assert_eq!(error, "HTTP-response-timeout");
    }
}

/// A byte now and then, for as long as somebody reads.
async fn drip(mut stream: TcpStream, head: &'static str) {
    let _ = read_head(&mut stream).await;
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let mut fine = stream.write_all(head.as_bytes()).await.is_ok();
    while fine {
        pace.tick().await;
        fine = stream.write_all(b"y").await.is_ok();
    }
}

#[tokio::test]
async fn c43_a_head_that_drips_ends_in_time() {
    let upstream = Raw::start(|stream, _| drip(stream, "HTTP/1.1 200 OK\r\nx: ")).await;
    let scene = scene(&upstream, "").await;
    for server in scene.servers() {
        let parameters = [("url", &*upstream.url()), ("first-byte", "200ms")];
        let report = fetch(server, &parameters).await;
        assert_eq!(report["error"], "HTTP-response-timeout", "{report}");
    }
}

#[tokio::test]
async fn c43_a_body_that_drips_ends_with_the_request_that_waits_for_it() {
    let upstream = Raw::start(|stream, _| drip(stream, "HTTP/1.1 200 OK\r\n\r\n")).await;
    let limits = "[component.probe.limits]\nrequest_timeout = \"1 s\"";
    let scene = scene(&upstream, limits).await;
    for server in scene.servers() {
        let reply = ask(server, &[("url", &upstream.url())]).await;
        assert_eq!(reply.status, 504, "{reply:?}");
        let request = |line: &Value| line["event"] == "request" && line["path"] == "/fetch";
        server.logged(request).await;
    }
    upstream.hushed().await;
}

#[tokio::test]
async fn c43_a_body_without_an_end_that_nobody_reads_stays_where_it_is() {
    let written = Arc::new(AtomicU64::new(0));
    let counter = written.clone();
    let upstream = Raw::start(move |mut stream, _| {
        let counter = counter.clone();
        async move {
            let _ = read_head(&mut stream).await;
            let mut fine = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok();
            while fine {
                fine = stream.write_all(&CHUNK).await.is_ok();
                counter.fetch_add(CHUNK.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    let scene = scene(&upstream, "").await;
    for server in scene.servers() {
        written.store(0, Ordering::SeqCst);
        let parameters = [("url", &*upstream.url()), ("hold", "25s")];
        flat(server, async {
            let mut held = Wire::open(server.address()).await;
            let get = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", target(&parameters));
            held.send(get.as_bytes()).await;
            while written.load(Ordering::SeqCst) == 0 {
                assert_eq!(server.get("/hello").await.status, 200);
            }
            for _ in 0..300 {
                assert_eq!(server.get("/hello").await.status, 200);
            }
            held.reset();
        })
        .await;
        let written = written.load(Ordering::SeqCst);
        assert!(written < FLAT, "{written} bytes were taken");
    }
    upstream.hushed().await;
}

#[tokio::test]
async fn c43_a_body_without_an_end_fills_no_more_than_the_guests_own_memory() {
    let upstream = endless("HTTP/1.1 200 OK\r\n\r\n", CHUNK).await;
    let limits = "[component.probe.limits]\nmemory = \"16 MiB\"";
    let scene = scene(&upstream, limits).await;
    for server in scene.servers() {
        let reply = flat(server, ask(server, &[("url", &upstream.url())])).await;
        assert_eq!(reply.status, 500, "{reply:?}");
    }
    upstream.hushed().await;
}
