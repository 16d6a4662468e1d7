//! One run of one instance, from its making to its end, as a single future.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::{Error as HttpError, FieldMap, WasiBody, WasiHttpView};

use crate::run::GaveUp;
use crate::state::State;
use crate::{Error, caps};

/// What a guest answered: its response, or the error it gave in place of one.
pub(crate) type Answer = Result<Response<WasiBody>, HttpError>;

/// The host's own reasons to stop a guest, each with the time it had.
#[derive(Debug, thiserror::Error)]
enum Deadline {
    #[error("no response within {0:?}")]
    Head(Duration),
    #[error("computed for {0:?} after its response had begun")]
    Body(Duration),
}

/// Where a guest's answer goes. Once it has gone, the deadline for it is void.
pub(crate) struct Reply {
    to: oneshot::Sender<Answer>,
    given: Arc<AtomicBool>,
}

impl Reply {
    pub(crate) fn new() -> (Reply, oneshot::Receiver<Answer>) {
        let (to, answer) = oneshot::channel();
        (
            Reply {
                to,
                given: Arc::default(),
            },
            answer,
        )
    }

    fn send(self, answer: Answer) {
        self.given.store(true, Ordering::Relaxed);
        // Nobody waits any more where the client went away or the time was up.
        let _ = self.to.send(answer);
    }
}

/// A store for one request. A guest that computes gives way at every tick. It is stopped when `timeout` has passed
/// without an answer, and when it has computed for as long again after it: waiting then costs it nothing.
pub(crate) fn store(
    engine: &wasmtime::Engine,
    state: State,
    timeout: Duration,
    reply: &Reply,
) -> Result<Store<State>, Error> {
    let mut store =
        Store::try_new(engine, state).map_err(|e| Error::Instantiate(format!("{e:#}")))?;
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(caps::HOSTCALL_FUEL);
    store.set_epoch_deadline(1);
    let (started, given) = (Instant::now(), reply.given.clone());
    let mut computed = Duration::ZERO;
    store.epoch_deadline_callback(move |_| {
        if given.load(Ordering::Relaxed) {
            computed += caps::TICK;
            if computed > timeout {
                return Err(Deadline::Body(timeout).into());
            }
        } else if started.elapsed() >= timeout {
            return Err(Deadline::Head(timeout).into());
        }
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(tokio::task::yield_now()),
        ))
    });
    Ok(store)
}

/// Makes an instance, has it handle `request`, gives its answer to `reply` as soon as it is there, and ends when the
/// guest has nothing left to do. Dropping it stops the guest wherever it is.
pub(crate) async fn run(
    pre: Arc<ProxyPre<State>>,
    mut store: Store<State>,
    request: Request<WasiBody>,
    reply: Reply,
) -> wasmtime::Result<()> {
    match &*pre {
        ProxyPre::P2(pre) => {
            let proxy = pre.instantiate_async(&mut store).await?;
            let scheme = match request.uri().scheme() {
                Some(scheme) if *scheme == http::uri::Scheme::HTTPS => Scheme::Https,
                _ => Scheme::Http,
            };
            let mut http = store.data_mut().http();
            let request = http.new_incoming_request(scheme, request)?;
            let outparam = http.new_response_outparam_from_callback(move |value| {
                reply.send(value.map_err(HttpError::from));
            })?;
            proxy
                .wasi_http_incoming_handler()
                .call_handle(&mut store, request, outparam)
                .await
        }
        ProxyPre::P3(pre) => {
            let service = pre.instantiate_async(&mut store).await?;
            store
                .run_concurrent(async |accessor| run_03(&service, accessor, request, reply).await)
                .await?
        }
    }
}

async fn run_03(
    service: &p3::bindings::Service,
    accessor: &wasmtime::component::Accessor<State>,
    request: Request<WasiBody>,
    reply: Reply,
) -> wasmtime::Result<()> {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.into_parts();
    let headers = accessor
        .with(|mut access| FieldMap::new_immutable(access.data_mut().http().hooks, parts.headers));
    let (request, io) = p3::Request::new(
        parts.method,
        uri.scheme,
        uri.authority,
        uri.path_and_query,
        headers,
        None,
        body,
    );
    let handled = service.handle(accessor, request).await?;
    let response = match handled {
        Ok(response) => Ok(accessor.with(|access| response.into_http(access, io))?),
        Err(code) => Err(HttpError::from(code)),
    };
    reply.send(response);
    std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    Ok(())
}

/// What a guest's end means for a request that has no response yet.
pub(crate) fn failure(error: &wasmtime::Error) -> Error {
    match error.downcast_ref::<Deadline>() {
        Some(Deadline::Head(timeout)) => return Error::Timeout(*timeout),
        Some(Deadline::Body(timeout)) => return Error::Overran(*timeout),
        None => {}
    }
    if let Some(gave_up) = error.downcast_ref::<GaveUp>() {
        return Error::GaveUp(gave_up.of);
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return Error::Capacity(caps::INSTANCES);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Error::Trap(format!("exited with code {}", exit.0));
    }
    if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
        return Error::Trap(format!("trapped: {trap}"));
    }
    Error::Trap(format!("failed: {}", error.root_cause()))
}
