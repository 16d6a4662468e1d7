//! Events as people read them.

use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use runner_host::{Event, Outcome, Record, Stream};
use runner_manifest::Diagnostic;

use super::escape;

/// A path longer than this says no more.
const MAX_PATH: usize = 200;

const GOOD: Style = AnsiColor::Green.on_default();
const NOTE: Style = AnsiColor::Cyan.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// One event, without the line's end.
pub(super) fn event(event: &Event<'_>) -> String {
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
                denied.diagnostic(),
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
            let error = error.to_string();
            let error = escape::block(&escape::cut(&error, escape::MAX_LINE));
            headed(&format!(
                "failed: {component} (request {request_id}): {error}"
            ))
        }
        Event::Loading { component } => format!("compiling {component}"),
        Event::Request(record) => access(record),
    }
}

/// The denial's block, with what only the log knows.
pub(super) fn call(denied: &Diagnostic, call: String) -> Diagnostic {
    denied
        .clone()
        .note(format!("call: {call}"))
        .note("the guest received: HTTP-request-denied")
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
        "warning" => ODD,
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
fn bytes(count: u64) -> String {
    const KIB: u64 = 1024;
    match count {
        0..KIB => format!("{count} B"),
        KIB..0x10_0000 => format!("{:.1} KiB", count as f64 / KIB as f64),
        _ => format!("{:.1} MiB", count as f64 / (KIB * KIB) as f64),
    }
}
