//! Everything that `up` prints: one queue that never blocks, one thread that writes it to stderr.
//!
//! A request's path only renders its line and leaves it in the queue. When the reader of stderr is slower than what
//! is logged, lines are dropped, counted, and the count is printed; what guests print is dropped first.

mod escape;
pub(crate) mod json;
mod log;
mod notice;
mod queue;
mod text;
mod time;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anstream::{AutoStream, ColorChoice};
use runner_host::{Event, Events};
use runner_manifest::{ComponentId, Manifest};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;

pub(crate) use self::escape::{block as blocked, cut, line as escaped};
pub(crate) use self::json::{denial, diagnostic, short_safe};
pub(crate) use self::notice::Notice;
pub(crate) use self::text::{bytes, headed, took};
pub(crate) use self::time::of as rfc3339;

use self::log::Log;
pub(crate) use self::queue::{Dropped, Queue, Speaker};
use crate::cli::{Color, LogFormat};

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// For people.
    Text,
    /// For programs, one JSON object a line.
    Json,
}

/// How much is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Requests and what components print too.
    All,
    /// Only what is wrong: warnings, denials, failures.
    Quiet,
}

/// Prints for as long as it lives; cheap to clone.
#[derive(Clone)]
pub(crate) struct Telemetry {
    queue: Queue,
    shape: Shape,
    detail: Detail,
    compiling: Arc<Mutex<Option<ComponentId>>>,
    /// The file of the ceiling that a component reaches, by the key of the limit.
    ceilings: Arc<Mutex<BTreeMap<(ComponentId, &'static str), PathBuf>>>,
    /// Whose lines these are, where several apps are served.
    app: Option<Arc<str>>,
}

impl Telemetry {
    /// Starts the thread that writes to stderr.
    pub(crate) fn start(format: LogFormat, color: Color, detail: Detail) -> Telemetry {
        let shape = match format {
            LogFormat::Text => Shape::Text,
            LogFormat::Json => Shape::Json,
            LogFormat::Auto if io::stderr().is_terminal() => Shape::Text,
            LogFormat::Auto => Shape::Json,
        };
        let out: Box<dyn Write + Send> = match shape {
            Shape::Text => Box::new(BufWriter::new(AutoStream::new(io::stderr(), choice(color)))),
            // The queue gathers lines itself, and counts those that are not taken.
            Shape::Json => Box::new(io::stderr()),
        };
        Telemetry::to(out, shape, detail)
    }

    fn to(out: Box<dyn Write + Send>, shape: Shape, detail: Detail) -> Telemetry {
        let dropped = move |count| Notice::dropped(count).render(shape);
        Telemetry {
            queue: Queue::start(out, dropped),
            shape,
            detail,
            compiling: Arc::default(),
            ceilings: Arc::default(),
            app: None,
        }
    }

    /// The same, for the lines of one app of several: each names it.
    pub(crate) fn of_app(&self, name: &str) -> Telemetry {
        Telemetry {
            compiling: Arc::default(),
            ceilings: Arc::default(),
            queue: self.queue.for_one_of_several(),
            app: Some(name.into()),
            ..self.clone()
        }
    }

    /// Takes what the crates below log with `tracing`.
    pub(crate) fn log(&self, filter: Option<&str>, verbose: u8) {
        let level = match verbose {
            0 => "warn",
            1 => "warn,runner=info",
            2 => "info,runner=debug",
            _ => "trace",
        };
        let filter = EnvFilter::new(filter.unwrap_or(level));
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(Log::new(self.clone()));
        // A second start in the same process, as tests do it, keeps the first one's log.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }

    /// What the host calls with each of its events.
    pub(crate) fn events(&self) -> Events {
        let telemetry = self.clone();
        Arc::new(move |event| telemetry.event(&event))
    }

    /// Prints one of our own messages.
    pub(crate) fn say(&self, notice: &Notice) {
        if self.detail == Detail::All || notice.matters() || self.shape == Shape::Json {
            let line = notice.render(self.shape);
            self.queue.push(self.named(line), Speaker::Us);
        }
    }

    /// The component whose compilation began last.
    pub(crate) fn compiling(&self) -> Option<ComponentId> {
        self.compiling.lock().ok()?.clone()
    }

    /// From now on this is what is served: which of its limits only the operator can raise.
    pub(crate) fn follow(&self, manifest: &Manifest) {
        let mut reached = BTreeMap::new();
        for (id, component) in &manifest.components {
            for (key, _) in component.limits.words() {
                if let Some(place) = component.ceiling(key) {
                    reached.insert((id.clone(), key), place.path().to_owned());
                }
            }
        }
        if let Ok(mut ceilings) = self.ceilings.lock() {
            *ceilings = reached;
        }
    }

    /// The operator's file, where an event is about a limit that only it can raise.
    fn ceiling(&self, event: &Event<'_>) -> Option<PathBuf> {
        let Event::Failed {
            component, error, ..
        } = event
        else {
            return None;
        };
        let reached = ((*component).clone(), error.reason().key()?);
        self.ceilings.lock().ok()?.get(&reached).cloned()
    }

    /// Whether what is said is written at all: where no thread could be started nothing is.
    pub(crate) fn is_written(&self) -> bool {
        self.queue.is_written()
    }

    /// How many lines nobody will read.
    pub(crate) fn dropped(&self) -> Dropped {
        self.queue.dropped()
    }

    /// Waits until all that was said is written, unless the reader of stderr has stopped reading.
    pub(crate) fn finish(&self) {
        self.queue.flush();
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Loading { component } => {
                if let Ok(mut compiling) = self.compiling.lock() {
                    *compiling = Some((*component).clone());
                }
            }
            Event::Line { .. } if self.detail == Detail::All => self.print(event, Speaker::Guest),
            Event::Request(_) if self.detail == Detail::All => self.print(event, Speaker::Us),
            // For the audit log, the metrics and the traces, which are elsewhere.
            Event::Line { .. } | Event::Request(_) | Event::Decision(_) | Event::Call(_) => {}
            // Told with another.
            Event::Limit { folded: None, .. } | Event::LogDropped { untold: None, .. } => {}
            Event::Denied { .. }
            | Event::Failed { .. }
            | Event::Limit { .. }
            | Event::LogDropped { .. }
            | Event::Cache { .. } => self.print(event, Speaker::Us),
        }
    }

    fn print(&self, event: &Event<'_>, from: Speaker) {
        let ceiling = self.ceiling(event);
        let line = match self.shape {
            Shape::Text => text::event(event, ceiling.as_deref()),
            Shape::Json => json::event(event, ceiling.as_deref()),
        };
        self.queue.push(self.named(line), from);
    }

    fn named(&self, line: String) -> String {
        match (&self.app, self.shape) {
            (None, _) => line,
            (Some(app), Shape::Text) => text::of_app(app, &line),
            (Some(app), Shape::Json) => json::of_app(app, &line),
        }
    }
}

/// `--color` as anstream takes it; `auto` obeys NO_COLOR, CLICOLOR_FORCE and whether it is a terminal.
pub(crate) fn choice(color: Color) -> ColorChoice {
    match color {
        Color::Auto => AutoStream::choice(&io::stderr()),
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }
}
