//! The query of a request: what a test wants the probe to do.

use std::str::FromStr;

/// Decoded pairs, in order; a key may come more than once.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Splits a request's target into its path and its query.
    pub fn of(target: &str) -> (&str, Query) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent_decode(key), percent_decode(value))
            });
        (path, Query(pairs.collect()))
    }

    /// The first value of `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// The first value of `key` as a number; `default` when it is missing or is none.
    pub fn number<T: FromStr>(&self, key: &str, default: T) -> T {
        self.text(key)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    /// Whether `key` is there and not `0`.
    pub fn flag(&self, key: &str) -> bool {
        self.text(key).is_some_and(|text| text != "0")
    }

    /// Every value of `key`.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Every `name:value` under `key`, as pairs.
    pub fn headers(&self, key: &str) -> Vec<(String, String)> {
        let pairs = self
            .all(key)
            .map(|header| header.split_once(':').unwrap_or((header, "")));
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// A duration in nanoseconds: `250ms`, `1ns`, `2s`; a plain number is milliseconds.
    pub fn nanoseconds(&self, key: &str) -> Option<u64> {
        let text = self.text(key)?;
        let (number, unit) = text.split_at(
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len()),
        );
        let number: u64 = number.parse().ok()?;
        let factor = match unit {
            "ns" => 1,
            "us" => 1_000,
            "s" => 1_000_000_000,
            _ => 1_000_000,
        };
        Some(number.saturating_mul(factor))
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |at: usize| {
            bytes
                .get(at)
                .and_then(|&byte| char::from(byte).to_digit(16))
        };
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
