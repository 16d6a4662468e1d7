//! A request as it came over a connection of either version.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

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

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Received(Source);

#[derive(Debug)]
enum Source {
    Hyper(Incoming),
}

impl Received {
    pub(crate) fn hyper(body: Incoming) -> Received {
        Received(Source::Hyper(body))
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Source::Hyper(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Hyper(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Hyper(body) => body.size_hint(),
        }
    }
}
