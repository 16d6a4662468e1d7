//! How a command ends: the exit code, and what to tell the user on the way out.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::process::ExitCode;

use runner_manifest::{Diagnostic, Error};
use serde_json::{Value, json};

use crate::telemetry::{diagnostic, short_safe};
use rustix::io::Errno;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well, also after a drain.
    Done,
    /// The app or the check failed: bad wasm, a missing import, a denied destination.
    App,
    /// The command line or the manifest is wrong.
    Usage,
    /// The machine said no: a port, a directory, a certificate file.
    Environment,
    /// A second Ctrl-C cut the drain short.
    Interrupted,
    /// A second SIGTERM cut the drain short.
    Terminated,
}

impl Exit {
    /// The number the shell sees.
    pub(crate) fn number(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::App => 1,
            Exit::Usage => 2,
            Exit::Environment => 3,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

/// What `runner help exit-codes` prints.
pub(crate) const TABLE: &str = "\
Exit codes

    0    done, also after a drain
    1    the app or the check failed: bad wasm, a missing import, a denied destination
    2    the command line or the manifest is wrong
    3    the environment said no: a port that is taken, a `--cache-dir` that is not
         private, a certificate file that cannot be read
  130    a second Ctrl-C cut the drain short
  143    a second SIGTERM cut the drain short";

/// Why a command could not do its work, in words for the user.
///
/// `anyhow` would print a backtrace under `RUST_BACKTRACE`; this never does.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the command ends.
    pub(crate) exit: Exit,
    /// The text, complete with its `error:` and `help:` lines.
    pub(crate) text: String,
    /// The diagnostics that the text is, where it is some.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// A failure told in one sentence, and what to do about it.
    pub(crate) fn new(exit: Exit, sentence: impl Display, help: impl Display) -> Failure {
        Failure {
            exit,
            text: format!("error: {sentence}\nhelp: {help}"),
            diagnostics: Vec::new(),
        }
    }

    /// A failure that an error describes; its causes follow after colons.
    pub(crate) fn of(exit: Exit, error: &dyn std::error::Error) -> Failure {
        Failure {
            exit,
            text: format!("error: {}", chain(error)),
            diagnostics: Vec::new(),
        }
    }

    /// What is wrong with the command line, in the words of who read it.
    pub(crate) fn of_command_line(text: &str) -> Failure {
        Failure {
            exit: Exit::Usage,
            text: text.trim_end().to_owned(),
            diagnostics: Vec::new(),
        }
    }

    /// The document for programs.
    pub(crate) fn json(&self) -> String {
        let mut found: Vec<Value> = self
            .diagnostics
            .iter()
            .map(|found| diagnostic(found).into())
            .collect();
        if found.is_empty() {
            found.push(self.only_text());
        }
        let document = json!({
            "schema": 1,
            "ok": false,
            "exit": self.exit.number(),
            "diagnostics": found,
        });
        short_safe(&document)
    }

    /// As a diagnostic without a code and a place.
    fn only_text(&self) -> Value {
        let mut lines = self.text.lines().map(str::trim);
        let first = lines.next().unwrap_or_default();
        let help = lines.filter_map(|line| {
            let prefix = ["help: ", "tip: "]
                .into_iter()
                .find(|p| line.starts_with(p))?;
            line.strip_prefix(prefix)
        });
        json!({
            "level": "error",
            "message": first.strip_prefix("error: ").unwrap_or(first),
            "help": help.collect::<Vec<_>>(),
            "text": self.text,
        })
    }

    /// A failure of the machine to do something, with the limit to raise where one was reached.
    pub(crate) fn of_machine(what: &str, error: &io::Error) -> Failure {
        let mut failure = Failure::of(Exit::Environment, error);
        failure.text = format!("error: {what}: {error}");
        if let Some(help) = limit(error) {
            failure.text += &format!("\nhelp: {help}");
        }
        failure
    }

    /// Both, one after the other; the first one's exit code.
    pub(crate) fn and(mut self, other: Failure) -> Failure {
        self.text = format!("{}\n\n{}", self.text, other.text);
        self.diagnostics.extend(other.diagnostics);
        self
    }

    /// A failure that diagnostics tell, which bring their own first word.
    pub(crate) fn diagnosed(exit: Exit, error: Error) -> Failure {
        Failure {
            exit,
            text: error.to_string().trim_end().to_owned(),
            diagnostics: error.diagnostics,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which limit of the process to raise, where an error says that one was reached.
pub(crate) fn limit(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some("raise the limit on open files, `ulimit -n`"),
        Errno::NFILE => Some("raise the machine's limit on open files, `sysctl fs.file-max`"),
        Errno::AGAIN => Some("raise the limit on processes and threads, `ulimit -u`"),
        Errno::NOMEM => Some("raise the limit on memory, `ulimit -v` and `ulimit -d`"),
        _ => None,
    }
}

/// An error and its causes on one line, leaving out a cause that its parent already quotes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_its_number_and_its_line_in_the_help() {
        let table = [
            (Exit::Done, 0, "done"),
            (Exit::App, 1, "the app"),
            (Exit::Usage, 2, "the command line"),
            (Exit::Environment, 3, "the environment"),
            (Exit::Interrupted, 130, "a second Ctrl-C"),
            (Exit::Terminated, 143, "a second SIGTERM"),
        ];
        for (exit, number, words) in table {
            assert_eq!(exit.number(), number);
            let line = format!("{number:>5}    {words}");
            assert!(
                TABLE.lines().any(|l| l.starts_with(&line)),
                "no line for {number}"
            );
        }
    }

    #[test]
    fn a_limit_that_was_reached_is_named() {
        let said = |errno: Errno| Failure::of_machine("nothing starts", &errno.into()).to_string();
        for (errno, expected) in [
            (
                Errno::MFILE,
                "error: nothing starts: Too many open files (os error 24)\n\
                 help: raise the limit on open files, `ulimit -n`",
            ),
            (
                Errno::AGAIN,
                "error: nothing starts: Resource temporarily unavailable (os error 11)\n\
                 help: raise the limit on processes and threads, `ulimit -u`",
            ),
            (
                Errno::IO,
                "error: nothing starts: Input/output error (os error 5)",
            ),
        ] {
            assert_eq!(said(errno), expected);
        }
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl Display for Outer {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("`a.pem` cannot be read")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Outer(std::io::Error::other("permission denied"));
        let failure = Failure::of(Exit::Environment, &error);
        assert_eq!(
            failure.to_string(),
            "error: `a.pem` cannot be read: permission denied"
        );
    }
}
