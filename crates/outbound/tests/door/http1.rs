//! What an upstream sees of a request, and what a guest gets of a response.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use runner_outbound::{Error, Options, Outbound};
use tokio::sync::oneshot;

use crate::support::{
    Dns, HELLO, Upstream, door, door_with, fetch, get, grants, nothing, read_head, send, text,
};

fn plain() -> Outbound {
    door(Options::default())
}

#[tokio::test]
async fn c20_the_host_is_the_permits_whatever_the_request_says() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let port = upstream.port();
    let dns = Dns::answering(&[&["127.0.0.1"]]).await;
    let url = format!("http://a.test:{port}");
    let grants = grants("shop", 1, &[&url, &format!("http://127.0.0.1:{port}")]);
    let request = Request::get("http://evil.test/path?q=1")
        .header("host", "evil.test")
        .header("x-mine", "kept")
        .body(nothing())
        .unwrap();
    let sent = send(&door_with(&dns), &grants, &url, request).await;
    assert_eq!(text(sent.unwrap()).await, "hello");
    let expected = format!("GET /path?q=1 HTTP/1.1\r\nx-mine: kept\r\nhost: a.test:{port}\r\n\r\n");
    assert_eq!(upstream.log.heads(), [expected]);
}

#[tokio::test]
async fn c25_c27_c29_what_belongs_to_the_connection_does_not_leave() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let grants = grants("shop", 1, &[&url]);
    let mut request = get("/");
    for (name, value) in [
        ("connection", "x-mine, upgrade"),
        ("x-mine", "named by connection"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer_encoding", "chunked"),
        ("content_length", "5"),
        ("te", "chunked"),
        ("expect", "100-continue"),
        ("x_y", "kept"),
    ] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let sent = send(&plain(), &grants, &url, request).await;
    assert_eq!(text(sent.unwrap()).await, "hello");
    let expected = format!(
        "GET / HTTP/1.1\r\nx_y: kept\r\nhost: {}\r\n\r\n",
        upstream.address
    );
    assert_eq!(upstream.log.heads(), [expected]);
}

#[tokio::test]
async fn c22_c28_what_is_no_plain_request_is_refused_before_a_connection() {
    let upstream = Upstream::canary("127.0.0.1").await;
    let url = format!("http://{}", upstream.address);
    let grants = grants("shop", 1, &[&url]);
    for method in [Method::CONNECT, Method::TRACE] {
        let request = Request::builder()
            .method(&method)
            .uri("/")
            .body(nothing())
            .unwrap();
        let sent = send(&plain(), &grants, &url, request).await;
        assert!(matches!(sent, Err(Error::Method(refused)) if refused == method));
    }
    let request = Request::options("*").body(nothing()).unwrap();
    let sent = send(&plain(), &grants, &url, request).await;
    assert!(matches!(sent, Err(Error::Path(path)) if &*path == "*"));
    let request = Request::post("/")
        .header("content-length", "1")
        .header("content-length", "2")
        .body(nothing())
        .unwrap();
    let sent = send(&plain(), &grants, &url, request).await;
    assert!(matches!(sent, Err(Error::Repeated(name)) if name == "content-length"));
    assert!(upstream.log.peers().is_empty());
}

#[tokio::test]
async fn c22_a_path_that_looks_like_an_authority_is_a_path() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let grants = grants("shop", 1, &[&url]);
    let sent = send(&plain(), &grants, &url, get("//evil/x")).await;
    assert_eq!(text(sent.unwrap()).await, "hello");
    assert!(upstream.log.heads()[0].starts_with("GET //evil/x HTTP/1.1\r\n"));
}

#[tokio::test]
async fn c30_a_redirect_is_an_answer_and_is_not_followed() {
    let canary = Upstream::canary("127.0.0.1").await;
    for status in ["301", "302", "307", "308"] {
        let answer = format!(
            "HTTP/1.1 {status} Moved\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
            canary.address
        );
        let upstream = Upstream::answering("127.0.0.1", answer).await;
        let url = format!("http://{}", upstream.address);
        let both = [url.as_str(), &format!("http://{}", canary.address)];
        let response = fetch(&plain(), &grants("shop", 1, &both), &url)
            .await
            .unwrap();
        assert_eq!(response.status().as_str(), status);
        let location = response.headers()["location"].to_str().unwrap();
        assert_eq!(location, format!("http://{}/", canary.address));
    }
    assert!(canary.log.peers().is_empty());
}

#[tokio::test]
async fn a_requests_body_streams_and_its_response_loses_the_hops_own_fields() {
    let answer = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\nconnection: x-hop\r\nx-hop: 1\r\n\
                  x-end: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let upstream = Upstream::start("127.0.0.1", move |mut stream, log| async move {
        log.note(read_head(&mut stream).await.unwrap());
        log.note(read_body(&mut stream).await);
        write(&mut stream, answer).await;
        read_head(&mut stream).await;
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let grants = grants("shop", 1, &[&url]);
    let body = Full::new(Bytes::from("upload")).map_err(|never| match never {});
    let request = Request::post("/in").body(body).unwrap();
    let sent = send(&plain(), &grants, &url, request).await;
    let response = sent.unwrap();
    let names: Vec<_> = response
        .headers()
        .keys()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(names, ["x-end"]);
    assert_eq!(text(response).await, "hello");
    let head = format!(
        "POST /in HTTP/1.1\r\nhost: {}\r\ncontent-length: 6\r\n\r\n",
        upstream.address
    );
    assert_eq!(upstream.log.heads(), [head, "upload".into()]);
}

#[tokio::test]
async fn an_unasked_switch_of_protocols_is_an_error() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let upstream = Upstream::answering("127.0.0.1", answer).await;
    let url = format!("http://{}", upstream.address);
    let result = fetch(&plain(), &grants("shop", 1, &[&url]), &url).await;
    assert!(result.is_err());
}

#[tokio::test]
async fn a_body_that_is_dropped_before_its_end_closes_the_connection() {
    let (closed, seen) = oneshot::channel();
    let upstream =
        closing_probe("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", closed).await;
    let url = format!("http://{}", upstream.address);
    let grants = grants("shop", 1, &[&url]);
    let door = plain();
    let mut body = fetch(&door, &grants, &url).await.unwrap().into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "hello");
    drop(body);
    seen.await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_cut_is_an_error_and_never_an_end() {
    let upstream = Upstream::start("127.0.0.1", |mut stream, _| async move {
        read_head(&mut stream).await;
        write(
            &mut stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        )
        .await;
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let response = fetch(&plain(), &grants("shop", 1, &[&url]), &url)
        .await
        .unwrap();
    let result = response.into_body().collect().await;
    assert!(matches!(result, Err(Error::Closed(_) | Error::Protocol(_))));
}

#[tokio::test]
async fn c54_dropping_the_request_closes_the_connection() {
    let (arrived, arrival) = oneshot::channel();
    let (closed, seen) = oneshot::channel();
    let signals = std::sync::Mutex::new(Some((arrived, closed)));
    let upstream = Upstream::start("127.0.0.1", move |mut stream, _| {
        let signals = signals.lock().unwrap().take();
        async move {
            let (arrived, closed) = signals.expect("one connection");
            read_head(&mut stream).await.unwrap();
            arrived.send(()).unwrap();
            assert_eq!(read_head(&mut stream).await, None);
            closed.send(()).unwrap();
        }
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let grants = grants("shop", 1, &[&url]);
    let door = plain();
    tokio::select! {
        answer = fetch(&door, &grants, &url) => panic!("answered: {:?}", answer.map(|a| a.status())),
        arrival = arrival => arrival.unwrap(),
    }
    seen.await.unwrap();
}

/// Answers once, then says when the peer has closed.
async fn closing_probe(answer: &'static str, closed: oneshot::Sender<()>) -> Upstream {
    let closed = std::sync::Mutex::new(Some(closed));
    Upstream::start("127.0.0.1", move |mut stream, _| {
        let closed = closed.lock().unwrap().take();
        async move {
            read_head(&mut stream).await.unwrap();
            write(&mut stream, answer).await;
            assert_eq!(read_head(&mut stream).await, None);
            closed.expect("one connection").send(()).unwrap();
        }
    })
    .await
}

async fn write(stream: &mut tokio::net::TcpStream, text: &str) {
    tokio::io::AsyncWriteExt::write_all(stream, text.as_bytes())
        .await
        .unwrap();
}

async fn read_body(stream: &mut tokio::net::TcpStream) -> String {
    let mut body = [0; 6];
    tokio::io::AsyncReadExt::read_exact(stream, &mut body)
        .await
        .unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}
