//! A call inside the app, on a task of its own.
//!
//! The engine cannot run one component from within the poll of another, and a guest polls what it has called. So the
//! callee is driven by a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Request, Response};
use tokio::runtime::Handle;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use crate::apart::{self, Answer, Gone};
use crate::app::{App, Target};
use crate::caps;
use crate::trace::Trace;

/// The calls inside the app that one request leads to, over all levels.
#[derive(Default)]
pub(crate) struct Calls(AtomicU32);

impl Calls {
    /// Whether there may be one more.
    pub(crate) fn begin(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < caps::CALLS
    }
}

/// Has the app answer a guest's request, `caller` being the span of the call.
pub(crate) async fn call(
    app: Arc<App>,
    target: Target,
    request: Request<WasiBody>,
    depth: u8,
    calls: Arc<Calls>,
    caller: Trace,
) -> Result<Response<Answer>, HttpError> {
    let made = Box::pin(async move { app.call(target, request, depth, calls, &caller).await });
    let answer = apart::make(&Handle::current(), made).await;
    answer.map_err(|Gone| HttpError::InternalError(None))
}
