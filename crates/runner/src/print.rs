//! Output of the commands that end by themselves: data on stdout, talk on stderr.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};

use crate::cli::Color;
use crate::telemetry::headed;

/// Where a command prints to.
pub(crate) struct Print {
    color: Color,
}

impl Print {
    /// Coloured as `--color` says.
    pub(crate) fn new(color: Color) -> Print {
        Print { color }
    }

    /// What was asked for, to stdout.
    pub(crate) fn data(&self, text: &str) {
        let choice = self.choice(AutoStream::choice(&io::stdout()));
        write(AutoStream::new(io::stdout(), choice), text);
    }

    /// Everything else, to stderr.
    pub(crate) fn talk(&self, text: &str) {
        let choice = self.choice(AutoStream::choice(&io::stderr()));
        write(AutoStream::new(io::stderr(), choice), &headed(text));
    }

    fn choice(&self, auto: ColorChoice) -> ColorChoice {
        match self.color {
            Color::Auto => auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
    }
}

/// A reader that has gone away, as `head` does, is no error.
fn write(mut out: impl Write, text: &str) {
    let _ = writeln!(out, "{}", text.trim_end());
    let _ = out.flush();
}
