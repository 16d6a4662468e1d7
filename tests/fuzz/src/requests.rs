//! HTTP/1: no other reader sees a request where ours sees none, or sees another one.
//!
//! The bytes of a connection go to our reader and to hyper's. Ours may refuse what hyper repairs. But every request that
//! ours reads, hyper must have read too: the same method, target, fields, body and trailers, in the same order. A request
//! that only one of two servers in a row sees is how requests are smuggled. And how the bytes are cut into packets must
//! make no difference.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use runner_http1::{Decoded, HeadReader, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

/// No more is looked at: the readers' limits have tables of their own.
const MOST: usize = 8 * 1024;

/// A request as a server sees it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: String,
    target: String,
    version: http::Version,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

/// How a connection ended for our reader.
#[derive(Clone, Debug, PartialEq)]
enum End {
    /// More bytes were awaited, or the connection was not to be kept.
    Open,
    Refused(runner_http1::Error),
}

/// Panics where the property does not hold.
pub fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let (ours, end) = ours(bytes, bytes.len().max(1));
    for piece in [1, 2, 3, 5, 17] {
        let pieces = self::ours(bytes, piece);
        assert_eq!(
            pieces,
            (ours.clone(), end.clone()),
            "in pieces of {piece}: {}",
            shown(bytes)
        );
    }
    if ours.is_empty() || ours.iter().any(|seen| seen.method == "CONNECT") {
        return;
    }
    let theirs = theirs(bytes);
    for (at, request) in ours.iter().enumerate() {
        assert_eq!(
            theirs.get(at),
            Some(request),
            "request {at} of {}",
            shown(bytes)
        );
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn fields(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let fields = headers.iter();
    fields
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}

fn seen<B>(request: &Request<B>) -> Seen {
    Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        version: request.version(),
        fields: fields(request.headers()),
        body: Vec::new(),
        trailers: Vec::new(),
    }
}

/// The whole requests that our reader finds in bytes that come in pieces.
fn ours(bytes: &[u8], piece: usize) -> (Vec<Seen>, End) {
    let limits = Limits::default();
    let (mut pieces, mut buffer) = (bytes.chunks(piece), BytesMut::new());
    let mut requests = Vec::new();
    loop {
        let mut reader = HeadReader::default();
        let head = loop {
            match reader.read(&mut buffer, &limits) {
                Ok(Some(head)) => break head,
                Err(error) => return (requests, End::Refused(error)),
                Ok(None) => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => return (requests, End::Open),
                },
            }
        };
        let mut request = seen(&head.request);
        let mut decoder = head.framing.decoder(&limits);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Decoded::Data(data)) => request.body.extend_from_slice(&data),
                Ok(Decoded::Trailers(trailers)) => request.trailers = fields(&trailers),
                Ok(Decoded::End) => break,
                Err(error) => return (requests, End::Refused(error)),
                Ok(Decoded::More) => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => return (requests, End::Open),
                },
            }
        }
        requests.push(request);
        if !head.keep_alive {
            return (requests, End::Open);
        }
    }
}

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread().build().expect("a runtime without I/O and timers"),
    );
}

/// The whole requests that hyper finds.
fn theirs(bytes: &[u8]) -> Vec<Seen> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let (mut client, server) = tokio::io::duplex(2 * MOST);
    let told = all.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let told = told.clone();
        async move {
            let mut seen = seen(&request);
            if let Ok(whole) = request.into_body().collect().await {
                seen.trailers = whole.trailers().map(fields).unwrap_or_default();
                seen.body = whole.to_bytes().to_vec();
                told.lock().expect("no panic holds it").push(seen);
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(server), service);
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            client.write_all(bytes).await.expect("there is room");
            client.shutdown().await.expect("a pipe is closed");
            // What is answered is read, so that nothing waits for room.
            let read = async {
                let mut answers = Vec::new();
                let _ = client.read_to_end(&mut answers).await;
            };
            let (_, ()) = tokio::join!(connection, read);
        });
    });
    let seen = all.lock().expect("no panic holds it");
    seen.clone()
}
