//! HTTP/1 on the bytes that go over the wire, against the process that people run.

use runner_tests::{App, Server};

use super::{assert_refused, send, table};

/// Stands behind each request that must be refused, in the same segment.
const NEXT: &str = "GET /a/b HTTP/1.1\r\nhost: a\r\n\r\n";

fn post(fields: &str) -> String {
    format!("POST /a/b HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

#[tokio::test]
async fn d1_to_d15_what_is_no_request_is_one_answer_one_line_and_no_guest() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    let fields = |count: usize| "x: y\r\n".repeat(count);
    for (row, bytes, status) in [
        (
            "D1",
            post("content-length: 3\r\ntransfer-encoding: chunked\r\n"),
            "400",
        ),
        (
            "D1",
            post("transfer-encoding: chunked\r\ncontent-length: 3\r\n"),
            "400",
        ),
        (
            "D2",
            post("content-length: 3\r\ncontent-length: 4\r\n"),
            "400",
        ),
        (
            "D3",
            post("content-length: 3\r\ncontent-length: 3\r\n"),
            "400",
        ),
        ("D3", post("content-length: 3, 3\r\n"), "400"),
        ("D4", post("content-length: +3\r\n"), "400"),
        (
            "D4",
            post("content-length: 99999999999999999999\r\n"),
            "400",
        ),
        ("D5", post("transfer-encoding: xchunked\r\n"), "400"),
        (
            "D6",
            post("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n"),
            "400",
        ),
        ("D6", post("transfer-encoding: gzip, chunked\r\n"), "400"),
        (
            "D7",
            "POST /a/b HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            "400",
        ),
        ("D8", post("x : y\r\n"), "400"),
        ("D8", post("x: y\r\n z\r\n"), "400"),
        ("D9", "GET /a/b HTTP/1.1\nhost: a\n\n".to_owned(), "400"),
        ("D10", post("x: y\rz\r\n"), "400"),
        ("D10", post("x: y\0z\r\n"), "400"),
        ("D15", post(&fields(100)), "431"),
        (
            "D15",
            post(&format!("x: {}\r\n", "y".repeat(64 * 1024))),
            "431",
        ),
        (
            "D15",
            format!(
                "GET /a/{} HTTP/1.1\r\nhost: a\r\n\r\n",
                "y".repeat(8 * 1024)
            ),
            "414",
        ),
        (
            "D32",
            "GET /a/b#c HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "D32",
            format!("{} /a/b HTTP/1.1\r\nhost: a\r\n\r\n", "M".repeat(2000)),
            "501",
        ),
        (
            "D32",
            "get /a/b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "D32",
            "TRACE /a/b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "405",
        ),
        ("D39", post("expect: other\r\n"), "417"),
    ] {
        let outcome = send(&server, format!("{bytes}{NEXT}").as_bytes()).await;
        assert_refused(row, &outcome, status);
        // D14: nothing behind it was answered.
        assert_eq!(
            outcome.answer.matches("HTTP/1.1 ").count(),
            1,
            "{row}: {}",
            outcome.answer
        );
        assert!(
            outcome.answer.contains("\r\nconnection: close\r\n"),
            "{row}: {}",
            outcome.answer
        );
    }
}

#[tokio::test]
async fn d11_d12_a_body_in_many_pieces_arrives_and_a_broken_one_ends_the_connection() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n";
    let pieces = 100_000;
    let chunks = "1\r\nx\r\n".repeat(pieces);
    let whole = format!("{head}connection: close\r\n\r\n{chunks}0\r\n\r\n");
    let outcome = send(&server, whole.as_bytes()).await;
    assert_eq!(outcome.status(), "200", "{}", &outcome.answer[..200]);
    assert_eq!(outcome.body().matches('x').count(), pieces);
    let broken = format!("{head}\r\n1\r\nx\r\n0x1\r\n{NEXT}");
    let outcome = send(&server, broken.as_bytes()).await;
    assert_eq!(
        outcome.answer.matches("HTTP/1.1 ").count(),
        1,
        "{}",
        outcome.answer
    );
    assert_eq!(outcome.lines.len(), 1, "{:#?}", outcome.lines);
}

#[tokio::test]
async fn d62_d63_a_status_that_is_none_is_a_502() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    for code in ["100", "101", "199", "600", "999"] {
        let get = format!(
            "GET /status?code={code} HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: x\r\n\r\n"
        );
        let outcome = send(&server, get.as_bytes()).await;
        assert_eq!(outcome.status(), "502", "{code}: {}", outcome.answer);
        assert_eq!(outcome.lines.len(), 1, "{code}: {:#?}", outcome.lines);
        let said = server.log();
        let said = said.iter().filter_map(|line| line["message"].as_str());
        let text = format!("answered with the status {code}");
        assert_eq!(
            said.filter(|message| message.contains(&text)).count(),
            1,
            "{code}"
        );
    }
}
