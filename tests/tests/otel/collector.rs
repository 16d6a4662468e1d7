//! A collector of traces and metrics: it reads OTLP by the numbers that `opentelemetry-proto` gives its fields, with
//! nothing of the runtime's own code.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What it answers to a post.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Status(u16, &'static str),
    /// Nothing, ever.
    Silence,
}

/// One post.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) answer: Answer,
}

/// A listener on loopback.
pub(crate) struct Collector {
    address: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    answers: fn(usize) -> Answer,
    posts: Mutex<Vec<Post>>,
    grown: Notify,
}

impl Collector {
    /// Takes everything.
    pub(crate) async fn start() -> Collector {
        Collector::answering(|_| Answer::Status(200, "")).await
    }

    /// Answers the n-th post, from 0, like this.
    pub(crate) async fn answering(answers: fn(usize) -> Answer) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Seen {
            answers,
            posts: Mutex::default(),
            grown: Notify::new(),
        });
        tokio::spawn(serve(listener, seen.clone()));
        Collector { address, seen }
    }

    /// `http://ADDRESS:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All posts so far.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.seen.posts.lock().expect("no panic inside").clone()
    }

    /// Waits for so many posts.
    pub(crate) async fn has_posts(&self, count: usize) {
        loop {
            let grown = self.seen.grown.notified();
            if self.posts().len() >= count {
                return;
            }
            grown.await;
        }
    }

    /// The spans of all posts that were taken.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let taken = |post: &Post| matches!(post.answer, Answer::Status(200, _));
        let posts = self.posts();
        let traces = posts.iter().filter(|post| post.path == "/v1/traces");
        let bodies = traces.filter(|post| taken(post)).map(|post| &post.body);
        let scopes = bodies.flat_map(|body| inner(body, &[1, 2]));
        let spans = scopes.flat_map(|scope| inner(scope, &[2]));
        spans.map(Span::read).collect()
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = seen.clone();
        let service = service_fn(move |request| take(request, seen.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn take(
    request: Request<Incoming>,
    seen: Arc<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let answer = {
        let mut posts = seen.posts.lock().expect("no panic inside");
        let answer = (seen.answers)(posts.len());
        posts.push(Post {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body,
            answer,
        });
        answer
    };
    seen.grown.notify_waiters();
    match answer {
        Answer::Status(status, body) => {
            let response = Response::builder().status(status);
            Ok(response.body(Full::from(body)).expect("a status"))
        }
        Answer::Silence => std::future::pending().await,
    }
}

/// A span, as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) failed: bool,
    pub(crate) flags: u64,
}

impl Span {
    fn read(span: &[u8]) -> Span {
        let bytes = |field| inner(span, &[field]).next().unwrap_or_default();
        let text = |field| String::from_utf8(bytes(field).to_vec()).expect("UTF-8");
        Span {
            trace: hex(bytes(1)),
            id: hex(bytes(2)),
            state: text(3),
            parent: hex(bytes(4)),
            name: text(5),
            kind: ["unspecified", "internal", "server", "client"][number(span, 6) as usize],
            start: number(span, 7),
            end: number(span, 8),
            attributes: attributes(span, 9),
            failed: number(bytes(15), 3) == 2,
            flags: number(span, 16),
        }
    }
}

/// The attributes under this field: texts, numbers and truths.
pub(crate) fn attributes(message: &[u8], field: u64) -> BTreeMap<String, String> {
    let pair = |pair| {
        let key = inner(pair, &[1]).next().expect("a key");
        let value = inner(pair, &[2]).next().expect("a value");
        let value = match &fields(value)[..] {
            [(1, Field::Bytes(text))] => String::from_utf8(text.to_vec()).expect("UTF-8"),
            [(2, Field::Number(1))] => "true".to_owned(),
            [(3, Field::Number(number))] => number.to_string(),
            other => panic!("no value: {other:?}"),
        };
        (String::from_utf8(key.to_vec()).expect("UTF-8"), value)
    };
    inner(message, &[field]).map(pair).collect()
}

/// The messages that a path of fields leads to.
pub(crate) fn inner<'a>(
    message: &'a [u8],
    path: &[u64],
) -> Box<dyn Iterator<Item = &'a [u8]> + 'a> {
    let Some((first, rest)) = path.split_first() else {
        return Box::new(std::iter::once(message));
    };
    let (first, rest) = (*first, rest.to_vec());
    let found = fields(message).into_iter();
    let found = found.filter_map(move |(field, value)| match value {
        Field::Bytes(bytes) if field == first => Some(bytes),
        Field::Bytes(_) | Field::Number(_) => None,
    });
    Box::new(found.flat_map(move |message| inner(message, &rest)))
}

/// The number of this field; 0 where there is none.
pub(crate) fn number(message: &[u8], wanted: u64) -> u64 {
    let found = fields(message)
        .into_iter()
        .find(|(field, _)| *field == wanted);
    match found {
        Some((_, Field::Number(number))) => number,
        Some((_, Field::Bytes(bytes))) => panic!("no number: {bytes:?}"),
        None => 0,
    }
}

#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// A message's fields, in order.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(u64::from_le_bytes(
                take_bytes(&mut message, 8).try_into().expect("as many"),
            )),
            2 => {
                let length = varint(&mut message) as usize;
                Field::Bytes(take_bytes(&mut message, length))
            }
            5 => {
                let bytes = take_bytes(&mut message, 4).try_into().expect("as many");
                Field::Number(u32::from_le_bytes(bytes).into())
            }
            kind => panic!("no protobuf: a field of kind {kind}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = take_bytes(message, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
        shift += 7;
    }
}

fn take_bytes<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (bytes, rest) = message.split_at(length);
    *message = rest;
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
