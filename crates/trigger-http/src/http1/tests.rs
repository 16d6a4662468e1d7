//! One connection of HTTP/1, on the bytes that go over it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use std::pin::Pin;
use std::task::Context;

use super::*;
use crate::accept::tests::{
    GET, HELLO, Running, Setup, Story, TestBody, Told, connect, hello, response, rest, send,
    without_id,
};
use crate::limits::Limits;

/// Short enough to wait for.
const SOON: Duration = Duration::from_millis(50);

/// All that comes back for these bytes, without the dates. The client says that it sends no more.
async fn exchange(running: &Running, bytes: impl AsRef<[u8]>) -> String {
    let mut client = connect(running.address).await;
    // A server that has refused may have closed before all of it is sent.
    let _ = client.write_all(bytes.as_ref()).await;
    let _ = client.shutdown().await;
    answer(&mut client).await
}

/// What is left until the server closes, without the dates.
async fn answer(client: &mut TcpStream) -> String {
    let text = rest(client).await;
    let lines = text.split_inclusive("\r\n");
    let text: String = lines.filter(|line| !line.starts_with("date: ")).collect();
    without_id(&text)
}

/// Waits until a connection has ended for a reason.
async fn closed(running: &Running, reason: Closed) {
    while running.stats.closed(reason) == 0 {
        tokio::task::yield_now().await;
    }
}

fn refusal(status: &str) -> String {
    let (_, text) = status.split_once(' ').unwrap();
    let text = format!("{text}\nrequest id: ID\n");
    // An id has 16 digits.
    let length = text.len() - 2 + 16;
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}")
}

/// Says what it was sent.
async fn echo(request: Request<Received>) -> Response<TestBody> {
    Response::new(request.into_body().boxed_unsync())
}

/// Reads what it is sent, and says what became of it.
async fn read(request: Request<Received>) -> Response<TestBody> {
    let text = match request.into_body().collect().await {
        Ok(whole) => {
            let trailers = whole.trailers().map(|trailers| trailers.keys().count());
            format!("{} bytes, {trailers:?} trailers", whole.to_bytes().len())
        }
        Err(error) => error.to_string(),
    };
    Response::new(
        Full::from(text)
            .map_err(|never| match never {})
            .boxed_unsync(),
    )
}

/// A body of frames that a test sends.
struct Frames(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BoxError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

/// Answers with these frames at once, under these fields, and then ends.
fn answers(
    fields: &'static [(&'static str, &'static str)],
    frames: &'static [Result<&'static str, &'static str>],
) -> impl Fn(Request<Received>) -> std::future::Ready<Response<TestBody>> + Clone + Send + Sync + 'static
{
    move |_| {
        let (sender, receiver) = mpsc::unbounded_channel();
        for frame in frames {
            let frame = frame.map(|text| Frame::data(Bytes::from(text)));
            sender.send(frame.map_err(BoxError::from)).unwrap();
        }
        let mut response = Response::new(Frames(receiver).boxed_unsync());
        for (name, value) in fields {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        std::future::ready(response)
    }
}

/// A guest that never stops writing.
struct Flood(#[expect(dead_code, reason = "it tells when it is dropped")] Told);

impl http_body::Body for Flood {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(
            &[b'x'; 64 * 1024],
        )))))
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_nothing_behind_it_is_answered() {
    let (story, mut told) = Story::new();
    let answer = move |request| {
        let _called = story.called();
        hello(request)
    };
    let running = Setup::default().serve(answer).await;
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    for (bytes, status) in [
        (
            post("content-length: 3\r\ntransfer-encoding: chunked\r\n"),
            "400 Bad Request",
        ),
        (
            post("content-length: 3\r\ncontent-length: 3\r\n"),
            "400 Bad Request",
        ),
        (post("content-length: +3\r\n"), "400 Bad Request"),
        (
            post("transfer-encoding: gzip, chunked\r\n"),
            "400 Bad Request",
        ),
        (post("a : b\r\n"), "400 Bad Request"),
        (post("a: b\n"), "400 Bad Request"),
        (post("a: b\r\n c\r\n"), "400 Bad Request"),
        (post("expect: other\r\n"), "417 Expectation Failed"),
        (
            post(&"a: b\r\n".repeat(100)),
            "431 Request Header Fields Too Large",
        ),
        (
            post(&format!("a: {}\r\n", "x".repeat(64 * 1024))),
            "431 Request Header Fields Too Large",
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(8 * 1024)),
            "414 URI Too Long",
        ),
        (
            "GET /#a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "400 Bad Request",
        ),
        (
            "GET / HTTP/1.2\r\nhost: a\r\n\r\n".to_owned(),
            "505 HTTP Version Not Supported",
        ),
        (
            "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned(),
            "400 Bad Request",
        ),
    ] {
        let answer = exchange(&running, format!("{bytes}{GET}")).await;
        assert_eq!(
            answer,
            refusal(status),
            "{:?}",
            &bytes[..bytes.len().min(120)]
        );
    }
    assert!(told.try_recv().is_err(), "no guest was called");
}

#[tokio::test]
async fn d11_a_broken_chunk_is_an_error_to_the_guest_and_the_end_of_the_connection() {
    let running = Setup::default().serve(read).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in [
        "0x1\r\nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n\n",
    ] {
        let answer = exchange(&running, format!("{head}{chunks}{GET}")).await;
        let text = "the body breaks its own framing";
        let expected =
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 31\r\n\r\n{text}");
        assert_eq!(answer, expected, "{chunks:?}");
    }
    let whole = "1;a=b\r\nx\r\n0\r\nsum: 1\r\n\r\n";
    let text = "1 bytes, Some(1) trailers";
    let expected = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{text}HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n0 bytes, None trailers"
    );
    assert_eq!(
        exchange(&running, format!("{head}{whole}{GET}")).await,
        expected
    );
}

#[tokio::test]
async fn d16_d18_d21_a_client_is_waited_for_only_so_long() {
    let slow_head = refusal("408 Request Timeout");
    for (limits, bytes, reason, expected) in [
        (
            Limits {
                first_byte: SOON,
                ..Limits::default()
            },
            "",
            Closed::NothingSent,
            String::new(),
        ),
        (
            Limits {
                first_byte: SOON,
                ..Limits::default()
            },
            "P",
            Closed::NothingSent,
            String::new(),
        ),
        (
            Limits {
                first_byte: SOON,
                ..Limits::default()
            },
            "PRI * HT",
            Closed::NothingSent,
            String::new(),
        ),
        (
            Limits {
                head: SOON,
                ..Limits::default()
            },
            "G",
            Closed::SlowHead,
            slow_head.clone(),
        ),
        (
            Limits {
                head: SOON,
                ..Limits::default()
            },
            "GET / HTTP/1.1\r\nhost",
            Closed::SlowHead,
            slow_head,
        ),
        (
            Limits {
                keep_alive: SOON,
                ..Limits::default()
            },
            GET,
            Closed::Idle,
            HELLO.to_owned(),
        ),
    ] {
        let running = Setup {
            limits,
            ..Setup::default()
        }
        .serve(hello)
        .await;
        let mut client = connect(running.address).await;
        send(&mut client, bytes).await;
        assert_eq!(answer(&mut client).await, expected, "{bytes:?}");
        closed(&running, reason).await;
    }
}

#[tokio::test]
async fn d18_a_head_has_its_time_however_often_a_byte_comes() {
    let limits = Limits {
        head: Duration::from_millis(300),
        ..Limits::default()
    };
    let running = Setup {
        limits,
        ..Setup::default()
    }
    .serve(hello)
    .await;
    let client = connect(running.address).await;
    let (mut reader, mut writer) = client.into_split();
    let dripping = tokio::spawn(async move {
        let _ = writer.write_all(b"GET / HTTP/1.1\r\na: ").await;
        let mut drip = tokio::time::interval(Duration::from_millis(20));
        while writer.write_all(b"x").await.is_ok() {
            drip.tick().await;
        }
    });
    let mut text = String::new();
    // The server lingers, then closes; a byte that comes later is answered with a reset.
    let _ = reader.read_to_string(&mut text).await;
    assert!(
        text.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{text:?}"
    );
    closed(&running, Closed::SlowHead).await;
    dripping.abort();
}

#[tokio::test]
async fn d19_a_body_that_stops_is_a_408_and_the_end_of_its_guest() {
    let (story, mut told) = Story::new();
    let answer_with = move |request: Request<Received>| {
        let guest = story.called();
        async move {
            let _guest = guest;
            let _ = request.into_body().collect().await;
            // Whatever it does about it.
            std::future::pending().await
        }
    };
    let limits = Limits {
        body_idle: SOON,
        ..Limits::default()
    };
    let running = Setup {
        limits,
        ..Setup::default()
    }
    .serve(answer_with)
    .await;
    let mut client = connect(running.address).await;
    send(
        &mut client,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhello",
    )
    .await;
    assert_eq!(answer(&mut client).await, refusal("408 Request Timeout"));
    assert_eq!(told.recv().await, Some("called"));
    assert_eq!(told.recv().await, Some("dropped"));
    closed(&running, Closed::SlowBody).await;
}

#[tokio::test]
async fn d20_a_client_that_never_reads_is_cut_and_its_guest_with_it() {
    let (story, mut told) = Story::new();
    let flood = move |_| {
        let guest = story.called();
        async move { Response::new(Flood(guest).boxed_unsync()) }
    };
    let limits = Limits {
        write_stall: SOON,
        ..Limits::default()
    };
    let running = Setup {
        limits,
        ..Setup::default()
    }
    .serve(flood)
    .await;
    let mut client = connect(running.address).await;
    send(&mut client, GET).await;
    assert_eq!(told.recv().await, Some("called"));
    assert_eq!(told.recv().await, Some("dropped"));
    closed(&running, Closed::WriteStall).await;
}

#[tokio::test]
async fn d39_a_client_that_waits_is_told_to_go_on_when_its_body_is_read() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    let running = Setup::default().serve(read).await;
    let mut client = connect(running.address).await;
    send(&mut client, head).await;
    let mut interim = [0; 25];
    client.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    send(&mut client, &format!("hello{head}")).await;
    let text = "5 bytes, None trailers";
    assert_eq!(
        response(&mut client).await,
        format!("HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{text}")
    );

    // Nobody reads it: then nobody asks for it, and whether it comes is not known.
    let running = Setup::default().serve(hello).await;
    let mut client = connect(running.address).await;
    send(&mut client, head).await;
    assert_eq!(answer(&mut client).await, HELLO);
}

#[tokio::test]
async fn d41_requests_in_a_row_are_answered_in_order_and_one_at_a_time() {
    let running_now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, seen) = (running_now.clone(), most.clone());
    let answer_with = move |request: Request<Received>| {
        let (now, seen) = (now.clone(), seen.clone());
        async move {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            let path = request.uri().path().to_owned();
            Response::new(
                Full::from(path)
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            )
        }
    };
    let running = Setup::default().serve(answer_with).await;
    let all: String = (100..200)
        .map(|at| format!("GET /{at} HTTP/1.1\r\nhost: a\r\n\r\n"))
        .collect();
    let answers = exchange(&running, all).await;
    let expected: String = (100..200)
        .map(|at| format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n/{at}"))
        .collect();
    assert_eq!(answers, expected);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_skipped_if_it_is_small() {
    let running = Setup::default().serve(hello).await;
    let post = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{}",
            "x".repeat(length)
        )
    };
    let chunks = |count: usize| {
        let chunks = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(count);
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    for (bytes, answers) in [
        (post(1), 2),
        (post(64 * 1024), 2),
        (post(64 * 1024 + 1), 1),
        (chunks(60), 2),
        (chunks(80), 1),
    ] {
        assert_eq!(
            exchange(&running, format!("{bytes}{GET}")).await,
            HELLO.repeat(answers),
            "{}",
            bytes.len()
        );
    }
}

#[tokio::test]
async fn a_guest_may_answer_while_it_reads() {
    let running = Setup::default().serve(echo).await;
    let mut client = connect(running.address).await;
    send(
        &mut client,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (at, piece) in ["hel", "lo"].into_iter().enumerate() {
        send(&mut client, &format!("{}\r\n{piece}\r\n", piece.len())).await;
        let expected = format!(
            "{}{}\r\n{piece}\r\n",
            if at == 0 { head } else { "" },
            piece.len()
        );
        let dated = expected.len()
            + if at == 0 {
                "date: Sat, 21 Nov 2026 00:00:00 GMT\r\n".len()
            } else {
                0
            };
        let mut got = vec![0; dated];
        client.read_exact(&mut got).await.unwrap();
        let got = String::from_utf8(got).unwrap();
        let got: String = got
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with("date: "))
            .collect();
        assert_eq!(got, expected);
    }
    send(&mut client, &format!("0\r\n\r\n{GET}")).await;
    client.shutdown().await.unwrap();
    assert_eq!(
        answer(&mut client).await,
        "0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    );
}

#[tokio::test]
async fn d42_http_1_0_gets_what_it_understands() {
    let running = Setup::default()
        .serve(answers(&[], &[Ok("hel"), Ok("lo")]))
        .await;
    let get = "GET / HTTP/1.0\r\n\r\n";
    assert_eq!(
        exchange(&running, get).await,
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"
    );
    let running = Setup::default().serve(hello).await;
    assert_eq!(
        exchange(&running, format!("{get}{get}")).await,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
    );
    let kept = "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    let said = "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(exchange(&running, kept.repeat(2)).await, said.repeat(2));
}

#[tokio::test]
async fn d67_d68_d69_what_is_not_whole_never_looks_whole_and_ends_its_connection() {
    const FIVE: &[(&str, &str)] = &[("content-length", "5")];
    const ONE: &[(&str, &str)] = &[("content-length", "1")];
    let two = GET.repeat(2);
    for (fields, frames, expected) in [
        (
            FIVE,
            &[Ok("he")][..],
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe",
        ),
        (
            ONE,
            &[Ok("hel")],
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nh",
        ),
        (
            ONE,
            &[Ok("h"), Ok("el")],
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nh",
        ),
        (
            FIVE,
            &[Ok("he"), Err("trap")],
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe",
        ),
        (
            &[],
            &[Ok("he"), Err("trap")],
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n",
        ),
        (
            &[],
            &[Err("trap")],
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
    ] {
        let running = Setup::default().serve(answers(fields, frames)).await;
        assert_eq!(exchange(&running, &two).await, expected, "{frames:?}");
        closed(&running, Closed::Broken).await;
    }
}

#[tokio::test]
async fn d69_what_ends_with_the_connection_ends_in_a_reset_when_it_is_not_whole() {
    let running = Setup::default()
        .serve(answers(&[], &[Ok("he"), Err("trap")]))
        .await;
    let mut client = connect(running.address).await;
    send(&mut client, "GET / HTTP/1.0\r\n\r\n").await;
    let mut text = Vec::new();
    let error = client.read_to_end(&mut text).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_large_body_goes_both_ways_unharmed() {
    let running = Setup::default().serve(echo).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let client = connect(running.address).await;
    let (mut reader, mut writer) = client.into_split();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        sent.len()
    );
    let body = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await.unwrap();
        writer.write_all(&body).await.unwrap();
        writer
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    let at = got
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert!(got[at..] == sent, "{} bytes", got.len() - at);
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_is_still_sending() {
    let running = Setup::default().serve(hello).await;
    let mut client = connect(running.address).await;
    send(
        &mut client,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
    )
    .await;
    let mut head = [0; 24];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 400 Bad Request");
    // Sent after the refusal, and read by nobody: no reset takes the rest of the answer away.
    let _ = client.write_all(&[b'x'; 10_000]).await;
    assert!(rest(&mut client).await.contains("\r\n\r\nBad Request\n"));
}

#[tokio::test]
async fn who_kept_the_body_of_a_request_never_reads_the_next_one() {
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeps = kept.clone();
    let answer_with = move |request: Request<Received>| {
        let keeps = keeps.clone();
        async move {
            let mut body = request.into_body();
            let mut text = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                text.extend_from_slice(&frame.into_data().unwrap_or_default());
                let before: Vec<Received> = std::mem::take(&mut *keeps.lock().unwrap());
                for mut body in before {
                    assert!(body.frame().await.is_none(), "it has ended");
                }
            }
            keeps.lock().unwrap().push(body);
            Response::new(
                Full::from(text)
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            )
        }
    };
    let running = Setup::default().serve(answer_with).await;
    let post =
        |text: &str| format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n{text}");
    let answered = exchange(&running, post("first") + &post("other")).await;
    let expected = |text: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{text}");
    assert_eq!(answered, expected("first") + &expected("other"));
}

#[tokio::test]
async fn who_keeps_the_body_of_a_request_unread_keeps_its_connection_for_only_so_long() {
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeps = kept.clone();
    let keep = move |request: Request<Received>| {
        keeps.lock().unwrap().push(request);
        async {
            let body = Full::from("hello").map_err(|never| match never {});
            Response::new(body.boxed_unsync())
        }
    };
    let limits = Limits {
        kept_body: SOON,
        ..Limits::default()
    };
    let running = Setup {
        limits,
        ..Setup::default()
    }
    .serve(keep)
    .await;
    let bytes = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfirst";
    let answered = exchange(&running, bytes.to_owned() + GET).await;
    assert_eq!(answered, HELLO, "nothing behind it is answered");
    assert_eq!(kept.lock().unwrap().len(), 1);
}
