//! A message of our own, in both shapes.

use std::fmt::Display;

use runner_manifest::Diagnostic;
use serde_json::{Map, Value};

use super::{Shape, json, text};
use crate::exit::Failure;

/// A message of our own: what people read, and what programs read.
#[derive(Debug)]
pub(crate) struct Notice {
    event: &'static str,
    text: String,
    fields: Map<String, Value>,
    weight: Weight,
}

/// Whether `--quiet` leaves a message out.
#[derive(Debug, PartialEq, Eq)]
enum Weight {
    Said,
    Matters,
}

impl Notice {
    /// What happened, as programs name it and as people read it.
    pub(crate) fn new(event: &'static str, text: impl Into<String>) -> Notice {
        Notice {
            event,
            text: text.into(),
            fields: Map::new(),
            weight: Weight::Said,
        }
    }

    /// With a fact for programs.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Notice {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Said also under `--quiet`.
    pub(crate) fn important(mut self) -> Notice {
        self.weight = Weight::Matters;
        self
    }

    /// A warning without a place in a file.
    pub(crate) fn warning(message: impl Display) -> Notice {
        Notice::new("warning", format!("warning: {message}"))
            .with("message", message.to_string())
            .important()
    }

    /// What is not meant, in the manifest.
    pub(crate) fn diagnostic(diagnostic: &Diagnostic) -> Notice {
        let mut notice = Notice::new(
            json::event_name(diagnostic.level),
            text::headed(&diagnostic.to_string()),
        );
        notice.fields = json::diagnostic(diagnostic);
        notice.important()
    }

    /// Why the command ends.
    pub(crate) fn failure(failure: &Failure) -> Notice {
        Notice::new("error", text::headed(&failure.text))
            .with("exit", failure.exit.number())
            .with("text", failure.text.clone())
            .with_diagnostics(failure)
            .important()
    }

    /// Lines that nobody will read.
    pub(crate) fn dropped(count: u64) -> Notice {
        Notice::warning(format!(
            "{count} lines of this log were dropped: its disk is full, or it is read more slowly than it is written"
        ))
        .with("dropped", count)
    }

    /// With what a failure says, a diagnostic each.
    pub(crate) fn with_diagnostics(self, failure: &Failure) -> Notice {
        let found = failure.diagnostics.iter().map(json::diagnostic);
        self.with("diagnostics", found.map(Value::Object).collect::<Vec<_>>())
    }

    pub(super) fn matters(&self) -> bool {
        self.weight == Weight::Matters
    }

    pub(super) fn render(&self, shape: Shape) -> String {
        match shape {
            Shape::Text => self.text.clone(),
            Shape::Json => json::line(self.event, self.fields.clone()),
        }
    }
}
