//! What the host tells whoever runs it: denials, guests' log lines, failures, and one record a request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use runner_manifest::{AllowedHost, ComponentId, Destination};
use runner_outbound::Denied;

use crate::{Error, Limit, SpanId, Trace};

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
    /// An outbound call has ended, also one that was denied, and one inside the app. Every one, never folded.
    Call(Called<'a>),
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
    /// Some of what a guest wrote to its standard output or error was dropped.
    LogDropped {
        /// Whose log it is.
        component: &'a ComponentId,
        /// So many bytes now.
        bytes: u64,
        /// Which limit they were beyond.
        limit: Limit,
        /// So many bytes in all since it was last to be told; none where it is not to be told now.
        untold: Option<u64>,
    },
    /// A request hit a limit of its component, and goes on. One that ends by it is [`Event::Failed`].
    Limit {
        /// Whose limit it is.
        component: &'a ComponentId,
        /// The request in which it happened.
        request_id: RequestId,
        /// Which limit.
        limit: Limit,
        /// Hits of it since the last one that was to be told; none where this one is folded into the next.
        folded: Option<u64>,
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

/// One outbound call that has ended: the body of its response has, or it failed, was denied, or was let go of.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// Who called.
    pub component: &'a ComponentId,
    /// Which load of the manifest decided.
    pub generation: u64,
    /// While serving which request.
    pub request_id: RequestId,
    /// The method of the call, cut to 64 bytes.
    pub method: &'a Method,
    /// Where to; none where what the guest wrote is no destination.
    pub to: Option<&'a Destination>,
    /// The rule that allowed it by name; its address may still have been denied. None where no rule did.
    pub rule: Option<&'a AllowedHost>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// When it began.
    pub started: Instant,
    /// Until it ended.
    pub duration: Duration,
    /// Its span; the parent is the execution that called.
    pub trace: &'a Trace,
}

impl Called<'_> {
    /// Whether it went to the caller's own app, and so to no socket.
    pub fn is_inside(&self) -> bool {
        match self.to {
            Some(Destination::Own | Destination::Component(_)) => true,
            Some(Destination::Remote(_)) | None => false,
        }
    }
}

/// How an outbound call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// With a response of this status, whole or no longer wanted by the guest.
    Status(u16),
    /// It was not allowed.
    Denied,
    /// It failed, before a response or within its body: the name of what the guest was told, one of
    /// [`CallOutcome::ERRORS`].
    Error(&'static str),
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
    /// `http` or `https`, and whom the client named, host and port; none where the request was refused before that.
    pub server: Option<(&'static str, String)>,
    /// When its head was there.
    pub started: Instant,
    /// Its span.
    pub trace: Trace,
    /// The guest that served it, from the making of its instance; none where there was none.
    pub execution: Option<Execution>,
}

/// The run of a guest for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// Its span, a child of the request's.
    pub span: SpanId,
    /// From the request's start.
    pub after: Duration,
    /// To the guest's end, or the record's where the guest goes on after its response.
    pub duration: Duration,
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
