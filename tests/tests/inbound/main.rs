//! What a client may send, and what must happen: rows of the catalogue of inbound HTTP, on raw bytes.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_tests::{App, Frame, Frames, Server, without_id};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

mod http1;
mod http2;

use http2::{DATA, END_HEADERS, lines};

/// The catalogue's route table: `/a/...`, `/a/b`, `/secret` (private), `/:id/x`, `/...`, each with a component of its
/// own. `tenant` has a `/secret` that is public, for another host.
fn table() -> App {
    let mut manifest = "spin_manifest_version = 2\n[application]\nname = \"story\"\n".to_owned();
    for (component, route) in [
        ("below-a", "\"/a/...\""),
        ("a-b", "\"/a/b\""),
        ("secret", "{ private = true }"),
        ("id-x", "\"/:id/x\""),
        ("tenant", "\"/secret\"\nhost = \"tenant.test\""),
        ("rest", "\"/...\""),
    ] {
        manifest += &format!(
            "[[trigger.http]]\nroute = {route}\ncomponent = \"{component}\"\n\
             [component.{component}]\nsource = \"guest:probe\"\n"
        );
    }
    App::new(&manifest)
}

/// What became of one connection.
struct Outcome {
    /// All that came back.
    answer: String,
    /// The lines of the log that name this client.
    lines: Vec<Value>,
}

impl Outcome {
    fn status(&self) -> &str {
        self.answer.split(' ').nth(1).unwrap_or("none")
    }

    fn component(&self) -> &str {
        self.lines[0]["component"].as_str().unwrap_or("none")
    }

    fn body(&self) -> &str {
        self.answer
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
    }
}

#[expect(clippy::disallowed_methods, reason = "the stories' own client")]
async fn dial(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

/// Sends these bytes on a connection of their own and reads until the server closes.
async fn send(server: &Server, bytes: &[u8]) -> Outcome {
    let mut stream = dial(server.address()).await;
    let me = stream.local_addr().expect("connected").to_string();
    stream.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    // A reset after the answer is a way to close.
    let _ = stream.read_to_end(&mut answer).await;
    server
        .logged(|line| line["event"] == "request" && line["client"] == *me)
        .await;
    let mut lines = server.log();
    lines.retain(|line| line["client"] == *me);
    Outcome {
        answer: String::from_utf8_lossy(&answer).into_owned(),
        lines,
    }
}

/// `GET target` with one good host, as a client that closes.
async fn target(server: &Server, target: &str) -> Outcome {
    let head = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    send(server, head.as_bytes()).await
}

/// Refused with this status: one line, no guest, a short text, and the connection is closed.
#[track_caller]
fn assert_refused(row: &str, outcome: &Outcome, status: &str) {
    assert_eq!(outcome.status(), status, "{row}: {}", outcome.answer);
    assert_eq!(outcome.lines.len(), 1, "{row}: {:#?}", outcome.lines);
    assert_eq!(outcome.component(), "none", "{row}: a guest ran");
    assert_eq!(outcome.lines[0]["status"].to_string(), status, "{row}");
    assert!(outcome.body().len() < 200, "{row}: {}", outcome.answer);
}

/// What a client is told, and what the log says of it, whose body stops half way: its guest waits for the rest before it
/// answers.
async fn slow_in_http1(server: &Server, host: &str) -> (u16, Vec<Value>) {
    let head =
        format!("POST /read?bytes=9 HTTP/1.1\r\nhost: {host}\r\ncontent-length: 9\r\n\r\nhello");
    let outcome = send(server, head.as_bytes()).await;
    let id = outcome.body().split("request id: ").nth(1);
    let lines = outcome.lines.clone();
    assert_eq!(lines[0]["request"], id.expect("an id").trim_end(), "{host}");
    (outcome.status().parse().expect("a status"), lines)
}

/// The same in HTTP/2.
async fn slow_in_http2(server: &Server, host: &str) -> (u16, Vec<Value>) {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", host),
        (":path", "/read?bytes=9"),
    ];
    let mut client = Frames::open(server.address()).await;
    client.send(&Frame::headers(END_HEADERS, 1, &fields)).await;
    client.send(&Frame::bytes(DATA, 0, 1, b"hello")).await;
    let status = client.next().await.expect("a frame").status();
    let me = client.me();
    server
        .logged(|line| line["event"] == "request" && line["client"] == *me)
        .await;
    (status, lines(&server.log(), &me))
}

#[tokio::test]
async fn d19_a_body_that_is_too_slow_is_a_408_and_one_line_of_its_request() {
    let mut manifest = "spin_manifest_version = 2\n[application]\nname = \"story\"\n".to_owned();
    for guest in ["rogue", "rogue3"] {
        manifest += &format!(
            "[[trigger.http]]\nroute = \"/read\"\nhost = \"{guest}.test\"\ncomponent = \"{guest}\"\n\
             [component.{guest}]\nsource = \"guest:{guest}\"\n"
        );
    }
    let app = App::new(&manifest);
    let server = Server::start(&app, &[]).await;
    let (one, three, one_of_two, three_of_two) = tokio::join!(
        slow_in_http1(&server, "rogue.test"),
        slow_in_http1(&server, "rogue3.test"),
        slow_in_http2(&server, "rogue.test"),
        slow_in_http2(&server, "rogue3.test"),
    );
    for (component, (status, lines)) in [
        ("rogue", one),
        ("rogue3", three),
        ("rogue", one_of_two),
        ("rogue3", three_of_two),
    ] {
        let told: Vec<_> = lines
            .iter()
            .map(|line| ["status", "component", "route", "outcome"].map(|name| line[name].clone()))
            .collect();
        let line = [
            408.into(),
            component.into(),
            "/read".into(),
            "complete".into(),
        ];
        assert_eq!((status, told), (408, vec![line]), "{component}");
    }
}

#[tokio::test]
async fn d25_a_request_names_exactly_one_host() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for hosts in [
        "",
        "host: a\r\nhost: b\r\n",
        "host: a\r\nHost: a\r\n",
        "host:\r\n",
        "host: \r\n",
        "host: a@b\r\n",
        "host: a/b?c\r\n",
        "host: a b\r\n",
        "host: a:99999\r\n",
        "host: a,b\r\n",
        "host: http://a\r\n",
        "host: a:80:80\r\n",
    ] {
        // What follows such a head is not answered, whatever it looks like.
        let bytes = format!("GET /a/b HTTP/1.1\r\n{hosts}\r\nGET /a/b HTTP/1.1\r\nhost: a\r\n\r\n");
        let outcome = send(&server, bytes.as_bytes()).await;
        assert_refused(hosts, &outcome, "400");
        assert!(
            outcome.answer.contains("connection: close\r\n"),
            "{}",
            outcome.answer
        );
        assert_eq!(without_id(outcome.body()), "Bad Request", "{hosts}");
    }
    let outcome = send(
        &server,
        b"GET /a/b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(outcome.component(), "a-b");
}

#[tokio::test]
async fn d26_a_url_as_target_names_the_same_host_and_the_listener_names_the_scheme() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for url in [
        "http://b/x",
        "http://a:80/x",
        "http://u@a/x",
        "ftp://a/x",
        "http://b.spin.internal/x",
    ] {
        assert_refused(url, &target(&server, url).await, "400");
    }
    for url in [
        "http://a/headers?q",
        "https://a/headers?q",
        "http://A/headers?q",
    ] {
        let outcome = target(&server, url).await;
        assert_eq!(
            (outcome.status(), outcome.component()),
            ("200", "rest"),
            "{url}"
        );
        assert!(
            outcome
                .body()
                .contains("[\"spin-full-url\",\"http://a/headers?q\"]"),
            "{url}: {}",
            outcome.answer
        );
        assert!(
            outcome.body().contains("\"scheme\":\"http\""),
            "{url}: {}",
            outcome.answer
        );
    }
}

#[tokio::test]
async fn d27_the_target_is_a_path() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    let outcome = send(
        &server,
        b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_refused("OPTIONS *", &outcome, "204");
    for form in ["*", "foo", "foo:80", "*x"] {
        assert_refused(form, &target(&server, form).await, "400");
    }
}

#[tokio::test]
async fn d27_a_target_that_nobody_can_read_is_refused_before_anybody_is_asked() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for form in ["", "?x", "a/b", "/a b"] {
        let head =
            format!("GET {form} HTTP/1.1\r\nhost: a\r\n\r\nGET /a/b HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = runner_tests::raw(server.address(), head.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{form}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{form}: {answer}");
    }
    let log = server.stop().await.log;
    assert!(
        !log.iter().any(|line| line["component"].is_string()),
        "{log:#?}"
    );
}

#[tokio::test]
async fn d28_there_are_no_tunnels() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for (line, host) in [
        ("a:443", "a:443"),
        ("/a/b", "a"),
        ("127.0.0.1:1", "127.0.0.1:1"),
    ] {
        // The bytes behind the head are those that a tunnel would carry.
        let bytes = format!(
            "CONNECT {line} HTTP/1.1\r\nhost: {host}\r\n\r\nGET /a/b HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let outcome = send(&server, bytes.as_bytes()).await;
        assert_refused(line, &outcome, "501");
        assert_eq!(without_id(outcome.body()), "Not Implemented", "{line}");
    }
}

#[tokio::test]
async fn d29_dot_segments_are_resolved_before_a_route_is_looked_for() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for (path, component) in [
        ("/a/../secret", "rest"),
        ("/a/%2e%2e/secret", "rest"),
        ("/a/.%2E/secret", "rest"),
        ("/secret/.", "rest"),
        ("/a/./b", "a-b"),
        ("/a/c/../b", "a-b"),
        ("/a/%2e/b", "a-b"),
        ("/b/../a/b", "a-b"),
        ("/q/../r/x", "id-x"),
        ("/a/..%2fsecret", "below-a"),
        ("/a/..;/secret", "below-a"),
        ("/a/.;/b", "below-a"),
        ("/a/.../secret", "below-a"),
    ] {
        let outcome = target(&server, path).await;
        assert_eq!(outcome.component(), component, "{path}: {}", outcome.answer);
    }
    for path in ["/..", "/../secret", "/a/../../secret", "/%2e%2e/secret"] {
        assert_refused(path, &target(&server, path).await, "400");
    }
}

#[tokio::test]
async fn d30_slashes_and_letters_are_what_they_are() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for (path, component) in [
        ("/secret", "tenant"),
        ("/secret/", "tenant"),
        ("//secret", "rest"),
        ("/secret//", "rest"),
        ("///a//b", "rest"),
        ("/a//b", "below-a"),
        ("//a/b", "rest"),
        ("/SECRET", "rest"),
        ("/A/b", "rest"),
        ("/s%65cret", "tenant"),
        ("/%53ECRET", "rest"),
        ("//x", "rest"),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: tenant.test\r\nconnection: close\r\n\r\n");
        let outcome = send(&server, head.as_bytes()).await;
        assert_eq!(outcome.component(), component, "{path}: {}", outcome.answer);
    }
    // The path that was routed is the one that the guest sees.
    for (path, seen) in [
        ("/h%65aders", "/headers"),
        ("/q/%2E%2e/headers?a=%2e", "/headers?a=%2e"),
    ] {
        let outcome = target(&server, path).await;
        let body = outcome.body();
        for part in [
            format!("\"path\":\"{seen}\""),
            "[\"spin-path-info\",\"/headers\"]".to_owned(),
            format!("[\"spin-full-url\",\"http://a{seen}\"]"),
        ] {
            assert!(body.contains(&part), "{path}: {part} in {body}");
        }
    }
}

#[tokio::test]
async fn d31_escapes_are_read_once_and_bad_ones_are_refused() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for path in [
        "/a/%00",
        "/a/%5c",
        "/a/%5C..%5Csecret",
        "/a/\\b",
        "/a/%zz",
        "/a/%2",
        "/a/%",
        "/a/%u002e",
        "/a/\u{e9}",
    ] {
        assert_refused(path, &target(&server, path).await, "400");
    }
    for (path, component) in [
        ("/a%2fb", "rest"),
        ("/a%2Fb", "rest"),
        ("/a/%2fb", "below-a"),
        ("/q%2fx", "rest"),
        ("/a/%252e%252e/secret", "below-a"),
        ("/a/%c0%ae%c0%ae/secret", "below-a"),
        ("/a/%25zz", "below-a"),
        ("/%61/%62", "a-b"),
    ] {
        let outcome = target(&server, path).await;
        assert_eq!(outcome.component(), component, "{path}: {}", outcome.answer);
    }
}

/// The headers that a guest sees of a request with these.
async fn seen(server: &Server, headers: &str) -> Vec<(String, String)> {
    let head = format!("GET /headers HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    let outcome = send(server, head.as_bytes()).await;
    assert_eq!(outcome.status(), "200", "{headers}: {}", outcome.answer);
    // One chunk, for it is small.
    let json = &outcome.answer
        [outcome.answer.find('{').expect("JSON")..=outcome.answer.rfind('}').expect("JSON")];
    let json: Value = serde_json::from_str(json).expect("JSON");
    let pairs = json["headers"].as_array().expect("an array");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    pairs
        .iter()
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .collect()
}

/// Fails where a value of the client's has come through.
#[track_caller]
fn assert_not_believed(seen: &[(String, String)]) {
    for (name, value) in seen {
        assert!(
            !value.contains("6.6.6.6"),
            "`{name}: {value}` is what the client said"
        );
    }
}

#[tokio::test]
async fn d33_what_a_client_calls_spin_never_reaches_a_guest() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for name in [
        "spin-client-addr",
        "Spin-Client-Addr",
        "SPIN_CLIENT_ADDR",
        "spin_client-addr",
        "spin-full-url",
        "spin-path-info",
        "spin-path-match-id",
        "spin-matched-route",
        "spin-component-route",
        "spin-raw-component-route",
        "spin-base-path",
        "spin-something-new",
    ] {
        let seen = seen(
            &server,
            &format!("{name}: 6.6.6.6\r\n{name}: 6.6.6.6\r\nx-mine: 1\r\n"),
        )
        .await;
        assert_not_believed(&seen);
        let mut names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "spin-base-path",
                "spin-client-addr",
                "spin-component-route",
                "spin-full-url",
                "spin-matched-route",
                "spin-path-info",
                "spin-raw-component-route",
                "x-mine"
            ],
            "{name}"
        );
    }
}

#[tokio::test]
async fn d34_who_a_proxy_would_speak_for_is_not_believed() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for name in [
        "x-forwarded-for",
        "X-Forwarded-For",
        "x_forwarded_for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
    ] {
        let seen = seen(&server, &format!("{name}: 6.6.6.6\r\n")).await;
        assert_not_believed(&seen);
    }
}

#[tokio::test]
async fn d40_no_body_follows_where_none_may_be() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    let next = "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for (method, path) in [
        ("HEAD", "/status?body=unseen"),
        ("HEAD", "/status?header=content-length:6&body=unseen"),
        ("HEAD", "/big?bytes=1000000"),
        ("GET", "/status?code=204&body=unseen"),
        (
            "GET",
            "/status?code=204&header=content-length:6&body=unseen",
        ),
        ("GET", "/status?code=304&body=unseen"),
        (
            "GET",
            "/status?code=304&header=content-length:6&body=unseen",
        ),
    ] {
        let bytes = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n{next}");
        let outcome = send(&server, bytes.as_bytes()).await;

        let row = format!("{method} {path}: {}", outcome.answer);
        let (first, second) = outcome.answer.split_once("\r\n\r\n").expect("a head");
        assert!(first.starts_with("HTTP/1.1 "), "{row}");
        assert!(second.starts_with("HTTP/1.1 200 OK\r\n"), "{row}");
        assert!(
            second.ends_with("\r\nhello from probe\n\r\n0\r\n\r\n"),
            "{row}"
        );
        assert!(
            !outcome.answer.contains("unseen") && !first.contains("transfer-encoding"),
            "{row}"
        );
        let client = &outcome.lines[0]["client"];
        let next = server
            .logged(|line| line["client"] == *client && line["path"] == "/hello")
            .await;
        let first = server
            .logged(|line| line["client"] == *client && line["path"] != "/hello")
            .await;
        assert_eq!(
            [&first["outcome"], &next["outcome"]],
            ["complete"; 2],
            "{row}"
        );
    }
}

#[tokio::test]
async fn d43_nobody_is_upgraded_and_no_guest_sees_the_attempt() {
    let app = table();
    let server = Server::start(&app, &[]).await;
    for headers in [
        "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "connection: x-hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nte: trailers\r\nproxy-connection: close\r\n",
    ] {
        let seen = seen(&server, headers).await;
        for hidden in [
            "connection",
            "upgrade",
            "http2-settings",
            "keep-alive",
            "te",
            "proxy-connection",
            "x-hop",
        ] {
            assert!(
                !seen.iter().any(|(name, _)| name == hidden),
                "{hidden}: {seen:?}"
            );
        }
    }
}

/// An upstream that never answers: its accepting tells that a guest has called, its reading that the call is over.
struct Silent {
    listener: TcpListener,
}

impl Silent {
    async fn start() -> Silent {
        Silent {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
        }
    }

    fn app(&self) -> App {
        let url = format!("http://{}", self.listener.local_addr().expect("bound"));
        App::probe(&format!("allowed_outbound_hosts = [\"{url}\"]"))
    }

    fn path(&self) -> String {
        format!(
            "/fetch?url=http://{}/",
            self.listener.local_addr().expect("bound")
        )
    }

    async fn called(&self) -> TcpStream {
        self.listener.accept().await.expect("a call").0
    }
}

/// Waits until the other side, of which all is dropped, has gone.
async fn gone(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn d45_a_guest_stops_in_the_middle_of_its_call_when_the_client_resets() {
    let silent = Silent::start().await;
    let app = silent.app();
    let server = Server::start(&app, &[]).await;
    let mut stream = dial(server.address()).await;
    let head = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", silent.path());
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let upstream = silent.called().await;

    stream.set_zero_linger().expect("a socket");
    drop(stream);

    gone(upstream).await;
    let line = server.logged(|line| line["event"] == "request").await;
    assert_eq!(
        (&line["path"], &line["outcome"]),
        (&"/fetch".into(), &"client-gone".into())
    );
    assert_eq!(server.get("/hello").await.status, 200);
}

#[tokio::test]
async fn d45_a_guest_stops_when_a_client_resets_in_the_middle_of_its_response() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    for path in [
        "/sleep-after-head?ms=600000",
        "/loop-after-head",
        "/big?bytes=1000000000",
    ] {
        let mut stream = dial(server.address()).await;
        let me = stream.local_addr().expect("connected").to_string();
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut byte = [0];
        stream.read_exact(&mut byte).await.expect("a head has come");

        stream.set_zero_linger().expect("a socket");
        drop(stream);

        let line = server
            .logged(|line| line["event"] == "request" && line["client"] == *me)
            .await;
        assert_eq!(line["outcome"], "client-gone", "{path}");
    }
    let stopped = server.stop().await;
    assert_eq!(stopped.code, 0);
    assert_eq!(
        stopped.log.last().expect("a line")["cut"],
        0,
        "no guest was left to be cut"
    );
}

#[tokio::test]
async fn d45_a_guest_stops_when_its_request_can_never_be_complete() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let mut stream = dial(server.address()).await;
    let head = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc";
    stream.write_all(head).await.expect("it reads");
    let mut answer = vec![0; 15];
    stream
        .read_exact(&mut answer)
        .await
        .expect("a head has come");

    stream.shutdown().await.expect("a FIN");

    stream.read_to_end(&mut answer).await.expect("closed");
    assert!(
        !answer.ends_with(b"0\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let line = server.logged(|line| line["event"] == "request").await;
    assert_ne!(line["outcome"], "complete");
}

#[tokio::test]
async fn d45_a_stream_of_http2_that_is_reset_stops_its_guest_and_no_other() {
    let silent = Silent::start().await;
    let app = silent.app();
    let server = Server::start(&app, &[]).await;
    let io = TokioIo::new(dial(server.address()).await);
    let (mut sender, driver) = handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    tokio::spawn(driver);
    let get = |path: &str| {
        let request = Request::get(format!("http://a{path}")).body(Full::<Bytes>::default());
        request.expect("a request")
    };
    let call = tokio::spawn(sender.send_request(get(&silent.path())));
    let upstream = silent.called().await;

    call.abort();

    gone(upstream).await;
    let line = server.logged(|line| line["event"] == "request").await;
    assert_eq!(
        (&line["path"], &line["outcome"]),
        (&"/fetch".into(), &"client-gone".into())
    );
    let response = sender
        .send_request(get("/hello"))
        .await
        .expect("the connection lives");
    assert_eq!(response.status(), 200);
}
