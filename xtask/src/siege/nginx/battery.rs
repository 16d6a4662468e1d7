//! Requests of HTTP/1 on which two parsers could disagree. `TARGET` is the case's own target, `OTHER` that of a second
//! request in the same bytes, `THIRD` and so on those of more.

use super::{Case, HOST, target};

/// A name, and the bytes; every line feed stands for CR LF, and `\u{8a}` for a bare line feed.
type Row = (&'static str, &'static str);

const POST: &str = "POST TARGET HTTP/1.1\nHost: HOST\n";

/// Heads of a `POST` whose length is told in odd ways, and what follows the head.
const LENGTHS: &[Row] = &[
    (
        "a length, then chunked",
        "Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n",
    ),
    (
        "chunked, then a length",
        "Transfer-Encoding: chunked\nContent-Length: 5\n\n0\n\n",
    ),
    (
        "a length that covers a second request behind the last chunk",
        "Content-Length: 70\nTransfer-Encoding: chunked\n\n0\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a length that ends within the first chunk",
        "Content-Length: 4\nTransfer-Encoding: chunked\n\n2a\nGET OTHER HTTP/1.1\nHost: HOST\n\n0\n\n",
    ),
    (
        "two lengths",
        "Content-Length: 5\nContent-Length: 6\n\nhello!",
    ),
    (
        "two lengths, the second 0",
        "Content-Length: 5\nContent-Length: 0\n\nhello",
    ),
    (
        "twice the same length",
        "Content-Length: 5\nContent-Length: 5\n\nhello",
    ),
    ("a list of lengths", "Content-Length: 5, 5\n\nhello"),
    ("a length with a plus", "Content-Length: +5\n\nhello"),
    ("a negative length", "Content-Length: -5\n\nhello"),
    ("a length in hexadecimal", "Content-Length: 0x5\n\nhello"),
    (
        "a length of twenty digits",
        "Content-Length: 18446744073709551621\n\nhello",
    ),
    ("an empty length", "Content-Length:\n\nhello"),
    ("a length and a word", "Content-Length: 5 x\n\nhello"),
    (
        "a length with zeros in front",
        "Content-Length: 0005\n\nhello",
    ),
    ("a length with a point", "Content-Length: 5.0\n\nhello"),
    (
        "a length with an underscore",
        "Content-Length: 1_0\n\nhello",
    ),
    ("a length and a tab", "Content-Length: 5\t\n\nhello"),
    (
        "a length behind a vertical tab",
        "Content-Length: \u{b}5\n\nhello",
    ),
    ("a length in quotes", "Content-Length: \"5\"\n\nhello"),
    ("no length and a body", "\nhello"),
    ("more than its length", "Content-Length: 2\n\nhello"),
    ("less than its length", "Content-Length: 50\n\nhello"),
    (
        "a coding that is none",
        "Transfer-Encoding: xchunked\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked, then identity in a list",
        "Transfer-Encoding: chunked, identity\n\n5\nhello\n0\n\n",
    ),
    (
        "identity, then chunked in a list",
        "Transfer-Encoding: identity, chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "gzip, then chunked",
        "Transfer-Encoding: gzip, chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked twice",
        "Transfer-Encoding: chunked, chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked on two lines",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "identity and chunked on two lines",
        "Transfer-Encoding: identity\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked and identity on two lines",
        "Transfer-Encoding: chunked\nTransfer-Encoding: identity\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked behind a vertical tab",
        "Transfer-Encoding: \u{b}chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked behind a tab",
        "Transfer-Encoding:\tchunked\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked and spaces",
        "Transfer-Encoding: chunked  \n\n5\nhello\n0\n\n",
    ),
    (
        "chunked and a comma",
        "Transfer-Encoding: chunked,\n\n5\nhello\n0\n\n",
    ),
    (
        "a comma and chunked",
        "Transfer-Encoding: ,chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked in upper case",
        "Transfer-Encoding: CHUNKED\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked in quotes",
        "Transfer-Encoding: \"chunked\"\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked with a parameter",
        "Transfer-Encoding: chunked;q=1\n\n5\nhello\n0\n\n",
    ),
    ("no coding", "Transfer-Encoding:\n\n5\nhello\n0\n\n"),
    (
        "identity alone",
        "Transfer-Encoding: identity\nContent-Length: 5\n\nhello",
    ),
    (
        "a space before the colon of a length",
        "Content-Length : 5\n\nhello",
    ),
    (
        "a space before the colon of chunked",
        "Transfer-Encoding : chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "a tab before the colon of chunked",
        "Transfer-Encoding\t: chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "chunked on a line of its own",
        "Transfer-Encoding:\n chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "a length on a line of its own",
        "Content-Length:\n 5\n\nhello",
    ),
    (
        "chunked hidden in a folded line",
        "X: y\n Transfer-Encoding: chunked\nContent-Length: 5\n\nhello",
    ),
    (
        "a length with an underscore in its name",
        "Content_Length: 5\n\nhello",
    ),
    (
        "chunked with an underscore in its name",
        "Transfer_Encoding: chunked\nContent-Length: 5\n\nhello",
    ),
    (
        "a length whose name ends with NUL",
        "Content-Length\0: 5\n\nhello",
    ),
    (
        "chunked behind a bare CR",
        "X: y\rTransfer-Encoding: chunked\nContent-Length: 5\n\nhello",
    ),
    (
        "chunked behind a bare LF",
        "X: y\u{8a}Transfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "a length that the connection keeps for itself",
        "Connection: content-length\nContent-Length: 5\n\nhello",
    ),
    (
        "chunked that the connection keeps for itself",
        "Connection: transfer-encoding\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "expects 100",
        "Expect: 100-continue\nContent-Length: 5\n\nhello",
    ),
    (
        "expects something else",
        "Expect: 200-ok\nContent-Length: 5\n\nhello",
    ),
    (
        "expects 100 and is chunked",
        "Expect: 100-continue\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ),
];

/// Bodies of a `POST` in chunks, with what is odd about them.
const CHUNKS: &[Row] = &[
    ("a chunk", "5\nhello\n0\n\n"),
    ("an extension", "5;a=b\nhello\n0\n\n"),
    ("an extension in quotes", "5;a=\"b;c\"\nhello\n0\n\n"),
    ("an extension with a bare LF", "5;a\u{8a}hello\n0\n\n"),
    ("an extension with a bare CR", "5;a\rb\nhello\n0\n\n"),
    ("an extension on the last chunk", "5\nhello\n0;a=b\n\n"),
    ("a space before the extension", "5 ;a=b\nhello\n0\n\n"),
    ("a size with 0x", "0x5\nhello\n0\n\n"),
    ("a size that overflows", "ffffffffffffffff1\nhello\n0\n\n"),
    ("a size that wraps", "10000000000000005\nhello\n0\n\n"),
    ("a size with a plus", "+5\nhello\n0\n\n"),
    ("a negative size", "-5\nhello\n0\n\n"),
    ("no size", "\nhello\n0\n\n"),
    ("a size with zeros in front", "0000000000005\nhello\n0\n\n"),
    ("a size behind a space", " 5\nhello\n0\n\n"),
    ("a size before a space", "5 \nhello\n0\n\n"),
    ("a size with an underscore", "0_5\nhello\n0\n\n"),
    ("a size in capitals", "A\nhellohello\n0\n\n"),
    ("a size and a bare LF", "5\u{8a}hello\n0\n\n"),
    ("data and a bare LF", "5\nhello\u{8a}0\n\n"),
    ("data and a bare CR", "5\nhello\r0\n\n"),
    ("data without an end", "5\nhello0\n\n"),
    ("data that is too long", "2\nhello\n0\n\n"),
    ("data that is too short", "9\nhello\n0\n\n"),
    ("a last chunk of zeros", "5\nhello\n00000\n\n"),
    ("a last chunk and a bare LF", "5\nhello\n0\u{8a}\u{8a}"),
    ("no last chunk", "5\nhello\n"),
    ("a trailer", "5\nhello\n0\nX-Checksum: 1\n\n"),
    (
        "a trailer that is a host",
        "5\nhello\n0\nHost: other.example\n\n",
    ),
    (
        "a trailer that is a length",
        "5\nhello\n0\nContent-Length: 100\n\n",
    ),
    (
        "a trailer that is chunked",
        "5\nhello\n0\nTransfer-Encoding: chunked\n\n",
    ),
    (
        "a trailer that says who asks",
        "5\nhello\n0\nAuthorization: x\nX-Forwarded-For: 1.2.3.4\n\n",
    ),
    ("a trailer that is folded", "5\nhello\n0\nX: y\n z\n\n"),
    (
        "a trailer without a colon",
        "5\nhello\n0\nGET / HTTP/1.1\n\n",
    ),
    (
        "a request behind the last chunk",
        "5\nhello\n0\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "half a request behind the last chunk",
        "5\nhello\n0\n\nGET OTHER HT",
    ),
    (
        "a request in a chunk",
        "2a\nGET /echo HTTP/1.1\nHost: siege.example\n\n12345\n0\n\n",
    ),
];

/// Whole requests.
const WHOLE: &[Row] = &[
    ("an ordinary one", "GET TARGET HTTP/1.1\nHost: HOST\n\n"),
    (
        "five in a row",
        "GET TARGET HTTP/1.1\nHost: HOST\n\nGET OTHER HTTP/1.1\nHost: HOST\n\nPOST THIRD HTTP/1.1\nHost: HOST\nContent-Length: 2\n\nhiGET FOURTH HTTP/1.1\nHost: HOST\n\nHEAD FIFTH HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "one behind one that is refused",
        "GET TARGET HTTP/1.1\nHost: HOST\nContent-Length: 1\nContent-Length: 2\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "one behind one that asks to close",
        "GET TARGET HTTP/1.1\nHost: HOST\nConnection: close\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "GET with a body",
        "GET TARGET HTTP/1.1\nHost: HOST\nContent-Length: 5\n\nhello",
    ),
    (
        "GET with chunks",
        "GET TARGET HTTP/1.1\nHost: HOST\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ),
    (
        "GET with a request as its body",
        "GET TARGET HTTP/1.1\nHost: HOST\nContent-Length: 44\n\nGET /echo HTTP/1.1\nHost: siege.example\nX: y\n",
    ),
    (
        "HEAD with a body",
        "HEAD TARGET HTTP/1.1\nHost: HOST\nContent-Length: 5\n\nhello",
    ),
    (
        "HEAD, then GET",
        "HEAD TARGET HTTP/1.1\nHost: HOST\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "204 with a body, then GET",
        "GET /status?code=204&body=x&case=N HTTP/1.1\nHost: HOST\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "304 with a body, then GET",
        "GET /status?code=304&body=x&case=N HTTP/1.1\nHost: HOST\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "HEAD of a response with a length",
        "HEAD /status?code=200&body=xx&header=content-length:2&case=N HTTP/1.1\nHost: HOST\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    ("HTTP/1.0", "GET TARGET HTTP/1.0\nHost: HOST\n\n"),
    (
        "HTTP/1.0, kept",
        "GET TARGET HTTP/1.0\nHost: HOST\nConnection: keep-alive\n\nGET OTHER HTTP/1.0\nHost: HOST\n\n",
    ),
    (
        "HTTP/1.0 in chunks",
        "POST TARGET HTTP/1.0\nHost: HOST\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
    ),
    ("HTTP/1.0 without a host", "GET TARGET HTTP/1.0\n\n"),
    ("HTTP/0.9", "GET TARGET\n"),
    ("HTTP/1.2", "GET TARGET HTTP/1.2\nHost: HOST\n\n"),
    ("HTTP/2.0", "GET TARGET HTTP/2.0\nHost: HOST\n\n"),
    (
        "http/1.1 in lower case",
        "GET TARGET http/1.1\nHost: HOST\n\n",
    ),
    ("HTTP/01.1", "GET TARGET HTTP/01.1\nHost: HOST\n\n"),
    ("no host", "GET TARGET HTTP/1.1\n\n"),
    ("an empty host", "GET TARGET HTTP/1.1\nHost:\n\n"),
    (
        "two hosts",
        "GET TARGET HTTP/1.1\nHost: HOST\nHost: other.example\n\n",
    ),
    (
        "twice the same host",
        "GET TARGET HTTP/1.1\nHost: HOST\nHost: HOST\n\n",
    ),
    (
        "a host with a user",
        "GET TARGET HTTP/1.1\nHost: user@siege.example\n\n",
    ),
    (
        "a host with a path",
        "GET TARGET HTTP/1.1\nHost: siege.example/x\n\n",
    ),
    (
        "a host with a space",
        "GET TARGET HTTP/1.1\nHost: siege.example other\n\n",
    ),
    (
        "a host with a port",
        "GET TARGET HTTP/1.1\nHost: siege.example:8080\n\n",
    ),
    (
        "a host in capitals",
        "GET TARGET HTTP/1.1\nHost: SIEGE.EXAMPLE\n\n",
    ),
    (
        "a host with a dot at its end",
        "GET TARGET HTTP/1.1\nHost: siege.example.\n\n",
    ),
    (
        "a URL as target",
        "GET http://siege.exampleTARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a URL of another host",
        "GET http://other.exampleTARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a URL with a user",
        "GET http://user@siege.exampleTARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a URL of another scheme",
        "GET ftp://siege.exampleTARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a URL without a path",
        "GET http://siege.example HTTP/1.1\nHost: HOST\n\n",
    ),
    ("a fragment", "GET TARGET#/x HTTP/1.1\nHost: HOST\n\n"),
    (
        "a space in the target",
        "GET TARGET x HTTP/1.1\nHost: HOST\n\n",
    ),
    ("two spaces", "GET  TARGET  HTTP/1.1\nHost: HOST\n\n"),
    (
        "a tab instead of a space",
        "GET\tTARGET\tHTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a space at the end of the line",
        "GET TARGET HTTP/1.1 \nHost: HOST\n\n",
    ),
    (
        "an empty line in front",
        "\nGET TARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    ("a space in front", " GET TARGET HTTP/1.1\nHost: HOST\n\n"),
    (
        "a bare LF in front",
        "\u{8a}GET TARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "bare line feeds",
        "GET TARGET HTTP/1.1\u{8a}Host: HOST\u{8a}\u{8a}",
    ),
    (
        "a bare LF at the end of the head",
        "GET TARGET HTTP/1.1\nHost: HOST\n\u{8a}",
    ),
    (
        "a bare CR at the end of the line",
        "GET TARGET HTTP/1.1\rHost: HOST\n\n",
    ),
    (
        "a first field behind a space",
        "GET TARGET HTTP/1.1\n Host: HOST\n\n",
    ),
    ("a folded host", "GET TARGET HTTP/1.1\nHost:\n HOST\n\n"),
    (
        "a folded field",
        "GET TARGET HTTP/1.1\nHost: HOST\nX: y\n z\n\n",
    ),
    ("an empty name", "GET TARGET HTTP/1.1\nHost: HOST\n: x\n\n"),
    (
        "a field without a colon",
        "GET TARGET HTTP/1.1\nHost: HOST\nX\n\n",
    ),
    (
        "a name with a space",
        "GET TARGET HTTP/1.1\nHost: HOST\nX y: z\n\n",
    ),
    (
        "a name with parentheses",
        "GET TARGET HTTP/1.1\nHost: HOST\nX(y): z\n\n",
    ),
    (
        "a name with a slash",
        "GET TARGET HTTP/1.1\nHost: HOST\nX/y: z\n\n",
    ),
    (
        "a name that is no ASCII",
        "GET TARGET HTTP/1.1\nHost: HOST\nX-é: z\n\n",
    ),
    (
        "NUL in a value",
        "GET TARGET HTTP/1.1\nHost: HOST\nX: a\0b\n\n",
    ),
    (
        "a bare CR in a value",
        "GET TARGET HTTP/1.1\nHost: HOST\nX: a\rb\n\n",
    ),
    (
        "bytes above ASCII in a value",
        "GET TARGET HTTP/1.1\nHost: HOST\nX: é\n\n",
    ),
    (
        "an escape in a value",
        "GET TARGET HTTP/1.1\nHost: HOST\nX: \u{1b}[0m\n\n",
    ),
    (
        "a backslash in the path",
        "GET /echo\\..\\x?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "dots in the path",
        "GET /x/../echo?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "escaped dots in the path",
        "GET /x/%2e%2e/echo?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "dots above the root",
        "GET /../../echo?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "an escaped slash",
        "GET /x%2fecho?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    ("two slashes", "GET //echo?case=N HTTP/1.1\nHost: HOST\n\n"),
    (
        "an escaped NUL",
        "GET /echo%00?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a bad escape",
        "GET /echo%zz?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a path that is no ASCII",
        "GET /é?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a target without a slash",
        "GET echo?case=N HTTP/1.1\nHost: HOST\n\n",
    ),
    ("OPTIONS *", "OPTIONS * HTTP/1.1\nHost: HOST\n\n"),
    ("GET *", "GET * HTTP/1.1\nHost: HOST\n\n"),
    (
        "CONNECT",
        "CONNECT siege.example:80 HTTP/1.1\nHost: HOST\n\n",
    ),
    ("TRACE", "TRACE TARGET HTTP/1.1\nHost: HOST\n\n"),
    (
        "a method in lower case",
        "get TARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a method that nobody knows",
        "SIEGE TARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a method with a hyphen",
        "M-SEARCH TARGET HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "an upgrade to h2c",
        "GET TARGET HTTP/1.1\nHost: HOST\nConnection: upgrade, http2-settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n\n",
    ),
    (
        "an upgrade to a websocket",
        "GET TARGET HTTP/1.1\nHost: HOST\nConnection: upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n\nGET OTHER HTTP/1.1\nHost: HOST\n\n",
    ),
    (
        "a host that the connection keeps for itself",
        "GET TARGET HTTP/1.1\nHost: HOST\nConnection: host\n\n",
    ),
    (
        "Proxy-Connection",
        "GET TARGET HTTP/1.1\nHost: HOST\nProxy-Connection: keep-alive\nKeep-Alive: timeout=5\n\n",
    ),
    (
        "TE: trailers",
        "GET TARGET HTTP/1.1\nHost: HOST\nTE: trailers\n\n",
    ),
    (
        "a range",
        "GET TARGET HTTP/1.1\nHost: HOST\nRange: bytes=0-1\n\n",
    ),
    (
        "a URL that a header rewrites",
        "GET TARGET HTTP/1.1\nHost: HOST\nX-Original-URL: /x\nX-Rewrite-URL: /x\nX-HTTP-Method-Override: DELETE\n\n",
    ),
    (
        "a host that a header rewrites",
        "GET TARGET HTTP/1.1\nHost: HOST\nX-Forwarded-Host: other.example\nForwarded: host=other.example\n\n",
    ),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\n\nSM\n\n"),
];

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let lengths = LENGTHS
        .iter()
        .map(|(name, rest)| (*name, format!("{POST}{rest}")));
    let chunked = |rest: &str| format!("{POST}Transfer-Encoding: chunked\n\n{rest}");
    let chunks = CHUNKS.iter().map(|(name, rest)| (*name, chunked(rest)));
    let whole = WHOLE.iter().map(|(name, text)| (*name, (*text).to_owned()));
    let made = [
        (
            "an extension of 10 KB",
            chunked(&format!("5;{}\nhello\n0\n\n", "x".repeat(10_000))),
        ),
        (
            "chunks of one byte",
            chunked(&format!("{}0\n\n", "1\nx\n".repeat(2_000))),
        ),
        (
            "2,000 trailers",
            chunked(&format!("5\nhello\n0\n{}\n", "x: y\n".repeat(2_000))),
        ),
        (
            "101 fields",
            format!(
                "GET TARGET HTTP/1.1\nHost: HOST\n{}\n",
                "x: y\n".repeat(100)
            ),
        ),
        (
            "a path of 7 KB",
            format!("GET TARGET&{} HTTP/1.1\nHost: HOST\n\n", "x".repeat(7_000)),
        ),
        (
            "a method of 2 KB",
            format!("{} TARGET HTTP/1.1\nHost: HOST\n\n", "X".repeat(2_000)),
        ),
    ];
    let all = lengths.chain(chunks).chain(whole).chain(made);
    all.enumerate()
        .map(|(number, (name, text))| Case {
            name: name.to_owned(),
            bytes: bytes(number, &text),
        })
        .collect()
}

/// What goes over the wire.
fn bytes(number: usize, text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n")
        .replace('\u{8a}', "\n")
        .replace("case=N", &format!("case={number}"))
        .replace("TARGET", &target(number, "first"))
        .replace("OTHER", &target(number, "second"))
        .replace("THIRD", &target(number, "third"))
        .replace("FOURTH", &target(number, "fourth"))
        .replace("FIFTH", &target(number, "fifth"))
        .replace("HOST", HOST)
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_bytes() {
        let found = bytes(3, "GET TARGET HTTP/1.1\nHost: HOST\u{8a}\n");
        let expected = "GET /echo?case=3&part=first&header=spin-full-url HTTP/1.1\r\n\
                        Host: siege.example\n\r\n";
        assert_eq!(String::from_utf8_lossy(&found), expected);
    }

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let mut names: Vec<String> = cases().into_iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
