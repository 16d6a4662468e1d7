//! A call inside the app, on a task of its own.
//!
//! The engine cannot run one component from within the poll of another, and a guest polls what it has called. So the
//! callee is driven by a task, and what it answers comes through a channel of one frame. Dropping the answer, or the
//! wait for it, ends the task and with it the callee.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use crate::app::{App, Target};
use crate::trace::Trace;
use crate::{BoxError, caps};

/// The calls inside the app that one request leads to, over all levels.
#[derive(Default)]
pub(crate) struct Calls(AtomicU32);

impl Calls {
    /// Whether there may be one more.
    pub(crate) fn begin(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < caps::CALLS
    }
}

/// The boxed future breaks a cycle of types: a call inside the app makes an instance, which makes calls.
type Call = Pin<Box<dyn Future<Output = Response<crate::Body>> + Send>>;

/// Has the app answer a guest's request, `caller` being the span of the call.
pub(crate) async fn call(
    app: Arc<App>,
    target: Target,
    request: Request<WasiBody>,
    depth: u8,
    calls: Arc<Calls>,
    caller: Trace,
) -> Result<Response<Answer>, HttpError> {
    let (head, answer) = oneshot::channel();
    let call: Call =
        Box::pin(async move { app.call(target, request, depth, calls, &caller).await });
    let callee = Callee(tokio::spawn(drive(call, head)).abort_handle());
    // Without an answer the callee's task has panicked, which tokio has told.
    let response = answer.await.map_err(|_| HttpError::InternalError(None))?;
    Ok(response.map(|frames| Answer {
        frames,
        _callee: callee,
    }))
}

type Frames = mpsc::Receiver<Result<Frame<Bytes>, BoxError>>;

async fn drive(call: Call, head: oneshot::Sender<Response<Frames>>) {
    let (parts, mut body) = call.await.into_parts();
    let (frames, receiver) = mpsc::channel(1);
    if head.send(Response::from_parts(parts, receiver)).is_err() {
        return;
    }
    while let Some(frame) = body.frame().await {
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

/// The body of a callee's response.
pub(crate) struct Answer {
    frames: Frames,
    _callee: Callee,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.frames.poll_recv(cx)
    }
}

/// The task of a callee; it ends with who waits for it.
struct Callee(AbortHandle);

impl Drop for Callee {
    fn drop(&mut self) {
        self.0.abort();
    }
}
