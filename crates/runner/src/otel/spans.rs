//! Events as spans, named as OpenTelemetry's conventions for HTTP have it.
//!
//! No query, no header and no body is in them, and no text that is longer than its cap. `url.full` of a call out is left
//! out for that reason.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::Method;
use runner_host::{CallOutcome, Called, Execution, Outcome, Record, SpanId, Trace};
use runner_manifest::{AllowedHost, Destination};

use super::proto::{KeyValue, Kind, Span, int, text, yes};
use crate::telemetry::cut;

/// A path that is longer says no more.
const MAX_PATH: usize = 256;
/// DNS has no longer name; a client can send one.
const MAX_HOST: usize = 255;

/// The methods that are known; what is another one is not counted under its own name.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];
/// What stands for all others.
pub(super) const OTHER: &str = "_OTHER";

/// The W3C flag `sampled`, and that it is known whether a parent is remote.
const SAMPLED: u32 = 0x101;
/// The parent is of another process.
const REMOTE: u32 = 0x200;

/// The span of a request.
pub(super) fn of_request(record: &Record) -> Span {
    let method = known(&record.method);
    let name = match &record.route {
        Some(route) => format!("{} {route}", named(method)),
        None => named(method).to_owned(),
    };
    let status = record.status.as_u16();
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.path", cut(&record.path, MAX_PATH)),
        int("http.response.status_code", status),
        text("runner.request_id", record.request_id.to_string()),
    ];
    if method == OTHER {
        let original = cut(record.method.as_str(), MAX_PATH);
        attributes.push(text("http.request.method_original", original));
    }
    attributes.extend(record.route.iter().map(|route| text("http.route", route)));
    attributes.extend(component(record));
    if let Some((scheme, authority)) = &record.server {
        attributes.push(text("url.scheme", *scheme));
        attributes.extend(server(authority));
    }
    if let Some(client) = record.client {
        attributes.push(text("client.address", client.ip().to_string()));
        attributes.push(int("client.port", client.port()));
    }
    let error = error_of(record);
    attributes.extend(error.clone().map(|error| text("error.type", error)));
    let flags = match record.client {
        Some(_) => SAMPLED | REMOTE,
        None => SAMPLED,
    };
    let (started, took) = (unix(record.started), nanoseconds(record.duration));
    Span {
        start: started,
        end: started + took,
        attributes,
        failed: error.is_some(),
        flags,
        ..span(&record.trace, Kind::Server, name)
    }
}

/// The span of the guest that ran for a request.
pub(super) fn of_execution(record: &Record, execution: &Execution) -> Span {
    let started = unix(record.started) + nanoseconds(execution.after);
    let id = record.component.as_ref().map_or("", |id| id.as_str());
    let trace = Trace {
        span: execution.span,
        parent: Some(record.trace.span),
        ..record.trace.clone()
    };
    Span {
        start: started,
        end: started + nanoseconds(execution.duration),
        attributes: component(record).collect(),
        failed: record.outcome == Outcome::GuestFailed,
        ..span(&trace, Kind::Internal, format!("execute {id}"))
    }
}

/// The span of a call out.
pub(super) fn of_call(called: &Called<'_>) -> Span {
    let method = known(called.method);
    let denied = called.outcome == CallOutcome::Denied;
    let decision = if denied { "denied" } else { "allowed" };
    let mut attributes = vec![
        text("http.request.method", method),
        text("runner.component", called.component.as_str()),
        text("runner.decision", decision),
        text("runner.request_id", called.request_id.to_string()),
    ];
    attributes.extend(rule(called.rule).map(|rule| text("runner.rule", rule)));
    attributes.extend(called.to.into_iter().flat_map(destination));
    if called.is_inside() {
        attributes.push(yes("runner.inside"));
    }
    if let CallOutcome::Status(status) = called.outcome {
        attributes.push(int("http.response.status_code", status));
    }
    let error = error_of_call(called.outcome);
    attributes.extend(error.clone().map(|error| text("error.type", error)));
    let started = unix(called.started);
    Span {
        start: started,
        end: started + nanoseconds(called.duration),
        attributes,
        failed: error.is_some(),
        ..span(called.trace, Kind::Client, named(method).to_owned())
    }
}

fn span(trace: &Trace, kind: Kind, name: String) -> Span {
    let state = trace.state.as_ref().and_then(|state| state.to_str().ok());
    Span {
        trace: trace.id.to_bytes(),
        span: trace.span.to_bytes(),
        parent: trace.parent.map(SpanId::to_bytes),
        state: state.unwrap_or_default().to_owned(),
        name,
        kind,
        start: 0,
        end: 0,
        attributes: Vec::new(),
        failed: false,
        flags: SAMPLED,
    }
}

/// What a request is said to have failed with, if it has.
pub(super) fn error_of(record: &Record) -> Option<Cow<'static, str>> {
    match record.outcome {
        Outcome::GuestFailed => Some("guest-failed".into()),
        Outcome::Complete | Outcome::ClientGone => record
            .status
            .is_server_error()
            .then(|| record.status.as_str().to_owned().into()),
    }
}

/// What a call is said to have failed with, if it has.
pub(super) fn error_of_call(outcome: CallOutcome) -> Option<Cow<'static, str>> {
    match outcome {
        CallOutcome::Status(status) if status < 400 => None,
        CallOutcome::Status(status) => Some(status.to_string().into()),
        CallOutcome::Denied => Some("denied".into()),
        CallOutcome::Error(name) => Some(name.into()),
    }
}

/// A method by its own name if that is known.
pub(super) fn known(method: &Method) -> &'static str {
    let known = METHODS.iter().find(|known| **known == method.as_str());
    known.copied().unwrap_or(OTHER)
}

/// As a method stands in the name of a span.
fn named(method: &'static str) -> &'static str {
    if method == OTHER { "HTTP" } else { method }
}

/// The app that it belongs to, where several are served.
pub(super) fn app(name: Option<&Arc<str>>) -> Option<KeyValue> {
    name.map(|name| text("runner.app", &**name))
}

fn component(record: &Record) -> impl Iterator<Item = KeyValue> {
    let id = record.component.iter();
    id.map(|id| text("runner.component", id.as_str()))
}

/// Host and port of an authority that a client named.
fn server(authority: &str) -> Vec<KeyValue> {
    let port = |text: &str| text.parse::<u16>().ok();
    let split = authority
        .rsplit_once(':')
        .and_then(|(host, text)| Some((host, port(text)?)));
    let (host, port) = match split {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let host = text("server.address", cut(host, MAX_HOST));
    [host]
        .into_iter()
        .chain(port.map(|port| int("server.port", port)))
        .collect()
}

fn destination(to: &Destination) -> Vec<KeyValue> {
    match to {
        Destination::Own => vec![text("server.address", "self")],
        Destination::Component(id) => {
            vec![text("server.address", format!("{id}.spin.internal"))]
        }
        Destination::Remote(origin) => vec![
            text("server.address", origin.host.to_string()),
            int("server.port", origin.port),
            text("url.scheme", origin.scheme.as_str()),
        ],
    }
}

/// `spin-like.toml:12`, for the file as it was named.
fn rule(rule: Option<&AllowedHost>) -> Option<String> {
    let place = rule?.place()?;
    Some(format!("{}:{}", place.path().display(), place.line()))
}

/// When that was, in nanoseconds since 1970.
fn unix(at: Instant) -> u64 {
    let now = SystemTime::now().checked_sub(at.elapsed());
    let since = now.and_then(|then| then.duration_since(UNIX_EPOCH).ok());
    nanoseconds(since.unwrap_or_default())
}

pub(super) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
