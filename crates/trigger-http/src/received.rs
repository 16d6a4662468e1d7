//! A request as it came over a connection of either version.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::connection::BoxError;
use crate::http1;
use crate::http2::flow::Flow;
use crate::limits::Limits;
use crate::pace::Pace;
use crate::refusal::Refusal;
use crate::trailers;

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
    /// A request that was refused before anybody here saw it.
    pub(crate) fn unseen(refusal: Refusal) -> Unreadable {
        Unreadable {
            refusal,
            method: no_method(),
            path: String::new(),
        }
    }

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
            method: method.unwrap_or_else(no_method),
        }
    }
}

fn no_method() -> Method {
    Method::from_bytes(b"-").expect("a token")
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
    Http2(Stream),
}

impl Received {
    pub(crate) fn empty() -> Received {
        Received(Source::Empty)
    }

    pub(crate) fn http1(body: http1::Body) -> Received {
        Received(Source::Http1(body))
    }

    pub(crate) fn late(&self) -> Late {
        match &self.0 {
            Source::Empty => Late::Never,
            Source::Http1(body) => Late::Http1(body.late()),
            Source::Http2(stream) => Late::Http2(stream.flow.clone()),
        }
    }

    /// A body of HTTP/2, which tells `flow` when it is too slow.
    pub(crate) fn http2(body: Incoming, limits: Arc<Limits>, flow: Arc<Flow>) -> Received {
        Received(Source::Http2(Stream {
            body,
            pace: Pace::new(&limits),
            limits,
            flow,
        }))
    }
}

/// Knows whether the body of a request has come too slowly, while its guest has it: then nobody waits for an answer.
#[derive(Clone)]
pub(crate) enum Late {
    /// There is none.
    Never,
    Http1(http1::Late),
    Http2(Arc<Flow>),
}

impl Late {
    /// Looked at whenever the guest has run: it is the guest's read that finds out.
    pub(crate) fn is(&self) -> bool {
        match self {
            Late::Never => false,
            Late::Http1(late) => late.is(),
            Late::Http2(flow) => flow.was_too_slow(),
        }
    }
}

/// The body of one stream of HTTP/2.
#[derive(Debug)]
struct Stream {
    body: Incoming,
    pace: Pace,
    limits: Arc<Limits>,
    flow: Arc<Flow>,
}

/// Why a body of HTTP/2 is not whole, where its stream is.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// It came too slowly.
    #[error("the client sends its request's body too slowly")]
    Slow,
    /// Its trailers are too many, or too long.
    #[error("the request has too many trailers")]
    Trailers,
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.flow.was_too_slow() {
            return Poll::Ready(Some(Err(Broken::Slow.into())));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if self.pace.poll_wait(cx).is_pending() {
                return Poll::Pending;
            }
            self.flow.is_too_slow();
            return Poll::Ready(Some(Err(Broken::Slow.into())));
        };
        if let Some(Ok(frame)) = &frame {
            self.pace.came(frame.data_ref().map_or(0, Bytes::len));
            let trailers = frame.trailers_ref();
            if trailers.is_some_and(|trailers| !trailers::fit(trailers, &self.limits)) {
                return Poll::Ready(Some(Err(Broken::Trailers.into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }
}

/// Drops the trailers that no guest may see.
fn checked(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            trailers::keep_allowed(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.0 {
            Source::Empty => Poll::Ready(None),
            Source::Http1(body) => body.poll_frame(cx),
            Source::Http2(stream) => stream.poll_frame(cx),
        };
        frame.map(|frame| frame.map(|frame| frame.map(checked)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Empty => true,
            Source::Http1(body) => body.left() == Some(0),
            Source::Http2(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Empty => SizeHint::with_exact(0),
            Source::Http1(body) => body.left().map_or_else(SizeHint::new, SizeHint::with_exact),
            Source::Http2(stream) => stream.body.size_hint(),
        }
    }
}
