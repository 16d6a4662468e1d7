//! An answer that is made on a task of its own, and comes to whoever waits for it through a channel of one frame.
//! Dropping it, or the wait for it, ends the task and with it the guest.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::{Body, BoxError, caps};

/// What makes the answer. It is boxed where it breaks a cycle of types: a call inside the app makes an instance, which
/// makes calls.
pub(crate) type Making = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// The task has ended without an answer: it has panicked, or its runtime is gone.
#[derive(Debug, thiserror::Error)]
#[error("the task that made the answer has ended")]
pub(crate) struct Gone;

/// The body of such an answer.
pub(crate) struct Answer {
    frames: Frames,
    hint: SizeHint,
    is_empty: bool,
    is_over: bool,
    task: Task,
}

/// What a body is made of, and then nothing: one that ends without that is not whole.
type Frames = mpsc::Receiver<Option<Result<Frame<Bytes>, BoxError>>>;

/// A task that ends with who waits for it.
pub(crate) struct Task(Option<AbortHandle>);

/// An answer's head, and what its body is known to be.
type Head = (Response<Frames>, SizeHint, bool);

/// Has a task of this runtime make an answer.
pub(crate) async fn make(runtime: &Handle, making: Making) -> Result<Response<Answer>, Gone> {
    let (head, answer) = oneshot::channel();
    let task = Task::spawn(runtime, drive(making, head));
    let (response, hint, is_empty) = answer.await.map_err(|_| Gone)?;
    Ok(response.map(|frames| Answer {
        frames,
        hint,
        is_empty,
        is_over: false,
        task,
    }))
}

async fn drive(making: Making, head: oneshot::Sender<Head>) {
    let (parts, mut body) = making.await.into_parts();
    let (frames, receiver) = mpsc::channel(1);
    let response = Response::from_parts(parts, receiver);
    if head
        .send((response, body.size_hint(), body.is_end_stream()))
        .is_err()
    {
        return;
    }
    while let Some(frame) = body.frame().await {
        if frames.send(Some(frame)).await.is_err() {
            return;
        }
    }
    let _ = frames.send(None).await;
}

impl Answer {
    /// Nobody reads it: its guest ends by itself, within [`caps::AFTER_RESPONSE`].
    pub(crate) fn detach(mut self) {
        let finish = async move { while self.frame().await.is_some() {} };
        tokio::spawn(timeout(caps::AFTER_RESPONSE, finish));
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let frame = ready!(self.frames.poll_recv(cx));
        let frame = frame.unwrap_or_else(|| Some(Err(Gone.into())));
        if !matches!(frame, Some(Ok(_))) {
            self.is_over = true;
            self.task.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.is_empty {
            // There is nothing to wait for, and its guest may still have something to do.
            self.task.0 = None;
        }
    }
}

impl Task {
    pub(crate) fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(Some(runtime.spawn(work).abort_handle()))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.as_ref().inspect(|task| task.abort());
    }
}
