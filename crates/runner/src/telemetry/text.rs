//! Events as people read them.

use std::path::Path;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use runner_host::{CallOutcome, Called, Decision, Event, Limit, Outcome, Record, Stream, Verdict};
use runner_manifest::{ComponentId, Diagnostic};

use super::escape;

/// A path longer than this says no more.
const MAX_PATH: usize = 200;

const GOOD: Style = AnsiColor::Green.on_default();
const NOTE: Style = AnsiColor::Cyan.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// One event, without the line's end.
pub(super) fn event(event: &Event<'_>, ceiling: Option<&Path>) -> String {
    match event {
        Event::Denied {
            denied,
            method,
            path,
            interface,
            request_id,
            folded,
        } => {
            let block = call(
                &denied.diagnostic(),
                format!(
                    "{interface}  {method} {}  (request {request_id})",
                    shown(path)
                ),
            );
            let more = if *folded == 0 {
                String::new()
            } else {
                format!("\n… {folded} more like this")
            };
            format!("{}{more}", headed(&block.to_string()))
        }
        Event::Line {
            component,
            request_id,
            stream,
            line,
        } => {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            let line = escape::cut(line, escape::MAX_LINE);
            format!(
                "{} {}",
                paint(
                    FAINT,
                    &format!("{component} {stream} (request {request_id}) |")
                ),
                escape::line(&line)
            )
        }
        Event::Failed {
            component,
            request_id,
            error,
        } => {
            let reason = error.reason().as_str();
            let help = error.help(component, ceiling);
            let help = help.map_or_else(String::new, |help| format!("\nhelp: {help}"));
            let error = error.to_string();
            let error = escape::block(&escape::cut(&error, escape::MAX_LINE));
            headed(&format!(
                "failed: {component} (request {request_id}) reason={reason}: {error}{help}"
            ))
        }
        Event::Limit {
            component,
            request_id,
            limit,
            folded,
        } => {
            let more = match folded.unwrap_or_default() {
                0 => String::new(),
                folded => format!("; … {folded} more like this"),
            };
            headed(&format!(
                "limit: {component} (request {request_id}): {} was hit{more}",
                limit.as_str()
            ))
        }
        Event::LogDropped {
            component,
            limit,
            untold,
            ..
        } => headed(&format!("warning: {}", dropped(component, *limit, *untold))),
        Event::Loading { component } => format!("compiling {component}"),
        Event::Cache { message, .. } => headed(&format!("warning: {}", escape::line(message))),
        Event::Decision(decision) => decided(decision),
        Event::Call(called) => ended(called),
        Event::Request(record) => access(record),
    }
}

/// What is said of a guest's log that nobody will read.
pub(super) fn dropped(component: &ComponentId, limit: Limit, untold: Option<u64>) -> String {
    let why = match limit {
        Limit::LogLine => "a line has at most 8 KiB",
        _ => "limits.log_rate",
    };
    let bytes = untold.unwrap_or_default();
    format!("{bytes} bytes of log of `{component}` were dropped ({why})")
}

/// The denial's block, with what only the log knows.
pub(super) fn call(denied: &Diagnostic, call: String) -> Diagnostic {
    denied
        .clone()
        .note(format!("call: {call}"))
        .note(format!("the guest received: {}", received(&call)))
}

/// A setter has one error, which has no name.
fn received(call: &str) -> &'static str {
    let function = call.split(' ').next().unwrap_or_default();
    if function.ends_with(".set-authority") {
        return "an error when it set this";
    }
    "HTTP-request-denied"
}

/// What is said of one app of several: each paragraph of it begins with its name.
pub(super) fn of_app(app: &str, text: &str) -> String {
    let name = paint(FAINT, &format!("app={}", escape::line(app)));
    let named = |paragraph: &str| format!("{name} {paragraph}");
    text.split("\n\n")
        .map(named)
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn decided(decision: &Decision<'_>) -> String {
    let Decision {
        component,
        method,
        path,
        ..
    } = decision;
    let (verdict, to) = match decision.verdict {
        Verdict::Allow { to, .. } => ("allowed", to.to_string()),
        Verdict::Deny(denied) => ("denied", denied.destination()),
    };
    headed(&format!(
        "{verdict}: {component} {method} {to}{}",
        shown(path)
    ))
}

fn ended(called: &Called<'_>) -> String {
    let to = called
        .to
        .map_or_else(|| "-".to_owned(), ToString::to_string);
    let outcome = match called.outcome {
        CallOutcome::Status(status) => status.to_string(),
        CallOutcome::Denied => "denied".to_owned(),
        CallOutcome::Error(name) => name.to_owned(),
    };
    let (component, method, took) = (called.component, called.method, took(called.duration));
    format!("called: {component} {method} {to}  {outcome}  {took}")
}

fn access(record: &Record) -> String {
    let status = paint(style(record.status.as_u16()), record.status.as_str());
    let component = record.component.as_ref().map_or("-", |id| id.as_str());
    let Record {
        method, duration, ..
    } = record;
    let mut line = format!(
        "{status}  {method} {}  {component}  {}  {}",
        shown(&record.path),
        took(*duration),
        bytes(record.bytes)
    );
    if record.denials > 0 {
        line += &paint(BAD, &format!("  {} denied", record.denials));
    }
    match record.outcome {
        Outcome::Complete => {}
        Outcome::ClientGone => line += &paint(ODD, "  client gone"),
        Outcome::GuestFailed => line += &paint(BAD, "  cut short: the component failed"),
    }
    if record.client.is_none() {
        line += &paint(FAINT, "  (inside the app)");
    }
    if record.status.as_u16() >= 400 {
        // Whoever was refused can name it.
        line += &paint(FAINT, &format!("  (request {})", record.request_id));
    }
    line
}

fn shown(path: &str) -> String {
    escape::line(&escape::cut(path, MAX_PATH)).into_owned()
}

fn style(status: u16) -> Style {
    match status {
        ..300 => GOOD,
        300..400 => NOTE,
        400..500 => ODD,
        500.. => BAD,
    }
}

/// A block whose first word, up to its colon, is coloured as what it says.
pub(crate) fn headed(block: &str) -> String {
    let Some((head, rest)) = block.split_once(':') else {
        return block.to_owned();
    };
    let style = match head {
        "warning" | "limit" => ODD,
        "error" | "denied" | "failed" => BAD,
        "allowed" => GOOD,
        _ => return block.to_owned(),
    };
    format!("{}:{rest}", paint(style, head))
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A time in the unit that suits it.
pub(crate) fn took(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        ..10.0 => format!("{milliseconds:.1} ms"),
        10.0..1000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// A size in the unit that suits it.
pub(crate) fn bytes(count: u64) -> String {
    const KIB: u64 = 1024;
    match count {
        0..KIB => format!("{count} B"),
        KIB..0x10_0000 => format!("{:.1} KiB", count as f64 / KIB as f64),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", count as f64 / (KIB * KIB) as f64),
        _ => format!("{:.1} GiB", count as f64 / (KIB * KIB * KIB) as f64),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use runner_host::{Error, RequestId, Trace, Tracing};
    use runner_manifest::{AllowList, Call, Destination};
    use runner_outbound::{Denied, Grants, permit};

    use super::*;

    /// Where no operator has a ceiling.
    fn event(event: &Event<'_>) -> String {
        super::event(event, None)
    }

    /// As a pipe or NO_COLOR shows it.
    fn plain(line: &str) -> String {
        anstream::adapter::strip_str(line).to_string()
    }

    fn denied(component: &str, url: &str) -> Denied {
        let component = component.parse().expect("an id");
        let grants = Grants {
            component,
            allow: AllowList::default(),
            place: None,
            generation: 1,
        };
        let to = Destination::from_url(url).expect("a destination");
        permit(&Arc::new(grants), &Call::get(&to)).expect_err("nothing is allowed")
    }

    #[test]
    fn a_denial_is_its_block_with_the_call_in_it() {
        let denied = denied("thief", "http://127.0.0.1:9100/collect");
        let (request_id, method) = (RequestId::next(), "GET".parse().expect("a method"));
        let interface = "wasi:http/outgoing-handler.handle";
        let path = "/collect\x1b[2J";
        let told = |folded| {
            plain(&event(&Event::Denied {
                denied: &denied,
                method: &method,
                path,
                interface,
                request_id,
                folded,
            }))
        };
        let calls = format!(
            "  = call: wasi:http/outgoing-handler.handle  GET /collect\\u{{1b}}[2J  (request {request_id})\n  \
               = the guest received: HTTP-request-denied"
        );
        let once = told(0);
        let squeezed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        assert!(squeezed(&once).contains(&squeezed(&calls)), "{once}");
        let without: Vec<_> = once
            .lines()
            .filter(|line| !line.trim().starts_with("= "))
            .collect();
        assert_eq!(without.join("\n"), denied.to_string());
        assert_eq!(told(41), format!("{once}\n… 41 more like this"));
    }

    #[test]
    fn what_the_guest_received_is_what_that_call_gives() {
        for (call, text) in [
            (
                "wasi:http/client.send  GET /  (request 1)",
                "HTTP-request-denied",
            ),
            (
                "wasi:http/types.request.set-authority  GET /  (request 1)",
                "an error when it set this",
            ),
        ] {
            assert_eq!(received(call), text, "{call}");
        }
    }

    #[test]
    fn a_request_is_one_line() {
        let record = Record {
            request_id: RequestId::next(),
            component: Some("thief".parse().expect("an id")),
            route: Some("/...".into()),
            method: "GET".parse().expect("a method"),
            path: "/".into(),
            status: 200.try_into().expect("a status"),
            bytes: 12,
            duration: Duration::from_micros(900),
            denials: 0,
            outcome: Outcome::Complete,
            client: Some(([127, 0, 0, 1], 5000).into()),
            server: None,
            started: Instant::now(),
            trace: Trace::root(Tracing::Off),
            execution: None,
        };
        let table = [
            (record.clone(), "200  GET /  thief  0.9 ms  12 B"),
            (
                Record {
                    component: None,
                    path: "/a\r\nb\u{202e}".into(),
                    ..record.clone()
                },
                "200  GET /a\\u{d}\\u{a}b\\u{202e}  -  0.9 ms  12 B",
            ),
            (
                Record {
                    denials: 2,
                    outcome: Outcome::GuestFailed,
                    ..record.clone()
                },
                "200  GET /  thief  0.9 ms  12 B  2 denied  cut short: the component failed",
            ),
            (
                Record {
                    client: None,
                    outcome: Outcome::ClientGone,
                    ..record.clone()
                },
                "200  GET /  thief  0.9 ms  12 B  client gone  (inside the app)",
            ),
            (
                Record {
                    status: 500.try_into().expect("a status"),
                    ..record.clone()
                },
                "500  GET /  thief  0.9 ms  12 B  (request ID)",
            ),
        ];
        for (record, line) in table {
            let line = line.replace("ID", &record.request_id.to_string());
            assert_eq!(plain(&event(&Event::Request(&record))), line);
        }
    }

    #[test]
    fn what_a_guest_says_stays_on_its_line() {
        let (component, request_id) = ("thief".parse().expect("an id"), RequestId::next());
        let says = |line| {
            event(&Event::Line {
                component: &component,
                request_id,
                stream: Stream::Stderr,
                line,
            })
        };
        let head = format!("thief stderr (request {request_id}) |");
        assert_eq!(plain(&says("hello")), format!("{head} hello"));
        assert_eq!(
            plain(&says("\x1b[2J\rdenied: no")),
            format!("{head} \\u{{1b}}[2J\\u{{d}}denied: no")
        );
        let long = "x".repeat(escape::MAX_LINE + 1);
        assert_eq!(
            plain(&says(&long)),
            format!("{head} {}… (1 bytes cut)", &long[1..])
        );
    }

    #[test]
    fn a_failure_names_who_failed_and_cannot_look_like_another_line() {
        let (component, request_id) = ("thief".parse().expect("an id"), RequestId::next());
        for (error, told) in [
            (
                Error::Trap("unreachable\n200  GET /fake\x1b[2J".into()),
                "reason=trap: unreachable\n    200  GET /fake\\u{1b}[2J",
            ),
            (
                Error::Memory {
                    limit: 64 << 20,
                    what: "exited with code 1".into(),
                },
                "reason=oom: exited with code 1; it had been refused more memory than its 64 MiB\n\
                 help: raise `memory` in `[component.thief.limits]`, or let it do with less",
            ),
        ] {
            let line = event(&Event::Failed {
                component: &component,
                request_id,
                error: &error,
            });
            let expected = format!("failed: thief (request {request_id}) {told}");
            assert_eq!(plain(&line), expected);
        }
    }

    #[test]
    fn a_line_of_one_app_of_several_names_it() {
        for (app, line) in [
            ("shop", "app=shop 200"),
            ("a\nb\x1b", "app=a\\u{a}b\\u{1b} 200"),
        ] {
            assert_eq!(plain(&of_app(app, "200")), line);
        }
    }

    #[test]
    fn times_and_sizes() {
        let times = [
            (900, "0.9 ms"),
            (9_940, "9.9 ms"),
            (41_200, "41 ms"),
            (999_400, "999 ms"),
            (1_230_000, "1.23 s"),
        ];
        for (microseconds, text) in times {
            assert_eq!(took(Duration::from_micros(microseconds)), text);
        }
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (3 << 20, "3.0 MiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn the_first_word_is_coloured_only_where_it_says_how_bad_it_is() {
        for (block, is_coloured) in [
            ("denied: x", true),
            ("warning: x", true),
            ("error: x\nhelp: y", true),
            ("allowed: x", true),
            ("thief: x", false),
            ("no colon", false),
        ] {
            assert_eq!(headed(block) != block, is_coloured, "{block}");
            assert_eq!(plain(&headed(block)), block);
        }
    }
}
