//! A request as it came over a connection of either version.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::connection::BoxError;
use crate::http1;
use crate::refusal::Refusal;

/// What a connection asks the app: a request, or to refuse what it could not read.
pub(crate) type Asked = Result<Request<Received>, Unreadable>;

/// Bytes that are no request.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// What is wrong with them.
    pub(crate) refusal: Refusal,
    /// The method, as far as there is one; else `-`.
    pub(crate) method: Method,
    /// The target, as far as there is one.
    pub(crate) path: String,
}

impl Unreadable {
    /// What can be told of a request of HTTP/1 that begins like this. Its fields are not looked at.
    pub(crate) fn guess(refusal: Refusal, read: &[u8]) -> Unreadable {
        let line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut words = line.split(|byte| byte.is_ascii_whitespace());
        let method = words
            .next()
            .filter(|word| (1..=MAX_METHOD).contains(&word.len()));
        let method = method.and_then(|word| Method::from_bytes(word).ok());
        let target = words.next().unwrap_or_default();
        let path = target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        Unreadable {
            refusal,
            path: match method {
                Some(_) => String::from_utf8_lossy(&path[..path.len().min(MAX_PATH)]).into_owned(),
                None => String::new(),
            },
            method: method.unwrap_or_else(|| Method::from_bytes(b"-").expect("a token")),
        }
    }
}

/// What is told of a method and a path that were refused, in bytes.
const MAX_METHOD: usize = 32;
const MAX_PATH: usize = 1024;

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Received(Source);

#[derive(Debug)]
enum Source {
    Empty,
    Http1(http1::Body),
    Hyper(Incoming),
}

impl Received {
    pub(crate) fn empty() -> Received {
        Received(Source::Empty)
    }

    pub(crate) fn http1(body: http1::Body) -> Received {
        Received(Source::Http1(body))
    }

    pub(crate) fn hyper(body: Incoming) -> Received {
        Received(Source::Hyper(body))
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Source::Empty => Poll::Ready(None),
            Source::Http1(body) => body.poll_frame(cx),
            Source::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Empty => true,
            Source::Http1(body) => body.left() == Some(0),
            Source::Hyper(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Empty => SizeHint::with_exact(0),
            Source::Http1(body) => body.left().map_or_else(SizeHint::new, SizeHint::with_exact),
            Source::Hyper(body) => body.size_hint(),
        }
    }
}
