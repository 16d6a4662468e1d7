//! What is told to a person: a message, the place in the file, and what to do.

use std::fmt;

use crate::Place;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The manifest cannot be used.
    Error,
    /// It can be used, and probably not as it was meant.
    Warning,
    /// A component asked for what it was not granted.
    Denied,
}

/// One message, with its place in the manifest; `Display` is the whole block.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// What happened, in one line.
    pub message: String,
    /// What it is about, in the file.
    pub place: Option<Place>,
    /// The words beside the marked place.
    pub label: String,
    /// Facts, each printed after `= `.
    pub notes: Vec<String>,
    /// What to do, each printed after `help: `.
    pub help: Vec<String>,
}

/// Everything that is wrong with a manifest, in the order of the file; at least one.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Error {
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}
