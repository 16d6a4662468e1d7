//! What a component may use, at most; `None` is the host's own default.

use std::time::Duration;

use crate::raw::{Item, Table};
use crate::{Code, Diagnostic};

/// What this version holds a component to; a limit that is not here gives a warning.
const ENFORCED: [&str; 5] = [
    "cpu",
    "request_timeout",
    "response_timeout",
    "outbound_concurrency",
    "memory",
];
/// A limit that is longer is no limit.
const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// One page of WebAssembly.
const MIN_MEMORY: u64 = 64 * 1024;

/// The limits of a component, or of all of them; what is not set is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, summed over all of an instance's memories.
    pub memory: Option<u64>,
    /// Guest execution time of a request.
    pub cpu: Option<Duration>,
    /// Wall time until the response's head.
    pub request_timeout: Option<Duration>,
    /// Wall time until the response's end.
    pub response_timeout: Option<Duration>,
    /// Requests at a time.
    pub concurrency: Option<u32>,
    /// Requests that wait for their turn.
    pub queue: Option<u32>,
    /// Bytes of a request's body.
    pub request_body: Option<u64>,
    /// Bytes of a response's body.
    pub response_body: Option<u64>,
    /// Bytes of log.
    pub log_rate: Option<Rate>,
    /// Outbound requests at a time.
    pub outbound_concurrency: Option<u32>,
    /// Outbound requests.
    pub outbound_rate: Option<Rate>,
    /// How often an instance may serve.
    pub instance_reuse: Option<InstanceReuse>,
}

/// So many in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, or how many bytes.
    pub amount: u64,
    /// In which time.
    pub per: Duration,
}

/// How often an instance may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceReuse {
    /// A fresh instance for each request.
    Never,
    /// At most so many requests, two at least.
    Requests(u32),
}

impl Limits {
    /// Reads a `limits` table.
    pub(crate) fn read(table: Table<'_>) -> Limits {
        let limits = Limits {
            memory: set(
                &table,
                "memory",
                |item| size(item).filter(|&size| size >= MIN_MEMORY),
                &MEMORY,
            ),
            cpu: set(&table, "cpu", time, &TIME),
            request_timeout: set(&table, "request_timeout", time, &TIME),
            response_timeout: set(&table, "response_timeout", time, &TIME),
            concurrency: set(&table, "concurrency", |item| count(item, 1), &FROM_1),
            queue: set(&table, "queue", |item| count(item, 0), &FROM_0),
            request_body: set(&table, "request_body", size, &SIZE),
            response_body: set(&table, "response_body", size, &SIZE),
            log_rate: set(&table, "log_rate", |item| rate(item, bytes), &BYTE_RATE),
            outbound_concurrency: set(
                &table,
                "outbound_concurrency",
                |item| count(item, 1),
                &FROM_1,
            ),
            outbound_rate: set(&table, "outbound_rate", |item| rate(item, number), &RATE),
            instance_reuse: set(&table, "instance_reuse", reuse, &REUSE),
        };
        table.finish();
        limits
    }

    /// These, and for what they do not set those.
    pub(crate) fn or(self, those: &Limits) -> Limits {
        Limits {
            memory: self.memory.or(those.memory),
            cpu: self.cpu.or(those.cpu),
            request_timeout: self.request_timeout.or(those.request_timeout),
            response_timeout: self.response_timeout.or(those.response_timeout),
            concurrency: self.concurrency.or(those.concurrency),
            queue: self.queue.or(those.queue),
            request_body: self.request_body.or(those.request_body),
            response_body: self.response_body.or(those.response_body),
            log_rate: self.log_rate.or(those.log_rate),
            outbound_concurrency: self.outbound_concurrency.or(those.outbound_concurrency),
            outbound_rate: self.outbound_rate.or(those.outbound_rate),
            instance_reuse: self.instance_reuse.or(those.instance_reuse),
        }
    }
}

/// What a limit must be: the code of the message that it is not, and the words.
struct Expected(Code, &'static str);

const MEMORY: Expected = Expected(
    Code::BadSize,
    "a size such as `\"64 MiB\"`, at least 64 KiB",
);
const SIZE: Expected = Expected(
    Code::BadSize,
    "a size such as `\"10 MiB\"` or a number of bytes",
);
const TIME: Expected = Expected(
    Code::BadTime,
    "a time such as `\"250 ms\"` or a number of seconds, at most a day and not 0",
);
const FROM_0: Expected = Expected(Code::BadCount, "a number from 0");
const FROM_1: Expected = Expected(Code::BadCount, "a number from 1");
const RATE: Expected = Expected(Code::BadRate, "a rate such as `\"100/s\"`");
const BYTE_RATE: Expected = Expected(Code::BadRate, "a rate such as `\"16 KiB/s\"`");
const REUSE: Expected = Expected(Code::BadReuse, "`\"never\"` or a number of requests");

fn set<T>(
    table: &Table<'_>,
    key: &'static str,
    read: impl Fn(&Item<'_>) -> Option<T>,
    Expected(code, words): &Expected,
) -> Option<T> {
    let item = table.item(key)?;
    if !ENFORCED.contains(&key) {
        let message = format!("`{key}` is not enforced by this version of runner");
        let warning = Diagnostic::warning(Code::LimitNotEnforced, message);
        let help = "leave it out, or do not rely on it yet";
        table.findings.warning(
            warning
                .at(item.place.clone(), "this has no effect")
                .help(help),
        );
    }
    read(&item).or_else(|| item.unfit(*code, words))
}

fn text<'a>(item: &Item<'a>) -> Option<&'a str> {
    if item.is_text() {
        item.text().map(|text| text.text)
    } else {
        None
    }
}

fn whole(item: &Item<'_>) -> Option<u64> {
    if item.is_integer() {
        u64::try_from(item.integer()?).ok()
    } else {
        None
    }
}

fn count(item: &Item<'_>, least: u32) -> Option<u32> {
    u32::try_from(whole(item)?)
        .ok()
        .filter(|&count| count >= least)
}

fn size(item: &Item<'_>) -> Option<u64> {
    whole(item).or_else(|| bytes(text(item)?))
}

fn time(item: &Item<'_>) -> Option<Duration> {
    let seconds = whole(item).map(Duration::from_secs);
    let time = seconds.or_else(|| duration(text(item)?))?;
    Some(time).filter(|time| !time.is_zero() && *time <= MAX_TIME)
}

fn rate(item: &Item<'_>, amount: fn(&str) -> Option<u64>) -> Option<Rate> {
    let (many, unit) = text(item)?.split_once('/')?;
    let per = duration(&format!("1 {}", unit.trim()))?;
    amount(many.trim())
        .filter(|&amount| amount > 0)
        .map(|amount| Rate { amount, per })
}

fn reuse(item: &Item<'_>) -> Option<InstanceReuse> {
    match count(item, 1) {
        None => text(item)
            .filter(|&word| word == "never")
            .map(|_| InstanceReuse::Never),
        Some(1) => Some(InstanceReuse::Never),
        Some(requests) => Some(InstanceReuse::Requests(requests)),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = quantity(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "sec" => Some(Duration::from_secs(number)),
        "m" | "min" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(60 * 60).map(Duration::from_secs),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = quantity(text)?;
    let unit: u64 = match unit {
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn number(text: &str) -> Option<u64> {
    quantity(text)
        .filter(|(_, unit)| unit.is_empty())
        .map(|(number, _)| number)
}

/// `64 MiB`, with or without the space.
fn quantity(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_words() {
        let times = [
            ("250 ms", Some(250)),
            ("2s", Some(2000)),
            ("3 min", Some(180_000)),
            ("1 h", Some(3_600_000)),
            ("5", None),
            ("-1 s", None),
            ("1.5 s", None),
            ("99999999999999999999 s", None),
            ("18446744073709551615 h", None),
            ("s", None),
            ("1 S", None),
        ];
        for (text, expected) in times {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
        let sizes = [
            ("64 MiB", Some(64 << 20)),
            ("1GiB", Some(1 << 30)),
            ("10 kB", Some(10_000)),
            ("7 B", Some(7)),
            ("7", None),
            ("18446744073709551615 GiB", None),
            ("64 mib", None),
        ];
        for (text, expected) in sizes {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
