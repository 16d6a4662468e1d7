//! HTTP/2 on its bytes, over a pipe, in a time of the tests' own.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::frames::{
    CONTINUATION, DATA, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, NO_ERROR, PING, RST_STREAM, SETTINGS,
};
use runner_host::RequestId;

use super::*;
use crate::accept::tests::unless;
use crate::drain::Requests;
use crate::error::refuse_target;
use crate::stats::Stats;

const PRIORITY: u8 = 0x2;
const WINDOW_UPDATE: u8 = 0x8;
const UNKNOWN: u8 = 0x77;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// More than any response or flood here.
const ROOMY: usize = 16 * 1024 * 1024;

type TestBody = UnsyncBoxBody<Bytes, BoxError>;
type Answer = Pin<Box<dyn Future<Output = Response<TestBody>> + Send>>;

/// One connection: its client, and what can be known of its server.
struct Scene {
    client: DuplexStream,
    stats: Stats,
    requests: Requests,
    drain: Drain,
    serving: JoinHandle<()>,
    /// What was refused without a guest.
    lines: Arc<Mutex<Vec<&'static str>>>,
    began: Instant,
}

impl Scene {
    /// The client has said nothing but the preface.
    fn start(pipe: usize, answer: fn(Request<Received>) -> Answer) -> Scene {
        let (client, server) = duplex(pipe);
        let (stats, requests, drain) = (Stats::default(), Requests::default(), Drain::new());
        let told = Arc::<Mutex<Vec<_>>>::default();
        let lines = told.clone();
        let connections = Connections {
            answer: move |asked: Asked, _: Peer| -> Answer {
                match asked {
                    Ok(request) => {
                        let late = request.body().late();
                        let refusal = move || late.is().then(|| refused(Refusal::SlowBody));
                        Box::pin(unless(refusal, answer(request)))
                    }
                    Err(unread) => {
                        told.lock().unwrap().push(unread.refusal.as_str());
                        Box::pin(async move { refused(unread.refusal) })
                    }
                }
            },
            tls: None,
            drain: drain.clone(),
            requests: requests.clone(),
            limits: Limits::default(),
            stats: stats.clone(),
            proxies: Default::default(),
        };
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let peer = Peer {
            address,
            local: address,
            scheme: "http",
            client_scheme: "http",
            is_proxy: false,
        };
        let preface = Bytes::from_static(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let serving = tokio::spawn(connections.http2(preface, server, || (), peer, stats.open()));
        Scene {
            client,
            stats,
            requests,
            drain,
            serving,
            lines,
            began: Instant::now(),
        }
    }

    /// After the client's own SETTINGS, which are these.
    async fn greeted(
        pipe: usize,
        settings: &[u8],
        answer: fn(Request<Received>) -> Answer,
    ) -> Scene {
        let mut scene = Scene::start(pipe, answer);
        scene.send(&frame(SETTINGS, 0, 0, settings)).await;
        scene
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A server that has had enough need not read all.
        let _ = self.client.write_all(bytes).await;
    }

    /// The next frame that is no SETTINGS, PING or WINDOW_UPDATE; pings are answered. `None` at the end.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        loop {
            let (kind, flags, stream, payload) = read_frame(&mut self.client).await?;
            match kind {
                PING if flags & ACK == 0 => self.send(&frame(PING, ACK, 0, &payload)).await,
                PING | SETTINGS | WINDOW_UPDATE => {}
                _ => return Some((kind, flags, stream, payload)),
            }
        }
    }

    /// Reads until the connection ends. What it said as its last frame, and why the server says it ended.
    async fn end(mut self) -> (Option<(u8, Option<u32>)>, Vec<&'static str>, u64) {
        let mut last = None;
        while let Some((kind, _, _, payload)) = self.next().await {
            let reason = (kind == GOAWAY).then(|| payload[4..8].try_into().unwrap());
            last = Some((kind, reason.map(u32::from_be_bytes)));
        }
        let seconds = self.began.elapsed().as_secs();
        drop(self.client);
        self.serving.await.unwrap();
        assert_eq!(self.requests.count(), 0);
        (last, closed(&self.stats), seconds)
    }
}

fn closed(stats: &Stats) -> Vec<&'static str> {
    let reasons = Closed::ALL.iter();
    reasons
        .filter(|reason| stats.closed(**reason) > 0)
        .map(|reason| reason.as_str())
        .collect()
}

async fn read_frame(client: &mut DuplexStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    client.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
    Some((head[3], head[4], stream, payload))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as HPACK has them that are neither indexed nor compressed.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let text = |block: &mut Vec<u8>, text: &str| {
        let mut length = text.len();
        if length < 127 {
            block.push(length as u8);
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push((length % 128 + 128) as u8);
                length /= 128;
            }
            block.push(length as u8);
        }
        block.extend(text.as_bytes());
    };
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a"),
    (":path", "/"),
];

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GET))
}

fn post(stream: u32) -> Vec<u8> {
    let mut fields = GET;
    fields[0].1 = "POST";
    frame(HEADERS, END_HEADERS, stream, &block(&fields))
}

/// The status of the first response of a connection.
fn status(block: &[u8]) -> u16 {
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500][*indexed as usize - 0x88]
        }
        [0x48, length, rest @ ..] => digits(&rest[..(length & 0x7f) as usize]),
        _ => panic!("no status: {block:?}"),
    }
}

/// Huffman-coded digits: 0 to 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)))
        .collect();
    let value = |bits: &[u16]| bits.iter().fold(0, |value, bit| value * 2 + bit);
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let short = value(&bits[at..at + 5]);
        let digit = if short < 3 {
            at += 5;
            short
        } else {
            at += 6;
            value(&bits[at - 6..at]) - 0b1_1001 + 3
        };
        number = number * 10 + digit;
    }
    number
}

fn body(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn refused(refusal: Refusal) -> Response<TestBody> {
    let (head, _) = refuse_target(refusal, http::Version::HTTP_2, RequestId::next()).into_parts();
    Response::from_parts(head, body(""))
}

fn hello(_: Request<Received>) -> Answer {
    Box::pin(async { Response::new(body("hello")) })
}

fn stuck(request: Request<Received>) -> Answer {
    Box::pin(async move {
        let _kept = request;
        std::future::pending().await
    })
}

/// A megabyte in one piece.
fn large(_: Request<Received>) -> Answer {
    Box::pin(async { Response::new(body(vec![b'x'; 1024 * 1024])) })
}

/// Answers with what it read.
fn echo(request: Request<Received>) -> Answer {
    Box::pin(async move {
        match request.into_body().collect().await {
            Ok(whole) => Response::new(body(whole.to_bytes())),
            Err(_) => {
                let mut response = Response::new(body(""));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    })
}

/// Says five bytes, then that it has failed.
struct Breaking(Option<Bytes>);

impl Body for Breaking {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(match self.0.take() {
            Some(data) => Ok(Frame::data(data)),
            None => Err("trapped".into()),
        }))
    }
}

fn breaking(_: Request<Received>) -> Answer {
    Box::pin(async { Response::new(Breaking(Some(Bytes::from("hello"))).boxed_unsync()) })
}

#[tokio::test(start_paused = true)]
async fn d17_d18_what_is_begun_and_not_finished_ends_the_connection() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let open = frame(HEADERS, END_STREAM, 1, &block(&GET[..2]));
    let more = frame(CONTINUATION, 0, 1, &block(&GET[2..3]));
    for (name, bytes) in [
        ("nothing after the preface", vec![]),
        ("half a frame's head", settings[..5].to_vec()),
        (
            "half a PING",
            [&settings[..], &frame(PING, 0, 0, &[0; 8])[..12]].concat(),
        ),
        ("an open block", [&settings[..], &open].concat()),
        (
            "a block that goes on",
            [&settings[..], &open, &more].concat(),
        ),
    ] {
        let mut scene = Scene::start(ROOMY, hello);
        scene.send(&bytes).await;
        let (last, reasons, seconds) = scene.end().await;
        assert_eq!(last, Some((GOAWAY, Some(NO_ERROR))), "{name}");
        assert_eq!((reasons, seconds), (vec!["slow_head"], 10), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn d18_a_head_has_its_time_and_not_each_part_of_it() {
    let mut scene = Scene::greeted(ROOMY, &[], hello).await;
    for byte in &get(1)[..9] {
        scene.send(&[*byte]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (_, reasons, seconds) = scene.end().await;
    assert_eq!((reasons, seconds), (vec!["slow_head"], 10));
}

#[tokio::test(start_paused = true)]
async fn d21_a_connection_that_asks_for_nothing_is_told_to_go() {
    let mut scene = Scene::greeted(ROOMY, &[], hello).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    scene.send(&get(1)).await;
    let (last, reasons, seconds) = scene.end().await;
    assert_eq!(last, Some((GOAWAY, Some(NO_ERROR))));
    assert_eq!((reasons, seconds), (vec!["idle"], 15 + 60));
}

#[tokio::test(start_paused = true)]
async fn d58_a_ping_must_be_answered() {
    for answer in [hello, stuck] {
        let mut scene = Scene::greeted(ROOMY, &[], answer).await;
        scene.send(&get(1)).await;
        let mut all = Vec::new();
        scene.client.read_to_end(&mut all).await.unwrap();
        assert_eq!(scene.began.elapsed().as_secs(), 40);
        scene.serving.await.unwrap();
        assert_eq!(closed(&scene.stats), ["client_gone"]);
        assert_eq!(scene.requests.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn d19_a_body_that_does_not_come_is_told_so() {
    for (bytes, seconds) in [(0, 10), (100, 10), (240 * 20, 20), (60_000, 30)] {
        let mut scene = Scene::greeted(ROOMY, &[], echo).await;
        scene.send(&post(1)).await;
        for part in vec![0; bytes].chunks(16_000) {
            scene.send(&frame(DATA, 0, 1, part)).await;
        }
        let (kind, _, stream, head) = scene.next().await.unwrap();
        assert_eq!((kind, stream, status(&head)), (HEADERS, 1, 408), "{bytes}");
        // The request's own line says it.
        assert_eq!(scene.lines.lock().unwrap()[..], [""; 0], "{bytes}");
        assert_eq!(scene.began.elapsed().as_secs(), seconds, "{bytes}");
        assert_eq!(scene.requests.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn d20_a_client_that_reads_nothing_is_cut() {
    let mut scene = Scene::greeted(1024, &[], large).await;
    scene.send(&get(1)).await;
    let began = Instant::now();
    scene.serving.await.unwrap();
    // What would say so does not fit into the pipe either.
    assert_eq!(began.elapsed().as_secs(), 31);
    assert_eq!(closed(&scene.stats), ["write_stall"]);
    assert_eq!(scene.requests.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn d49_a_client_that_does_not_read_its_answers_is_cut() {
    let mut scene = Scene::greeted(1024, &[], stuck).await;
    // Fewer than the budget allows. What is owed for them fills the pipe, and then nothing more is read.
    scene.send(&frame(PING, 0, 0, &[0; 8]).repeat(400)).await;
    scene.serving.await.unwrap();
    assert_eq!(closed(&scene.stats), ["write_stall"]);
    assert_eq!(scene.began.elapsed().as_secs(), 31);
}

#[tokio::test(start_paused = true)]
async fn d53_a_stream_without_a_window_is_reset_and_no_other() {
    // SETTINGS_INITIAL_WINDOW_SIZE 0
    let mut scene = Scene::greeted(ROOMY, &[0, 4, 0, 0, 0, 0], large).await;
    for stream in [1, 3] {
        scene.send(&get(stream)).await;
    }
    for _ in 0..2 {
        assert_eq!(scene.next().await.unwrap().0, HEADERS);
    }
    let one_byte = frame(WINDOW_UPDATE, 0, 3, &1u32.to_be_bytes());
    tokio::time::sleep(Duration::from_secs(20)).await;
    scene.send(&one_byte).await;
    assert_eq!(scene.next().await.unwrap().0, DATA);
    for (stream, seconds) in [(1, 30), (3, 50)] {
        let reset = scene.next().await.unwrap();
        assert_eq!((reset.0, reset.2), (RST_STREAM, stream));
        assert_eq!(scene.began.elapsed().as_secs(), seconds);
    }
    assert_eq!(closed(&scene.stats), [""; 0]);
    assert_eq!(scene.requests.count(), 0);
}

/// Posts that are echoed, each with so many bytes, one in 20 seconds; and how the connection ended meanwhile, if it did.
async fn busy(settings: &[u8], bytes: &[usize], updates: bool) -> (Vec<&'static str>, u64) {
    let mut scene = Scene::greeted(ROOMY, settings, echo).await;
    for (index, bytes) in bytes.iter().enumerate() {
        let stream = index as u32 * 2 + 1;
        scene.send(&post(stream)).await;
        let body = frame(DATA, END_STREAM, stream, &vec![b'x'; *bytes]);
        scene.send(&body).await;
        let until = Instant::now() + Duration::from_secs(20);
        while let Ok(Some((kind, _, _, payload))) =
            tokio::time::timeout_at(until, scene.next()).await
        {
            if kind == GOAWAY {
                assert_eq!(payload[4..8], NO_ERROR.to_be_bytes());
            }
        }
        tokio::time::sleep_until(until).await;
        if updates {
            let one = frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes());
            scene.send(&one).await;
        }
    }
    (closed(&scene.stats), scene.began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn d53_the_end_of_a_response_without_a_window_ends_its_connection() {
    // SETTINGS_INITIAL_WINDOW_SIZE 5
    let settings = [0, 4, 0, 0, 0, 5];
    for (name, bytes, updates, ended) in [
        ("all of it fits", &[5; 8][..], false, &[][..]),
        (
            "one does not",
            &[90, 5, 5, 5, 5, 5, 5, 5],
            false,
            &["write_stall"],
        ),
        (
            "one does, a byte in 20 seconds",
            &[90, 5, 5, 5, 5, 5, 5, 5],
            true,
            &[],
        ),
    ] {
        let (reasons, seconds) = busy(&settings, bytes, updates).await;
        assert_eq!((&reasons[..], seconds), (ended, 160), "{name}");
    }
}

#[test]
fn who_was_sent_nothing_since_it_was_last_looked_at_is_stalled() {
    use super::frames::Follower;
    let mut unread = super::unread::Unread::default();
    let sees = |unread: &mut super::unread::Unread, bytes: Vec<u8>| {
        Follower::of_server().follow(&bytes, |frame| {
            unread.sees(frame);
            true
        });
    };
    for stream in [1, 3, 5, 7, 9] {
        unread.begins(stream);
    }
    assert_eq!((unread.count(), unread.stalled()), (5, 0));
    sees(&mut unread, frame(DATA, 0, 1, b"x"));
    sees(&mut unread, frame(DATA, END_STREAM, 3, b"x"));
    sees(&mut unread, frame(RST_STREAM, 0, 5, &[0; 4]));
    sees(&mut unread, frame(DATA, 0, 11, b"x"));
    unread.taken_back(7);
    assert_eq!((unread.count(), unread.stalled()), (2, 1));
    assert_eq!(unread.stalled(), 2);
}

static HANDED: AtomicUsize = AtomicUsize::new(0);

/// Counts what is taken of it.
struct Counted;

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        HANDED.fetch_add(1000, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1000])))))
    }
}

#[tokio::test(start_paused = true)]
async fn d53_what_waits_for_a_client_is_little() {
    let answer = |_| -> Answer { Box::pin(async { Response::new(Counted.boxed_unsync()) }) };
    let mut scene = Scene::greeted(ROOMY, &[0, 4, 0, 0, 0, 1], answer).await;
    scene.send(&get(1)).await;
    while scene.next().await.unwrap().0 != RST_STREAM {}
    let handed = HANDED.load(Ordering::Relaxed);
    assert!(handed <= 64 * 1024 + 2000, "{handed}");
}

#[tokio::test(start_paused = true)]
async fn d69_what_a_guest_said_before_it_failed_is_sent() {
    let mut scene = Scene::greeted(ROOMY, &[], breaking).await;
    scene.send(&get(1)).await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let (kind, flags, _, payload) = scene.next().await.unwrap();
        kinds.push((kind, flags & END_STREAM, payload.len()));
    }
    assert_eq!(kinds[0].0, HEADERS);
    assert_eq!(kinds[1..], [(DATA, 0, 5), (RST_STREAM, 0, 4)]);
}

/// Answers with the trailers that it may see, or with why it may not.
fn trailers(request: Request<Received>) -> Answer {
    Box::pin(async move {
        let text = match request.into_body().collect().await {
            Ok(whole) => format!("{:?}", whole.trailers()),
            Err(broken) => broken.to_string(),
        };
        Response::new(body(text))
    })
}

#[tokio::test(start_paused = true)]
async fn d13_trailers_are_few_and_decide_nothing() {
    let forged = [
        ("host", "b"),
        ("authorization", "x"),
        ("x-forwarded-for", "6.6.6.6"),
        ("spin-client-addr", "6.6.6.6"),
        ("x-checksum", "7"),
    ];
    let many = [("a", "b")].repeat(101);
    for (fields, expected) in [
        (&forged[..], "Some({\"x-checksum\": \"7\"})"),
        (&many[..], "the request has too many trailers"),
    ] {
        let mut scene = Scene::greeted(ROOMY, &[], trailers).await;
        scene.send(&post(1)).await;
        scene.send(&frame(DATA, 0, 1, b"hello")).await;
        let trailers = block(fields);
        scene
            .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers))
            .await;
        assert_eq!(scene.next().await.unwrap().0, HEADERS);
        let text = scene.next().await.unwrap().3;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}

/// What comes behind its last stream is as good as not sent: these need one that is open.
fn on_an_open_stream(bytes: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    (post(1), bytes)
}

#[tokio::test(start_paused = true)]
async fn d46_d48_d49_d50_floods_end_at_a_stated_count() {
    let none = |bytes: Vec<u8>| (Vec::new(), bytes);
    for (name, (before, flood), taken) in [
        ("SETTINGS", none(frame(SETTINGS, 0, 0, &[])), 499),
        (
            "SETTINGS of 2 KiB",
            none(frame(SETTINGS, 0, 0, &[0; 6 * 350])),
            249,
        ),
        ("PING", none(frame(PING, 0, 0, &[0; 8])), 499),
        (
            "PING, acknowledged",
            none(frame(PING, ACK, 0, &[0; 8])),
            499,
        ),
        (
            "PRIORITY",
            none(frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
            998,
        ),
        (
            "WINDOW_UPDATE",
            none(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
            998,
        ),
        ("an unknown type", none(frame(UNKNOWN, 0, 0, &[0; 3])), 998),
    ] {
        let mut scene = Scene::greeted(ROOMY, &[], stuck).await;
        scene.send(&before).await;
        scene.send(&flood.repeat(taken)).await;
        // Told by an answer, all of that has been read, and the connection lives.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(closed(&scene.stats), [""; 0], "{name}");
        scene.send(&flood.repeat(20_000)).await;
        let (last, reasons, seconds) = scene.end().await;
        assert_eq!(last, Some((GOAWAY, Some(ENHANCE_YOUR_CALM))), "{name}");
        assert_eq!((reasons, seconds), (vec!["http2"], 0), "{name}");
    }
    for (name, (before, flood)) in [
        ("empty DATA", on_an_open_stream(frame(DATA, 0, 1, &[]))),
        ("padding", on_an_open_stream(frame(DATA, 8, 1, &[1, 0]))),
        (
            "empty CONTINUATION",
            (frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 0, 1, &[])),
        ),
        (
            "CONTINUATION",
            (
                frame(HEADERS, 0, 1, &[]),
                frame(CONTINUATION, 0, 1, &block(&[("a", &"x".repeat(9000))])),
            ),
        ),
    ] {
        let mut scene = Scene::greeted(ROOMY, &[], stuck).await;
        scene.send(&before).await;
        scene.send(&flood.repeat(2_500)).await;
        let (last, reasons, seconds) = scene.end().await;
        assert_eq!(last, Some((GOAWAY, Some(ENHANCE_YOUR_CALM))), "{name}");
        assert_eq!((reasons, seconds), (vec!["http2"], 0), "{name}");
    }
}

static STARTED: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(start_paused = true)]
async fn d46_a_request_that_is_taken_back_starts_few_guests() {
    let answer = |request| {
        STARTED.fetch_add(1, Ordering::Relaxed);
        stuck(request)
    };
    let mut scene = Scene::greeted(ROOMY, &[], answer).await;
    for number in 0..1000 {
        let stream = number * 2 + 1;
        scene.send(&get(stream)).await;
        // Each gets so far that its guest runs.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        scene
            .send(&frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()))
            .await;
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    let (last, reasons, _) = scene.end().await;
    assert_eq!(last, Some((GOAWAY, Some(ENHANCE_YOUR_CALM))));
    assert_eq!(reasons, ["http2"]);
    assert_eq!(STARTED.load(Ordering::Relaxed), 167);
}

#[tokio::test(start_paused = true)]
async fn an_honest_client_is_never_short_of_tokens() {
    let mut scene = Scene::greeted(ROOMY, &[], hello).await;
    for number in 0..5000 {
        let stream = number * 2 + 1;
        let update = |stream| frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 5]);
        scene.send(&get(stream)).await;
        while scene.next().await.unwrap().1 & END_STREAM == 0 {}
        scene.send(&[update(0), update(stream)].concat()).await;
        scene.send(&frame(PING, 0, 0, &[0; 8])).await;
        scene
            .send(&frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]))
            .await;
    }
    assert_eq!(scene.began.elapsed().as_secs(), 0);
    assert_eq!(closed(&scene.stats), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn d51_a_hundred_streams_and_no_more() {
    let mut scene = Scene::greeted(ROOMY, &[], stuck).await;
    for number in 0..300 {
        scene.send(&get(number * 2 + 1)).await;
    }
    for number in 100..300 {
        let refused = scene.next().await.unwrap();
        // REFUSED_STREAM: it may be asked for again.
        assert_eq!((refused.0, refused.2), (RST_STREAM, number * 2 + 1));
        assert_eq!(refused.3, 7u32.to_be_bytes());
    }
    assert_eq!(scene.requests.count(), 100);
    assert_eq!(closed(&scene.stats), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn d15_d52_a_head_has_its_size_in_http2_too() {
    let long = "x".repeat(20 * 1024);
    let path = format!("/{}", &long[..8 * 1024]);
    let many = [("a", "b")];
    for (name, fields, expected, line) in [
        ("100 fields", many.repeat(100), 200, None),
        ("101 fields", many.repeat(101), 431, Some("many_fields")),
        ("15 KiB", vec![("a", &long[..15 * 1024])], 200, None),
        ("20 KiB", vec![("a", &long[..])], 431, Some("large_head")),
        // Which h2 answers.
        (
            "40 KiB",
            vec![("a", &long[..]), ("b", &long)],
            431,
            Some("large_head"),
        ),
        (
            "a path of 8 KiB",
            vec![(":path", &path[..8 * 1024])],
            200,
            None,
        ),
        (
            "a longer path",
            vec![(":path", &path[..])],
            414,
            Some("long_target"),
        ),
    ] {
        let mut all = GET.to_vec();
        if fields[0].0 == ":path" {
            all.pop();
        }
        all.extend(fields);
        let block = block(&all);
        let mut scene = Scene::greeted(ROOMY, &[], hello).await;
        let parts: Vec<_> = block.chunks(16 * 1024).collect();
        for (index, part) in parts.iter().enumerate() {
            let last = if index + 1 == parts.len() {
                END_HEADERS
            } else {
                0
            };
            let (kind, flags) = if index == 0 {
                (HEADERS, END_STREAM)
            } else {
                (CONTINUATION, 0)
            };
            scene.send(&frame(kind, flags | last, 1, part)).await;
        }
        let (kind, _, _, head) = scene.next().await.unwrap();
        assert_eq!((kind, status(&head)), (HEADERS, expected), "{name}");
        let lines = scene.lines.lock().unwrap().clone();
        assert_eq!(lines, Vec::from_iter(line), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn d55_what_h2_turns_down_by_itself_has_one_line() {
    let with = |stream, flags, field: (&str, &str)| {
        let fields = [&GET[..], &[field]].concat();
        frame(HEADERS, flags | END_HEADERS, stream, &block(&fields))
    };
    let bad = |stream| with(stream, END_STREAM, ("connection", "x"));
    // Each field counts as 34 bytes and has 5.
    let large = |stream, flags| {
        let fields = [&GET[..], &[("a", "b"); 1200]].concat();
        frame(HEADERS, flags | END_HEADERS, stream, &block(&fields))
    };
    let data = |stream| frame(DATA, END_STREAM, stream, b"hello");
    let mut announced = GET.to_vec();
    announced[0].1 = "POST";
    announced.push(("content-length", "2"));
    let announced = frame(HEADERS, END_HEADERS, 1, &block(&announced));
    let ping = frame(PING, 0, 0, &[0; 8]);
    for (name, frames, answer, lines) in [
        ("a good one", vec![get(1)], hello as fn(_) -> _, vec![]),
        ("a bad one", vec![bad(1)], hello, vec!["malformed"]),
        (
            "one that is too large",
            vec![large(1, END_STREAM)],
            hello,
            vec!["large_head"],
        ),
        (
            "one whose body would follow, and a bad one",
            vec![[large(1, 0), bad(3)].concat()],
            hello,
            vec!["malformed", "large_head"],
        ),
        (
            "one that is no HTTP/2",
            vec![with(1, END_STREAM, ("X", "y"))],
            hello,
            vec!["http2"],
        ),
        (
            "one that is taken back",
            vec![[get(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat()],
            hello,
            vec![],
        ),
        (
            "bad ones among good ones",
            vec![get(1), [bad(3), get(5), bad(7)].concat()],
            stuck,
            vec!["malformed", "malformed"],
        ),
        (
            "a body that is longer than it was said to be",
            vec![announced, data(1), get(3)],
            echo,
            vec![],
        ),
        (
            "the same beside a head that has not come",
            vec![post(1), get(3)[..20].to_vec()],
            stuck,
            vec!["slow_head"],
        ),
        ("frames on no stream", vec![data(0)], hello, vec!["http2"]),
        (
            "a flood",
            vec![get(1), ping.repeat(1000)],
            hello,
            vec!["http2"],
        ),
        (
            "a hundred and one",
            (0..101).map(|number| get(number * 2 + 1)).collect(),
            stuck,
            vec![],
        ),
        (
            "a hundred and one, and a bad one before",
            std::iter::once(bad(1))
                .chain((1..102).map(|number| get(number * 2 + 1)))
                .collect(),
            stuck,
            vec!["malformed"],
        ),
    ] {
        let mut scene = Scene::greeted(ROOMY, &[], answer).await;
        for frame in frames {
            scene.send(&frame).await;
        }
        let told = scene.lines.clone();
        let _ = tokio::time::timeout(Duration::from_secs(25), scene.end()).await;
        assert_eq!(*told.lock().unwrap(), lines, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn d57_a_drain_does_not_wait_for_a_client_that_says_nothing() {
    let mut scene = Scene::greeted(ROOMY, &[], hello).await;
    scene.send(&get(1)).await;
    while scene.next().await.unwrap().0 != DATA {}
    scene.drain.advance();
    let mut all = Vec::new();
    scene.client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all[3], GOAWAY);
    assert_eq!(scene.began.elapsed().as_secs(), 1);
    scene.serving.await.unwrap();
    assert_eq!(closed(&scene.stats), ["drained"]);
}

#[tokio::test(start_paused = true)]
async fn d57_what_is_in_progress_finishes_first() {
    let slow = |_| -> Answer {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Response::new(body("hello"))
        })
    };
    let mut scene = Scene::greeted(ROOMY, &[], slow).await;
    scene.send(&get(1)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.drain.advance();
    let mut kinds = Vec::new();
    while let Some((kind, ..)) = scene.next().await {
        kinds.push(kind);
    }
    assert_eq!(kinds, [GOAWAY, GOAWAY, HEADERS, DATA]);
    assert_eq!(scene.began.elapsed().as_secs(), 25);
}
