//! Instances that serve several requests at once, where their manifest says so.
//!
//! Each is driven by a task of its own, which takes requests from the queue of its component for as long as it has room. A
//! request waits for what becomes of it: its response, the end of that, or the end of the instance. The engine cannot stop
//! one of several tasks of a guest, so a request that is over before its guest is done makes its instance take no more,
//! and end when the others are done.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use slab::Slab;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use wasmtime::component::{Accessor, AccessorTask, Resource, TypedFunc, TypedFuncCallConcurrent};
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{Request as Asked, Response as Answered};
use wasmtime_wasi_http::{Error as HttpError, WasiBody, WasiHttpView};

use crate::admission::Places;
use crate::behind;
use crate::engine::cores;
use crate::event::RequestId;
use crate::guest::{self, Ended, Failure, Guest, Reply};
use crate::meter::Meter;
use crate::outgoing::Outgoing;
use crate::quota::Quota;
use crate::shelf::Spare;
use crate::state::State;
use crate::{Engine, Error, caps};

/// The instances of one component, and the requests that none of them has taken yet.
pub(crate) struct Crew {
    queue: Mutex<Queue>,
    /// A request has come.
    come: Notify,
    /// More instances than that do not compute at once.
    cores: usize,
    /// Places of instances that wait, of all components.
    idle: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(u64, Box<Job>)>,
    next: u64,
    /// Instances that wait for a request.
    waiting: usize,
    /// Instances that may take one.
    serving: usize,
    /// Requests that are with an instance.
    present: usize,
}

/// A request on its way to an instance.
pub(crate) struct Job {
    request: Request<WasiBody>,
    reply: Reply,
    outgoing: Outgoing,
    failed: oneshot::Sender<Error>,
    /// Told when the response has ended, and dropped where nobody reads it any more.
    ended: oneshot::Sender<()>,
    with: oneshot::Sender<Present>,
}

/// What becomes of a request that an instance of a crew serves.
pub(crate) struct Outcome {
    failed: oneshot::Receiver<Error>,
    ended: oneshot::Receiver<()>,
    with: oneshot::Receiver<Present>,
    present: Option<Present>,
    /// Its place among the requests of its component.
    _admitted: Places,
}

/// The requests that are with one instance.
struct Company {
    crew: Arc<Crew>,
    present: AtomicUsize,
    /// One of them was over before its guest was done.
    is_left: AtomicBool,
    /// There are none any more, or there is room for one more, or one has left.
    changed: Notify,
    waiting: Mutex<Slab<oneshot::Sender<Error>>>,
}

/// One of those requests, until it is over.
struct Present {
    company: Arc<Company>,
    place: usize,
    is_done: bool,
}

/// Who makes an instance, and on whose account it computes.
pub(crate) struct Member {
    pub(crate) pre: Arc<ProxyPre<State>>,
    pub(crate) store: Store<State>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) quota: Arc<Quota>,
    pub(crate) engine: Engine,
}

impl Job {
    pub(crate) fn new(
        request: Request<WasiBody>,
        reply: Reply,
        outgoing: Outgoing,
        admitted: Places,
    ) -> (Box<Job>, Outcome) {
        let (failed, fails) = oneshot::channel();
        let (ended, ends) = oneshot::channel();
        let (with, is_with) = oneshot::channel();
        let job = Box::new(Job {
            request,
            reply,
            outgoing,
            failed,
            ended,
            with,
        });
        let outcome = Outcome {
            failed: fails,
            ended: ends,
            with: is_with,
            present: None,
            _admitted: admitted,
        };
        (job, outcome)
    }

    pub(crate) fn request_id(&self) -> RequestId {
        self.outgoing.request_id
    }
}

impl Crew {
    /// One whose instances wait in `idle` places together with all others.
    pub(crate) fn new(idle: Arc<Semaphore>) -> Arc<Crew> {
        Arc::new(Crew {
            queue: Mutex::default(),
            come: Notify::new(),
            cores: cores(),
            idle,
        })
    }

    /// Has an instance of the crew take the request soon, and says under which number it waits.
    ///
    /// # Errors
    /// The request, where it is worth an instance more.
    pub(crate) fn offer(&self, job: Box<Job>) -> Result<u64, Box<Job>> {
        let mut queue = self.queue();
        let (waits, room) = (queue.jobs.len(), queue.serving * caps::CREW_COMPANY);
        let is_soon_taken =
            waits < queue.waiting || queue.serving >= self.cores && waits + queue.present < room;
        if !is_soon_taken {
            return Err(job);
        }
        queue.next += 1;
        let number = queue.next;
        queue.jobs.push_back((number, job));
        drop(queue);
        // The one that waits for the shortest time: the others may end when there is less to do.
        self.come.notify_last();
        Ok(number)
    }

    /// Takes a request back that nobody has taken.
    pub(crate) fn take_back(&self, number: u64) -> Option<Box<Job>> {
        let mut queue = self.queue();
        let at = queue.jobs.iter().position(|(of, _)| *of == number)?;
        queue.jobs.remove(at).map(|(_, job)| job)
    }

    /// Has a new instance serve this request first.
    pub(crate) fn employ(self: &Arc<Crew>, member: Member, first: Box<Job>) {
        let Member {
            pre,
            store,
            meter,
            quota,
            engine,
        } = member;
        let company = Company::of(self.clone());
        let pace = engine.pace().clone();
        let serving = Serving::of(self.clone());
        let (account, of_all) = (meter.clone(), company.clone());
        let run = work(serving, pre, store, account, quota.clone(), first, of_all);
        let guest = Guest::new(run, meter, pace, quota);
        tokio::spawn(async move {
            // Kept whole: without its clock no guest would be stopped.
            let _engine = engine;
            let mut deserted = pin!(company.deserted());
            let mut guest = guest;
            poll_fn(|cx| match Pin::new(&mut guest).poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => deserted.as_mut().poll(cx),
            })
            .await;
        });
    }

    /// The next request; none where there is none for [`caps::IDLE`].
    async fn next(&self) -> Option<Box<Job>> {
        let _place = self.idle.try_acquire().ok()?;
        let _waiting = Waiting::at(self)?;
        timeout(caps::IDLE, async {
            let mut come = pin!(self.come.notified());
            loop {
                come.as_mut().enable();
                let job = self.queue().jobs.pop_front();
                match job {
                    // Nobody waits for it any more.
                    Some((_, job)) if job.reply.is_closed() => {}
                    Some((_, job)) => return job,
                    None => {
                        come.as_mut().await;
                        come.set(self.come.notified());
                    }
                }
            }
        })
        .await
        .ok()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance that waits for a request.
struct Waiting<'a>(&'a Crew);

impl Waiting<'_> {
    fn at(crew: &Crew) -> Option<Waiting<'_>> {
        let mut queue = crew.queue();
        if queue.waiting >= crew.cores.max(caps::IDLE_PER_COMPONENT) {
            return None;
        }
        queue.waiting += 1;
        Some(Waiting(crew))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue().waiting -= 1;
    }
}

/// An instance that may take requests.
struct Serving(Arc<Crew>);

impl Serving {
    fn of(crew: Arc<Crew>) -> Serving {
        crew.queue().serving += 1;
        Serving(crew)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.queue().serving -= 1;
    }
}

/// A request in a queue, which is not there any more once nobody waits for it.
struct Queued<'a>(&'a Crew, u64);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let Queued(crew, number) = self;
        drop(crew.take_back(*number));
    }
}

/// Waits for what becomes of a request, and has an instance more serve it where nobody takes it soon: those there are may
/// all be held up by one of their guests' tasks.
pub(crate) async fn attend(
    crew: Arc<Crew>,
    number: Option<u64>,
    mut outcome: Outcome,
    more: impl FnOnce(Box<Job>) -> Result<(), Error> + Send,
) -> Ended {
    if let Some(number) = number {
        let _queued = Queued(&crew, number);
        let mut patience = pin!(sleep(caps::CREW_PATIENCE));
        let ended = poll_fn(|cx| match outcome.poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => patience.as_mut().poll(cx).map(|()| None),
        });
        if let Some(ended) = ended.await {
            return ended;
        }
        if let Some(job) = crew.take_back(number) {
            more(job).map_err(Failure::of)?;
        }
    }
    poll_fn(|cx| outcome.poll(cx)).await
}

impl Outcome {
    /// First whether its instance has failed: a body of which half was written ends then too.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.present.is_none() {
            self.present = self.with.try_recv().ok();
        }
        let ended = match guest::poll_told(&mut self.failed, cx) {
            Poll::Ready(Ok(error)) => Err(Failure::of(error)),
            Poll::Ready(Err(_)) => match self.ended.try_recv() {
                Ok(()) => Ok(Spare::default()),
                Err(_) => Err(Failure::of(Error::Engine(
                    "the instance that served it has ended".into(),
                ))),
            },
            // Whoever drops its end early reads no more of it.
            Poll::Pending => match guest::poll_told(&mut self.ended, cx) {
                Poll::Ready(_) => Ok(Spare::default()),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.done();
        Poll::Ready(ended)
    }

    fn done(&mut self) {
        if let Some(present) = &mut self.present {
            present.is_done = true;
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if self.present.is_none() {
            self.present = self.with.try_recv().ok();
        }
        if self.ended.try_recv().is_ok() {
            self.done();
        }
    }
}

impl Company {
    fn of(crew: Arc<Crew>) -> Arc<Company> {
        Arc::new(Company {
            crew,
            // The first is on its way.
            present: AtomicUsize::new(1),
            is_left: AtomicBool::new(false),
            changed: Notify::new(),
            waiting: Mutex::default(),
        })
    }

    /// Adds a request, and whom to tell when its instance fails.
    fn add(self: &Arc<Company>, failed: oneshot::Sender<Error>) -> Present {
        self.crew.queue().present += 1;
        self.present.fetch_add(1, Ordering::AcqRel);
        let place = self.waiting().insert(failed);
        Present {
            company: self.clone(),
            place,
            is_done: false,
        }
    }

    fn present(&self) -> usize {
        self.present.load(Ordering::Acquire)
    }

    fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }

    /// Tells all that are there why their instance has failed.
    fn fail(&self, error: impl Fn() -> Error) {
        for failed in self.waiting().drain() {
            let _ = failed.send(error());
        }
    }

    async fn until(&self, is_so: impl Fn(&Company) -> bool) {
        let mut changed = pin!(self.changed.notified());
        loop {
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    /// Ready when nobody needs the instance any more, whatever its guest does: when one has left and the others are done,
    /// or when nobody is there for so long.
    async fn deserted(&self) {
        loop {
            self.until(|company| company.present() == 0).await;
            let comes = self.until(|company| company.is_left() || company.present() > 0);
            let alone = timeout(caps::IDLE + caps::AFTER_RESPONSE, comes).await;
            if self.present() == 0 && (alone.is_err() || self.is_left()) {
                return;
            }
        }
    }

    /// The first of them has come, or will not.
    fn has_come(&self) {
        if self.present.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_waiters();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Slab<oneshot::Sender<Error>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever still waits for an instance that goes away is told so, by the end of the channel, before it is gone.
struct Farewell(Arc<Company>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.waiting().clear();
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let company = &self.company;
        company.waiting().try_remove(self.place);
        company.crew.queue().present -= 1;
        if !self.is_done {
            company.is_left.store(true, Ordering::Release);
        }
        let before = company.present.fetch_sub(1, Ordering::AcqRel);
        if before == 1 || before == caps::CREW_COMPANY || !self.is_done {
            company.changed.notify_waiters();
        }
    }
}

/// Makes an instance, and has it serve one request after the other and many at once, until it has served enough.
async fn work(
    serving: Serving,
    pre: Arc<ProxyPre<State>>,
    mut store: Store<State>,
    meter: Arc<Meter>,
    quota: Arc<Quota>,
    first: Box<Job>,
    company: Arc<Company>,
) -> Ended {
    let _farewell = Farewell(company.clone());
    let mut first = Some(first);
    let ended = async {
        let Proxy::P3(service) = pre.instantiate_async(&mut store).await? else {
            return Err(wasmtime::format_err!("serves one request at once"));
        };
        let lead = Lead {
            serving,
            service: &service,
            meter: &meter,
            company: &company,
            quota: &quota,
            quiet: Instant::now(),
        };
        let first = first.take();
        store
            .run_concurrent(async |accessor| lead.on(accessor, first).await)
            .await?
    };
    let Err(error) = guest::in_its_time(&meter, ended).await else {
        return Ok(Spare::default());
    };
    let failure = || guest::failure(&error, store.data(), &meter);
    // It failed before it took that one.
    if let Some(first) = first {
        let _ = first.failed.send(failure());
    }
    company.fail(failure);
    let failure = failure();
    Err(Failure::with(failure, store))
}

/// What an instance does with its requests.
struct Lead<'a> {
    serving: Serving,
    service: &'a Service,
    meter: &'a Arc<Meter>,
    company: &'a Arc<Company>,
    quota: &'a Quota,
    /// When its guest had nothing to do.
    quiet: Instant,
}

impl Lead<'_> {
    async fn on(
        mut self,
        accessor: &Accessor<State>,
        mut next: Option<Box<Job>>,
    ) -> wasmtime::Result<()> {
        let mut served = 0;
        while let Some(job) = next.take() {
            let begun = self.begin(accessor, job);
            if served == 0 {
                self.company.has_come();
            }
            begun?;
            served += 1;
            // It computes until it has to wait: until then the next is for somebody else.
            tokio::task::yield_now().await;
            if served < caps::REQUESTS_PER_INSTANCE {
                next = self.next(accessor).await;
            }
        }
        let Lead {
            serving, company, ..
        } = self;
        drop(serving);
        company.until(|company| company.present() == 0).await;
        let quiet = poll_fn(|cx| accessor.poll_no_interesting_tasks(cx));
        let _ = timeout(caps::AFTER_RESPONSE, quiet).await;
        Ok(())
    }

    async fn next(&self, accessor: &Accessor<State>) -> Option<Box<Job>> {
        let has_room =
            |company: &Company| company.is_left() || company.present() < caps::CREW_COMPANY;
        self.company.until(has_room).await;
        let was_refused = accessor.with(|mut access| access.get().memory.refused().is_some());
        if self.company.is_left() || was_refused || self.is_tired() {
            return None;
        }
        let mut left = pin!(self.company.until(Company::is_left));
        let func = *self.service.wasi_http_handler().func_handle().func();
        let mut next = pin!(async {
            poll_fn(|cx| accessor.poll_ready_for_concurrent_call(func, cx)).await;
            self.serving.0.next().await
        });
        poll_fn(|cx| match left.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => next.as_mut().poll(cx),
        })
        .await
    }

    /// Whether others had better serve the next: its guest has had something to do all the time for as long as it may after a
    /// response, or it is behind the others, where its tenant does not belong any more.
    fn is_tired(&self) -> bool {
        let is_behind_for_nothing = behind::is_here() && !self.quota.is_to_go_behind();
        is_behind_for_nothing || self.quiet.elapsed() > caps::AFTER_RESPONSE
    }

    /// Whether its guest has nothing to do; noted where it is so.
    fn is_quiet(&mut self, accessor: &Accessor<State>) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let is_quiet = accessor.poll_no_interesting_tasks(&mut nobody).is_ready();
        if is_quiet {
            self.quiet = Instant::now();
        }
        is_quiet
    }

    fn begin(&mut self, accessor: &Accessor<State>, job: Box<Job>) -> wasmtime::Result<()> {
        let Job {
            request,
            reply,
            outgoing,
            failed,
            ended,
            with,
        } = *job;
        let is_quiet = self.is_quiet(accessor);
        // Whoever is gone already has left.
        let _ = with.send(self.company.add(failed));
        self.meter.begin_anew();
        accessor.with(|mut access| {
            if is_quiet {
                access.data_mut().forget_requests();
            }
            let hooks = access.data_mut().http().hooks;
            let (asked, io) = Asked::from_http(hooks, request);
            let asked = access.data_mut().table.push(asked)?;
            let handle = self.service.wasi_http_handler().func_handle();
            let call = handle.start_call_concurrent(access.as_context_mut(), (asked,))?;
            access.data_mut().begin_task(call.task(), outgoing);
            access.spawn(Task {
                handle,
                call,
                io: Box::pin(io),
                reply,
                ended,
                meter: self.meter.clone(),
            })?;
            Ok(())
        })
    }
}

type Parameters = (Resource<Asked>,);
type Results = (Result<Resource<Answered>, ErrorCode>,);

/// One request with its instance, until it has an answer.
struct Task {
    handle: TypedFunc<Parameters, Results>,
    call: TypedFuncCallConcurrent<State, Parameters, Results>,
    io: Pin<Box<dyn Future<Output = Result<(), HttpError>> + Send>>,
    reply: Reply,
    ended: oneshot::Sender<()>,
    meter: Arc<Meter>,
}

impl AccessorTask<State> for Task {
    async fn run(self, accessor: &Accessor<State>) -> wasmtime::Result<()> {
        let (handled,) = self
            .handle
            .finish_call_concurrent(accessor, self.call)
            .await?;
        self.meter.begin_anew();
        match handled {
            Ok(response) => {
                let (io, ended) = (self.io, self.ended);
                let response = accessor.with(|mut access| -> wasmtime::Result<_> {
                    let response = access.data_mut().table.delete(response)?;
                    response.into_http(access, io)
                })?;
                let response = response.map(|body| Watched::body(body, ended));
                let _ = self.reply.send(Ok(response));
            }
            Err(code) => {
                let _ = self.ended.send(());
                let _ = self.reply.send(Err(HttpError::from(code)));
            }
        }
        Ok(())
    }
}

/// A response's body that tells of its end.
struct Watched {
    body: WasiBody,
    ended: Option<oneshot::Sender<()>>,
}

impl Watched {
    fn body(body: WasiBody, ended: oneshot::Sender<()>) -> WasiBody {
        let ended = Some(ended);
        Watched { body, ended }.boxed_unsync()
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None) = &frame
            && let Some(ended) = self.ended.take()
        {
            let _ = ended.send(());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
