//! A request's body on its way out, and the thread by which its sender holds it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::BoxError;
use crate::head;

/// The one body type that every connection of the pool sends.
pub(crate) struct Upload {
    body: UnsyncBoxBody<Bytes, BoxError>,
    moved: Moved,
    holder: Option<oneshot::Receiver<Released>>,
    injected: Option<HeaderName>,
}

/// Held while anybody waits for the response. Dropping it ends the upload: on HTTP/2 the stream lives as long as
/// either half, so giving up the response alone would leave it open.
pub(crate) struct Hold {
    moved: Moved,
    upload: Option<oneshot::Sender<Released>>,
}

/// When the upload last got on.
#[derive(Clone)]
struct Moved(Arc<Mutex<Instant>>);

/// The response has ended well; the rest of the upload may still go out.
struct Released;

impl Upload {
    /// `injected` is the header that the door adds: it is in no trailer.
    pub(crate) fn new<B>(body: B, injected: Option<HeaderName>) -> (Upload, Hold)
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let moved = Moved(Arc::new(Mutex::new(Instant::now())));
        let upload = Upload {
            body: body.boxed_unsync(),
            moved: moved.clone(),
            holder: Some(receiver),
            injected,
        };
        let hold = Hold {
            moved,
            upload: Some(sender),
        };
        (upload, hold)
    }

    fn poll_abandoned(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(holder) = &mut self.holder else {
            return Poll::Pending;
        };
        match ready!(Pin::new(holder).poll(cx)) {
            Err(_) => Poll::Ready(()),
            Ok(Released) => {
                self.holder = None;
                Poll::Pending
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.poll_abandoned(cx).is_ready() {
            return Poll::Ready(Some(Err("nobody waits for the response any more".into())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.moved.now();
        let clean = |frame| head::clean_trailers(frame, self.injected.as_ref());
        Poll::Ready(frame.map(|frame| frame.map(clean)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Hold {
    /// When the upload last got on.
    pub(crate) fn moved(&self) -> Instant {
        self.moved.last()
    }

    /// Counts from now: the wait for a connection is not the upload's.
    pub(crate) fn begin(&self) {
        self.moved.now();
    }

    /// Lets the upload run to its end without anybody waiting.
    pub(crate) fn release(&mut self) {
        if let Some(upload) = self.upload.take() {
            // The other side being gone already is as good.
            let _ = upload.send(Released);
        }
    }
}

impl Moved {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
