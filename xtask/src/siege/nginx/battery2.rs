//! Requests of HTTP/2 that mean something else where they become lines of HTTP/1.

use super::{Case, HOST, target};
use crate::siege::frames::{block, flag, frame, greeting, kind};

/// One field of a head.
type Field = (&'static str, &'static str);

/// A name, the fields of the head, and pieces of the body; without one the head ends the stream.
struct Row(&'static str, &'static [Field], &'static [&'static str]);

/// Cases with an ordinary head, more fields, and a body.
const FIELDS: &[Row] = &[
    Row("an ordinary one", &[], &[]),
    Row("a body", &[("content-length", "5")], &["hello"]),
    Row("a body without a length", &[], &["hello"]),
    Row(
        "a body in pieces",
        &[("content-length", "5")],
        &["he", "", "llo"],
    ),
    Row("an empty body", &[("content-length", "0")], &[""]),
    Row(
        "less than its length",
        &[("content-length", "50")],
        &["hello"],
    ),
    Row(
        "more than its length",
        &[("content-length", "2")],
        &["hello"],
    ),
    Row("a length and no body", &[("content-length", "5")], &[]),
    Row(
        "length 0 and a request as body",
        &[("content-length", "0")],
        &["GET /echo HTTP/1.1\r\nHost: siege.example\r\n\r\n"],
    ),
    Row(
        "two lengths",
        &[("content-length", "5"), ("content-length", "6")],
        &["hello"],
    ),
    Row(
        "a length with a plus",
        &[("content-length", "+5")],
        &["hello"],
    ),
    Row("an empty length", &[("content-length", "")], &["hello"]),
    Row(
        "a list of lengths",
        &[("content-length", "5, 5")],
        &["hello"],
    ),
    Row(
        "chunked",
        &[("transfer-encoding", "chunked")],
        &["0\r\n\r\nGET /echo HTTP/1.1\r\nHost: siege.example\r\n\r\n"],
    ),
    Row(
        "chunked and a length",
        &[("transfer-encoding", "chunked"), ("content-length", "5")],
        &["0\r\n\r\n"],
    ),
    Row(
        "a name in capitals",
        &[("Transfer-Encoding", "chunked")],
        &["0\r\n\r\n"],
    ),
    Row(
        "CR LF in a value",
        &[("x", "y\r\ntransfer-encoding: chunked")],
        &["0\r\n\r\n"],
    ),
    Row("LF in a value", &[("x", "y\nhost: other.example")], &[]),
    Row("NUL in a value", &[("x", "a\0b")], &[]),
    Row(
        "CR LF in a name",
        &[("x: y\r\ntransfer-encoding", "chunked")],
        &["0\r\n\r\n"],
    ),
    Row("a colon in a name", &[("x: y", "z")], &[]),
    Row("a space in a name", &[("x y", "z")], &[]),
    Row("an empty name", &[("", "z")], &[]),
    Row("a space before a value", &[("x", " y ")], &[]),
    Row("connection", &[("connection", "close")], &[]),
    Row(
        "an upgrade",
        &[("connection", "upgrade"), ("upgrade", "websocket")],
        &[],
    ),
    Row("te", &[("te", "gzip")], &[]),
    Row("te: trailers", &[("te", "trailers")], &[]),
    Row(
        "proxy-connection",
        &[("proxy-connection", "keep-alive")],
        &[],
    ),
    Row(
        "expects 100",
        &[("expect", "100-continue"), ("content-length", "5")],
        &["hello"],
    ),
    Row("the same host", &[("host", HOST)], &[]),
    Row("another host", &[("host", "other.example")], &[]),
    Row(
        "two hosts",
        &[("host", HOST), ("host", "other.example")],
        &[],
    ),
    Row(
        "a pseudo field behind others",
        &[("x", "y"), (":path", "/x")],
        &[],
    ),
    Row("a second path", &[(":path", "/x")], &[]),
    Row(
        "a pseudo field that nobody knows",
        &[(":protocol", "websocket")],
        &[],
    ),
    Row(
        "cookies in crumbs",
        &[("cookie", "a=b"), ("cookie", "c=d")],
        &[],
    ),
    Row(
        "underscores",
        &[("content_length", "5"), ("transfer_encoding", "chunked")],
        &[],
    ),
];

/// Cases with a head of their own: method, scheme, authority, path, where `TARGET` is the case's own.
const HEADS: &[(&str, [&str; 4])] = &[
    ("HEAD", ["HEAD", "http", HOST, "TARGET"]),
    (
        "a line in the method",
        [
            "GET /x HTTP/1.1\r\nhost: other.example\r\n\r\nGET",
            "http",
            HOST,
            "TARGET",
        ],
    ),
    ("a space in the method", ["GET /x", "http", HOST, "TARGET"]),
    ("an empty method", ["", "http", HOST, "TARGET"]),
    ("a method in lower case", ["get", "http", HOST, "TARGET"]),
    ("CONNECT", ["CONNECT", "http", HOST, "TARGET"]),
    ("TRACE", ["TRACE", "http", HOST, "TARGET"]),
    ("https", ["GET", "https", HOST, "TARGET"]),
    (
        "a line in the scheme",
        ["GET", "http\r\nx: y", HOST, "TARGET"],
    ),
    (
        "a scheme that is a URL",
        ["GET", "http://other.example/?", HOST, "TARGET"],
    ),
    ("an empty authority", ["GET", "http", "", "TARGET"]),
    (
        "an authority with a user",
        ["GET", "http", "user@siege.example", "TARGET"],
    ),
    (
        "an authority with a path",
        ["GET", "http", "siege.example/x", "TARGET"],
    ),
    (
        "an authority with a line",
        ["GET", "http", "siege.example\r\nx: y", "TARGET"],
    ),
    (
        "an authority with a port",
        ["GET", "http", "siege.example:8080", "TARGET"],
    ),
    ("an empty path", ["GET", "http", HOST, ""]),
    ("a path that is a star", ["GET", "http", HOST, "*"]),
    (
        "a path that is a URL",
        ["GET", "http", HOST, "http://other.exampleTARGET"],
    ),
    ("a path without a slash", ["GET", "http", HOST, "xTARGET"]),
    (
        "a path with a space",
        ["GET", "http", HOST, "TARGET HTTP/1.1"],
    ),
    (
        "a path with a line",
        [
            "GET",
            "http",
            HOST,
            "TARGET HTTP/1.1\r\nhost: other.example\r\n\r\nGET /x",
        ],
    ),
    ("a path with LF", ["GET", "http", HOST, "TARGET\nx"]),
    ("a path with a fragment", ["GET", "http", HOST, "TARGET#x"]),
    (
        "a path with a backslash",
        ["GET", "http", HOST, "/echo\\x?case=N"],
    ),
    (
        "a path with dots",
        ["GET", "http", HOST, "/x/../echo?case=N"],
    ),
    (
        "a path with two slashes",
        ["GET", "http", HOST, "//echo?case=N"],
    ),
];

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for Row(name, more, body) in FIELDS {
        let target = target(cases.len(), "first");
        let method = if body.is_empty() { "GET" } else { "POST" };
        let fields = [&head([method, "http", HOST, &target])[..], more].concat();
        cases.push(case(name, stream(1, &fields, body)));
    }
    for (name, parts) in HEADS {
        let number = cases.len();
        let own = target(number, "first");
        let path = parts[3].replace("TARGET", &own);
        let path = path.replace("case=N", &format!("case={number}"));
        let fields = head([parts[0], parts[1], parts[2], &path]);
        cases.push(case(name, stream(1, &fields, &[])));
    }
    cases.extend(shaped(cases.len()));
    cases
}

/// Cases that are odd in their frames.
fn shaped(first: usize) -> Vec<Case> {
    let fields = |at: usize| block(&head(["POST", "http", HOST, &target(first + at, "first")]));
    let trailers = |more: &[(&str, &str)]| {
        frame(
            kind::HEADERS,
            flag::END_STREAM | flag::END_HEADERS,
            1,
            &block(more),
        )
    };
    let begin = |at| frame(kind::HEADERS, flag::END_HEADERS, 1, &fields(at));
    let data = frame(kind::DATA, flag::NONE, 1, b"hello");
    let missing = block(&head(["GET", "http", HOST, "/echo"])[..3]);
    vec![
        case(
            "trailers",
            [begin(0), data.clone(), trailers(&[("x", "y")])].concat(),
        ),
        case(
            "trailers that frame",
            [
                begin(1),
                data.clone(),
                trailers(&[("content-length", "100"), ("transfer-encoding", "chunked")]),
            ]
            .concat(),
        ),
        case(
            "trailers that name a host",
            [
                begin(2),
                data.clone(),
                trailers(&[("host", "other.example"), (":path", "/x")]),
            ]
            .concat(),
        ),
        case(
            "a reset in the body",
            [
                begin(3),
                data.clone(),
                frame(kind::RST_STREAM, flag::NONE, 1, &8u32.to_be_bytes()),
            ]
            .concat(),
        ),
        case("a body without an end", [begin(4), data].concat()),
        case(
            "no path",
            frame(
                kind::HEADERS,
                flag::END_STREAM | flag::END_HEADERS,
                1,
                &missing,
            ),
        ),
        case(
            "two streams",
            [
                stream(
                    1,
                    &head(["GET", "http", HOST, &target(first + 6, "first")]),
                    &[],
                ),
                stream(
                    3,
                    &head(["POST", "http", HOST, &target(first + 6, "second")]),
                    &["hi"],
                ),
            ]
            .concat(),
        ),
    ]
}

/// An ordinary request on a connection of its own.
pub(crate) fn ordinary(target: &str) -> Vec<u8> {
    [
        greeting(),
        stream(1, &head(["GET", "http", HOST, target]), &[]),
    ]
    .concat()
}

fn case(name: &str, frames: Vec<u8>) -> Case {
    Case {
        name: name.to_owned(),
        bytes: [greeting(), frames].concat(),
    }
}

fn head([method, scheme, authority, path]: [&str; 4]) -> [(&'static str, &str); 4] {
    [
        (":method", method),
        (":scheme", scheme),
        (":authority", authority),
        (":path", path),
    ]
}

fn stream(id: u32, fields: &[(&str, &str)], body: &[&str]) -> Vec<u8> {
    let end = |last: bool| if last { flag::END_STREAM } else { flag::NONE };
    let flags = flag::END_HEADERS | end(body.is_empty());
    let mut frames = frame(kind::HEADERS, flags, id, &block(fields));
    for (at, piece) in body.iter().enumerate() {
        let flags = end(at + 1 == body.len());
        frames.extend(frame(kind::DATA, flags, id, piece.as_bytes()));
    }
    frames
}
