//! The `OTEL_*` variables that OpenTelemetry has for every program, as far as they say something here.
//!
//! One that cannot be meant is told once, by its name, and passed over: what is collected is no reason not to serve.
//! Values are not repeated where they may hold a secret.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue};
use runner_host::{Sampler, Share};
use runner_manifest::{Destination, Origin};

use crate::telemetry::{cut, escaped};

/// The only protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";
/// Where a collector listens that nobody has named.
const USUAL: &str = "http://localhost:4318";
/// What is shown of a value.
const MAX_SHOWN: usize = 80;
/// No variable asks for more memory than this many spans need.
const MAX_QUEUE: usize = 65_536;

/// The variables whose names begin with `OTEL_`.
pub(crate) type Variables = BTreeMap<String, OsString>;

/// What is collected, and where to.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Traces, if they are.
    pub(super) traces: Option<(Traces, Endpoint)>,
    /// Metrics, if they are, and how often.
    pub(super) metrics: Option<(Duration, Endpoint)>,
    /// What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say of this process.
    pub(super) resource: Vec<(String, String)>,
    /// What is wrong with variables.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Traces {
    pub(super) sampler: Sampler,
    /// Spans that wait at once.
    pub(super) queue: usize,
    /// Spans that are sent at once.
    pub(super) batch: usize,
    /// How long a span waits for others.
    pub(super) delay: Duration,
}

/// Where to, and how.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) origin: Origin,
    pub(super) path: PathAndQuery,
    /// May hold secrets.
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) ca_file: Option<PathBuf>,
}

impl Config {
    /// Reads them.
    pub(crate) fn of(variables: &Variables) -> Config {
        let mut reader = Reader {
            variables,
            warnings: Vec::new(),
        };
        if reader.choice("OTEL_SDK_DISABLED", &["true", "false"]) == Some("true") {
            return Config::default();
        }
        let traces = reader.traces();
        let metrics = reader.metrics();
        let resource = match traces.is_some() || metrics.is_some() {
            true => reader.resource(),
            false => Vec::new(),
        };
        Config {
            traces,
            metrics,
            resource,
            warnings: reader.warnings,
        }
    }
}

struct Reader<'a> {
    variables: &'a Variables,
    warnings: Vec<String>,
}

/// What the names of a signal's variables have in their middle, and its usual path.
struct Signal {
    name: &'static str,
    path: &'static str,
}

const TRACES: Signal = Signal {
    name: "TRACES",
    path: "/v1/traces",
};
const METRICS: Signal = Signal {
    name: "METRICS",
    path: "/v1/metrics",
};

impl<'a> Reader<'a> {
    fn traces(&mut self) -> Option<(Traces, Endpoint)> {
        let endpoint = self.endpoint(&TRACES)?;
        let queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048).min(MAX_QUEUE);
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512);
        let traces = Traces {
            sampler: self.sampler(),
            queue,
            batch: batch.min(queue),
            delay: self.milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5_000),
        };
        Some((traces, endpoint))
    }

    fn metrics(&mut self) -> Option<(Duration, Endpoint)> {
        let endpoint = self.endpoint(&METRICS)?;
        let interval = self.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60_000);
        Some((interval, endpoint))
    }

    /// Where a signal goes, if it is to go anywhere.
    fn endpoint(&mut self, signal: &Signal) -> Option<Endpoint> {
        let own = |what: &str| format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name);
        let base = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let exporter = format!("OTEL_{}_EXPORTER", signal.name);
        let (wanted, url) = (self.choice(&exporter, &["otlp", "none"]), own("ENDPOINT"));
        let (name, text, path) = match (wanted, self.text(&url), self.text(base)) {
            (Some("none"), ..) => return None,
            (_, Some(text), _) => (url.as_str(), text, None),
            (_, None, Some(text)) => (base, text, Some(signal.path)),
            (Some(_), None, None) => (base, USUAL, Some(signal.path)),
            // An exporter that is none of ours is no wish for this one.
            (None, None, None) => return None,
        };
        if self.is_set(&exporter) && wanted.is_none() {
            return None;
        }
        let protocol = self.either(signal, "PROTOCOL");
        if let Some((name, protocol)) = protocol.filter(|(_, protocol)| *protocol != PROTOCOL) {
            let protocol = shown(protocol);
            let what = signal.name.to_lowercase();
            self.warn(format!(
                "`{name}` is `{protocol}`; only `{PROTOCOL}` is spoken, so no {what} are sent"
            ));
            return None;
        }
        let compression = self.either(signal, "COMPRESSION");
        if let Some((name, _)) = compression.filter(|(_, how)| *how != "none") {
            self.warn(format!("`{name}`: nothing is compressed"));
        }
        let Some((origin, path)) = place(text, path) else {
            self.warn(format!(
                "`{name}` is not a URL such as `{USUAL}`, so no {} are sent",
                signal.name.to_lowercase()
            ));
            return None;
        };
        Some(Endpoint {
            origin,
            path,
            headers: self.headers(signal),
            timeout: self.timeout(signal),
            ca_file: self
                .either(signal, "CERTIFICATE")
                .map(|(_, path)| path.into()),
        })
    }

    /// The headers for all signals, and those for this one before them.
    fn headers(&mut self, signal: &Signal) -> HeaderMap {
        let Some((name, text)) = self.either(signal, "HEADERS") else {
            return HeaderMap::new();
        };
        let mut headers = HeaderMap::new();
        for (key, value) in self.pairs(&name, text) {
            match (HeaderName::try_from(&key), HeaderValue::try_from(&value)) {
                (Ok(key), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(key, value);
                }
                _ => self.warn(format!("`{name}` has what is no header; it is left out")),
            }
        }
        headers
    }

    fn timeout(&mut self, signal: &Signal) -> Duration {
        let all = self.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000);
        let own = format!("OTEL_EXPORTER_OTLP_{}_TIMEOUT", signal.name);
        match self.is_set(&own) {
            true => self.milliseconds(&own, 10_000),
            false => all,
        }
    }

    fn sampler(&mut self) -> Sampler {
        const NAMES: [&str; 6] = [
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ];
        let name = self.choice("OTEL_TRACES_SAMPLER", &NAMES);
        let name = name.unwrap_or("parentbased_always_on");
        let root = match name.trim_start_matches("parentbased_") {
            "always_off" => Share::None,
            "traceidratio" => Share::Part(self.part("OTEL_TRACES_SAMPLER_ARG")),
            _ => Share::All,
        };
        Sampler {
            root,
            parent_decides: name.starts_with("parentbased_"),
        }
    }

    fn part(&mut self, name: &str) -> f64 {
        let Some(text) = self.text(name) else {
            return 1.0;
        };
        match f64::from_str(text) {
            Ok(part) if (0.0..=1.0).contains(&part) => part,
            _ => {
                let text = shown(text);
                self.warn(format!(
                    "`{name}` is `{text}`, not a number from 0 to 1; 1 is taken"
                ));
                1.0
            }
        }
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let text = self.text(name).unwrap_or_default();
        let mut resource = self.pairs(name, text);
        if let Some(service) = self.text("OTEL_SERVICE_NAME") {
            resource.retain(|(key, _)| key != "service.name");
            resource.push(("service.name".to_owned(), service.to_owned()));
        }
        resource
    }

    /// `key=value,key=value`, where values are percent-encoded.
    fn pairs(&mut self, name: &str, text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let decoded = pair
                .split_once('=')
                .and_then(|(key, value)| Some((decode(key.trim())?, decode(value.trim())?)));
            match decoded {
                Some((key, value)) if !key.is_empty() => pairs.push((key, value)),
                _ => self.warn(format!(
                    "`{name}` is not `key=value,key=value`; a part of it is left out"
                )),
            }
        }
        pairs
    }

    /// The variable of this signal, or that of all: its name and its value.
    fn either(&mut self, signal: &Signal, what: &str) -> Option<(String, &'a str)> {
        let names = [
            format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ];
        let mut found = names.into_iter();
        found.find_map(|name| Some((name.clone(), self.text(&name)?)))
    }

    fn milliseconds(&mut self, name: &str, usual: u64) -> Duration {
        Duration::from_millis(self.number(name, usual))
    }

    /// A number that is not 0.
    fn number<T: FromStr + Copy + From<u8> + PartialEq + std::fmt::Display>(
        &mut self,
        name: &str,
        usual: T,
    ) -> T {
        let Some(text) = self.text(name) else {
            return usual;
        };
        match text.parse() {
            Ok(number) if number != T::from(0) => number,
            _ => {
                let text = shown(text);
                self.warn(format!(
                    "`{name}` is `{text}`, not a number above 0; {usual} is taken"
                ));
                usual
            }
        }
    }

    /// One of several words, in any case.
    fn choice(&mut self, name: &str, choices: &[&'static str]) -> Option<&'static str> {
        let text = self.text(name)?;
        let chosen = choices
            .iter()
            .find(|choice| choice.eq_ignore_ascii_case(text));
        if chosen.is_none() {
            let (text, choices) = (shown(text), choices.join("`, `"));
            self.warn(format!("`{name}` is `{text}`, not one of `{choices}`"));
        }
        chosen.copied()
    }

    /// An empty one is as good as none.
    fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.variables.get(name)?;
        match value.to_str() {
            Some(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            None => {
                self.warn(format!("`{name}` is not UTF-8"));
                None
            }
        }
    }

    fn is_set(&mut self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// What two signals share is wrong once.
    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// A URL's origin, and its path with what is to come behind it.
fn place(url: &str, more: Option<&str>) -> Option<(Origin, PathAndQuery)> {
    let uri: Uri = url.parse().ok()?;
    let Ok(Destination::Remote(origin)) = Destination::from_url(url) else {
        return None;
    };
    let path = match more {
        Some(more) => format!("{}{more}", uri.path().trim_end_matches('/')),
        None => uri.path_and_query()?.to_string(),
    };
    Some((origin, path.try_into().ok()?))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

fn shown(text: &str) -> String {
    escaped(&cut(text, MAX_SHOWN)).into_owned()
}

#[cfg(test)]
mod tests;
