//! Upstreams that fail: in the middle, in between, or by saying two things at once. No request is sent twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use runner_outbound::{Body, BoxError, Error, Options, Outbound};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::support::{
    HELLO, Log, Upstream, door, fetch, grants, nothing, read_head, refusal, send, text,
};

fn plain() -> Outbound {
    door(Options::default())
}

/// Answers the first request of each connection with these bytes, and closes.
async fn once(answer: &'static str) -> Upstream {
    Upstream::start("127.0.0.1", move |mut stream, log| async move {
        log.note(read_head(&mut stream).await.unwrap());
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

/// Answers every request with these bytes, and keeps the connection.
async fn always(answer: &'static str) -> Upstream {
    Upstream::answering("127.0.0.1", answer).await
}

/// A body as far as it came, and whether it then broke.
async fn read(response: Response<Body>) -> (String, bool) {
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    loop {
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return (String::from_utf8(bytes).unwrap(), true),
            None => return (String::from_utf8(bytes).unwrap(), false),
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_its_connection_is_done() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nno number\r\n",
    ] {
        let upstream = once(answer).await;
        let url = format!("http://{}", upstream.address);
        let (door, grants) = (plain(), grants("shop", 1, &[&url]));
        for attempts in [1, 2] {
            let response = fetch(&door, &grants, &url).await.unwrap();
            assert_eq!(read(response).await, ("hello".into(), true), "{answer}");
            assert_eq!(upstream.log.peers().len(), attempts, "{answer}");
        }
    }
}

#[tokio::test]
async fn what_follows_a_response_is_not_the_next_one() {
    // Longer than it says; and a whole second response that nobody asked for.
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello and more",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    ] {
        let upstream = always(answer).await;
        let url = format!("http://{}", upstream.address);
        let (door, grants) = (plain(), grants("shop", 1, &[&url]));
        for _ in 0..3 {
            let response = fetch(&door, &grants, &url).await.unwrap();
            assert_eq!(read(response).await, ("hello".into(), false), "{answer}");
        }
        assert_eq!(upstream.log.peers().len(), 3, "{answer}");
    }
}

#[tokio::test]
async fn of_a_length_and_chunks_the_chunks_count_and_two_lengths_are_an_error() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        // Not chunks in the end: it lasts as long as its connection.
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\ncontent-length: 3\r\n\r\nhello",
    ] {
        let upstream = once(answer).await;
        let url = format!("http://{}", upstream.address);
        let response = fetch(&plain(), &grants("shop", 1, &[&url]), &url).await;
        let response = response.unwrap();
        assert_eq!(response.headers().len(), 0, "{answer}");
        assert_eq!(read(response).await, ("hello".into(), false), "{answer}");
    }
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello!",
    ] {
        let upstream = once(answer).await;
        let url = format!("http://{}", upstream.address);
        let result = fetch(&plain(), &grants("shop", 1, &[&url]), &url).await;
        assert!(matches!(result, Err(Error::Protocol(_))), "{answer}");
    }
}

#[tokio::test]
async fn an_interim_response_and_then_an_end_is_no_response() {
    for answer in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
        "",
    ] {
        let upstream = once(answer).await;
        let url = format!("http://{}", upstream.address);
        let result = fetch(&plain(), &grants("shop", 1, &[&url]), &url).await;
        assert!(
            matches!(result, Err(Error::Closed(_))),
            "{answer}: {}",
            refusal(result)
        );
        assert_eq!(upstream.log.heads().len(), 1, "{answer}: sent once");
    }
}

fn post(
    body: &'static str,
) -> Request<impl http_body::Body<Data = Bytes, Error = BoxError> + Send> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    Request::post("/order").body(body).unwrap()
}

/// Answers the first request of each connection; then does `then` with it.
async fn and_then<F>(then: impl Fn(TcpStream, Log) -> F + Clone + Send + Sync + 'static) -> Upstream
where
    F: Future<Output = ()> + Send + 'static,
{
    Upstream::start("127.0.0.1", move |mut stream, log| {
        let then = then.clone();
        async move {
            log.note(read_head(&mut stream).await.unwrap());
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            then(stream, log).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_closes_between_requests_loses_none_and_sends_none_twice() {
    let (closed, closes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (close, done) = (closes.clone(), closed.clone());
    let upstream = and_then(move |stream, _| {
        let (close, done) = (close.clone(), done.clone());
        async move {
            close.notified().await;
            drop(stream);
            done.notify_one();
        }
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    for n in 1..=20 {
        // The first goes out on a new connection, the next one meets it closed, or about to be.
        let response = match n % 2 {
            0 => fetch(&door, &grants, &url).await,
            _ => {
                send(
                    &door,
                    &grants,
                    &url,
                    Request::post("/order").body(nothing()).unwrap(),
                )
                .await
            }
        };
        assert_eq!(text(response.unwrap()).await, "hello", "{n}");
        closes.notify_one();
        closed.notified().await;
        assert_eq!(upstream.log.heads().len(), n, "each came once");
    }
}

#[tokio::test]
async fn a_request_that_was_begun_on_a_kept_connection_is_not_sent_again() {
    // It reads some of the second request, and closes without a word.
    let upstream = and_then(|mut stream, log| async move {
        let mut some = [0; 10];
        if stream.read_exact(&mut some).await.is_ok() {
            log.note(String::from_utf8(some.to_vec()).unwrap());
        }
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    assert_eq!(
        text(fetch(&door, &grants, &url).await.unwrap()).await,
        "hello"
    );
    let result = send(&door, &grants, &url, post("one dozen")).await;
    assert!(
        matches!(result, Err(Error::Closed(_) | Error::Protocol(_))),
        "{}",
        refusal(result)
    );
    let heads = upstream.log.heads();
    assert_eq!((heads.len(), &*heads[1]), (2, "POST /orde"));
    assert_eq!(upstream.log.peers().len(), 1, "no second attempt");
}

/// A body that says when it is asked for more, and goes on when it is told to.
struct Held {
    begun: bool,
    dropped: Arc<Mutex<Option<oneshot::Sender<()>>>>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if std::mem::replace(&mut self.begun, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"half")))))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(dropped) = self.dropped.lock().unwrap().take() {
            let _ = dropped.send(());
        }
    }
}

fn held() -> (Request<Held>, oneshot::Receiver<()>) {
    let (sender, dropped) = oneshot::channel();
    let body = Held {
        begun: false,
        dropped: Arc::new(Mutex::new(Some(sender))),
    };
    (Request::post("/order").body(body).unwrap(), dropped)
}

#[tokio::test]
async fn an_answer_before_the_requests_end_is_the_answer_and_its_connection_is_done() {
    for answer in [
        "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno",
    ] {
        let upstream = always(answer).await;
        let url = format!("http://{}", upstream.address);
        let (door, grants) = (plain(), grants("shop", 1, &[&url]));
        let (request, _dropped) = held();
        let response = send(&door, &grants, &url, request).await.unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(read(response).await, ("no".into(), false), "{answer}");
        // The next request does not meet the half that is still to come.
        let next = fetch(&door, &grants, &url).await.unwrap();
        assert_eq!(read(next).await, ("no".into(), false), "{answer}");
        assert_eq!(upstream.log.peers().len(), 2, "{answer}");
        let heads = upstream.log.heads();
        assert!(
            heads[0].starts_with("POST /order ") && heads[1].starts_with("GET / "),
            "{heads:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_dropped_before_the_requests_end_drops_the_request() {
    let upstream = always("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\n").await;
    let url = format!("http://{}", upstream.address);
    let (request, dropped) = held();
    let response = send(&plain(), &grants("shop", 1, &[&url]), &url, request)
        .await
        .unwrap();
    drop(response);
    dropped.await.unwrap();
}

/// Ends a connection with a reset: what is unread when it closes is refused.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn a_reset_in_the_middle_is_an_error_and_no_second_attempt() {
    for part in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
    ] {
        for method in [Method::GET, Method::POST] {
            let upstream = Upstream::start("127.0.0.1", move |mut stream, log| async move {
                log.note(read_head(&mut stream).await.unwrap());
                stream.write_all(part.as_bytes()).await.unwrap();
                reset(stream);
            })
            .await;
            let url = format!("http://{}", upstream.address);
            let request = Request::builder().method(&method).body(nothing()).unwrap();
            let broke = match send(&plain(), &grants("shop", 1, &[&url]), &url, request).await {
                Ok(response) => read(response).await.1,
                Err(error) => matches!(error, Error::Closed(_) | Error::Protocol(_)),
            };
            assert!(broke, "{method} {part}");
            assert_eq!(upstream.log.heads().len(), 1, "{method} {part}");
        }
    }
}
