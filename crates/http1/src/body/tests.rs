use super::*;
use crate::Framing;

/// Everything of a body: its bytes, the names of its trailers, and how many bytes stand behind it.
type Read = Result<(Vec<u8>, Vec<String>, usize), Error>;

fn read_in(framing: Framing, text: &[u8], piece: usize) -> Option<Read> {
    let mut decoder = framing.decoder(&Limits::default());
    let (mut bytes, mut pieces) = (BytesMut::new(), text.chunks(piece));
    let (mut data, mut names) = (Vec::new(), Vec::new());
    loop {
        match decoder.decode(&mut bytes) {
            Ok(Decoded::Data(piece)) => {
                assert!(!piece.is_empty());
                data.extend_from_slice(&piece);
            }
            Ok(Decoded::Trailers(trailers)) => {
                names.extend(trailers.keys().map(|name| name.to_string()))
            }
            Ok(Decoded::End) => {
                assert!(decoder.is_done());
                let left = bytes.len() + pieces.map(<[u8]>::len).sum::<usize>();
                return Some(Ok((data, names, left)));
            }
            Ok(Decoded::More) => bytes.extend_from_slice(pieces.next()?),
            Err(error) => {
                assert_eq!(
                    decoder.decode(&mut bytes),
                    Err(error),
                    "once broken, always broken"
                );
                return Some(Err(error));
            }
        }
    }
}

/// The same in one piece and byte by byte; `None` where more bytes are needed.
#[track_caller]
fn read(framing: Framing, text: &[u8]) -> Option<Read> {
    let whole = read_in(framing, text, text.len().max(1));
    for piece in [1, 2, 3, 7] {
        assert_eq!(read_in(framing, text, piece), whole, "in pieces of {piece}");
    }
    whole
}

fn ok(data: &str, names: &[&str], left: usize) -> Option<Read> {
    Some(Ok((
        data.into(),
        names.iter().map(|name| name.to_string()).collect(),
        left,
    )))
}

#[test]
fn a_length_ends_where_it_says() {
    assert_eq!(read(Framing::Length(5), b"helloGET"), ok("hello", &[], 3));
    assert_eq!(read(Framing::Length(5), b"hell"), None);
    assert_eq!(read(Framing::None, b"GET"), ok("", &[], 3));
}

#[test]
fn chunks_end_with_the_last_one() {
    for (text, data, names, left) in [
        ("0\r\n\r\n", "", &[][..], 0),
        ("5\r\nhello\r\n0\r\n\r\nGET", "hello", &[], 3),
        ("3\r\nhel\r\n00002\r\nlo\r\n000\r\n\r\n", "hello", &[], 0),
        (
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "01234567890123456789",
            &[],
            0,
        ),
        ("1;a=b;c=\"d e\"\r\nx\r\n0;last\r\n\r\n", "x", &[], 0),
        (
            "0\r\nX-Sum: 1\r\nhost: b\r\n\r\nGET",
            "",
            &["x-sum", "host"],
            3,
        ),
    ] {
        assert_eq!(
            read(Framing::Chunked, text.as_bytes()),
            ok(data, names, left),
            "{text:?}"
        );
    }
    for text in [
        "5\r\nhell",
        "5\r\nhello\r\n",
        "0\r\n",
        "0\r\n\r",
        "5",
        "",
        "0\r\na: b\r\n",
    ] {
        assert_eq!(read(Framing::Chunked, text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn d11_a_chunk_is_exact() {
    for text in [
        "0x1\r\nx\r\n",
        "g\r\n",
        "\r\n",
        ";a\r\n",
        "-1\r\n",
        "+1\r\n",
        " 1\r\nx\r\n",
        "1 \r\nx\r\n",
        "1 ;a\r\nx\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nxy\r\n",
        "1\r\nx\r\r",
        "1\r\nx0\r\n\r\n",
        "1\rx\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000000\r\n",
        "1;a\rb\r\nx\r\n",
        "1;a\0\r\nx\r\n",
        "1;a\nb\r\nx\r\n",
        "0\r\n\n",
        "0\r\na: b\n\r\n",
        "0\r\n a: b\r\n\r\n",
        "0\r\na : b\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n\r\n",
        "1_0\r\n",
    ] {
        assert_eq!(
            read(Framing::Chunked, text.as_bytes()),
            Some(Err(Error::Body)),
            "{text:?}"
        );
    }
}

#[test]
fn d11_d12_extensions_are_256_bytes_of_a_body() {
    let chunk = |extension: usize| format!("1;{}\r\nx\r\n", "e".repeat(extension - 1));
    assert_eq!(
        read(
            Framing::Chunked,
            format!("{}0\r\n\r\n", chunk(256)).as_bytes()
        ),
        ok("x", &[], 0)
    );
    assert_eq!(
        read(
            Framing::Chunked,
            format!("{}0\r\n\r\n", chunk(257)).as_bytes()
        ),
        Some(Err(Error::Body))
    );
    assert_eq!(
        read(
            Framing::Chunked,
            format!("{}0\r\n\r\n", chunk(2).repeat(128)).as_bytes()
        ),
        ok(&"x".repeat(128), &[], 0)
    );
    assert_eq!(
        read(Framing::Chunked, chunk(2).repeat(129).as_bytes()),
        Some(Err(Error::Body))
    );
    // And it is not waited for the end of a line that is too long already.
    assert_eq!(
        read(Framing::Chunked, "1".repeat(300).as_bytes()),
        Some(Err(Error::Body))
    );
    assert_eq!(
        read(
            Framing::Chunked,
            format!("1;{}", "e".repeat(300)).as_bytes()
        ),
        Some(Err(Error::Body))
    );
}

#[test]
fn d12_small_chunks_are_joined_and_large_ones_are_not_copied() {
    let mut bytes = BytesMut::from("1\r\nx\r\n".repeat(10_000).as_bytes());
    let mut decoder = Framing::Chunked.decoder(&Limits::default());
    let mut sizes = Vec::new();
    while let Decoded::Data(data) = decoder.decode(&mut bytes).unwrap() {
        sizes.push(data.len());
    }
    assert_eq!(sizes, [ENOUGH, 10_000 - ENOUGH]);
    let mut bytes = BytesMut::from(format!("1\r\nx\r\n1000\r\n{}", "y".repeat(0x1000)).as_bytes());
    let mut decoder = Framing::Chunked.decoder(&Limits::default());
    assert_eq!(decoder.decode(&mut bytes), Ok(Decoded::Data("x".into())));
    let at = bytes.as_ptr();
    let Ok(Decoded::Data(data)) = decoder.decode(&mut bytes) else {
        panic!()
    };
    assert_eq!((data.len(), data.as_ptr()), (0x1000, at));
}

#[test]
fn d13_trailers_have_an_end() {
    let section = |count: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(
        read(Framing::Chunked, section(100).as_bytes()),
        ok("", &["a"], 0)
    );
    assert_eq!(
        read(Framing::Chunked, section(101).as_bytes()),
        Some(Err(Error::Body))
    );
    assert_eq!(
        read_in(Framing::Chunked, section(10_000).as_bytes(), 4096),
        Some(Err(Error::Body))
    );
    let endless = format!("0\r\na: {}", "x".repeat(17 * 1024));
    assert_eq!(
        read_in(Framing::Chunked, endless.as_bytes(), 4096),
        Some(Err(Error::Body))
    );
}
