//! Rows about HTTP/2, in frames that no client library would send.

use std::time::Duration;

use runner_tests::{App, Frame, Frames, Server};
use serde_json::Value;

use crate::table;

pub(crate) const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A flood's length.
const MANY: usize = 20_000;

/// What a flood may cost a server.
const AT_MOST: Duration = Duration::from_secs(1);

/// What it may add to a server's memory: less than one guest.
const FLAT: u64 = 8 * 1024 * 1024;

fn get(path: &str) -> [(&'static str, &str); 4] {
    [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
    ]
}

/// The lines about requests of this client.
pub(crate) fn lines(log: &[Value], me: &str) -> Vec<Value> {
    let ours = |line: &&Value| line["event"] == "request" && line["client"] == me;
    log.iter().filter(ours).cloned().collect()
}

/// Sends these on a connection of their own, reads until the server has closed it, and holds it to its limits.
async fn flood(name: &str, server: &Server, before: &[u8], frames: &[u8]) -> Vec<Frame> {
    server.get("/hello").await;
    let (time, memory) = (server.processor_time(), server.peak_memory());
    let mut client = Frames::open(server.address()).await;

    client.send(before).await;
    client.send(frames).await;
    let said = client.rest().await;

    let (time, memory) = (
        server.processor_time() - time,
        server.peak_memory() - memory,
    );
    assert!(time <= AT_MOST, "{name}: {time:?}");
    assert!(memory <= FLAT, "{name}: {memory}");
    let last = said.last().map(|frame| (frame.kind, frame.code()));
    // A system that is told of a closed socket may throw away what was said on it.
    if let Some(last) = last {
        assert_eq!(last, (GOAWAY, ENHANCE_YOUR_CALM), "{name}");
    }
    assert_eq!(server.get("/hello").await.status, 200, "{name}");
    said
}

#[tokio::test]
async fn d46_d47_requests_that_are_taken_back_start_few_guests_and_leave_none() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let mut frames = Vec::new();
    for number in 0..MANY as u32 {
        let stream = number * 2 + 1;
        frames.extend(Frame::headers(WHOLE, stream, &get("/sleep?ms=50")));
        frames.extend(Frame::bytes(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    flood("rapid reset", &server, &[], &frames).await;

    let stopped = server.stop().await;
    assert_eq!(stopped.code, 0);
    let told = stopped.log.iter().find(|line| line["event"] == "stopped");
    assert_eq!(told.expect("it is told")["cut"], 0);
    let sleepers = stopped.log.iter().filter(|line| line["path"] == "/sleep");
    let started = sleepers.count();
    eprintln!("rapid reset: {started} guests");
    assert!(started <= 167, "{started}");
}

#[tokio::test]
async fn d47_guests_that_are_dropped_in_the_middle_leave_room_for_others() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    for _ in 0..20 {
        let mut client = Frames::open(server.address()).await;
        let me = client.me();
        for number in 0..100 {
            let stream = number * 2 + 1;
            client
                .send(&Frame::headers(
                    WHOLE,
                    stream,
                    &get("/sleep-after-head?ms=600000"),
                ))
                .await;
        }
        let mut heads = 0;
        while heads < 100 {
            let frame = client.next().await.expect("a frame");
            heads += usize::from(frame.kind == HEADERS);
        }
        for number in 0..100 {
            let reset = Frame::bytes(RST_STREAM, 0, number * 2 + 1, &CANCEL.to_be_bytes());
            client.send(&reset).await;
        }
        server
            .logged(|line| line["client"] == *me && line["outcome"] == "client-gone")
            .await;
        assert_eq!(server.get("/hello").await.status, 200);
    }
    let stopped = server.stop().await;
    assert_eq!(stopped.code, 0);
    let told = stopped.log.iter().find(|line| line["event"] == "stopped");
    assert_eq!(told.expect("it is told")["cut"], 0);
}

#[tokio::test]
async fn d48_d49_d50_frames_that_ask_for_nothing_end_the_connection() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let open = Frame::headers(0, 1, &get("/hello"));
    let mut post = get("/sleep?ms=600000");
    post[0].1 = "POST";
    let post = Frame::headers(END_HEADERS, 1, &post);
    for (name, before, frame) in [
        (
            "CONTINUATION",
            &open[..],
            Frame::bytes(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b']),
        ),
        (
            "SETTINGS",
            &[],
            Frame::bytes(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]),
        ),
        ("PING", &[], Frame::bytes(PING, 0, 0, &[0; 8])),
        ("empty DATA", &post, Frame::bytes(DATA, 0, 1, &[])),
        ("PRIORITY", &[], Frame::bytes(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", &[], Frame::bytes(8, 0, 0, &[0, 0, 0, 1])),
        ("unknown frames", &[], Frame::bytes(0x77, 0, 0, &[0; 100])),
    ] {
        flood(name, &server, before, &frame.repeat(MANY)).await;
    }
}

#[tokio::test]
async fn d51_streams_beyond_the_hundredth_are_refused() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let mut client = Frames::open(server.address()).await;
    for number in 0..300 {
        let head = Frame::headers(WHOLE, number * 2 + 1, &get("/sleep?ms=600000"));
        client.send(&head).await;
    }
    for number in 100..300 {
        let refused = client.next().await.expect("a frame");
        assert_eq!((refused.kind, refused.stream), (RST_STREAM, number * 2 + 1));
        assert_eq!(refused.code(), REFUSED_STREAM);
    }
}

/// How a request is turned down.
#[derive(Debug, PartialEq, Eq)]
enum Turned {
    /// With a response.
    Status(u16),
    /// By the end of its stream, or of its connection; the log says 400.
    Protocol,
}

#[tokio::test]
async fn d54_d55_d56_a_request_that_is_none_reaches_no_guest() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    let with = |more: &[(&'static str, &'static str)]| [&get("/a/b"), more].concat();
    let but = |name: &str, value: &'static str| {
        let mut fields = get("/a/b").to_vec();
        fields
            .iter_mut()
            .filter(|field| field.0 == name)
            .for_each(|field| field.1 = value);
        fields
    };
    let without = |name: &str| {
        let mut fields = get("/a/b").to_vec();
        fields.retain(|field| field.0 != name);
        fields
    };
    use Turned::{Protocol, Status};
    let mut wrong = Vec::new();
    for (name, fields, expected) in [
        ("another host", with(&[("host", "b")]), Status(400)),
        (
            "two hosts",
            with(&[("host", "a"), ("host", "a")]),
            Status(400),
        ),
        ("no authority", without(":authority"), Status(400)),
        ("an empty authority", but(":authority", ""), Protocol),
        ("userinfo", but(":authority", "u@a"), Status(400)),
        ("a bad authority", but(":authority", "a:99999"), Status(400)),
        ("an asterisk", but(":path", "*"), Status(400)),
        ("https on plaintext", but(":scheme", "https"), Status(400)),
        ("another scheme", but(":scheme", "ftp"), Status(400)),
        ("TRACE", but(":method", "TRACE"), Status(405)),
        ("a lower-case method", but(":method", "get"), Status(400)),
        (
            "an escape that is none",
            but(":path", "/a/%zz"),
            Status(400),
        ),
        (
            "a usual request",
            with(&[("x", "y"), ("te", "trailers")]),
            Status(404),
        ),
        (
            "CONNECT",
            vec![(":method", "CONNECT"), (":authority", "a:443")],
            Status(501),
        ),
        (
            "extended CONNECT",
            [
                &but(":method", "CONNECT")[..],
                &[(":protocol", "websocket")],
            ]
            .concat(),
            Protocol,
        ),
        ("connection", with(&[("connection", "x")]), Protocol),
        ("keep-alive", with(&[("keep-alive", "1")]), Protocol),
        (
            "proxy-connection",
            with(&[("proxy-connection", "x")]),
            Protocol,
        ),
        (
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
            Protocol,
        ),
        ("upgrade", with(&[("upgrade", "x")]), Protocol),
        ("te", with(&[("te", "gzip")]), Protocol),
        ("upper case", with(&[("X-Upper", "x")]), Protocol),
        ("CRLF in a value", with(&[("a", "b\r\nc: d")]), Protocol),
        ("NUL in a value", with(&[("a", "b\0")]), Protocol),
        ("CRLF in a name", with(&[("a\r\nb", "c")]), Protocol),
        ("an empty name", with(&[("", "c")]), Protocol),
        ("two methods", with(&[(":method", "GET")]), Protocol),
        ("two paths", with(&[(":path", "/a/b")]), Protocol),
        (
            "a pseudo-header behind",
            [&[("a", "b")][..], &get("/a/b")].concat(),
            Protocol,
        ),
        (
            "a pseudo-header of responses",
            with(&[(":status", "200")]),
            Protocol,
        ),
        ("an unknown pseudo-header", with(&[(":x", "y")]), Protocol),
        ("no method", without(":method"), Protocol),
        ("no path", without(":path"), Protocol),
        ("no scheme", without(":scheme"), Protocol),
        ("an empty path", but(":path", ""), Protocol),
        ("a path without a slash", but(":path", "a/b"), Protocol),
        ("a space in a path", but(":path", "/a b"), Protocol),
        (
            "a length and no body",
            with(&[("content-length", "5")]),
            Protocol,
        ),
        (
            "a length that is none",
            with(&[("content-length", "x")]),
            Protocol,
        ),
    ] {
        let mut client = Frames::open(server.address()).await;
        client.send(&Frame::headers(WHOLE, 1, &fields)).await;
        let turned = match client.next().await {
            Some(frame) if frame.kind == HEADERS => Status(frame.status()),
            Some(frame) if frame.kind == RST_STREAM || frame.kind == GOAWAY => {
                assert_eq!(frame.code(), PROTOCOL_ERROR, "{name}");
                Protocol
            }
            other => panic!("{name}: {other:?}"),
        };
        let me = client.me();
        server.logged(|line| line["client"] == *me).await;
        let lines = lines(&server.log(), &me);
        let status = match turned {
            Status(status) => status,
            Protocol => 400,
        };
        if turned != expected || lines.len() != 1 || lines[0]["status"] != status {
            wrong.push(format!("{name}: {turned:?} {lines:?}"));
        }
        let ran = lines.iter().any(|line| line["component"] != Value::Null);
        assert_eq!(ran, expected == Status(404), "{name}");
    }
    assert_eq!(wrong, [""; 0]);
}

#[tokio::test]
async fn d52_a_header_list_that_is_too_large_is_a_431_with_one_line() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    let long = "x".repeat(20 * 1024);
    for fields in [&[("a", &long[..])][..], &[("a", &long), ("b", &long)]] {
        let head = Frame::headers(WHOLE, 1, &[&get("/a/b"), fields].concat());
        let (head, block) = head.split_at(9);
        let mut client = Frames::open(server.address()).await;
        for (index, part) in block.chunks(16 * 1024).enumerate() {
            let is_last = (index + 1) * 16 * 1024 >= block.len();
            let kind = [CONTINUATION, HEADERS][usize::from(index == 0)];
            let flags = head[4] & !END_HEADERS | [0, END_HEADERS][usize::from(is_last)];
            client.send(&Frame::bytes(kind, flags, 1, part)).await;
        }
        let answer = client.next().await.expect("a frame");
        assert_eq!((answer.kind, answer.status()), (HEADERS, 431));
        let me = client.me();
        server.logged(|line| line["client"] == *me).await;
        let lines = lines(&server.log(), &me);
        let told: Vec<_> = lines
            .iter()
            .map(|line| (&line["status"], &line["component"]))
            .collect();
        assert_eq!(told, [(&Value::from(431), &Value::Null)]);
    }
}

#[tokio::test]
async fn d55_a_body_of_another_length_than_it_was_said_to_have_is_cut() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    for (length, body) in [("5", "abc"), ("2", "abc")] {
        let mut fields = get("/echo").to_vec();
        fields[0].1 = "POST";
        fields.push(("content-length", length));
        let mut client = Frames::open(server.address()).await;
        client.send(&Frame::headers(END_HEADERS, 1, &fields)).await;
        client
            .send(&Frame::bytes(DATA, END_STREAM, 1, body.as_bytes()))
            .await;
        let reset = loop {
            let frame = client.next().await.expect("a frame");
            if frame.kind == RST_STREAM {
                break frame;
            }
            assert_eq!(frame.flags & END_STREAM, 0, "{length}");
        };
        assert_eq!(reset.code(), PROTOCOL_ERROR, "{length}");
    }
}

#[tokio::test]
async fn d40_no_body_follows_where_none_may_be_in_http2() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    for (method, path, status) in [
        ("HEAD", "/status?body=unseen", 200),
        ("HEAD", "/big?bytes=1000000", 200),
        ("GET", "/status?code=204&body=unseen", 204),
        ("GET", "/status?code=304&body=unseen", 304),
    ] {
        let mut fields = get(path);
        fields[0].1 = method;
        let mut client = Frames::open(server.address()).await;
        client.send(&Frame::headers(WHOLE, 1, &fields)).await;
        let head = client.next().await.expect("a head");
        assert_eq!(
            (head.status(), head.flags),
            (status, WHOLE),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn d69_what_a_guest_wrote_before_it_trapped_is_sent_and_the_stream_is_reset() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    for _ in 0..20 {
        let mut client = Frames::open(server.address()).await;
        client
            .send(&Frame::headers(WHOLE, 1, &get("/trap-after-head")))
            .await;
        let mut kinds = Vec::new();
        while kinds.last() != Some(&RST_STREAM) {
            let frame = client.next().await.expect("a frame");
            assert!(frame.kind == RST_STREAM || frame.flags & END_STREAM == 0);
            kinds.push(frame.kind);
        }
        assert_eq!(kinds, [HEADERS, DATA, RST_STREAM]);
    }
}

#[tokio::test]
async fn d57_a_client_that_ignores_go_away_is_cut_at_the_deadline() {
    let app = App::probe("");
    let server = Server::start(&app, &["--drain-timeout", "1s"]).await;
    let mut client = Frames::open(server.address()).await;
    let sleep = |stream| Frame::headers(WHOLE, stream, &get("/sleep-after-head?ms=600000"));
    client.send(&sleep(1)).await;
    assert_eq!(client.next().await.expect("a head").kind, HEADERS);

    server.signal(rustix::process::Signal::TERM);
    while client.next().await.expect("a frame").kind != GOAWAY {}
    client.send(&sleep(3)).await;
    let rest = client.rest().await;
    assert!(
        rest.iter().all(|frame| frame.kind != RST_STREAM),
        "{rest:?}"
    );

    let stopped = server.ended().await;
    let cut = stopped.log.iter().find_map(|line| line["cut"].as_i64());
    assert!(matches!(cut, Some(1 | 2)), "{:#?}", stopped.log);
}
