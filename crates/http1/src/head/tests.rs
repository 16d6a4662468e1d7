use super::*;

/// The head of these bytes, whole, and what is left behind it.
fn read(text: &[u8]) -> Result<(Head, usize), Error> {
    let mut bytes = BytesMut::from(text);
    let head = HeadReader::default().read(&mut bytes, &Limits::default())?;
    Ok((head.expect("complete"), bytes.len()))
}

#[track_caller]
fn refuses(text: impl AsRef<[u8]>, error: Error) {
    let text = text.as_ref();
    let shown = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
    assert_eq!(
        read(text).map(|(head, _)| head.framing),
        Err(error),
        "{shown:?}"
    );
    // And so it is when the bytes come one by one: never later, never something else.
    let (mut reader, mut bytes) = (HeadReader::default(), BytesMut::new());
    let outcome = text.iter().find_map(|byte| {
        bytes.extend_from_slice(&[*byte]);
        reader.read(&mut bytes, &Limits::default()).transpose()
    });
    assert_eq!(
        outcome.map(|head| head.map(|head| head.framing)),
        Some(Err(error)),
        "{shown:?}, byte by byte"
    );
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

#[track_caller]
fn frames(fields: &str, framing: Framing) {
    let (head, left) = read(get(fields).as_bytes()).unwrap();
    assert_eq!((head.framing, left), (framing, 0), "{fields:?}");
}

#[test]
fn a_head_is_read_as_it_was_sent() {
    let text = b"POST /a/%2e?b=c HTTP/1.1\r\nHost: a\r\nX:  y z \t\r\nx:\r\ncontent-length: 3\r\n\r\nabcGET";
    let (head, left) = read(text).unwrap();
    let request = &head.request;
    assert_eq!(
        (request.method().as_str(), request.uri().to_string()),
        ("POST", "/a/%2e?b=c".to_owned())
    );
    assert_eq!(request.version(), Version::HTTP_11);
    let fields: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        fields,
        [
            ("host", "a"),
            ("x", "y z"),
            ("x", ""),
            ("content-length", "3")
        ]
    );
    assert_eq!(
        (head.framing, head.keep_alive, left),
        (Framing::Length(3), true, 6)
    );
}

#[test]
fn bytes_may_come_one_by_one() {
    let text = b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let (mut reader, mut bytes) = (HeadReader::default(), BytesMut::new());
    for (at, byte) in text.iter().enumerate() {
        bytes.extend_from_slice(&[*byte]);
        let head = reader.read(&mut bytes, &Limits::default()).unwrap();
        assert_eq!(head.is_some(), at + 1 == text.len(), "{at}");
    }
}

#[test]
fn d1_a_length_and_a_coding_are_refused() {
    refuses(
        get("content-length: 3\r\ntransfer-encoding: chunked\r\n"),
        Error::TransferEncoding,
    );
    refuses(
        get("transfer-encoding: chunked\r\ncontent-length: 3\r\n"),
        Error::TransferEncoding,
    );
    refuses(
        get("content-length: 0\r\ntransfer-encoding: chunked\r\n"),
        Error::TransferEncoding,
    );
}

#[test]
fn d2_d3_there_is_one_length() {
    for lengths in [
        "1\r\ncontent-length: 2",
        "1\r\ncontent-length: 1",
        "1, 1",
        "1,",
        "1\r\nContent-Length: 1",
    ] {
        refuses(
            get(&format!("content-length: {lengths}\r\n")),
            Error::ContentLength,
        );
    }
}

#[test]
fn d4_a_length_has_digits_only() {
    for length in [
        "+1",
        "-1",
        "0x1",
        "12345678901234567890",
        "",
        "1 x",
        "1 1",
        "1\t1",
        "١",
        "1.0",
        "1e3",
        "0000000000000000001",
    ] {
        refuses(
            get(&format!("content-length: {length}\r\n")),
            Error::ContentLength,
        );
    }
    frames("content-length:  7 \r\n", Framing::Length(7));
    frames("content-length: 007\r\n", Framing::Length(7));
    frames("content-length: 0\r\n", Framing::None);
    frames(
        "content-length: 999999999999999999\r\n",
        Framing::Length(999_999_999_999_999_999),
    );
}

#[test]
fn d5_d6_the_only_coding_is_chunked() {
    for coding in [
        "xchunked",
        "chunked, identity",
        "chunked,chunked",
        "chunked\r\ntransfer-encoding: identity",
        "identity\r\ntransfer-encoding: chunked",
        "chunked\r\ntransfer-encoding: chunked",
        "gzip, chunked",
        "gzip",
        "identity",
        "",
        "chunked;q=1",
        "\"chunked\"",
        ", chunked",
        "chunked,",
    ] {
        refuses(
            get(&format!("transfer-encoding: {coding}\r\n")),
            Error::TransferEncoding,
        );
    }
    refuses(get("transfer-encoding: \x0bchunked\r\n"), Error::NotHttp);
    frames("transfer-encoding: chunked\r\n", Framing::Chunked);
    frames("Transfer-Encoding:\tCHUNKED \r\n", Framing::Chunked);
}

#[test]
fn d7_http_1_0_has_no_codings() {
    refuses(
        "GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        Error::TransferEncoding,
    );
}

#[test]
fn d8_a_field_has_a_name_a_colon_and_one_line() {
    for field in [
        "a : b",
        "a\t: b",
        ": b",
        "a b: c",
        "a",
        "a: b\r\n c: d",
        "a: b\r\n\tc",
        " a: b",
        "\u{e9}: b",
        "a(: b",
        "a@: b",
        "a\0: b",
    ] {
        refuses(get(&format!("{field}\r\n")), Error::NotHttp);
    }
    refuses("GET / HTTP/1.1\r\n host: a\r\n\r\n", Error::NotHttp);
}

#[test]
fn d9_a_line_ends_in_cr_and_lf() {
    for text in [
        "GET / HTTP/1.1\nhost: a\n\n",
        "GET / HTTP/1.1\r\nhost: a\n\r\n",
        "GET / HTTP/1.1\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\rhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\r\n\r\n",
    ] {
        refuses(text, Error::NotHttp);
    }
}

#[test]
fn d10_no_value_has_a_control_character() {
    for value in [
        "b\rc",
        "b\0c",
        "\0",
        "b\rtransfer-encoding: chunked",
        "b\x1bc",
        "b\x7fc",
        "\x0bb",
        "b\x0c",
    ] {
        refuses(get(&format!("a: {value}\r\n")), Error::NotHttp);
    }
    frames("a: \u{e9}\r\n", Framing::None);
}

#[test]
fn d15_a_head_has_an_end() {
    let limits = Limits::default();
    let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(read(fields(100).as_bytes()).is_ok());
    refuses(fields(101), Error::ManyFields);
    let large = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\na: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(bytes - frame))
    };
    assert!(read(large(limits.head_bytes).as_bytes()).is_ok());
    refuses(large(limits.head_bytes + 1), Error::LargeHead);
    refuses(
        &large(limits.head_bytes * 2).as_bytes()[..limits.head_bytes],
        Error::LargeHead,
    );
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(bytes - 1));
    assert!(read(target(limits.target_bytes).as_bytes()).is_ok());
    assert_eq!(
        read(target(limits.target_bytes + 1).as_bytes()).err(),
        Some(Error::LongTarget)
    );
    refuses(target(limits.target_bytes * 2), Error::LongTarget);
    refuses("x".repeat(limits.head_bytes), Error::LongTarget);
}

#[test]
fn a_request_line_is_exact() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /",
        "GET",
        "GET / HTTP/1.1 x",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET /a b HTTP/1.1",
        "GE(T / HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET / HTTP/ 1.1",
        "GET /\0 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "\x16\x03\x01\x02\0\x01",
        "\u{e9}",
        "{\"a\": 1}",
    ] {
        refuses(format!("{line}\r\nhost: a\r\n\r\n"), Error::NotHttp);
    }
    for line in [
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTP/3",
        "GET / HTTP/0.9",
    ] {
        let error = read(format!("{line}\r\nhost: a\r\n\r\n").as_bytes()).err();
        assert_eq!(error, Some(Error::Version), "{line:?}");
    }
}

#[test]
fn d32_no_target_has_a_fragment() {
    for target in ["/a#b", "/#", "#", "/a?b#c", "http://a/#b"] {
        refuses(
            format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"),
            Error::NotHttp,
        );
    }
}

#[test]
fn d39_what_is_expected_is_100_continue() {
    let expects =
        |fields: &str| read(get(fields).as_bytes()).map(|(head, _)| head.expects_continue);
    assert_eq!(expects(""), Ok(false));
    assert_eq!(expects("expect: 100-continue\r\n"), Ok(true));
    assert_eq!(expects("Expect: 100-Continue\r\n"), Ok(true));
    for other in [
        "other",
        "100-continue, other",
        "",
        "100-continue\r\nexpect: 100-continue",
    ] {
        assert_eq!(
            expects(&format!("expect: {other}\r\n")),
            Err(Error::Expectation),
            "{other:?}"
        );
    }
}

#[test]
fn a_connection_is_kept_unless_somebody_says_otherwise() {
    for (version, connection, kept) in [
        ("1.1", "", true),
        ("1.1", "connection: close\r\n", false),
        ("1.1", "connection: x, Close\r\n", false),
        ("1.1", "connection: x\r\nconnection: close\r\n", false),
        ("1.1", "connection: keep-alive\r\n", true),
        ("1.0", "", false),
        ("1.0", "connection: Keep-Alive\r\n", true),
        ("1.0", "connection: keep-alive, close\r\n", false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nhost: a\r\n{connection}\r\n");
        let (head, _) = read(text.as_bytes()).unwrap();
        assert_eq!(head.keep_alive, kept, "{version} {connection:?}");
    }
}

#[test]
fn one_blank_line_may_stand_before_a_request() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert!(read(format!("\r\n{get}").as_bytes()).is_ok());
    refuses(format!("\r\n\r\n{get}"), Error::NotHttp);
    refuses(format!("\r{get}"), Error::NotHttp);
}
