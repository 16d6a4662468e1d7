//! One component, ready to serve.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request, Response};
use runner_manifest::ComponentId;
use runner_outbound::Grants;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime_wasi::{FsPerms, WasiCtx};
use wasmtime_wasi_http::{WasiBody, handler::ProxyPre};

use crate::admission::{Admission, Places};
use crate::app::App;
use crate::body::{Body, Run, Until};
use crate::bucket::Bucket;
use crate::clock::Coarse;
use crate::component::World;
use crate::crew::{self, Crew, Job, Member};
use crate::doors::Door;
use crate::event::{RequestId, Stream};
use crate::files::Files;
use crate::guest::{self, Answer, Guest};
use crate::inside::Calls;
use crate::instance::{self, Server};
use crate::limit::Hits;
use crate::log::{ComponentLog, LogStream};
use crate::meter::Meter;
use crate::outgoing::Outgoing;
use crate::quota::Quota;
use crate::seat::{Seat, Seated};
use crate::shelf::Shelf;
use crate::state::{First, Memory, State};
use crate::trace::Trace;
use crate::usage::{Usage, Used};
use crate::{Engine, Error, capped, caps};

/// A pre-instantiated component with everything it was granted.
pub(crate) struct Handler {
    pub(crate) id: ComponentId,
    /// Kept whole: without its clock no guest would be stopped.
    pub(crate) engine: Engine,
    pub(crate) quota: Arc<Quota>,
    /// Of the pool, that an instance takes.
    pub(crate) places: u64,
    pub(crate) pre: Arc<ProxyPre<State>>,
    pub(crate) world: World,
    pub(crate) grants: Arc<Grants>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) variables: runner_variables::Session,
    pub(crate) files: Option<Files>,
    pub(crate) clock_resolution: Option<Duration>,
    pub(crate) cpu: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) memory: u64,
    pub(crate) request_body: Option<u64>,
    pub(crate) response_body: Option<u64>,
    pub(crate) hits: Arc<Hits>,
    pub(crate) log: Arc<ComponentLog>,
    pub(crate) outbound_per_instance: usize,
    pub(crate) outbound: Arc<Semaphore>,
    pub(crate) outbound_rate: Option<Arc<Bucket>>,
    pub(crate) denials: AtomicU64,
    pub(crate) usage: Arc<Usage>,
    pub(crate) admission: Arc<Admission>,
    /// The door of the app, for requests from outside: a call inside it has its caller's place there.
    pub(crate) of_app: Option<Arc<Admission>>,
    /// Where these are from: its tenant keeps it as long as somebody has it.
    pub(crate) _door: Arc<Door>,
    pub(crate) reuse: Reuse,
}

/// What becomes of an instance that serves.
pub(crate) enum Reuse {
    /// It ends with its request.
    Never,
    /// It waits here for the next one.
    Serial(Arc<Shelf>),
    /// It serves several at once, as one of those.
    Concurrent(Arc<Crew>),
}

/// One request, as a handler needs to know it.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) request_id: RequestId,
    /// How many calls inside the app led here.
    pub(crate) depth: u8,
    /// Those of the request that led here; none for a client's own.
    pub(crate) calls: Option<Arc<Calls>>,
    pub(crate) denials: Arc<AtomicU64>,
    /// The span of the instance that handles it.
    pub(crate) trace: Trace,
}

impl Handler {
    /// A fresh instance handles `request`. What it writes is read, and what it still does is done, through the body.
    pub(crate) async fn handle(
        &self,
        call: Call,
        request: Request<WasiBody>,
    ) -> Result<Response<Body>, Error> {
        self.usage.request();
        if self.engine.pressure().is_too_high(&self.quota) {
            return Err(Error::Overloaded);
        }
        let request = self.within_limits(request, call.request_id)?;
        // The body of a response to `HEAD` is not sent.
        let is_sent = request.method() != Method::HEAD;
        let most = self.response_body.filter(|_| is_sent);
        let until = Until::in_time(self.response_timeout);
        let of_app = self.of_app.clone().filter(|_| call.depth == 0);
        let admitted = self.admit(of_app.as_deref()).await?;
        let (reply, mut answer) = oneshot::channel();
        let seat = Seat::new();
        let request = request.map(|body| seat.reads(body));
        let guest = self.guest(call, admitted, request, reply)?;
        let guest = Seated::new(seat, self.admission.clone(), of_app, guest);
        let waiting = first_answer(guest, &mut answer);
        let (answer, guest) = if caps::LIMITED {
            let (at, late) = self.head_until(until);
            let waited = tokio::time::timeout_at(at, waiting).await;
            waited.map_err(|_| late)??
        } else {
            waiting.await?
        };
        match answer {
            Ok(response) => within(response, guest, until, most),
            Err(code) => Err(Error::Guest(code)),
        }
    }

    async fn admit(&self, of_app: Option<&Admission>) -> Result<Places, Error> {
        let own = self.admission.admit().await?;
        match of_app {
            Some(app) => Ok((own, Some(app.admit().await?))),
            None => Ok((own, None)),
        }
    }

    /// When there must be a response, and what is wrong where there is none.
    fn head_until(&self, until: Until) -> (Instant, Error) {
        let head = Instant::now() + self.request_timeout;
        if head < until.at {
            (head, Error::RequestTimeout(self.request_timeout))
        } else {
            (until.at, until.late())
        }
    }

    fn guest(
        &self,
        call: Call,
        admitted: Places,
        request: Request<WasiBody>,
        reply: guest::Reply,
    ) -> Result<Guest, Error> {
        let shelf = match &self.reuse {
            Reuse::Never => None,
            Reuse::Serial(shelf) => Some(shelf),
            Reuse::Concurrent(crew) => return self.attend(crew, call, admitted, request, reply),
        };
        let meter = Arc::new(Meter::new(self.cpu));
        let (pace, quota) = (self.engine.pace().clone(), self.quota.clone());
        let Some(shelf) = shelf else {
            let store = self.store(self.alone(call, admitted), &meter)?;
            let run = guest::run(self.pre.clone(), store, meter.clone(), request, reply);
            return Ok(Guest::new(run, meter, pace, quota));
        };
        let server = match shelf.take() {
            Some(mut instance) => {
                instance.begin(self.outgoing(call), admitted, meter.clone());
                Server::Used(instance)
            }
            None => {
                let store = self.store(self.alone(call, admitted), &meter)?;
                Server::Fresh(self.pre.clone(), store)
            }
        };
        let run = instance::run(server, shelf.clone(), meter.clone(), request, reply);
        Ok(Guest::new(run, meter, pace, quota))
    }

    /// An instance that serves several at once handles it.
    fn attend(
        &self,
        crew: &Arc<Crew>,
        call: Call,
        admitted: Places,
        request: Request<WasiBody>,
        reply: guest::Reply,
    ) -> Result<Guest, Error> {
        let (app, id) = (call.app.clone(), self.id.clone());
        let (job, outcome) = Job::new(request, reply, self.outgoing(call), admitted);
        let number = match crew.offer(job) {
            Ok(number) => Some(number),
            Err(job) => {
                self.employ(crew, job)?;
                None
            }
        };
        let more = move |job: Box<Job>| match app.handler(&id) {
            Some(handler) => handler.employ_one_more(job),
            None => Err(Error::NoRoute),
        };
        Ok(Guest::elsewhere(crew::attend(
            crew.clone(),
            number,
            outcome,
            more,
        )))
    }

    fn employ_one_more(&self, job: Box<Job>) -> Result<(), Error> {
        match &self.reuse {
            Reuse::Concurrent(crew) => self.employ(crew, job),
            Reuse::Never | Reuse::Serial(_) => Err(Error::NoResponse),
        }
    }

    fn employ(&self, crew: &Arc<Crew>, first: Box<Job>) -> Result<(), Error> {
        let meter = Arc::new(Meter::new(self.cpu));
        let slots = Arc::new(Semaphore::new(self.outbound_per_instance));
        let store = self.store((first.request_id(), First::OfMany(slots)), &meter)?;
        let member = Member {
            pre: self.pre.clone(),
            store,
            meter,
            quota: self.quota.clone(),
            engine: self.engine.clone(),
        };
        crew.employ(member, first);
        Ok(())
    }

    fn alone(&self, call: Call, admitted: Places) -> (RequestId, First) {
        let outgoing = Box::new(self.outgoing(call));
        (outgoing.request_id, First::Alone(outgoing, admitted))
    }

    fn store(
        &self,
        (request_id, first): (RequestId, First),
        meter: &Arc<Meter>,
    ) -> Result<Store<State>, Error> {
        let state = self.state(request_id, first)?;
        guest::store(self.engine.wasmtime(), state, meter.clone())
    }

    /// A request whose body ends in an error where it is longer than it may be.
    fn within_limits(
        &self,
        request: Request<WasiBody>,
        request_id: RequestId,
    ) -> Result<Request<WasiBody>, Error> {
        let Some(most) = self.request_body else {
            return Ok(request);
        };
        if capped::is_longer(request.headers(), request.body(), most) {
            return Err(Error::RequestBody(most));
        }
        Ok(request.map(|body| capped::request(body, most, &self.hits, request_id)))
    }

    fn state(&self, request_id: RequestId, first: First) -> Result<State, Error> {
        let taken = self.quota.take_places(self.places);
        let memory = Memory::new(self.memory, taken.ok_or(Error::Instances)?);
        let log = |stream| LogStream::new(self.log.clone(), request_id, stream);
        let logs = [Stream::Stdout, Stream::Stderr].map(log);
        let folders = match self.reuse {
            Reuse::Never => None,
            Reuse::Serial(_) | Reuse::Concurrent(_) => {
                Some(self.files.iter().flat_map(Files::mounts).count())
            }
        };
        Ok(State::new(
            self.wasi(logs.clone())?,
            first,
            self.variables.clone(),
            self.usage.clone(),
            memory,
            logs,
            folders,
        ))
    }

    fn outgoing(&self, call: Call) -> Outgoing {
        Outgoing {
            app: call.app,
            grants: self.grants.clone(),
            request_id: call.request_id,
            depth: call.depth,
            calls: call.calls,
            interface: self.world.outgoing(),
            of_instance: Arc::new(Semaphore::new(self.outbound_per_instance)),
            of_component: self.outbound.clone(),
            rate: self.outbound_rate.clone(),
            hits: self.hits.clone(),
            denials: call.denials,
            trace: call.trace,
            usage: self.usage.clone(),
        }
    }

    /// No arguments, no working directory, no sockets, no names looked up; only what the manifest says.
    fn wasi(&self, [stdout, stderr]: [LogStream; 2]) -> Result<WasiCtx, Error> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(stdout)
            .stderr(stderr)
            .envs(&self.environment)
            .max_random_size(caps::RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            // Its files are private copies of ordinary ones. Read on its own thread, what that takes is on its account, and
            // there are no threads for which one tenant could wait because of another.
            .allow_blocking_current_thread(true);
        if let Some(step) = self.clock_resolution {
            wasi.monotonic_clock(Coarse::monotonic(step))
                .wall_clock(Coarse::wall(step));
        }
        for (guest, host) in self.files.iter().flat_map(Files::mounts) {
            wasi.preopened_dir(host, guest, FsPerms::ReadOnly)
                .map_err(|e| Error::Instantiate(format!("the files at `{guest}`: {e:#}")))?;
        }
        Ok(wasi.build())
    }

    /// What it has used since it was loaded.
    pub(crate) fn used(&self) -> Used {
        let denied = self.denials.load(Ordering::Relaxed);
        self.usage.used(&self.grants.allow, denied, &self.variables)
    }

    pub(crate) fn count_denial(&self) {
        self.denials.fetch_add(1, Ordering::Relaxed);
    }
}

/// A response with its body, which is cut where it is longer than it may be. One that announces that is none.
fn within(
    response: Response<WasiBody>,
    run: Run,
    until: Until,
    most: Option<u64>,
) -> Result<Response<Body>, Error> {
    if let Some(most) = most
        && capped::will_be_longer(response.status(), response.headers(), most)
    {
        return Err(Error::ResponseBody(most));
    }
    Ok(response.map(|body| Body::guest(body, run, until, most)))
}

/// Runs the guest until it has answered or ended. Gives back what is left of its run.
async fn first_answer(
    mut guest: Seated,
    answer: &mut oneshot::Receiver<Answer>,
) -> Result<(Answer, Run), Error> {
    // A guest that another task runs may be seen to end after its end of the channel is gone, which tells that only once.
    let mut may_answer = true;
    let (answer, ended) = std::future::poll_fn(|cx| {
        let ended = Pin::new(&mut guest).poll(cx);
        if may_answer {
            match Pin::new(&mut *answer).poll(cx) {
                Poll::Ready(Ok(answer)) => return Poll::Ready((Some(answer), ended)),
                Poll::Ready(Err(_)) => may_answer = false,
                Poll::Pending => {}
            }
        }
        match ended {
            // A guest that did much has used up its task's turn, and then no channel is ready, whatever is in it.
            Poll::Ready(ended) => Poll::Ready((answer.try_recv().ok(), Poll::Ready(ended))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    match (answer, ended) {
        (Some(answer), Poll::Pending) => Ok((answer, Run::GoesOn(guest))),
        (Some(answer), Poll::Ready(Ok(spare))) => Ok((answer, Run::Over(spare))),
        // It failed with its body half written: whoever reads the body finds out.
        (Some(answer), Poll::Ready(Err(error))) => Ok((answer, Run::Failed(error))),
        (None, Poll::Ready(Err(error))) => Err(error),
        (None, _) => Err(Error::NoResponse),
    }
}
