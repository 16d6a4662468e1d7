//! An app: its routes and its components, and the way of a request through them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, Request, Response, StatusCode, Uri};
use runner_manifest::{ComponentId, Manifest, Match, NormalPath, Reply, StaticResponse};
use runner_outbound::{Grants, Outbound};
use tokio::runtime::Handle;
use wasmtime_wasi_http::WasiBody;

use crate::apart::{self, Gone, Making};
use crate::body::{Body, into_wasi};
use crate::component::{self, Loaded};
use crate::denials::Denials;
use crate::event::{Event, Events, Execution, Outcome, Record, RequestId};
use crate::handler::{Call, Handler};
use crate::identity::{self, Seen};
use crate::inside::Calls;
use crate::quota::Quota;
use crate::tenant::Tenant;
use crate::trace::{Trace, Tracing};
use crate::usage::Used;
use crate::{BoxError, Client, Engine, Error, Forwarded, LoadError, answered, caps};

/// Answered `200 OK` unless the app routes it, for whoever watches over the process.
const HEALTH: &str = "/.well-known/spin/health";

/// The name under which a component is called from inside its app; nobody outside may use it.
const INTERNAL: &str = ".spin.internal";

/// What an app is given by whoever runs it.
#[derive(Clone)]
pub struct Services {
    /// Who it is, also after a reload.
    pub tenant: Tenant,
    /// The door out. Each load of an app keeps connections of its own behind it.
    pub outbound: Outbound,
    /// Who is told what happens.
    pub events: Events,
    /// How a refused request looks to whoever made it, over a socket or inside the app.
    pub refuse: Refuse,
    /// Whether traces are collected.
    pub tracing: Tracing,
}

impl Services {
    /// What an app needs at least: it is a tenant of its own, nobody is told what happens, and no traces are collected.
    pub fn new(outbound: Outbound, refuse: Refuse) -> Services {
        Services {
            tenant: Tenant::new("app"),
            outbound,
            events: Arc::new(|_| ()),
            refuse,
            tracing: Tracing::default(),
        }
    }
}

/// Makes a response of a request that has none.
pub type Refuse = Arc<dyn Fn(&Refused<'_>) -> Response<Body> + Send + Sync>;

/// A request that no guest has answered.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Its id, also in the log.
    pub request_id: RequestId,
    /// Who should have answered; none where nobody was asked.
    pub component: Option<&'a ComponentId>,
    /// Why there is no answer.
    pub error: &'a Error,
}

/// A loaded app. A reload makes a new one beside it; requests in flight finish on the one that took them.
pub struct App {
    manifest: Manifest,
    handlers: BTreeMap<ComponentId, Handler>,
    loaded: BTreeMap<ComponentId, Loaded>,
    services: Services,
    denials: Denials,
    generation: u64,
    since: SystemTime,
    /// Kept whole: without its clock no guest would be stopped.
    engine: Engine,
    quota: Arc<Quota>,
    state: Loading,
}

/// Whether there is anything behind the routes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loading {
    Done,
    Failed,
}

/// Where a call inside the app goes.
pub(crate) enum Target {
    /// By the public routes.
    Route,
    /// To this component, which may have no public route.
    Component(ComponentId),
}

/// A request on its way.
struct Turn {
    request_id: RequestId,
    depth: u8,
    /// Those of the request that led here; none for a client's own.
    calls: Option<Arc<Calls>>,
    denials: Arc<AtomicU64>,
    component: Option<ComponentId>,
    route: Option<String>,
    started: Instant,
    trace: Trace,
    execution: Option<Execution>,
}

impl App {
    /// Loads every component of `manifest`, several at once, from the cache of `engine` where they are there.
    /// `generation` tells this policy from the one before it: connections are not shared between them.
    ///
    /// # Errors
    /// All components that cannot be loaded, each with what was found and what to do.
    pub async fn load(
        engine: &Engine,
        manifest: Manifest,
        generation: u64,
        services: Services,
    ) -> Result<App, LoadError> {
        // Whatever its components are called: no other app, and no other load, meets its connections.
        let services = Services {
            outbound: services.outbound.with_own_pool(),
            ..services
        };
        let built = component::load_all(
            engine,
            &manifest,
            generation,
            &services.tenant,
            &services.events,
        )
        .await
        .inspect_err(|_| services.tenant.doors().forget())?;
        let (mut handlers, mut loaded) = (BTreeMap::new(), BTreeMap::new());
        for (handler, about) in built {
            handlers.insert(handler.id.clone(), handler);
            loaded.insert(about.id.clone(), about);
        }
        let door = services.tenant.doors().hold(&manifest);
        for handler in handlers.values_mut() {
            let handler: &mut Handler = handler;
            handler.of_app.clone_from(&door);
        }
        let quota = engine.quota(services.tenant.id());
        Ok(App {
            manifest,
            handlers,
            loaded,
            services,
            denials: Denials::default(),
            generation,
            since: SystemTime::now(),
            engine: engine.clone(),
            quota,
            state: Loading::Done,
        })
    }

    /// What stands in for an app that cannot be loaded: of its manifest only who it is and what it is for is looked at, and
    /// each request is refused with [`Error::NotLoaded`].
    pub fn not_loaded(
        engine: &Engine,
        manifest: Manifest,
        generation: u64,
        services: Services,
    ) -> App {
        let quota = engine.quota(services.tenant.id());
        App {
            manifest: manifest.without_components(),
            handlers: BTreeMap::new(),
            loaded: BTreeMap::new(),
            services,
            denials: Denials::default(),
            generation,
            since: SystemTime::now(),
            engine: engine.clone(),
            quota,
            state: Loading::Failed,
        }
    }

    /// Whether it is one that could be loaded.
    pub fn is_loaded(&self) -> bool {
        self.state == Loading::Done
    }

    /// The manifest it was made from.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is known of each component.
    pub fn components(&self) -> &BTreeMap<ComponentId, Loaded> {
        &self.loaded
    }

    /// What a component may reach.
    pub fn grants(&self, id: &ComponentId) -> Option<&Arc<Grants>> {
        self.handlers.get(id).map(|handler| &handler.grants)
    }

    /// Outbound calls of a component that were denied since this app was loaded, told or not.
    pub fn denied(&self, id: &ComponentId) -> u64 {
        self.handlers
            .get(id)
            .map_or(0, |handler| handler.denials.load(Ordering::Relaxed))
    }

    /// What a component has used of its grants since this app was loaded.
    pub fn used(&self, id: &ComponentId) -> Option<Used> {
        self.handlers.get(id).map(Handler::used)
    }

    /// Which load of the app this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When it was loaded.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Answers a request that came over a connection. What cannot be answered is refused as [`Services::refuse`] has
    /// it; every request ends in one [`Record`].
    pub async fn handle<B>(self: &Arc<App>, request: Request<B>, client: Client) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.handle_unless(request, client, never).await
    }

    /// The same, unless `refusal` has something to say before there is an answer: it is asked whenever the guest has run.
    /// Then the guest is dropped, and what the refusal makes of the request's id is the answer, and in the record.
    pub async fn handle_unless<B, R>(
        self: &Arc<App>,
        request: Request<B>,
        client: Client,
        refusal: impl FnMut() -> Option<R> + Send + 'static,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        R: FnOnce(RequestId) -> Response<Body> + Send + 'static,
    {
        let trace = Trace::of_request(request.headers(), self.services.tracing);
        let turn = Turn::new(0, None, trace);
        let request = request.map(into_wasi);
        self.quota.charge_request();
        self.engine.pressure().asked();
        if self.quota.is_to_go_behind()
            && let Some(behind) = self.engine.behind()
        {
            let app = self.clone();
            let request_id = turn.request_id;
            let made = async move {
                app.answer(turn, Target::Route, request, client, refusal)
                    .await
            };
            return self.behind(behind, request_id, Box::pin(made)).await;
        }
        self.answer(turn, Target::Route, request, client, refusal)
            .await
    }

    /// What the others go before.
    async fn behind(&self, behind: &Handle, request_id: RequestId, made: Making) -> Response<Body> {
        match apart::make(behind, made).await {
            Ok(response) => response.map(Body::apart),
            Err(Gone) => (self.services.refuse)(&Refused {
                request_id,
                component: None,
                error: &Error::Engine("the task that served it has ended".into()),
            }),
        }
    }

    /// A guest's call to its own app; `caller` is the call's span.
    pub(crate) async fn call(
        self: &Arc<App>,
        target: Target,
        mut request: Request<WasiBody>,
        depth: u8,
        calls: Arc<Calls>,
        caller: &Trace,
    ) -> Response<Body> {
        let authority = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        request.headers_mut().remove(HOST);
        identity::strip_inside(request.headers_mut());
        let client = Client {
            address: None,
            scheme: "http",
            authority,
            forwarded: Forwarded::Removed,
        };
        let turn = Turn::new(depth, Some(calls), caller.child());
        self.answer(turn, target, request, client, never).await
    }

    async fn answer<R>(
        self: &Arc<App>,
        turn: Turn,
        target: Target,
        request: Request<WasiBody>,
        client: Client,
        mut refusal: impl FnMut() -> Option<R>,
    ) -> Response<Body>
    where
        R: FnOnce(RequestId) -> Response<Body>,
    {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut waiting = Waiting {
            app: self,
            turn: Some(turn),
            method,
            path,
            client,
        };
        let turn = waiting.turn.as_mut().expect("put there above");
        let answered = {
            let mut answer = pin!(self.dispatch(turn, target, request, &waiting.client));
            poll_fn(|cx| {
                let answer = answer.as_mut().poll(cx);
                match refusal() {
                    Some(refusal) => Poll::Ready(Err(refusal)),
                    None => answer.map(Ok),
                }
            })
            .await
        };
        let response = match answered {
            Ok(answer) => answer
                .and_then(answered::check)
                .unwrap_or_else(|error| self.refuse(turn, &error)),
            Err(refusal) => refusal(turn.request_id),
        };
        waiting.record(response)
    }

    fn refuse(&self, turn: &Turn, error: &Error) -> Response<Body> {
        if let Some(component) = &turn.component {
            (self.services.events)(Event::Failed {
                component,
                request_id: turn.request_id,
                error,
            });
        }
        (self.services.refuse)(&Refused {
            request_id: turn.request_id,
            component: turn.component.as_ref(),
            error,
        })
    }

    async fn dispatch(
        self: &Arc<App>,
        turn: &mut Turn,
        target: Target,
        mut request: Request<WasiBody>,
        client: &Client,
    ) -> Result<Response<Body>, Error> {
        let path = NormalPath::parse(request.uri().path())?;
        if !self.is_loaded() {
            return Err(Error::NotLoaded);
        }
        let (id, found) = match &target {
            Target::Component(id) => (id, None),
            Target::Route => {
                let Some(found) = self.find(client, &path) else {
                    return default_answer(&path);
                };
                turn.route = Some(found.matched_route.to_owned());
                match &found.route.reply {
                    Reply::Static(fixed) => return Ok(static_response(fixed)),
                    Reply::Component(id) => (id, Some(found)),
                }
            }
        };
        let handler = self.handlers.get(id).ok_or(Error::NoRoute)?;
        turn.component = Some(id.clone());
        turn.may_go_on()?;
        let seen = found
            .as_ref()
            .map_or_else(|| Seen::name(&path), Seen::route);
        let query = request
            .uri()
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        identity::strip(request.headers_mut(), client.forwarded);
        identity::add(request.headers_mut(), &query, &path, &seen, client);
        *request.uri_mut() = seen_by_guest(&query, &path, client)?;
        let trace = turn.execute();
        if self.services.tracing.is_on() {
            trace.tell_guest(request.headers_mut());
        }
        handler.handle(turn.call(self, trace), request).await
    }

    fn find<'a>(&'a self, client: &Client, path: &NormalPath) -> Option<Match<'a>> {
        let host = host_of(&client.authority);
        if client.address.is_some() && is_internal(host) {
            return None;
        }
        self.manifest.routes.find(Some(host), path)
    }

    /// Who it is, also after a reload.
    pub fn tenant(&self) -> &Tenant {
        &self.services.tenant
    }

    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// What it has of what all apps share.
    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    pub(crate) fn tracing(&self) -> Tracing {
        self.services.tracing
    }

    pub(crate) fn outbound(&self) -> &Outbound {
        &self.services.outbound
    }

    pub(crate) fn events(&self) -> &Events {
        &self.services.events
    }

    pub(crate) fn denials(&self) -> &Denials {
        &self.denials
    }

    pub(crate) fn handler(&self, id: &ComponentId) -> Option<&Handler> {
        self.handlers.get(id)
    }

    pub(crate) fn count_denial(&self, id: &ComponentId) {
        if let Some(handler) = self.handlers.get(id) {
            handler.count_denial();
        }
    }
}

impl Services {
    /// Records an answer that the trigger gives by itself, to a request that is none.
    pub(crate) fn refused(
        &self,
        method: Method,
        path: String,
        client: Option<SocketAddr>,
        answer: impl FnOnce(RequestId) -> Response<Body>,
    ) -> Response<Body> {
        let turn = Turn::new(0, None, Trace::root(self.tracing));
        let response = answer(turn.request_id);
        self.record(turn, method, path, client, None, response)
    }

    /// Answers a request that is for no app.
    pub(crate) fn answer_for_nobody<B>(
        &self,
        request: &Request<B>,
        client: Client,
        answer: Result<Response<Body>, Error>,
    ) -> Response<Body> {
        let turn = Turn::new(0, None, Trace::of_request(request.headers(), self.tracing));
        let refuse = |error| {
            (self.refuse)(&Refused {
                request_id: turn.request_id,
                component: None,
                error: &error,
            })
        };
        let response = answer.unwrap_or_else(refuse);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let server = Some((client.scheme, client.authority));
        self.record(turn, method, path, client.address, server, response)
    }

    fn record(
        &self,
        turn: Turn,
        method: Method,
        path: String,
        client: Option<SocketAddr>,
        server: Option<(&'static str, String)>,
        response: Response<Body>,
    ) -> Response<Body> {
        let expected = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let denials = turn.denials;
        let record = Record {
            request_id: turn.request_id,
            component: turn.component,
            route: turn.route,
            method,
            path,
            status: response.status(),
            bytes: 0,
            duration: Duration::ZERO,
            denials: 0,
            outcome: Outcome::Complete,
            client,
            server,
            started: turn.started,
            trace: turn.trace,
            execution: turn.execution,
        };
        response.map(|body| body.recorded(record, denials, expected, self.events.clone()))
    }
}

/// Nobody refuses it.
pub(crate) fn never() -> Option<fn(RequestId) -> Response<Body>> {
    None
}

/// What a client that goes away before it is answered is recorded with; nginx made it up, no client ever sees it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A request that is being answered. Dropped before that, it is recorded as one whose client went away.
struct Waiting<'a> {
    app: &'a App,
    turn: Option<Turn>,
    method: Method,
    path: String,
    client: Client,
}

impl Waiting<'_> {
    fn record(&mut self, response: Response<Body>) -> Response<Body> {
        let Some(turn) = self.turn.take() else {
            return response;
        };
        let (method, path) = (self.method.clone(), std::mem::take(&mut self.path));
        let client = self.client.address;
        let authority = std::mem::take(&mut self.client.authority);
        let server = Some((self.client.scheme, authority));
        let services = &self.app.services;
        services.record(turn, method, path, client, server, response)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.turn.is_some() {
            // A body that nobody reads to its end is the record of a client that went away.
            let mut response = Response::new(Body::full("unread"));
            *response.status_mut() =
                StatusCode::from_u16(CLIENT_CLOSED_REQUEST).expect("three digits");
            drop(self.record(response));
        }
    }
}

impl Turn {
    fn new(depth: u8, calls: Option<Arc<Calls>>, trace: Trace) -> Turn {
        Turn {
            request_id: RequestId::next(),
            depth,
            calls,
            denials: Arc::default(),
            component: None,
            route: None,
            started: Instant::now(),
            trace,
            execution: None,
        }
    }

    /// Whether another guest may run for the request that led here.
    fn may_go_on(&self) -> Result<(), Error> {
        if self.depth > caps::DEPTH {
            return Err(Error::Loop(caps::DEPTH));
        }
        match &self.calls {
            Some(calls) if !calls.begin() => Err(Error::Calls(caps::CALLS)),
            _ => Ok(()),
        }
    }

    /// A guest begins to run: its span.
    fn execute(&mut self) -> Trace {
        let trace = self.trace.child();
        self.execution = Some(Execution {
            span: trace.span,
            after: self.started.elapsed(),
            duration: Duration::ZERO,
        });
        trace
    }

    fn call(&self, app: &Arc<App>, trace: Trace) -> Call {
        Call {
            app: app.clone(),
            request_id: self.request_id,
            depth: self.depth,
            calls: self.calls.clone(),
            denials: self.denials.clone(),
            trace,
        }
    }
}

/// What is answered where no route is: there is one path that every server has.
pub(crate) fn default_answer(path: &NormalPath) -> Result<Response<Body>, Error> {
    if path.as_str() == HEALTH {
        return Ok(Response::new(Body::full("OK")));
    }
    Err(Error::NoRoute)
}

fn static_response(fixed: &StaticResponse) -> Response<Body> {
    let mut response = Response::new(Body::full(fixed.body.clone()));
    *response.status_mut() = StatusCode::from_u16(fixed.status).unwrap_or(StatusCode::OK);
    for (name, value) in &fixed.headers {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(name),
            http::HeaderValue::try_from(value),
        ) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The URI as the guest reads it: the path that was routed, never another spelling of it.
fn seen_by_guest(query: &str, path: &NormalPath, client: &Client) -> Result<Uri, Error> {
    Uri::builder()
        .scheme(client.scheme)
        .authority(client.authority.as_str())
        .path_and_query(format!("{}{query}", path.as_str()))
        .build()
        .map_err(|_| Error::NoRoute)
}

/// The host of an authority, without its port.
pub(crate) fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether a host is a component's name inside its app, in any spelling of that name.
fn is_internal(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.to_ascii_lowercase().ends_with(INTERNAL)
}
