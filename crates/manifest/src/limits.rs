//! What a component may use, at most; `None` is the host's own default.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::quote::shorten;
use crate::raw::{Item, Table};
use crate::{Code, Diagnostic, Place};

/// A limit that is longer is no limit.
const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// What an error shows of a ceiling beside its place.
const MAX_SHOWN: usize = 40;
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
    /// How fine its clocks are.
    pub clock_resolution: Option<Resolution>,
}

/// So many in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, or how many bytes.
    pub amount: u64,
    /// In which time.
    pub per: Duration,
}

/// The steps in which a clock goes on. A finer one lets a guest have more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution(pub Duration);

/// How often an instance may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceReuse {
    /// A fresh instance for each request.
    Never,
    /// One request after the other.
    Serial,
    /// Several at once, which no host can do yet.
    Concurrent,
}

/// What no manifest may exceed, and where each of it is written. [`Ceilings::default`] allows everything.
#[derive(Debug, Clone, Default)]
pub struct Ceilings {
    limits: Limits,
    files: Option<Place>,
    places: BTreeMap<&'static str, Place>,
}

impl Ceilings {
    /// Reads the `ceilings` table.
    pub(crate) fn read(table: Table<'_>) -> Ceilings {
        let places = KEYS
            .iter()
            .filter_map(|key| Some((*key, table.item(key)?.place)))
            .collect();
        let files = table.item("files").and_then(|item| files(&item));
        Ceilings {
            limits: Limits::read(table, &Ceilings::default()),
            files,
            places,
        }
    }

    /// The most of each limit.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where it is written that an app has the files of its own folder alone, if it is.
    pub fn files(&self) -> Option<&Place> {
        self.files.as_ref()
    }

    /// Where the ceiling of this key is written, if there is one.
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }
}

/// `files = "app"`: where that is written.
fn files(item: &Item<'_>) -> Option<Place> {
    match text(item) {
        Some("app") => Some(item.place.clone()),
        _ => item.unfit(Code::BadFilesCeiling, "`\"app\"`"),
    }
}

impl Limits {
    /// Reads a `limits` table.
    pub(crate) fn read(table: Table<'_>, ceilings: &Ceilings) -> Limits {
        let (set, most) = (Reading { table, ceilings }, &ceilings.limits);
        let limits = Limits {
            memory: set.at_most(most.memory, "memory", memory, &MEMORY),
            cpu: set.at_most(most.cpu, "cpu", time, &TIME),
            request_timeout: set.at_most(most.request_timeout, "request_timeout", time, &TIME),
            response_timeout: set.at_most(most.response_timeout, "response_timeout", time, &TIME),
            concurrency: set.at_most(most.concurrency, "concurrency", from_1, &FROM_1),
            queue: set.at_most(most.queue, "queue", from_0, &FROM_0),
            request_body: set.at_most(most.request_body, "request_body", size, &SIZE),
            response_body: set.at_most(most.response_body, "response_body", size, &SIZE),
            log_rate: set.at_most(most.log_rate, "log_rate", byte_rate, &BYTE_RATE),
            outbound_concurrency: set.at_most(
                most.outbound_concurrency,
                "outbound_concurrency",
                from_1,
                &FROM_1,
            ),
            outbound_rate: set.at_most(most.outbound_rate, "outbound_rate", number_rate, &RATE),
            instance_reuse: set.at_most(most.instance_reuse, "instance_reuse", reuse, &REUSE),
            clock_resolution: set.at_most(
                most.clock_resolution,
                "clock_resolution",
                resolution,
                &TIME,
            ),
        };
        set.table.finish();
        limits
    }

    /// These, and for what they do not set those.
    #[must_use]
    pub fn or(self, those: &Limits) -> Limits {
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
            clock_resolution: self.clock_resolution.or(those.clock_resolution),
        }
    }
}

impl Limits {
    /// Every limit by its key, in the words that a manifest takes; none where it is not set.
    pub fn words(&self) -> [(&'static str, Option<String>); KEYS.len()] {
        let number = |count: Option<u32>| count.map(|count| count.to_string());
        let reuse = |reuse| match reuse {
            InstanceReuse::Never => "never",
            InstanceReuse::Serial => "serial",
            InstanceReuse::Concurrent => "concurrent",
        };
        [
            ("memory", self.memory.map(size_words)),
            ("cpu", self.cpu.map(time_words)),
            ("request_timeout", self.request_timeout.map(time_words)),
            ("response_timeout", self.response_timeout.map(time_words)),
            ("concurrency", number(self.concurrency)),
            ("queue", number(self.queue)),
            ("request_body", self.request_body.map(size_words)),
            ("response_body", self.response_body.map(size_words)),
            (
                "log_rate",
                self.log_rate.map(|rate| rate_words(rate, size_words)),
            ),
            ("outbound_concurrency", number(self.outbound_concurrency)),
            (
                "outbound_rate",
                self.outbound_rate
                    .map(|rate| rate_words(rate, |amount| amount.to_string())),
            ),
            (
                "instance_reuse",
                self.instance_reuse.map(|word| reuse(word).to_owned()),
            ),
            (
                "clock_resolution",
                self.clock_resolution
                    .map(|Resolution(step)| time_words(step)),
            ),
        ]
    }

    /// These, lowered to those where they are more, or set to those where they are not set.
    #[must_use]
    pub fn within(self, those: &Limits) -> Limits {
        Limits {
            memory: lower(self.memory, those.memory),
            cpu: lower(self.cpu, those.cpu),
            request_timeout: lower(self.request_timeout, those.request_timeout),
            response_timeout: lower(self.response_timeout, those.response_timeout),
            concurrency: lower(self.concurrency, those.concurrency),
            queue: lower(self.queue, those.queue),
            request_body: lower(self.request_body, those.request_body),
            response_body: lower(self.response_body, those.response_body),
            log_rate: lower(self.log_rate, those.log_rate),
            outbound_concurrency: lower(self.outbound_concurrency, those.outbound_concurrency),
            outbound_rate: lower(self.outbound_rate, those.outbound_rate),
            instance_reuse: lower(self.instance_reuse, those.instance_reuse),
            clock_resolution: lower(self.clock_resolution, those.clock_resolution),
        }
    }
}

/// The values that a limit can have, as far as they compare: what is more lets a guest have more.
trait Amount: Copy {
    /// What it is where it lets a guest have too much, and what it may be beside the ceiling.
    const WORDS: (&str, &str) = ("more", "less");

    fn is_more_than(self, other: Self) -> bool;
}

impl Amount for u64 {
    fn is_more_than(self, other: u64) -> bool {
        self > other
    }
}

impl Amount for u32 {
    fn is_more_than(self, other: u32) -> bool {
        self > other
    }
}

impl Amount for Duration {
    fn is_more_than(self, other: Duration) -> bool {
        self > other
    }
}

impl Amount for Resolution {
    const WORDS: (&str, &str) = ("finer", "more");

    fn is_more_than(self, other: Resolution) -> bool {
        self.0 < other.0
    }
}

impl Amount for InstanceReuse {
    fn is_more_than(self, other: InstanceReuse) -> bool {
        self > other
    }
}

impl Amount for Rate {
    /// More in the long run, or at once: `120/min` is more than `1/s`, and more than `2/s` too, for all of it may come in
    /// the first second.
    fn is_more_than(self, other: Rate) -> bool {
        let in_the_same_time = |rate: Rate, time: Duration| {
            u128::from(rate.amount) * u128::from(time.as_millis() as u64)
        };
        self.amount > other.amount
            || in_the_same_time(self, other.per) > in_the_same_time(other, self.per)
    }
}

fn lower<T: Amount>(set: Option<T>, ceiling: Option<T>) -> Option<T> {
    match (set, ceiling) {
        (Some(set), Some(ceiling)) if !set.is_more_than(ceiling) => Some(set),
        (set, ceiling) => ceiling.or(set),
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
const REUSE: Expected = Expected(
    Code::BadReuse,
    "`\"never\"`, `\"serial\"` or `\"concurrent\"`",
);

/// Every limit there is.
const KEYS: [&str; 13] = [
    "memory",
    "cpu",
    "request_timeout",
    "response_timeout",
    "concurrency",
    "queue",
    "request_body",
    "response_body",
    "log_rate",
    "outbound_concurrency",
    "outbound_rate",
    "instance_reuse",
    "clock_resolution",
];

/// A `limits` table, and what none of it may exceed.
struct Reading<'a> {
    table: Table<'a>,
    ceilings: &'a Ceilings,
}

impl Reading<'_> {
    /// The value of a key, if it is there and is what it may be.
    fn at_most<T: Amount>(
        &self,
        ceiling: Option<T>,
        key: &'static str,
        read: impl Fn(&Item<'_>) -> Option<T>,
        Expected(code, words): &Expected,
    ) -> Option<T> {
        let item = self.table.item(key)?;
        let value = read(&item).or_else(|| item.unfit(*code, words))?;
        if ceiling.is_some_and(|ceiling| value.is_more_than(ceiling)) {
            self.exceeds(key, &item, T::WORDS);
            return None;
        }
        Some(value)
    }

    fn exceeds(&self, key: &str, item: &Item<'_>, (more, less): (&str, &str)) {
        let Some(ceiling) = self.ceilings.places.get(key) else {
            return;
        };
        let message = format!("`{}` is {more} than the operator allows", item.shown());
        let most = shorten(ceiling.text(), MAX_SHOWN);
        let error = Diagnostic::error(Code::LimitAboveCeiling, message)
            .at(item.place.clone(), format!("{more} than `{most}`"))
            .also(ceiling.clone(), "the ceiling");
        let file = ceiling.path().display();
        self.table.findings.error(error.help(format!(
            "write `{key} = {most}` or {less}, or have the ceiling raised in `{file}`"
        )));
    }
}

fn memory(item: &Item<'_>) -> Option<u64> {
    size(item).filter(|&size| size >= MIN_MEMORY)
}

fn from_0(item: &Item<'_>) -> Option<u32> {
    count(item, 0)
}

fn from_1(item: &Item<'_>) -> Option<u32> {
    count(item, 1)
}

fn byte_rate(item: &Item<'_>) -> Option<Rate> {
    rate(item, bytes)
}

fn number_rate(item: &Item<'_>) -> Option<Rate> {
    rate(item, number)
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

fn resolution(item: &Item<'_>) -> Option<Resolution> {
    time(item).map(Resolution)
}

fn rate(item: &Item<'_>, amount: fn(&str) -> Option<u64>) -> Option<Rate> {
    let (many, unit) = text(item)?.split_once('/')?;
    let per = duration(&format!("1 {}", unit.trim()))?;
    amount(many.trim())
        .filter(|&amount| amount > 0)
        .map(|amount| Rate { amount, per })
}

fn reuse(item: &Item<'_>) -> Option<InstanceReuse> {
    match text(item)? {
        "never" => Some(InstanceReuse::Never),
        "serial" => Some(InstanceReuse::Serial),
        "concurrent" => Some(InstanceReuse::Concurrent),
        _ => None,
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

/// A size as [`bytes`] reads it.
fn size_words(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = |(unit, _): &(u64, &str)| bytes > 0 && bytes.is_multiple_of(*unit);
    match units.into_iter().find(fits) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

/// A time as [`duration`] reads it.
fn time_words(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let units = [(3_600_000, "h"), (60_000, "min"), (1000, "s")];
    let fits = |(unit, _): &(u128, &str)| milliseconds > 0 && milliseconds.is_multiple_of(*unit);
    match units.into_iter().find(fits) {
        Some((unit, name)) => format!("{} {name}", milliseconds / unit),
        None => format!("{milliseconds} ms"),
    }
}

/// A rate as [`rate`] reads it.
fn rate_words(rate: Rate, amount: fn(u64) -> String) -> String {
    let per = time_words(rate.per);
    let per = per.strip_prefix("1 ").unwrap_or(&per);
    format!("{}/{per}", amount(rate.amount))
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
    fn a_rate_compares_by_what_it_brings_in_the_same_time() {
        let rate = |text: &str| {
            let (amount, unit) = text.split_once('/').expect("a rate");
            Rate {
                amount: amount.parse().expect("a number"),
                per: duration(&format!("1 {unit}")).expect("a time"),
            }
        };
        for (one, other, is_more) in [
            ("2/s", "1/s", true),
            ("1/s", "1/s", false),
            ("121/min", "2/s", true),
            ("120/min", "2/s", true),
            ("2/min", "2/s", false),
            ("1/ms", "1001/s", false),
            ("18446744073709551615/ms", "18446744073709551615/h", true),
        ] {
            let got = rate(one).is_more_than(rate(other));
            assert_eq!(got, is_more, "{one} and {other}");
        }
    }

    #[test]
    fn a_ceiling_lowers_what_is_more_and_bounds_what_has_no_bound() {
        let limits = |memory, cpu: Option<u64>| Limits {
            memory,
            cpu: cpu.map(Duration::from_secs),
            ..Limits::default()
        };
        for (set, ceiling, expected) in [
            ((None, None), (None, None), (None, None)),
            ((Some(5), Some(1)), (None, None), (Some(5), Some(1))),
            ((Some(5), Some(1)), (Some(4), Some(2)), (Some(4), Some(1))),
            ((None, Some(3)), (Some(4), Some(3)), (Some(4), Some(3))),
        ] {
            let within = limits(set.0, set.1).within(&limits(ceiling.0, ceiling.1));
            assert_eq!(
                within,
                limits(expected.0, expected.1),
                "{set:?} {ceiling:?}"
            );
        }
    }

    #[test]
    fn the_words_of_a_limit_are_those_that_set_it() {
        for text in [
            "0 B", "1 B", "1025 B", "64 KiB", "128 MiB", "3 GiB", "1025 MiB",
        ] {
            let size = bytes(text).expect("a size");
            assert_eq!(size_words(size), text);
        }
        for text in ["1 ms", "1500 ms", "1 s", "90 s", "5 min", "24 h"] {
            let time = duration(text).expect("a time");
            assert_eq!(time_words(time), text);
        }
        let per = Duration::from_secs;
        let rate = |amount, per| Rate { amount, per };
        assert_eq!(rate_words(rate(16 << 10, per(1)), size_words), "16 KiB/s");
        let count = |amount: u64| amount.to_string();
        assert_eq!(rate_words(rate(100, per(60)), count), "100/min");
        let keys = Limits::default().words().map(|(key, _)| key);
        assert_eq!(keys, KEYS);
    }

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
