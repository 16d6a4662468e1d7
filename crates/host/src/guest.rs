//! One run of one instance, from its making to its end, as a single future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::{Error as HttpError, FieldMap, FieldMapError, WasiBody, WasiHttpView};

use crate::behind;
use crate::gate::{Gate, Place};
use crate::meter::Meter;
use crate::quota::Quota;
use crate::shelf::Spare;
use crate::state::{Refused, State};
use crate::ticker::Pace;
use crate::{Error, caps};

/// What a guest answered: its response, or the error it gave in place of one.
pub(crate) type Answer = Result<Response<WasiBody>, HttpError>;

/// Where a guest's answer goes.
pub(crate) type Reply = oneshot::Sender<Answer>;

/// The run of a guest. Dropping it stops the guest wherever it is.
///
/// What it computes is charged, all of it: making the instance, what that starts, what the guest does after its response.
/// Once it has had its slice, or its tenant more than its part, it is polled only while it holds a place of its engine's gate.
pub(crate) struct Guest {
    run: Pin<Box<dyn Future<Output = Result<Spare, Error>> + Send>>,
    meter: Arc<Meter>,
    pace: Arc<Pace>,
    quota: Arc<Quota>,
    /// Whether it runs behind the others.
    row: Row,
    place: Place,
}

/// Which gate a guest waits at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Front,
    Behind,
}

impl Guest {
    pub(crate) fn new(
        run: impl Future<Output = Result<Spare, Error>> + Send + 'static,
        meter: Arc<Meter>,
        pace: Arc<Pace>,
        quota: Arc<Quota>,
    ) -> Guest {
        Guest {
            run: Box::pin(run),
            meter,
            pace,
            quota,
            row: if behind::is_here() {
                Row::Behind
            } else {
                Row::Front
            },
            place: Place::None,
        }
    }
}

impl Row {
    fn gate(self, pace: &Pace) -> &Gate {
        match self {
            Row::Front => &pace.gate,
            Row::Behind => &pace.gate_behind,
        }
    }
}

impl Future for Guest {
    type Output = Result<Spare, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Spare, Error>> {
        let guest = &mut *self;
        if guest.meter.was_past_its_slice() || guest.quota.is_in_debt() {
            let gate = guest.row.gate(&guest.pace);
            ready!(gate.poll_take(&mut guest.place, &guest.quota, cx));
        }
        guest.pace.keep();
        guest.meter.begin();
        let ended = guest.run.as_mut().poll(cx);
        guest.quota.charge(guest.meter.end());
        if guest.meter.gave_way() {
            let tenant = guest.quota.tenant();
            let gate = guest.row.gate(&guest.pace);
            gate.keep(&mut guest.place, tenant);
        } else {
            guest.row.gate(&guest.pace).leave(&mut guest.place);
        }
        ended
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.row.gate(&self.pace).leave(&mut self.place);
    }
}

/// A guest computed for as long as it may.
#[derive(Debug, thiserror::Error)]
#[error("its time is up")]
struct Spent;

/// A store of one instance, whose first request is on the account of `meter`.
pub(crate) fn store(
    engine: &wasmtime::Engine,
    state: State,
    meter: Arc<Meter>,
) -> Result<Store<State>, Error> {
    let mut store =
        Store::try_new(engine, state).map_err(|e| Error::Instantiate(format!("{e:#}")))?;
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(caps::HOSTCALL_FUEL);
    store.set_max_component_handles(caps::RESOURCES);
    watch(&mut store, meter);
    Ok(store)
}

/// A guest that computes is looked at at every beat: it is stopped once its time is up, and gives way once it has had its
/// slice.
pub(crate) fn watch(store: &mut Store<State>, meter: Arc<Meter>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if meter.is_spent() {
            return Err(Spent.into());
        }
        if !meter.is_past_its_slice() {
            return Ok(UpdateDeadline::Continue(1));
        }
        meter.give_way();
        // Comes back when the thread has done all else, and has looked for what has arrived.
        let give_way = Box::pin(tokio::task::yield_now());
        Ok(UpdateDeadline::YieldCustom(1, give_way))
    });
}

/// Makes an instance, has it handle `request`, gives its answer to `reply` as soon as it is there, and ends when the
/// guest has nothing left to do.
pub(crate) async fn run(
    pre: Arc<ProxyPre<State>>,
    mut store: Store<State>,
    meter: Arc<Meter>,
    request: Request<WasiBody>,
    reply: Reply,
) -> Result<Spare, Error> {
    let ended = async {
        let proxy = pre.instantiate_async(&mut store).await?;
        serve(&proxy, &mut store, request, reply).await
    };
    let ended = ended.await;
    match ended {
        Ok(()) => Ok(Spare::default()),
        Err(error) => Err(failure(&error, store.data(), &meter)),
    }
}

/// Has an instance handle `request`, and ends when it has nothing left to do.
pub(crate) async fn serve(
    proxy: &Proxy,
    store: &mut Store<State>,
    request: Request<WasiBody>,
    reply: Reply,
) -> wasmtime::Result<()> {
    match proxy {
        Proxy::P2(proxy) => {
            let scheme = match request.uri().scheme() {
                Some(scheme) if *scheme == http::uri::Scheme::HTTPS => Scheme::Https,
                _ => Scheme::Http,
            };
            let mut http = store.data_mut().http();
            let request = http.new_incoming_request(scheme, request)?;
            let outparam = http.new_response_outparam_from_callback(move |value| {
                // Nobody waits any more where the client went away or the time was up.
                let _ = reply.send(value.map_err(HttpError::from));
            })?;
            proxy
                .wasi_http_incoming_handler()
                .call_handle(&mut *store, request, outparam)
                .await
        }
        Proxy::P3(service) => {
            store
                .run_concurrent(async |accessor| run_03(service, accessor, request, reply).await)
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
    let _ = reply.send(response);
    std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    Ok(())
}

/// wasmtime has no public type for these two.
const FUEL: &str = "fuel allocated for hostcalls has been exhausted";
const HANDLES: &str = "store handle limit exceeded";

/// Why a guest ended that did not return: the one place where wasmtime's errors become ours.
pub(crate) fn failure(error: &wasmtime::Error, state: &State, meter: &Meter) -> Error {
    if error.is::<Spent>() {
        return Error::Cpu(meter.budget());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Error::Instances;
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Error::Handles(caps::RESOURCES);
    }
    if let Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) =
        error.downcast_ref()
    {
        return Error::HeaderSize(caps::FIELDS);
    }
    let (ended, what) = match (
        error.downcast_ref::<I32Exit>(),
        error.downcast_ref::<Trap>(),
    ) {
        (Some(exit), _) => (Error::Exit(exit.0), Error::Exit(exit.0).to_string()),
        (_, Some(Trap::StackOverflow)) => return Error::StackOverflow,
        (_, Some(Trap::NoAsyncResult)) => return Error::NoResponse,
        (_, Some(trap)) => trapped(format!("trapped: {trap}")),
        (None, None) if error.root_cause().to_string().ends_with(FUEL) => {
            return Error::HostcallFuel(caps::HOSTCALL_FUEL);
        }
        (None, None) if error.root_cause().to_string().ends_with(HANDLES) => {
            return Error::Handles(caps::RESOURCES);
        }
        (None, None) => trapped(format!("failed: {}", error.root_cause())),
    };
    // Languages end in many ways when they get no memory: few of them say why.
    match state.memory.refused() {
        Some(Refused::ByLimit(limit)) => Error::Memory { limit, what },
        Some(Refused::ByQuota) => Error::SharedMemory { what },
        None => ended,
    }
}

fn trapped(what: String) -> (Error, String) {
    (Error::Trap(what.clone()), what)
}
