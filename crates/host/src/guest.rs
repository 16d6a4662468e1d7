//! One run of one instance, from its making to its end, as a single future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::{Error as HttpError, FieldMap, FieldMapError, WasiBody, WasiHttpView};

use crate::apart::{Gone, Task};
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
    run: Run,
    /// None where another task runs it, and this one waits for that.
    account: Option<Account>,
}

type Run = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// How a run ends.
pub(crate) type Ended = Result<Spare, Box<Failure>>;

/// A run that went wrong.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// To be kept until the error is known: below us, a body of which half was written looks like a whole one once its
    /// instance is gone.
    instance: Option<Box<dyn Send>>,
}

/// On what account a guest computes.
struct Account {
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
        run: impl Future<Output = Ended> + Send + 'static,
        meter: Arc<Meter>,
        pace: Arc<Pace>,
        quota: Arc<Quota>,
    ) -> Guest {
        let row = match behind::is_here() {
            true => Row::Behind,
            false => Row::Front,
        };
        let account = Account {
            meter,
            pace,
            quota,
            row,
            place: Place::None,
        };
        Guest {
            run: Box::pin(run),
            account: Some(account),
        }
    }

    /// One that another task runs, on an account of its own.
    pub(crate) fn elsewhere(run: impl Future<Output = Ended> + Send + 'static) -> Guest {
        Guest {
            run: Box::pin(run),
            account: None,
        }
    }

    /// It began in front of the others, and its tenant has had more than its part since then: from now on a task behind
    /// them runs it.
    fn step_back(&mut self) {
        let Some(mut account) = self.account.take() else {
            return;
        };
        account.leave();
        match account.pace.behind.runtime().cloned() {
            Some(behind) => {
                account.row = Row::Behind;
                self.go_on_at(&behind, account);
            }
            None => self.account = Some(account),
        }
    }

    fn go_on_at(&mut self, runtime: &Handle, account: Account) {
        let run = std::mem::replace(&mut self.run, Box::pin(std::future::pending()));
        let account = Some(account);
        let (ended, mut waiting) = oneshot::channel();
        let task = Task::spawn(runtime, Guest { run, account }.tell(ended));
        self.run = Box::pin(async move {
            let _task = task;
            match std::future::poll_fn(|cx| poll_told(&mut waiting, cx)).await {
                Ok(Ok(spare)) => Ok(spare),
                Ok(Err(error)) => Err(Failure::of(error)),
                Err(_) => Err(Failure::of(Error::Engine(Gone.to_string()))),
            }
        });
    }

    /// Tells how it ended to whoever waits for it on another thread.
    async fn tell(self, waiting: oneshot::Sender<Result<Spare, Error>>) {
        match self.await {
            Ok(spare) => drop(waiting.send(Ok(spare))),
            Err(failure) => {
                let Failure { error, instance } = *failure;
                let _ = waiting.send(Err(error));
                drop(instance);
            }
        }
    }
}

impl Failure {
    /// One of which no instance is left.
    pub(crate) fn of(error: Error) -> Box<Failure> {
        Box::new(Failure {
            error,
            instance: None,
        })
    }

    /// One of this instance.
    pub(crate) fn with(error: Error, instance: impl Send + 'static) -> Box<Failure> {
        Box::new(Failure {
            error,
            instance: Some(Box::new(instance)),
        })
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

impl Account {
    fn is_to_step_back(&self) -> bool {
        self.row == Row::Front && self.quota.is_to_go_behind()
    }

    /// Ready when it may compute, and computing is charged from then on.
    fn poll_begin(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.meter.was_past_its_slice() || self.quota.is_in_debt() {
            let gate = self.row.gate(&self.pace);
            ready!(gate.poll_take(&mut self.place, &self.quota, cx));
        }
        self.pace.keep();
        self.meter.begin();
        Poll::Ready(())
    }

    fn end(&mut self) {
        self.quota.charge(self.meter.end());
        if self.meter.gave_way() {
            let gate = self.row.gate(&self.pace);
            gate.keep(&mut self.place, self.quota.tenant());
        } else {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.row.gate(&self.pace).leave(&mut self.place);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Future for Guest {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let guest = &mut *self;
        if guest.account.as_ref().is_some_and(Account::is_to_step_back) {
            guest.step_back();
        }
        let account = guest.account.as_mut().filter(|_| caps::LIMITED);
        let Some(account) = account else {
            return guest.run.as_mut().poll(cx);
        };
        ready!(account.poll_begin(cx));
        let ended = guest.run.as_mut().poll(cx);
        account.end();
        ended
    }
}

/// What another task has told, at once where it is there: a task that has used up its turn is told by tokio to wait for what
/// it has already, and whoever asks here looks for a failure that makes the difference between half a body and a whole one.
pub(crate) fn poll_told<T>(
    told: &mut oneshot::Receiver<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, oneshot::error::RecvError>> {
    match told.try_recv() {
        Ok(value) => Poll::Ready(Ok(value)),
        Err(_) => Pin::new(told).poll(cx),
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
    if !caps::LIMITED {
        return Ok(store);
    }
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(caps::HOSTCALL_FUEL);
    store.set_max_component_handles(caps::RESOURCES);
    watch(&mut store, meter);
    Ok(store)
}

/// A guest that computes is looked at at every beat: it is stopped once its time is up, and gives way once it has had its
/// slice.
pub(crate) fn watch(store: &mut Store<State>, meter: Arc<Meter>) {
    if !caps::LIMITED {
        return;
    }
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

/// Runs a guest, and ends it once its time is up also where no code of its own runs: the host may work for it, from one
/// stream to another, for as long as there is something to read.
pub(crate) async fn in_its_time<T>(
    meter: &Meter,
    run: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let mut run = std::pin::pin!(run);
    std::future::poll_fn(|cx| match run.as_mut().poll(cx) {
        Poll::Pending if caps::LIMITED && meter.is_spent() => Poll::Ready(Err(Spent.into())),
        polled => polled,
    })
    .await
}

/// Makes an instance, has it handle `request`, gives its answer to `reply` as soon as it is there, and ends when the
/// guest has nothing left to do.
pub(crate) async fn run(
    pre: Arc<ProxyPre<State>>,
    mut store: Store<State>,
    meter: Arc<Meter>,
    request: Request<WasiBody>,
    reply: Reply,
) -> Ended {
    let ended = async {
        let proxy = pre.instantiate_async(&mut store).await?;
        serve(&proxy, &mut store, request, reply).await
    };
    let ended = in_its_time(&meter, ended).await;
    match ended {
        Ok(()) => Ok(Spare::default()),
        Err(error) => {
            let error = failure(&error, store.data(), &meter);
            Err(Failure::with(error, store))
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;
    use crate::tenant::TenantId;

    /// A tenant beside another one: alone none has more than its part.
    struct Tenant {
        pace: Arc<Pace>,
        quota: Arc<Quota>,
        _other: Arc<Quota>,
    }

    impl Tenant {
        fn new() -> Tenant {
            let pace = Arc::new(Pace::new(1, 0));
            Tenant {
                quota: pace.commons.quota(TenantId(1)),
                _other: pace.commons.quota(TenantId(2)),
                pace,
            }
        }

        fn guest(&self, run: impl Future<Output = Ended> + Send + 'static) -> Guest {
            let meter = Arc::new(Meter::new(Duration::MAX));
            Guest::new(run, meter, self.pace.clone(), self.quota.clone())
        }
    }

    /// Polls it once, which has to be too early.
    async fn begin(guest: &mut Guest) {
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *guest).poll(cx))).await;
        assert!(polled.is_pending());
    }

    #[tokio::test]
    async fn who_has_had_more_than_its_part_goes_on_behind() {
        let tenant = Tenant::new();
        let wake = Arc::new(Notify::new());
        let go_on = wake.clone();
        let mut guest = tenant.guest(async move {
            assert!(!behind::is_here());
            go_on.notified().await;
            match behind::is_here() {
                true => Ok(Spare::default()),
                false => Err(Failure::of(Error::NoResponse)),
            }
        });
        begin(&mut guest).await;
        tenant.quota.charge(Duration::from_secs(3600));
        wake.notify_one();
        assert!(guest.await.is_ok());
    }

    #[tokio::test]
    async fn what_went_wrong_behind_is_known_before_its_instance_is_gone() {
        /// Whether it is known by then.
        struct Instance(Arc<AtomicBool>, oneshot::Sender<bool>);

        let tenant = Tenant::new();
        let is_known = Arc::<AtomicBool>::default();
        let (gone, was_known) = oneshot::channel();
        let instance = (is_known.clone(), gone);
        let mut first = Some(());
        let mut guest = tenant.guest(async move {
            std::future::poll_fn(|_| match first.take() {
                Some(()) => Poll::Pending,
                None => Poll::Ready(()),
            })
            .await;
            Err(Failure::with(
                Error::Exit(7),
                Instance(instance.0, instance.1),
            ))
        });
        impl Drop for Instance {
            fn drop(&mut self) {
                let (never, _) = oneshot::channel();
                let gone = std::mem::replace(&mut self.1, never);
                let until = std::time::Instant::now() + Duration::from_secs(10);
                while !self.0.load(Ordering::Acquire) && std::time::Instant::now() < until {
                    std::thread::yield_now();
                }
                let _ = gone.send(self.0.load(Ordering::Acquire));
            }
        }
        begin(&mut guest).await;
        tenant.quota.charge(Duration::from_secs(3600));
        let Err(failure) = guest.await else {
            panic!("it went well")
        };
        assert!(matches!(failure.error, Error::Exit(7)));
        is_known.store(true, Ordering::Release);
        assert!(was_known.await.expect("it is dropped"));
    }

    #[tokio::test]
    async fn who_is_dropped_is_dropped_behind_too() {
        struct Told(Option<oneshot::Sender<()>>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.take().map(|told| told.send(()));
            }
        }

        let tenant = Tenant::new();
        let (dropped, is_dropped) = oneshot::channel();
        let told = Told(Some(dropped));
        let mut guest = tenant.guest(async move {
            let _told = told;
            std::future::pending().await
        });
        begin(&mut guest).await;
        tenant.quota.charge(Duration::from_secs(3600));
        begin(&mut guest).await;
        drop(guest);
        is_dropped.await.expect("it is told");
    }
}
