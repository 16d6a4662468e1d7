//! HTTP/2, which is spoken where TLS agreed on it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_outbound::{BoxError, Outbound};
use tokio::sync::oneshot;

use crate::support::{Dns, Upstream, fetch, get, grants, send, text};
use crate::tls::Authority;

type Signal = Arc<Mutex<Option<oneshot::Sender<()>>>>;

/// `hello`, and then nothing for ever on `/endless`; tells when it is dropped.
struct Answer {
    left: Option<&'static str>,
    endless: bool,
    dropped: Signal,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.left.take() {
            Some(text) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(text))))),
            None if self.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.endless {
            return;
        }
        if let Some(dropped) = self.dropped.lock().unwrap().take() {
            let _ = dropped.send(());
        }
    }
}

async fn upstream(authority: &Authority, dropped: Signal) -> Upstream {
    let acceptor = authority.acceptor("a.test", &["h2", "http/1.1"]);
    Upstream::start("127.0.0.2", move |stream, log| {
        let (acceptor, dropped) = (acceptor.clone(), dropped.clone());
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let answer = service_fn(move |request: Request<Incoming>| {
                let host = request.headers().get("host").cloned();
                log.note(format!("{} {} {host:?}", request.method(), request.uri()));
                let answer = Answer {
                    left: Some("hello"),
                    endless: request.uri().path() == "/endless",
                    dropped: dropped.clone(),
                };
                let mut response = Response::new(answer);
                for n in 0..fields(request.uri().path()) {
                    let name = format!("x-{n}").parse::<HeaderName>().unwrap();
                    response
                        .headers_mut()
                        .insert(name, HeaderValue::from_static("1"));
                }
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        }
    })
    .await
}

/// How many fields the path asks for, beside the `date` that hyper adds.
fn fields(path: &str) -> usize {
    path.trim_start_matches('/').parse().unwrap_or(0)
}

struct Scene {
    upstream: Upstream,
    door: Outbound,
    url: String,
    rule: String,
    dropped: oneshot::Receiver<()>,
    _dns: Dns,
}

async fn scene() -> Scene {
    let authority = Authority::new();
    let (sender, dropped) = oneshot::channel();
    let upstream = upstream(&authority, Arc::new(Mutex::new(Some(sender)))).await;
    let dns = Dns::answering(&[&["127.0.0.2"]]).await;
    Scene {
        door: authority.door(&dns),
        url: format!("https://a.test:{}", upstream.port()),
        rule: format!("https://127.0.0.2/32:{}", upstream.port()),
        upstream,
        dropped,
        _dns: dns,
    }
}

#[tokio::test]
async fn requests_of_one_component_share_a_connection() {
    let scene = scene().await;
    let one = grants("shop", 1, &[&scene.url, &scene.rule]);
    let first = fetch(&scene.door, &one, &scene.url).await.unwrap();
    assert_eq!(first.version(), Version::HTTP_2);
    let second = fetch(&scene.door, &one, &scene.url).await.unwrap();
    assert_eq!(text(second).await, "hello");
    assert_eq!(text(first).await, "hello");
    assert_eq!(scene.upstream.log.peers().len(), 1);
    let line = format!("GET {}/ None", scene.url);
    assert_eq!(scene.upstream.log.heads(), [line.clone(), line]);
}

#[tokio::test]
async fn c42_a_shared_connection_is_not_shared_with_others() {
    let scene = scene().await;
    for (component, generation) in [("a", 1), ("b", 1), ("a", 2)] {
        let grants = grants(component, generation, &[&scene.url, &scene.rule]);
        let response = fetch(&scene.door, &grants, &scene.url).await.unwrap();
        assert_eq!(text(response).await, "hello");
    }
    assert_eq!(scene.upstream.log.peers().len(), 3);
}

#[tokio::test]
async fn a_dropped_body_resets_its_stream_and_keeps_the_connection() {
    let scene = scene().await;
    let grants = grants("shop", 1, &[&scene.url, &scene.rule]);
    let sent = send(&scene.door, &grants, &scene.url, get("/endless")).await;
    let mut body = sent.unwrap().into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "hello"
    );
    drop(body);
    scene.dropped.await.unwrap();
    let next = fetch(&scene.door, &grants, &scene.url).await.unwrap();
    assert_eq!(text(next).await, "hello");
    assert_eq!(scene.upstream.log.peers().len(), 1);
}

#[tokio::test]
async fn a_dropped_body_resets_its_stream_while_the_request_still_goes_out() {
    let scene = scene().await;
    let grants = grants("shop", 1, &[&scene.url, &scene.rule]);
    let request = Request::post("/endless").body(Never).unwrap();
    let sent = send(&scene.door, &grants, &scene.url, request).await;
    let mut body = sent.unwrap().into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "hello"
    );
    drop(body);
    scene.dropped.await.unwrap();
}

/// An upload that never gets on.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn c43_a_head_has_at_most_100_fields_here_too() {
    let scene = scene().await;
    let grants = grants("shop", 1, &[&scene.url, &scene.rule]);
    let result = send(&scene.door, &grants, &scene.url, get("/99")).await;
    assert_eq!(text(result.unwrap()).await, "hello");
    for path in ["/100", "/10000"] {
        let result = send(&scene.door, &grants, &scene.url, get(path)).await;
        assert!(result.is_err(), "{path}");
    }
}
