//! Traces and metrics for OpenTelemetry, as the standard `OTEL_*` variables ask for them: OTLP over HTTP.
//!
//! It listens to the host's events on their way to the log. A request's path only makes its span and leaves it in a
//! bounded queue; two tasks of their own send what is there. A collector that is away, slow or out of its mind costs
//! spans, which are counted and told, and neither memory nor time of a request. Without the variables there is none of it.

mod config;
mod metrics;
mod proto;
mod send;
mod spans;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runner_host::{App, Event, Events, Record, Tracing};
use runner_manifest::Manifest;
use runner_trigger_http::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};

pub(crate) use self::config::{Config, Variables};

use self::metrics::Metrics;
use self::proto::{KeyValue, Span, text};
use self::send::{Lost, Sender};
use crate::cli::DoorArgs;
use crate::telemetry::{Notice, Telemetry};

/// How long the end waits for what is left to be sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What collects; nothing where nobody asked for it.
#[derive(Default)]
pub(crate) struct Otel {
    tracing: Tracing,
    listener: Listener,
    app: Arc<Served>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// What the operator says of this process.
type Said = Arc<Vec<(String, String)>>;

/// The half that hears events.
#[derive(Clone, Default)]
struct Listener {
    /// Whose events they are, where several apps are served.
    app: Option<Arc<str>>,
    spans: Option<Spans>,
    metrics: Option<Arc<Metrics>>,
}

/// The way to the task that sends spans.
#[derive(Clone)]
struct Spans {
    queue: mpsc::Sender<Span>,
    lost: Lost,
}

/// What is known of the app once it is served.
#[derive(Default)]
struct Served {
    resource: OnceLock<Vec<KeyValue>>,
    /// While it is.
    handle: Mutex<Option<Handle>>,
}

impl Otel {
    /// Starts what is asked for; to be called on the runtime. What is wrong with it is told, and left out.
    pub(crate) fn start(variables: &Variables, door: &DoorArgs, telemetry: &Telemetry) -> Otel {
        let mut config = Config::of(variables);
        for warning in std::mem::take(&mut config.warnings) {
            telemetry.say(&Notice::warning(warning));
        }
        let mut otel = Otel::default();
        let resource = Arc::new(config.resource);
        if let Some((traces, endpoint)) = config.traces
            && let Some(sender) = otel.sender(("traces", "spans"), endpoint, door, telemetry)
        {
            otel.collect_spans(sender, traces, &resource);
        }
        let names = ("metrics", "exports of metrics");
        if let Some((interval, endpoint)) = config.metrics
            && let Some(sender) = otel.sender(names, endpoint, door, telemetry)
        {
            otel.collect_metrics(sender, interval, &resource);
        }
        otel
    }

    fn collect_spans(&mut self, sender: Sender, traces: config::Traces, resource: &Said) {
        let (queue, waiting) = mpsc::channel(traces.queue);
        let lost = sender.lost();
        self.tracing = Tracing::On(traces.sampler);
        self.listener.spans = Some(Spans { queue, lost });
        let task = SpanTask {
            sender,
            waiting,
            batch: traces.batch,
            delay: traces.delay,
            of: self.about(resource),
        };
        self.tasks.push(tokio::spawn(send_spans(task)));
    }

    fn collect_metrics(&mut self, sender: Sender, interval: Duration, resource: &Said) {
        let counted = Arc::new(Metrics::new(now()));
        self.listener.metrics = Some(counted.clone());
        let task = send_metrics(sender, counted, interval, self.about(resource));
        self.tasks.push(tokio::spawn(task));
    }

    fn sender(
        &self,
        names: (&'static str, &'static str),
        endpoint: config::Endpoint,
        door: &DoorArgs,
        telemetry: &Telemetry,
    ) -> Option<Sender> {
        let stopping = self.stop.subscribe();
        match Sender::new(names, endpoint, door, telemetry.clone(), stopping) {
            Ok(sender) => Some(sender),
            Err(error) => {
                let what = names.0;
                telemetry.say(&Notice::warning(format!("{error}; no {what} are sent")));
                None
            }
        }
    }

    fn about(&self, resource: &Said) -> Process {
        Process {
            resource: resource.clone(),
            app: self.app.clone(),
            stopping: self.stop.subscribe(),
        }
    }

    /// Whether guests and upstreams are told of traces.
    pub(crate) fn tracing(&self) -> Tracing {
        self.tracing
    }

    /// Hears every event on its way to `next`: those of one app, by name where several are served.
    pub(crate) fn listening(&self, next: Events, app: Option<&str>) -> Events {
        let app = app.map(Into::into);
        let listener = Listener {
            app,
            ..self.listener.clone()
        };
        if listener.spans.is_none() && listener.metrics.is_none() {
            return next;
        }
        Arc::new(move |event| {
            listener.take(&event);
            next(event);
        })
    }

    /// The apps are served, counted by `handle`. One alone is the service; of several each has its name in its spans.
    pub(crate) fn serves(&self, apps: &[Arc<App>], handle: &Handle) {
        let resource = match apps {
            [app] => service(app.manifest()),
            _ => vec![text("service.name", "runner")],
        };
        // Only the first one counts: a service keeps its name.
        let _ = self.app.resource.set(resource);
        self.app.count_by(Some(handle.clone()));
    }

    /// It is no more: lets go of it.
    pub(crate) fn has_served(&self) {
        self.app.count_by(None);
    }

    /// Sends what is left, not for ever.
    pub(crate) async fn finish(self) {
        drop(self.listener);
        self.stop.send_replace(true);
        let all = async {
            for task in self.tasks {
                // A task that has panicked has nothing left to send.
                let _ = task.await;
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("not all traces and metrics could be sent within {PATIENCE:?}");
        }
    }
}

impl Served {
    fn count_by(&self, handle: Option<Handle>) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = handle;
    }

    /// Requests that are under way.
    fn active(&self) -> usize {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.as_ref().map_or(0, Handle::in_flight)
    }
}

impl Listener {
    fn take(&self, event: &Event<'_>) {
        match event {
            Event::Request(record) => self.request(record),
            Event::Call(called) => {
                if let Some(metrics) = &self.metrics {
                    metrics.call(called, self.app.as_ref());
                }
                if called.trace.sampled {
                    self.span(|| spans::of_call(called));
                }
            }
            Event::Denied { .. }
            | Event::Decision(_)
            | Event::Line { .. }
            | Event::LogDropped { .. }
            | Event::Limit { .. }
            | Event::Failed { .. }
            | Event::Loading { .. }
            | Event::Cache { .. } => {}
        }
    }

    fn request(&self, record: &Record) {
        if let Some(metrics) = &self.metrics {
            metrics.request(record, self.app.as_ref());
        }
        if record.trace.sampled {
            self.span(|| spans::of_request(record));
            if let Some(execution) = &record.execution {
                self.span(|| spans::of_execution(record, execution));
            }
        }
    }

    /// Leaves a span, or counts it as lost; never waits.
    fn span(&self, make: impl FnOnce() -> Span) {
        if let Some(spans) = &self.spans {
            match spans.queue.try_reserve() {
                Ok(place) => {
                    let mut span = make();
                    span.attributes.extend(spans::app(self.app.as_ref()));
                    place.send(span);
                }
                Err(_) => spans.lost.add(1),
            }
        }
    }
}

/// Whose spans and numbers they are, and whether more will come.
struct Process {
    resource: Said,
    app: Arc<Served>,
    stopping: watch::Receiver<bool>,
}

impl Process {
    fn origin(&self) -> proto::Origin {
        let mut attributes = vec![
            text("telemetry.sdk.name", "runner"),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        attributes.extend(self.app.resource.get().into_iter().flatten().cloned());
        // What the operator says comes before what is known.
        let is_said = |known: &KeyValue| self.resource.iter().any(|(key, _)| *key == known.key);
        attributes.retain(|known| !is_said(known));
        let said = self.resource.iter();
        attributes.extend(said.map(|(key, value)| text(key, value)));
        proto::Origin {
            resource: attributes,
            scope: "runner",
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    async fn stops(&mut self) {
        // Nobody who could say so is left: the process has ended.
        let _ = self.stopping.wait_for(|stops| *stops).await;
    }
}

/// One app is the service.
fn service(manifest: &Manifest) -> Vec<KeyValue> {
    let mut resource = vec![text("service.name", &manifest.name)];
    if !manifest.version.is_empty() {
        resource.push(text("service.version", &manifest.version));
    }
    resource
}

struct SpanTask {
    sender: Sender,
    waiting: mpsc::Receiver<Span>,
    batch: usize,
    delay: Duration,
    of: Process,
}

/// Sends spans, so many at once or after so long, until the end, and then those that are left.
async fn send_spans(mut task: SpanTask) {
    loop {
        let mut spans = Vec::new();
        let stops = task.gather(&mut spans).await;
        while spans.len() < task.batch
            && let Ok(span) = task.waiting.try_recv()
        {
            spans.push(span);
        }
        if spans.is_empty() && stops {
            return task.sender.tell_all_lost();
        }
        if !spans.is_empty() {
            task.send(spans).await;
        }
    }
}

impl SpanTask {
    /// Waits for a batch, or for the time to be up after its first; says whether the end has come.
    async fn gather(&mut self, spans: &mut Vec<Span>) -> bool {
        let mut due = None;
        while spans.len() < self.batch {
            let is_due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.of.stops() => return true,
                Some(span) = self.waiting.recv() => {
                    due.get_or_insert_with(|| tokio::time::Instant::now() + self.delay);
                    spans.push(span);
                }
                () = is_due => return false,
            }
        }
        false
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let message = proto::traces(&self.of.origin(), &spans);
        self.sender.send(message, spans.len() as u64).await;
    }
}

/// Sends all numbers now and then, and at the end.
async fn send_metrics(
    mut sender: Sender,
    metrics: Arc<Metrics>,
    interval: Duration,
    mut of: Process,
) {
    loop {
        let stops = tokio::select! {
            () = of.stops() => true,
            () = sleep(interval) => false,
        };
        let collected = metrics.collect(of.app.active());
        let message = proto::metrics(&of.origin(), &collected, metrics.period(now()));
        sender.send(message, 1).await;
        if stops {
            return sender.tell_all_lost();
        }
    }
}

/// In nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    spans::nanoseconds(since.unwrap_or_default())
}
