//! Connections and their end over real sockets, with a function in place of the app.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_host::RequestId;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::Tls;
use crate::drain::{Drain, Requests};
use crate::error::refuse_target;
use crate::limits::Limits;
use crate::proxies::{Announced, Proxies};
use crate::received::Received;
use crate::refusal::Refusal;
use crate::stats::{Closed, State, Stats};
use crate::tls::Acceptor;

pub(crate) type TestBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// No test waits for as long as this.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const LAST_HELLO: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";

/// A server in a task of its own.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) requests: Requests,
    pub(crate) serving: JoinHandle<Drained>,
    pub(crate) stats: Stats,
}

/// How a test differs from a usual server.
pub(crate) struct Setup {
    pub(crate) idle_window: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) tls: Option<Acceptor>,
    pub(crate) limits: Limits,
    pub(crate) proxies: Proxies,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            idle_window: NEVER,
            drain_timeout: NEVER,
            tls: None,
            limits: Limits::default(),
            proxies: Proxies::default(),
        }
    }
}

impl Setup {
    pub(crate) async fn serve<F, A>(self, answer: F) -> Running
    where
        F: Fn(Request<Received>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<TestBody>> + Send + 'static,
    {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        self.serve_on(listener, false, answer).await
    }

    async fn serve_on<F, A>(self, listener: TcpListener, handed_over: bool, answer: F) -> Running
    where
        F: Fn(Request<Received>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<TestBody>> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let (drain, requests, stats) = (Drain::new(), Requests::default(), Stats::default());
        let connections = Connections {
            answer: move |asked: Asked, _: Peer| {
                let answer = answer.clone();
                async move {
                    match asked {
                        Ok(request) => {
                            let late = request.body().late();
                            let refusal = || late.is().then(|| refused(Refusal::SlowBody));
                            unless(refusal, answer(request)).await
                        }
                        Err(unreadable) => refused(unreadable.refusal),
                    }
                }
            },
            tls: self.tls,
            drain: drain.clone(),
            requests: requests.clone(),
            limits: Limits {
                idle_window: self.idle_window,
                ..self.limits
            },
            stats: stats.clone(),
            proxies: Arc::new(self.proxies),
        };
        let door = Door {
            listener: Arc::new(listener),
            handed_over: Arc::new(handed_over.into()),
        };
        let serving = tokio::spawn(run(door, connections, self.drain_timeout));
        Running {
            address,
            drain,
            requests,
            serving,
            stats,
        }
    }
}

/// As an app answers that is told when nobody waits for its guest.
pub(crate) async fn unless<T>(
    refusal: impl Fn() -> Option<T>,
    answer: impl Future<Output = T>,
) -> T {
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        let answer = answer.as_mut().poll(cx);
        refusal().map_or(answer, Poll::Ready)
    })
    .await
}

/// What a server answers to what is no request.
fn refused(refusal: Refusal) -> Response<TestBody> {
    let request_id = RequestId::next();
    refuse_target(refusal, Version::HTTP_11, request_id).map(BodyExt::boxed_unsync)
}

/// The id of an error of ours, which nobody can foretell, as `ID`.
pub(crate) fn without_id(text: &str) -> String {
    let Some((before, id)) = text.split_once("request id: ") else {
        return text.to_owned();
    };
    assert_eq!((id.len(), id.ends_with('\n')), (17, true), "{text}");
    format!("{before}request id: ID\n")
}

pub(crate) fn body(text: &'static str) -> TestBody {
    Full::from(text)
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(crate) async fn hello(_: Request<Received>) -> Response<TestBody> {
    Response::new(body("hello"))
}

/// What happens in a server, told to its test.
#[derive(Clone)]
pub(crate) struct Story(mpsc::UnboundedSender<&'static str>);

impl Story {
    pub(crate) fn new() -> (Story, mpsc::UnboundedReceiver<&'static str>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Story(sender), receiver)
    }

    pub(crate) fn called(&self) -> Told {
        let _ = self.0.send("called");
        Told(self.clone())
    }
}

/// Stands for a guest: it tells when it is dropped.
pub(crate) struct Told(Story);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.0.send("dropped");
    }
}

/// A response that begins and never ends.
struct Endless {
    first: Option<Bytes>,
    _guest: Told,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.first.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is a client")]
pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Closes as a process does that is gone while bytes were on their way to it: with RST.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// One response with a `content-length`, without its date.
pub(crate) async fn response(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap().into());
    }
    let length = head
        .split_once("content-length: ")
        .and_then(|(_, rest)| rest.split("\r\n").next());
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let lines: Vec<_> = head
        .split("\r\n")
        .filter(|line| !line.starts_with("date: "))
        .collect();
    lines.join("\r\n") + std::str::from_utf8(&body).unwrap()
}

/// What is left until the server closes.
pub(crate) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    rest
}

type Http2 = http2::SendRequest<Empty<Bytes>>;

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (Http2, JoinHandle<hyper::Result<()>>) {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("http://a/").body(Empty::new()).unwrap()
}

async fn collected(response: Response<Incoming>) -> (StatusCode, Version, Bytes) {
    let (head, body) = response.into_parts();
    (
        head.status,
        head.version,
        body.collect().await.unwrap().to_bytes(),
    )
}

/// A server's certificate in files, and a client that trusts it.
fn tls() -> (Acceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = Tls {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (Acceptor::new(files).unwrap(), made.cert.into())
}

async fn connect_tls(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
    alpn: &[&str],
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, connect(address).await)
        .await
        .unwrap()
}

#[tokio::test]
async fn http1_is_kept_alive_and_answered_in_order() {
    let running = Setup::default().serve(hello).await;
    let mut client = connect(running.address).await;
    for _ in 0..3 {
        send(&mut client, GET).await;
        assert_eq!(response(&mut client).await, HELLO);
    }
    send(&mut client, &GET.repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(response(&mut client).await, HELLO);
    }
}

#[tokio::test]
async fn http2_is_known_by_its_first_bytes() {
    let running = Setup::default().serve(hello).await;
    let (mut client, _connection) = http2(connect(running.address).await).await;
    let answer = collected(client.send_request(get()).await.unwrap()).await;
    assert_eq!(
        answer,
        (StatusCode::OK, Version::HTTP_2, Bytes::from("hello"))
    );
}

#[tokio::test]
async fn first_bytes_may_come_one_by_one() {
    let running = Setup::default().serve(hello).await;
    let mut client = connect(running.address).await;
    client.set_nodelay(true).unwrap();
    // `P` could become the preface of HTTP/2 until the `O`.
    for byte in "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".bytes() {
        client.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(response(&mut client).await, HELLO);
}

#[tokio::test]
async fn tls_chooses_the_protocol() {
    let (acceptor, trusted) = tls();
    let running = Setup {
        tls: Some(acceptor),
        ..Setup::default()
    }
    .serve(hello)
    .await;
    // Says nothing, and nobody waits for it.
    let _silent = connect(running.address).await;
    for alpn in [&["http/1.1"][..], &[]] {
        let mut client = connect_tls(running.address, trusted.clone(), alpn).await;
        send(&mut client, GET).await;
        assert_eq!(response(&mut client).await, HELLO);
    }
    let (mut client, _connection) =
        http2(connect_tls(running.address, trusted, &["h2", "http/1.1"]).await).await;
    let answer = collected(client.send_request(get()).await.unwrap()).await;
    assert_eq!(
        answer,
        (StatusCode::OK, Version::HTTP_2, Bytes::from("hello"))
    );
}

#[tokio::test]
async fn d42_a_half_close_is_answered() {
    let (story, mut told) = Story::new();
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let answer = move |_| {
        let (guest, released) = (story.called(), released.clone());
        async move {
            released.notified().await;
            drop(guest);
            Response::new(body("hello"))
        }
    };
    let running = Setup::default().serve(answer).await;
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    client.shutdown().await.unwrap();
    assert_eq!(told.recv().await, Some("called"));
    release.notify_one();
    assert_eq!(response(&mut client).await, HELLO);
    assert_eq!(rest(&mut client).await, "");
}

/// Never answers. Keeps the request, so that nobody reads its body.
fn stuck(story: Story) -> impl Fn(Request<Received>) -> Stuck + Clone + Send + Sync + 'static {
    move |request| {
        let guest = story.called();
        Box::pin(async move {
            let _kept = (request, guest);
            std::future::pending().await
        })
    }
}

type Stuck = Pin<Box<dyn Future<Output = Response<TestBody>> + Send>>;

#[tokio::test]
async fn d45_a_reset_drops_a_guest_that_has_not_answered() {
    let (story, mut told) = Story::new();
    let running = Setup::default().serve(stuck(story)).await;
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    assert_eq!(told.recv().await, Some("called"));
    reset(client);
    assert_eq!(told.recv().await, Some("dropped"));
    assert_eq!(running.requests.count(), 0);
}

#[tokio::test]
async fn d45_a_reset_is_seen_behind_a_body_that_nobody_reads() {
    let (story, mut told) = Story::new();
    let running = Setup::default().serve(stuck(story)).await;
    let mut client = connect(running.address).await;
    send(
        &mut client,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n",
    )
    .await;
    send(&mut client, &"x".repeat(100_000)).await;
    assert_eq!(told.recv().await, Some("called"));
    reset(client);
    assert_eq!(told.recv().await, Some("dropped"));
}

#[tokio::test]
async fn d45_a_reset_is_seen_behind_a_request_in_waiting() {
    let (story, mut told) = Story::new();
    let running = Setup::default().serve(stuck(story)).await;
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    assert_eq!(told.recv().await, Some("called"));
    send(&mut client, GET).await;
    reset(client);
    assert_eq!(told.recv().await, Some("dropped"));
}

#[tokio::test]
async fn d45_a_reset_drops_a_guest_in_the_middle_of_its_answer() {
    let (story, mut told) = Story::new();
    let answer = move |_| {
        let guest = story.called();
        async move {
            Response::new(
                Endless {
                    first: Some(Bytes::from("hello")),
                    _guest: guest,
                }
                .boxed_unsync(),
            )
        }
    };
    let running = Setup::default().serve(answer).await;
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    assert_eq!(client.read_u8().await.unwrap(), b'H');
    reset(client);
    assert_eq!(told.recv().await, Some("called"));
    assert_eq!(told.recv().await, Some("dropped"));
}

#[tokio::test]
async fn d45_the_end_of_a_connection_inside_a_body_drops_the_guest() {
    let (story, mut told) = Story::new();
    let answer = move |request: Request<Received>| {
        let guest = story.called();
        async move {
            let _guest = guest;
            let _ = request.into_body().collect().await;
            std::future::pending().await
        }
    };
    let running = Setup::default().serve(answer).await;
    let mut client = connect(running.address).await;
    send(
        &mut client,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello",
    )
    .await;
    assert_eq!(told.recv().await, Some("called"));
    client.shutdown().await.unwrap();
    assert_eq!(told.recv().await, Some("dropped"));
}

#[tokio::test]
async fn d45_http2_cancels_one_request_or_all() {
    let (story, mut told) = Story::new();
    let running = Setup::default().serve(stuck(story)).await;
    let stream = connect(running.address).await.into_std().unwrap();
    let wire = stream.try_clone().unwrap();
    let (mut client, _connection) = http2(TcpStream::from_std(stream).unwrap()).await;
    let one = tokio::spawn(client.send_request(get()));
    assert_eq!(told.recv().await, Some("called"));
    let _two = tokio::spawn(client.send_request(get()));
    assert_eq!(told.recv().await, Some("called"));
    one.abort();
    assert_eq!(told.recv().await, Some("dropped"));
    assert_eq!(running.requests.count(), 1);
    wire.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(told.recv().await, Some("dropped"));
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let answer = |request: Request<Received>| async move {
        assert_eq!(request.uri().path(), "/", "no other path has an answer");
        Response::new(body("hello"))
    };
    let running = Setup::default().serve(answer).await;
    let mut unlucky = connect(running.address).await;
    send(&mut unlucky, &GET.replace("/ ", "/panic ")).await;
    assert_eq!(rest(&mut unlucky).await, "");
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    assert_eq!(response(&mut client).await, HELLO);
    assert_eq!(running.requests.count(), 0);
}

#[tokio::test]
async fn drain_closes_what_is_idle() {
    let running = Setup {
        idle_window: Duration::ZERO,
        ..Setup::default()
    }
    .serve(hello)
    .await;
    let mut silent = connect(running.address).await;
    let mut idle = connect(running.address).await;
    send(&mut idle, GET).await;
    assert_eq!(response(&mut idle).await, HELLO);
    running.drain.advance();
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn drain_answers_what_comes_in_time() {
    let running = Setup::default().serve(hello).await;
    let mut silent = connect(running.address).await;
    let mut idle = connect(running.address).await;
    send(&mut idle, GET).await;
    assert_eq!(response(&mut idle).await, HELLO);
    running.drain.advance();
    for client in [&mut silent, &mut idle] {
        send(client, GET).await;
        assert_eq!(response(client).await, LAST_HELLO);
        assert_eq!(rest(client).await, "");
    }
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn drain_keeps_a_request_whose_head_has_begun() {
    let running = Setup {
        idle_window: Duration::ZERO,
        ..Setup::default()
    }
    .serve(hello)
    .await;
    let mut client = connect(running.address).await;
    let (first, second) = GET.split_at(7);
    // In one segment, so that the server has read the beginning of the second when it answers the first.
    send(&mut client, &format!("{GET}{first}")).await;
    assert_eq!(response(&mut client).await, HELLO);
    running.drain.advance();
    let _ = connect_refused(running.address).await;
    send(&mut client, second).await;
    assert_eq!(response(&mut client).await, LAST_HELLO);
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn drain_takes_blank_lines_for_idleness() {
    let running = Setup {
        idle_window: Duration::ZERO,
        ..Setup::default()
    }
    .serve(hello)
    .await;
    let mut client = connect(running.address).await;
    send(&mut client, &format!("{GET}\r\n")).await;
    assert_eq!(response(&mut client).await, HELLO);
    running.drain.advance();
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 0 });
}

/// Once the port is closed, every task of a server on one thread has seen that draining has begun.
#[expect(clippy::disallowed_methods, reason = "a test is a client")]
async fn connect_refused(address: SocketAddr) -> io::Error {
    loop {
        if let Err(error) = TcpStream::connect(address).await {
            return error;
        }
    }
}

/// Answers once it is told to.
fn waiting(
    story: Story,
    release: Arc<Notify>,
) -> impl Fn(Request<Received>) -> Stuck + Clone + Send + Sync + 'static {
    move |_| {
        let (guest, release) = (story.called(), release.clone());
        Box::pin(async move {
            let _guest = guest;
            release.notified().await;
            Response::new(body("hello"))
        })
    }
}

#[tokio::test]
async fn drain_lets_requests_finish() {
    let (story, mut told) = Story::new();
    let release = Arc::new(Notify::new());
    let setup = Setup {
        idle_window: Duration::ZERO,
        ..Setup::default()
    };
    let running = setup.serve(waiting(story, release.clone())).await;
    let mut http1 = connect(running.address).await;
    send(&mut http1, GET).await;
    assert_eq!(told.recv().await, Some("called"));
    let (mut sender, connection) = http2(connect(running.address).await).await;
    let stream = tokio::spawn(sender.send_request(get()));
    assert_eq!(told.recv().await, Some("called"));
    running.drain.advance();
    connect_refused(running.address).await;
    assert_eq!(running.requests.count(), 2);
    release.notify_waiters();
    assert_eq!(response(&mut http1).await, LAST_HELLO);
    assert_eq!(rest(&mut http1).await, "");
    let answer = collected(stream.await.unwrap().unwrap()).await;
    assert_eq!(
        answer,
        (StatusCode::OK, Version::HTTP_2, Bytes::from("hello"))
    );
    connection.await.unwrap().unwrap();
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn drain_closes_an_idle_http2_connection() {
    let running = Setup::default().serve(hello).await;
    let (mut client, connection) = http2(connect(running.address).await).await;
    collected(client.send_request(get()).await.unwrap()).await;
    running.drain.advance();
    connection.await.unwrap().unwrap();
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn drain_cuts_what_takes_too_long() {
    let (story, mut told) = Story::new();
    let running = Setup {
        drain_timeout: Duration::ZERO,
        ..Setup::default()
    }
    .serve(stuck(story))
    .await;
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    assert_eq!(told.recv().await, Some("called"));
    running.drain.advance();
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 1 });
    assert_eq!(told.recv().await, Some("dropped"));
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn a_second_drain_cuts_at_once() {
    let (story, mut told) = Story::new();
    let running = Setup::default().serve(stuck(story)).await;
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    let (mut sender, _connection) = http2(connect(running.address).await).await;
    let _stream = tokio::spawn(sender.send_request(get()));
    assert_eq!(told.recv().await, Some("called"));
    assert_eq!(told.recv().await, Some("called"));
    running.drain.advance();
    running.drain.advance();
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 2 });
    assert_eq!(told.recv().await, Some("dropped"));
    assert_eq!(told.recv().await, Some("dropped"));
    assert_eq!(rest(&mut client).await, "");
}

/// How long it takes until the server closes a connection on which only this was sent.
async fn closed_after(address: SocketAddr, sent: &[u8]) -> Duration {
    let mut client = connect(address).await;
    let started = tokio::time::Instant::now();
    client.write_all(sent).await.unwrap();
    let mut rest = Vec::new();
    // What it has not read makes its close a reset.
    let _ = client.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    started.elapsed()
}

const TEN_SECONDS: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn d16_d17_who_sends_nothing_or_half_a_preface_is_closed_after_ten_seconds() {
    let running = Setup::default().serve(hello).await;
    for sent in [&b""[..], b"P", b"PRI * HT"] {
        let after = closed_after(running.address, sent).await;
        assert!(
            (TEN_SECONDS..TEN_SECONDS * 2).contains(&after),
            "{sent:?}: {after:?}"
        );
    }
    assert_eq!(running.stats.closed(Closed::NothingSent), 3);
}

#[tokio::test(start_paused = true)]
async fn d24_a_handshake_that_is_not_done_is_closed_after_ten_seconds() {
    let (acceptor, _) = tls();
    assert_eq!(
        acceptor.current().config().max_early_data_size,
        0,
        "0-RTT is off"
    );
    let running = Setup {
        tls: Some(acceptor),
        limits: Limits::default(),
        ..Setup::default()
    }
    .serve(hello)
    .await;
    for sent in [&b""[..], b"\x16", b"\x16\x03\x01\x00"] {
        let after = closed_after(running.address, sent).await;
        assert!(
            (TEN_SECONDS..TEN_SECONDS * 2).contains(&after),
            "{sent:?}: {after:?}"
        );
    }
    assert_eq!(running.stats.closed(Closed::SlowHandshake), 3);
    assert_eq!(running.stats.connections(State::New), 0);
}

#[tokio::test]
async fn drain_does_not_wait_for_a_handshake_that_nobody_goes_on_with() {
    let (acceptor, _) = tls();
    let running = Setup {
        tls: Some(acceptor),
        idle_window: Duration::ZERO,
        ..Setup::default()
    }
    .serve(hello)
    .await;
    let mut half = connect(running.address).await;
    send(&mut half, "\x16").await;
    running.drain.advance();
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test(start_paused = true)]
async fn d34_half_a_header_of_the_proxy_protocol_is_closed_after_ten_seconds() {
    let running = Setup {
        proxies: Proxies {
            trusted: vec!["127.0.0.1".parse::<std::net::IpAddr>().unwrap().into()],
            announced: Announced::ByHeader,
        },
        ..Setup::default()
    }
    .serve(hello)
    .await;
    for sent in [
        &b""[..],
        b"PROXY TCP4 192.0.2.1",
        b"\r\n\r\n\0\r\nQUIT\n\x21",
    ] {
        let after = closed_after(running.address, sent).await;
        assert!(
            (TEN_SECONDS..TEN_SECONDS * 2).contains(&after),
            "{sent:?}: {after:?}"
        );
    }
    assert_eq!(running.stats.closed(Closed::NothingSent), 3);
    assert!(closed_after(running.address, GET.as_bytes()).await < TEN_SECONDS);
    assert_eq!(running.stats.closed(Closed::Refused), 1);
}

#[tokio::test]
async fn d22_who_makes_room_and_who_finds_none_is_counted() {
    let running = Setup {
        limits: Limits {
            connections: 1,
            ..Limits::default()
        },
        ..Setup::default()
    }
    .serve(hello)
    .await;
    let mut silent = connect(running.address).await;
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    assert_eq!(response(&mut client).await, HELLO);
    assert_eq!(rest(&mut silent).await, "");
    let mut late = connect(running.address).await;
    assert_eq!(
        rest(&mut late).await,
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: 19\r\n\r\nService Unavailable"
    );
    send(&mut client, GET).await;
    assert_eq!(response(&mut client).await, HELLO);
    assert_eq!(running.stats.closed(Closed::MadeRoom), 1);
    assert_eq!(running.stats.closed(Closed::NoRoom), 1);
}

#[tokio::test]
async fn a_hand_over_leaves_who_waits_to_the_other() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let ours = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    let running = Setup::default().serve_on(ours, true, hello).await;
    // Draining has begun before it runs for the first time: it accepts nobody.
    running.drain.advance();
    assert_eq!(running.serving.await.unwrap(), Drained { cut: 0 });
    let mut client = connect(address).await;
    let other = TcpListener::from_std(listener).unwrap();
    let running = Setup::default().serve_on(other, false, hello).await;
    send(&mut client, GET).await;
    assert_eq!(response(&mut client).await, HELLO);
    drop(running);
}
