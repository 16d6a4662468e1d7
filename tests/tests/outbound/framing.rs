//! What leaves of a request, byte by byte: whatever a guest says, an upstream reads the one request that was meant.

use runner_tests::Dns;
use serde_json::Value;

use crate::raw::Message::Whole;
use crate::raw::{Message, Raw};
use crate::scene::Scene;

/// An upstream that writes everything down, and both guests, who may call it.
struct Recorded {
    upstream: Raw,
    scene: Scene,
}

impl Recorded {
    async fn start() -> Recorded {
        let upstream = Raw::recorder().await;
        let scene = Scene::start(&[&upstream.url()], Dns::start(&[]).await).await;
        Recorded { upstream, scene }
    }

    /// What both guests reported.
    async fn fetch(&self, parameters: &[(&str, &str)]) -> Vec<Value> {
        let url = self.upstream.url();
        let parameters: Vec<_> = [("url", url.as_str())]
            .into_iter()
            .chain(parameters.iter().copied())
            .collect();
        self.scene.fetch(&parameters).await
    }

    /// Both guests are answered, and this is what the upstream read, once for each.
    async fn sends(&self, parameters: &[(&str, &str)], message: &str) {
        for report in self.fetch(parameters).await {
            assert_eq!(report["status"], 200, "{parameters:?}: {report}");
        }
        let whole = Whole(message.to_owned());
        assert_eq!(
            self.upstream.take(),
            [whole.clone(), whole],
            "{parameters:?}"
        );
    }

    /// Neither guest could even say it, and the upstream heard nothing.
    async fn refuses(&self, parameters: &[(&str, &str)], at: &str) {
        for report in self.fetch(parameters).await {
            let got = (report["error"].as_str(), report["at"].as_str());
            assert_eq!(got, (Some("refused"), Some(at)), "{parameters:?}: {report}");
        }
        assert_eq!(self.upstream.take(), [], "{parameters:?}");
    }
}

/// A request without a body, as it stands on the wire.
fn get(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\n{fields}host: HERE\r\n\r\n")
}

#[tokio::test]
async fn c22_a_path_is_a_path_and_no_other_destination() {
    let recorded = Recorded::start().await;
    for path in ["http://169.254.169.254/latest", "*", "x", "\\@evil.com/"] {
        recorded.refuses(&[("path", path)], "path").await;
    }
    for (path, line) in [
        ("//evil/x", "GET //evil/x"),
        ("/http://evil/", "GET /http://evil/"),
        ("/..//../x", "GET /..//../x"),
        ("?q=//evil", "GET /?q=//evil"),
        ("/@evil.com", "GET /@evil.com"),
    ] {
        recorded.sends(&[("path", path)], &get(line, "")).await;
    }
}

#[tokio::test]
async fn c23_nothing_in_a_path_ends_its_line() {
    let recorded = Recorded::start().await;
    for end in ["\r\nx-evil: 1", "\n", "\r", "\0", "\t", " ", "\u{7f}"] {
        let path = format!("/a{end}b");
        recorded.refuses(&[("path", &path)], "path").await;
    }
    for (path, line) in [
        ("/a%00b", "GET /a%00b"),
        ("/a%0d%0ab", "GET /a%0d%0ab"),
        ("/a\\b", "GET /a\\b"),
        // A fragment is never sent.
        ("/a#b", "GET /a"),
    ] {
        recorded.sends(&[("path", path)], &get(line, "")).await;
    }
}

#[tokio::test]
async fn c23_nothing_in_a_field_ends_its_line() {
    let recorded = Recorded::start().await;
    for field in [
        "x-a:b\r\nx-evil: 1",
        "x-a:b\nx-evil: 1",
        "x-a:b\rc",
        "x-a:b\0c",
        "x-a\r\nx-evil:1",
        "x\0a:1",
        "x\ta:1",
        "x a:1",
        "x\\a:1",
        ":1",
    ] {
        recorded.refuses(&[("header", field)], "header").await;
    }
    for (field, sent) in [
        ("x-a:b\tc", "x-a: b\tc\r\n"),
        ("x-a:b\\c#%0d%0a", "x-a: b\\c#%0d%0a\r\n"),
        ("x#a:1", "x#a: 1\r\n"),
        ("x%0d%0aa:1", "x%0d%0aa: 1\r\n"),
    ] {
        recorded
            .sends(&[("header", field)], &get("GET /", sent))
            .await;
    }
}

#[tokio::test]
async fn c23_nothing_in_a_method_or_an_authority_ends_its_line() {
    let recorded = Recorded::start().await;
    for method in [
        "GET / HTTP/1.1\r\nx-evil: 1\r\n\r\nGET",
        "GE\r\nT",
        "GE\0T",
        "GE\tT",
        "GE T",
        "GE\\T",
        "",
    ] {
        recorded.refuses(&[("method", method)], "method").await;
    }
    let odd = format!(
        "{}0\r\n\r\n",
        get("GE#T%0d%0a /", "").replace("HERE\r\n", "HERE\r\ntransfer-encoding: chunked\r\n")
    );
    recorded.sends(&[("method", "GE#T%0d%0a")], &odd).await;
    let here = recorded.upstream.authority();
    for end in [
        "\r\nx-evil: 1",
        "\0",
        "\t",
        " ",
        "\\",
        "#",
        "/",
        "%00",
        "%0d%0a",
    ] {
        let authority = format!("{here}{end}");
        recorded
            .refuses(&[("authority", &authority)], "authority")
            .await;
    }
}

#[tokio::test]
async fn c24_a_length_is_said_once_and_as_a_number() {
    let recorded = Recorded::start().await;
    for second in ["content-length:5", "content-length:6", "Content-Length:5"] {
        let fields = [("header", "content-length:5"), ("header", second)];
        recorded.refuses(&fields, "header").await;
    }
    for length in ["+5", "-1", "0x5", "5, 5", "5 5", "", "five"] {
        let field = format!("content-length:{length}");
        recorded.refuses(&[("header", &field)], "header").await;
    }
}

#[tokio::test]
async fn c24_a_body_of_another_length_is_an_error_and_its_connection_is_done() {
    let recorded = Recorded::start().await;
    let post =
        |body: &str| format!("POST / HTTP/1.1\r\ncontent-length: 5\r\nhost: HERE\r\n\r\n{body}");
    for (body, unfinished, whole) in [
        ("abc", "0", None),
        ("abc", "1", None),
        // It may leave as the five bytes that it says it is, never with a sixth.
        ("abcdefgh", "0", Some(Whole(post("abcde")))),
    ] {
        let parameters = [
            ("method", "POST"),
            ("header", "content-length:5"),
            ("body", body),
            ("unfinished", unfinished),
        ];
        for report in recorded.fetch(&parameters).await {
            let error = report["error"].as_str().unwrap_or_default();
            let said = ["HTTP-request-body-size", "HTTP-protocol-error"];
            assert!(said.contains(&error), "{report}");
        }
        recorded.upstream.hushed().await;
        for message in recorded.upstream.take() {
            let part = |text: &str| post("abcde").starts_with(text) && !text.ends_with("abcde");
            let fine = match &message {
                Message::Broken(text) => part(text),
                Message::Whole(_) => Some(&message) == whole.as_ref(),
            };
            assert!(fine, "{body}: {message:?}");
        }
        // The next request is read as one, so it came on another connection. What was let go of may still come to its end.
        for report in recorded.fetch(&[]).await {
            assert_eq!(report["status"], 200, "{body}: {report}");
        }
        let mut next = recorded.upstream.take();
        next.retain(|message| matches!(message, Whole(_)));
        let whole = Whole(get("GET /", ""));
        assert_eq!(next, [whole.clone(), whole], "{body}");
        // What was kept goes, so that the next row begins with none.
        recorded.upstream.close();
        recorded.upstream.hushed().await;
    }
}

#[tokio::test]
async fn c25_what_belongs_to_the_connection_is_not_the_guests_to_say() {
    let recorded = Recorded::start().await;
    for field in [
        "transfer-encoding:chunked",
        "Connection:close",
        "upgrade:h2c",
        "keep-alive:timeout=5",
        "proxy-authenticate:Basic",
        "proxy-authorization:Basic eDp5",
        "proxy-connection:keep-alive",
        "http2-settings:AAMAAABkAAQAAP__",
        "host:evil.com",
    ] {
        recorded.refuses(&[("header", field)], "header").await;
    }
    for (field, sent) in [
        ("te:chunked", ""),
        ("te:gzip, trailers", ""),
        ("TE:trailers", "te: trailers\r\n"),
        ("expect:100-continue", ""),
    ] {
        recorded
            .sends(&[("header", field)], &get("GET /", sent))
            .await;
    }
}

#[tokio::test]
async fn c26_trailers_neither_frame_nor_route() {
    let recorded = Recorded::start().await;
    for field in [
        "host:evil.com",
        "transfer-encoding:chunked",
        "connection:close",
        "upgrade:h2c",
        "x-sum:1\r\n\r\nGET /evil HTTP/1.1",
    ] {
        let post = [("method", "POST"), ("body", "abc"), ("trailer", field)];
        recorded.refuses(&post, "trailer").await;
    }
    let declared = "x-sum, content-length, te, trailer, expect, transfer_encoding";
    let declared = format!("trailer:{declared}");
    let mut post = vec![("method", "POST"), ("body", "abc"), ("header", &*declared)];
    let fields = [
        "x-sum:1",
        "content-length:5",
        "te:trailers",
        "trailer:host",
        "expect:100-continue",
        "transfer_encoding:chunked",
    ];
    post.extend(fields.map(|field| ("trailer", field)));
    let head = format!(
        "POST / HTTP/1.1\r\n{}\r\nhost: HERE\r\ntransfer-encoding: chunked\r\n\r\n",
        declared.replacen(':', ": ", 1)
    );
    let body = "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
    recorded.sends(&post, &format!("{head}{body}")).await;
}

#[tokio::test]
async fn c27_a_name_is_the_same_in_any_case_and_with_underscores() {
    let recorded = Recorded::start().await;
    for field in [
        "Transfer-Encoding:chunked",
        "TRANSFER-ENCODING:chunked",
        "hOST:evil.com",
        "KEEP-alive:timeout=5",
    ] {
        recorded.refuses(&[("header", field)], "header").await;
    }
    for field in [
        "Transfer_Encoding:chunked",
        "CONTENT_LENGTH:5",
        "proxy_connection:close",
        "Http2_Settings:AAMAAABkAAQAAP__",
        "Keep_Alive:timeout=5",
    ] {
        recorded
            .sends(&[("header", field)], &get("GET /", ""))
            .await;
    }
    recorded
        .sends(&[("header", "x_mine:1")], &get("GET /", "x_mine: 1\r\n"))
        .await;
}
