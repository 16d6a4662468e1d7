//! Every wait has an end. Time stands still and jumps once the upstream is where the row wants it.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use runner_outbound::{Body, BoxError, Error, Options, Outbound, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::Interval;

use crate::support::{
    Dns, HELLO, Upstream, door, door_with, fetch, get, grants, read_head, refusal, remote, send,
    text,
};

fn plain() -> Outbound {
    door(Options::default())
}

/// Writes `answer` once a request has begun, says so, and goes silent.
async fn silent_after(answer: &'static str) -> (Upstream, oneshot::Receiver<()>) {
    let (reached, reach) = oneshot::channel();
    let reached = Mutex::new(Some(reached));
    let upstream = Upstream::start("127.0.0.1", move |mut stream, _| {
        let reached = reached.lock().unwrap().take();
        async move {
            stream.read_u8().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            reached.expect("one connection").send(()).unwrap();
            while stream.read_u8().await.is_ok() {}
        }
    })
    .await;
    (upstream, reach)
}

/// Lets time jump to the next deadline from when `reach` says so.
async fn jump(reach: oneshot::Receiver<()>) {
    reach.await.unwrap();
    tokio::time::pause();
}

#[tokio::test]
async fn c43_an_upstream_that_never_answers() {
    let (upstream, reach) = silent_after("").await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    let (result, ()) = tokio::join!(fetch(&door, &grants, &url), jump(reach));
    assert_eq!(refusal(result), "no response in time");
}

#[tokio::test]
async fn c43_an_upstream_that_stops_within_its_head() {
    let (upstream, reach) = silent_after("HTTP/1.1 200 OK\r\ncontent-").await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    let (result, ()) = tokio::join!(fetch(&door, &grants, &url), jump(reach));
    assert_eq!(refusal(result), "no response in time");
}

#[tokio::test]
async fn c43_an_upstream_that_stops_within_its_body() {
    let (upstream, reach) =
        silent_after("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    let mut body = fetch(&door, &grants, &url).await.unwrap().into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "hello"
    );
    jump(reach).await;
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the response's body fell silent");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn c43_a_guest_that_reads_late_is_not_a_silent_upstream() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    let response = fetch(&door, &grants, &url).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(text(response).await, "hello");
}

#[tokio::test]
async fn c43_endless_interim_responses_are_no_answer() {
    let upstream = Upstream::start("127.0.0.1", |mut stream, _| async move {
        read_head(&mut stream).await;
        while stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let wish = Timeouts {
        first_byte: Some(Duration::from_millis(20)),
        ..Timeouts::default()
    };
    let permit = remote(&grants("shop", 1, &[&url]), &url);
    let result = plain().send(permit, get("/"), wish).await;
    assert_eq!(refusal(result), "no response in time");
}

/// One byte every twenty seconds, `left` times; after that an end, or silence for ever.
struct Drip {
    pace: Interval,
    left: usize,
    ends: bool,
}

impl Drip {
    fn new(left: usize, ends: bool) -> Drip {
        let pace = tokio::time::interval(Duration::from_secs(20));
        Drip { pace, left, ends }
    }
}

impl http_body::Body for Drip {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return if self.ends {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        }
        ready!(self.pace.poll_tick(cx));
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
    }
}

async fn upload(drip: Drip) -> Result<Response<Body>, Error> {
    let upstream = Upstream::start("127.0.0.1", |mut stream, _| async move {
        read_head(&mut stream).await;
        // The last chunk of a body ends like a head does.
        if read_head(&mut stream).await.is_some() {
            stream.write_all(HELLO.as_bytes()).await.unwrap();
        }
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let request = Request::post("/").body(drip).unwrap();
    send(&plain(), &grants("shop", 1, &[&url]), &url, request).await
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_not_a_silent_upstream() {
    let response = upload(Drip::new(6, true)).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stops_ends_in_time() {
    let result = upload(Drip::new(6, false)).await;
    assert_eq!(refusal(result), "no response in time");
}

#[tokio::test]
async fn c43_a_tls_handshake_that_never_ends() {
    let (upstream, reach) = silent_after("").await;
    let url = format!("https://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    let (result, ()) = tokio::join!(fetch(&door, &grants, &url), jump(reach));
    assert_eq!(refusal(result), "no connection in time");
}

#[tokio::test(start_paused = true)]
async fn c43_a_dns_server_that_never_answers() {
    let dns = Dns::silent().await;
    let grants = grants("shop", 1, &["http://a.test"]);
    let result = fetch(&door_with(&dns), &grants, "http://a.test").await;
    assert_eq!(refusal(result), "`a.test` was not resolved in time");
}

#[tokio::test]
async fn c45_absurd_wishes_neither_panic_nor_raise_a_ceiling() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    for wish in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::MAX,
        Duration::from_nanos(u64::MAX),
    ] {
        let wishes = Timeouts {
            connect: Some(wish),
            first_byte: Some(wish),
            between_bytes: Some(wish),
        };
        match door.send(remote(&grants, &url), get("/"), wishes).await {
            Ok(response) => drop(response.into_body().collect().await),
            Err(Error::ConnectTimeout | Error::FirstByteTimeout) => {}
            Err(error) => panic!("{wish:?}: {error}"),
        }
    }
}
