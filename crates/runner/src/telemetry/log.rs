//! Takes the `tracing` events of the crates below into the same log.

use std::fmt::{self, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::Speaker;
use super::{Shape, Telemetry, escape, json};

/// The subscriber's end of a [`Telemetry`].
pub(super) struct Log {
    telemetry: Telemetry,
}

impl Log {
    pub(super) fn new(telemetry: Telemetry) -> Log {
        Log { telemetry }
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let line = match self.telemetry.shape {
            Shape::Text => fields.text(level, target),
            Shape::Json => fields.json(level, target),
        };
        self.telemetry.queue.push(line, Speaker::Us);
    }
}

/// What an event says: its message and its fields, in order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn text(&self, level: Level, target: &str) -> String {
        // Writing to a string cannot fail.
        let mut text = format!("{} {target}:", name(level));
        if !self.message.is_empty() {
            let _ = write!(text, " {}", self.message);
        }
        for (name, value) in &self.others {
            let _ = write!(text, " {name}={value}");
        }
        let text = escape::line(&text).into_owned();
        escape::cut(&text, escape::MAX_LINE).into_owned()
    }

    fn json(&self, level: Level, target: &str) -> String {
        let mut fields = Map::new();
        for (name, value) in &self.others {
            fields.insert(
                (*name).to_owned(),
                escape::cut(value, escape::MAX_LINE).into(),
            );
        }
        let mut line: Map<String, Value> = Map::new();
        line.insert("level".into(), name(level).into());
        line.insert("target".into(), target.into());
        line.insert(
            "message".into(),
            escape::cut(&self.message, escape::MAX_LINE).into(),
        );
        line.insert("fields".into(), fields.into());
        json::line("log", line)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format!("{value:?}"));
    }
}

impl Fields {
    fn record(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}
