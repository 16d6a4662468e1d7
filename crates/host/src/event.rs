//! What the host tells whoever runs it: denials, guests' log lines, failures, and one record a request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use runner_manifest::{AllowedHost, ComponentId, Destination};
use runner_outbound::Denied;

use crate::Error;

/// Receives every [`Event`]. It is called on the request's own path: it must return at once and never block.
pub type Events = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// Something an operator wants to know.
#[derive(Debug)]
pub enum Event<'a> {
    /// An outbound call was denied. Repeats within ten seconds are folded into the next one told.
    Denied {
        /// Which call, and which line would allow it.
        denied: &'a Denied,
        /// The method of the call.
        method: &'a Method,
        /// The path of the call, without its query: that may hold secrets.
        path: &'a str,
        /// The WIT function that was called.
        interface: &'static str,
        /// The request in which it happened.
        request_id: RequestId,
        /// Equal denials since the last one told.
        folded: u64,
    },
    /// An outbound call was decided: every one, never folded. One that is allowed by its name can be denied a moment later
    /// for the addresses that the name leads to; then it is told twice.
    Decision(Decision<'a>),
    /// A guest wrote a line to its standard output or error. The text is the guest's: escape it.
    Line {
        /// Who wrote it.
        component: &'a ComponentId,
        /// While serving which request.
        request_id: RequestId,
        /// Where to.
        stream: Stream,
        /// The line, without its line feed, at most [`crate::caps::LOG_LINE`] bytes.
        line: &'a str,
    },
    /// A guest trapped, ran out of time or gave no response.
    Failed {
        /// Whose fault it is.
        component: &'a ComponentId,
        /// In which request.
        request_id: RequestId,
        /// What happened.
        error: &'a Error,
    },
    /// A component is about to be compiled, which can take seconds.
    Loading {
        /// Which.
        component: &'a ComponentId,
    },
    /// Something is wrong with the compile cache, which costs time and nothing else. What does not verify is not run.
    Cache {
        /// Whose entry it is; none where it is all of the cache.
        component: Option<&'a ComponentId>,
        /// What is wrong, and what was done about it.
        message: &'a str,
    },
    /// A response has ended, or its client went away.
    Request(&'a Record),
}

/// What was decided about one outbound call.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Who called.
    pub component: &'a ComponentId,
    /// SHA-256 of its file, in lower-case hexadecimal.
    pub digest: &'a str,
    /// Which load of the manifest decided.
    pub generation: u64,
    /// While serving which request.
    pub request_id: RequestId,
    /// The method of the call.
    pub method: &'a Method,
    /// The path of the call, without its query: that may hold secrets.
    pub path: &'a str,
    /// The decision.
    pub verdict: Verdict<'a>,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// It may.
    Allow {
        /// Where to.
        to: &'a Destination,
        /// By which rule.
        rule: &'a AllowedHost,
    },
    /// It may not.
    Deny(&'a Denied),
}

/// A guest's standard output or standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `wasi:cli/stdout`
    Stdout,
    /// `wasi:cli/stderr`
    Stderr,
}

/// One request, told when its response has ended.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its id, also in every line that it caused.
    pub request_id: RequestId,
    /// Who served it; none for static responses and refusals.
    pub component: Option<ComponentId>,
    /// The route that matched, as the manifest writes it.
    pub route: Option<String>,
    /// Its method.
    pub method: Method,
    /// Its path as the client sent it, without the query.
    pub path: String,
    /// The response's status.
    pub status: StatusCode,
    /// Bytes of the response's body that were handed on.
    pub bytes: u64,
    /// From the request's head to the response's end.
    pub duration: Duration,
    /// Outbound calls that were denied while serving it.
    pub denials: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Who asked; none for a call from inside the app.
    pub client: Option<SocketAddr>,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was handed on.
    Complete,
    /// The client went away first.
    ClientGone,
    /// The guest failed in the middle of it.
    GuestFailed,
}

/// Names a request in the log. Unique in the life of a process, unlikely to repeat across them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The next id.
    pub fn next() -> RequestId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        static SEED: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
        let seed = *SEED.get_or_init(|| {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            (now.as_millis() as u64) << 20
        });
        RequestId(seed.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
