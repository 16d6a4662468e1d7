//! Events as programs read them: one JSON object a line, each with its `event` and its `time`.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use runner_host::{CallOutcome, Called, Decision, Event, Outcome, Record, Stream, Verdict};
use runner_manifest::{AllowedHost, ComponentId, Diagnostic, Level, Mark, Place};
use runner_outbound::Denied;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{escape, time};

/// One event, without the line's end.
pub(crate) fn event(event: &Event<'_>, ceiling: Option<&Path>) -> String {
    match event {
        Event::Denied {
            denied,
            method,
            path,
            interface,
            request_id,
            folded,
        } => {
            let mut fields = denial(denied);
            fields.insert("method".into(), method.as_str().into());
            fields.insert("path".into(), cut(path));
            fields.insert("call".into(), (*interface).into());
            fields.insert("request".into(), request_id.to_string().into());
            fields.insert("folded".into(), (*folded).into());
            line("denied", fields)
        }
        Event::Line {
            component,
            request_id,
            stream,
            line: text,
        } => {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            let fields = json!({
                "component": component.as_str(), "request": request_id.to_string(), "stream": stream, "line": cut(text),
            });
            line("line", object(fields))
        }
        Event::Failed {
            component,
            request_id,
            error,
        } => {
            let fields = json!({
                "component": component.as_str(), "request": request_id.to_string(), "reason": error.reason().as_str(),
                "message": cut(&error.to_string()), "help": error.help(component, ceiling),
            });
            line("failed", object(fields))
        }
        Event::Limit {
            component,
            request_id,
            limit,
            folded,
        } => {
            let fields = json!({
                "component": component.as_str(), "request": request_id.to_string(), "limit": limit.as_str(), "folded": folded,
            });
            line("limit", object(fields))
        }
        Event::LogDropped {
            component,
            limit,
            untold,
            ..
        } => {
            let message = super::text::dropped(component, *limit, *untold);
            let fields = json!({
                "component": component.as_str(), "limit": limit.as_str(), "bytes": untold, "message": message,
            });
            line("log-dropped", object(fields))
        }
        Event::Loading { component } => line(
            "compiling",
            object(json!({ "component": component.as_str() })),
        ),
        Event::Cache { component, message } => {
            let component = component.map(ComponentId::as_str);
            let fields = json!({ "component": component, "message": cut(message) });
            line("warning", object(fields))
        }
        Event::Decision(decision) => line("decision", object(decided(decision))),
        Event::Call(called) => line("call", object(ended(called))),
        Event::Request(record) => access(record),
    }
}

/// One line of the audit log. The rule is the one that allowed the call, or the one that came nearest.
fn decided(decision: &Decision<'_>) -> Value {
    let (verdict, to, rule) = match decision.verdict {
        Verdict::Allow { to, rule } => ("allow", to.to_string(), Some(rule)),
        Verdict::Deny(denied) => ("deny", denied.destination(), denied.nearest()),
    };
    let place = rule.and_then(AllowedHost::place);
    json!({
        "request": decision.request_id.to_string(),
        "component": decision.component.as_str(),
        "digest": decision.digest,
        "generation": decision.generation,
        "method": cut(decision.method.as_str()),
        "destination": to,
        "path": cut(decision.path),
        "verdict": verdict,
        "rule": rule.map(ToString::to_string),
        "file": place.map(|place| place.path().display().to_string()),
        "line": place.map(Place::line),
    })
}

/// One outbound call that has ended.
fn ended(called: &Called<'_>) -> Value {
    let (outcome, status, error) = match called.outcome {
        CallOutcome::Status(status) => ("answered", Some(status), None),
        CallOutcome::Denied => ("denied", None, None),
        CallOutcome::Error(name) => ("failed", None, Some(name)),
    };
    json!({
        "request": called.request_id.to_string(),
        "component": called.component.as_str(),
        "generation": called.generation,
        "method": called.method.as_str(),
        "destination": called.to.map(ToString::to_string),
        "outcome": outcome,
        "status": status,
        "error": error,
        "duration_ms": milliseconds(called.duration),
    })
}

/// The line of a request. There is one for each, so it is written as it is, and not made of a map.
fn access(record: &Record) -> String {
    let outcome = match record.outcome {
        Outcome::Complete => "complete",
        Outcome::ClientGone => "client-gone",
        Outcome::GuestFailed => "guest-failed",
    };
    safe(&Access {
        bytes: record.bytes,
        client: record.client,
        component: record.component.as_ref().map(ComponentId::as_str),
        denials: record.denials,
        duration_ms: milliseconds(record.duration),
        event: "request",
        method: record.method.as_str(),
        outcome,
        path: escape::cut(&record.path, escape::MAX_LINE),
        request: record.request_id.to_string(),
        route: record.route.as_deref(),
        status: record.status.as_u16(),
        time: time::now(),
    })
}

/// In the order of all other lines.
#[derive(Serialize)]
struct Access<'a> {
    bytes: u64,
    client: Option<SocketAddr>,
    component: Option<&'a str>,
    denials: u64,
    duration_ms: f64,
    event: &'a str,
    method: &'a str,
    outcome: &'a str,
    path: Cow<'a, str>,
    request: String,
    route: Option<&'a str>,
    status: u16,
    time: String,
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A diagnostic's parts, and its block as `text`.
pub(crate) fn diagnostic(diagnostic: &Diagnostic) -> Map<String, Value> {
    let mut fields = place(diagnostic.place.as_ref());
    fields.extend(object(json!({
        "code": diagnostic.code.as_str(),
        "level": event_name(diagnostic.level),
        "message": diagnostic.message,
        "label": diagnostic.label,
        "also": diagnostic.also.iter().map(also).collect::<Vec<_>>(),
        "notes": diagnostic.notes,
        "help": diagnostic.help,
        "text": diagnostic.to_string(),
    })));
    fields
}

fn also(mark: &Mark) -> Map<String, Value> {
    let mut fields = place(Some(&mark.place));
    fields.insert("label".into(), mark.label.as_str().into());
    fields
}

/// Lines and columns are counted from 1, columns in characters; the end is the column after the last.
fn place(place: Option<&Place>) -> Map<String, Value> {
    let file = place.map(|place| place.path().display().to_string());
    let shown = place.map(|place| {
        let file = place.path().display();
        format!("{file}:{}:{}", place.line(), place.column())
    });
    object(json!({
        "place": shown,
        "file": file,
        "line": place.map(Place::line),
        "column": place.map(Place::column),
        "end_line": place.map(Place::end_line),
        "end_column": place.map(Place::end_column),
    }))
}

/// A denial's parts, and the block as `explain` prints it.
pub(crate) fn denial(denied: &Denied) -> Map<String, Value> {
    let mut fields = diagnostic(&denied.diagnostic());
    fields.insert("component".into(), denied.component().as_str().into());
    fields.insert("destination".into(), denied.destination().into());
    let rule = denied.nearest().map(ToString::to_string);
    fields.insert("rule".into(), rule.into());
    fields.insert("fix".into(), fix(denied).into());
    fields
}

/// The event that carries a diagnostic.
pub(super) fn event_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Denied => "denied",
    }
}

/// The commands that would allow it.
fn fix(denied: &Denied) -> Option<String> {
    let commands = denied.commands();
    (!commands.is_empty()).then(|| commands.join("\n"))
}

/// The line that stands for lines that were lost.
pub(crate) fn lost(count: u64) -> String {
    line("lost", object(json!({ "lost": count })))
}

/// One line of the log.
pub(crate) fn line(event: &str, mut fields: Map<String, Value>) -> String {
    fields.insert("event".into(), event.into());
    fields.insert("time".into(), time::now().into());
    short_safe(&Value::Object(fields))
}

/// A line of one app of several.
pub(crate) fn of_app(app: &str, line: &str) -> String {
    let rest = line.strip_prefix('{').unwrap_or(line);
    format!("{{\"app\":{},{rest}", short_safe(&app.into()))
}

/// JSON that is also safe on a terminal: JSON itself leaves DEL, C1 and bidi controls as they are.
pub(crate) fn short_safe(value: &Value) -> String {
    safe(value)
}

fn safe(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("its keys are strings, and nothing in it fails");
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
    if text.bytes().all(is_plain) || !text.chars().any(escape::is_unsafe) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut units = [0; 2];
    for c in text.chars() {
        if escape::is_unsafe(c) {
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

fn cut(text: &str) -> Value {
    escape::cut(text, escape::MAX_LINE).into()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use runner_host::{Error, RequestId, Trace, Tracing};
    use runner_manifest::{AllowList, Call, Destination};
    use runner_outbound::{Grants, permit};

    use super::*;

    /// Where no operator has a ceiling.
    fn event(event: &Event<'_>) -> String {
        super::event(event, None)
    }

    /// The line without its time, which it must have.
    fn parsed(line: &str) -> Value {
        let mut value: Value = serde_json::from_str(line).expect("a JSON object");
        let time = value
            .as_object_mut()
            .and_then(|fields| fields.remove("time"));
        assert!(time.is_some_and(|time| time.is_string()), "{line}");
        value
    }

    #[test]
    fn a_denial_says_who_where_to_and_what_would_allow_it() {
        let component = "thief".parse().expect("an id");
        let grants = Grants {
            component,
            allow: AllowList::default(),
            place: None,
            generation: 1,
        };
        let to = Destination::from_url("http://127.0.0.1:9100").expect("a destination");
        let denied = permit(&Arc::new(grants), &Call::get(&to)).expect_err("nothing is allowed");
        let (method, request_id) = ("GET".parse().expect("a method"), RequestId::next());
        let interface = "wasi:http/outgoing-handler.handle";
        let line = event(&Event::Denied {
            denied: &denied,
            method: &method,
            path: "/collect",
            interface,
            request_id,
            folded: 41,
        });
        let expected = json!({
            "event": "denied",
            "code": "denied",
            "level": "denied",
            "component": "thief",
            "destination": "http://127.0.0.1:9100",
            "message": "thief may not connect to http://127.0.0.1:9100",
            "place": null,
            "file": null,
            "line": null,
            "column": null,
            "end_line": null,
            "end_column": null,
            "also": [],
            "label": denied.diagnostic().label,
            "notes": [],
            "help": ["to allow exactly this, run\nrunner allow thief http://127.0.0.1:9100"],
            "rule": null,
            "fix": "runner allow thief http://127.0.0.1:9100",
            "text": denied.to_string(),
            "method": "GET",
            "path": "/collect",
            "call": interface,
            "request": request_id.to_string(),
            "folded": 41,
        });
        assert_eq!(parsed(&line), expected);
    }

    #[test]
    fn a_failure_has_its_reason_and_what_to_do() {
        let (component, request_id) = ("thief".parse().expect("an id"), RequestId::next());
        for (error, reason, message, help) in [
            (
                Error::Cpu(Duration::from_secs(1)),
                "cpu",
                "computed for 1s",
                Some("raise `cpu` in `[component.thief.limits]`, or let it do with less"),
            ),
            (
                Error::NoResponse,
                "no_response",
                "returned without a response",
                None,
            ),
        ] {
            let line = event(&Event::Failed {
                component: &component,
                request_id,
                error: &error,
            });
            let expected = json!({
                "event": "failed", "component": "thief", "request": request_id.to_string(), "reason": reason,
                "message": message, "help": help,
            });
            assert_eq!(parsed(&line), expected);
        }
    }

    #[test]
    fn a_request_is_one_object() {
        let record = Record {
            request_id: RequestId::next(),
            component: None,
            route: Some("/...".into()),
            method: "GET".parse().expect("a method"),
            path: "/\u{9b}".into(),
            status: 404.try_into().expect("a status"),
            bytes: 12,
            duration: Duration::from_micros(1_234),
            denials: 1,
            outcome: Outcome::ClientGone,
            client: Some(([127, 0, 0, 1], 5000).into()),
            server: None,
            started: Instant::now(),
            trace: Trace::root(Tracing::Off),
            execution: None,
        };
        let line = event(&Event::Request(&record));
        assert!(line.is_ascii(), "{line}");
        let expected = json!({
            "event": "request", "request": record.request_id.to_string(), "method": "GET", "path": "/\u{9b}",
            "route": "/...", "component": null, "status": 404, "bytes": 12, "duration_ms": 1.234, "denials": 1,
            "outcome": "client-gone", "client": "127.0.0.1:5000",
        });
        assert_eq!(parsed(&line), expected);
    }

    #[test]
    fn a_line_of_one_app_of_several_names_it() {
        for app in ["shop", "\"},\n{\x1b"] {
            let found = parsed(&of_app(app, &lost(1)));
            assert_eq!(found, json!({ "app": app, "event": "lost", "lost": 1 }));
        }
    }

    #[test]
    fn no_text_of_a_guest_leaves_its_string_or_its_line() {
        let table = [
            "plain",
            "\"},\n{\"event\":\"denied\"",
            "\x1b[2J\r\u{7f}\u{9b}",
            "\u{202e}\u{2066}\u{e0041}🦀",
        ];
        let component = "thief".parse().expect("an id");
        for text in table {
            let event = Event::Line {
                component: &component,
                request_id: RequestId::next(),
                stream: Stream::Stdout,
                line: text,
            };
            let line = super::event(&event, None);
            assert!(!line.chars().any(escape::is_unsafe), "{line}");
            assert_eq!(parsed(&line)["line"], text);
        }
    }
}
