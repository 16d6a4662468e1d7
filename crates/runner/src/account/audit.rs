//! `--audit-log`: every outbound decision as a JSON line. It never holds up a request; what is lost is counted.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use runner_host::{Decision, Event};

use crate::exit::{Exit, Failure};
use crate::telemetry::{Dropped, Notice, Queue, Speaker, Telemetry, json};

/// A full disk is told once in this time.
const QUIET: Duration = Duration::from_secs(10);

/// An open audit log; cheap to clone.
#[derive(Clone)]
pub(super) struct Audit {
    queue: Queue,
}

impl Audit {
    /// Opens the file to write at its end. It is its owner's: it says where secrets are sent.
    pub(super) fn open(path: &Path, telemetry: &Telemetry) -> Result<Audit, Failure> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            // To open a pipe that nobody reads must not wait.
            .custom_flags(nonblocking())
            .open(path);
        let file = file.map_err(|error| {
            let sentence = format!(
                "the audit log `{}` cannot be written: {error}",
                path.display()
            );
            Failure::new(
                Exit::Environment,
                sentence,
                "name a file in a folder of yours with `--audit-log`",
            )
        })?;
        let (telemetry, path) = (telemetry.clone(), path.to_owned());
        let told: Mutex<Option<Instant>> = Mutex::default();
        let lost = move |count| {
            if is_due(&told) {
                telemetry.say(&warning(count, &path));
            }
            json::lost(count)
        };
        Ok(Audit {
            queue: Queue::start(Box::new(file), lost),
        })
    }

    /// The same, for one app of several.
    pub(super) fn for_one_of_several(&self) -> Audit {
        Audit {
            queue: self.queue.for_one_of_several(),
        }
    }

    /// Leaves one decision to be written; `app` made it, where several are served.
    pub(super) fn take(&self, decision: &Decision<'_>, app: Option<&str>) {
        let line = json::event(&Event::Decision(*decision), None);
        let line = match app {
            Some(app) => json::of_app(app, &line),
            None => line,
        };
        self.queue.push(line, Speaker::Us);
    }

    /// How many decisions nobody will read.
    pub(super) fn dropped(&self) -> Dropped {
        self.queue.dropped()
    }

    /// Waits, not for ever, until all are written.
    pub(super) fn finish(&self) {
        self.queue.flush();
    }
}

fn nonblocking() -> i32 {
    rustix::fs::OFlags::NONBLOCK.bits() as i32
}

fn warning(count: u64, path: &Path) -> Notice {
    let path = path.display();
    Notice::warning(format!(
        "{count} decisions were not written to the audit log `{path}`: its disk is full, or it is read too slowly"
    ))
    .with("lost", count)
}

/// Whether the last time is long enough ago; now is the last time then.
fn is_due(told: &Mutex<Option<Instant>>) -> bool {
    let Ok(mut told) = told.lock() else {
        return false;
    };
    let due = told.is_none_or(|at| at.elapsed() >= QUIET);
    if due {
        *told = Some(Instant::now());
    }
    due
}
