//! Why a request failed, as one name of a closed list: what is logged and counted.

use std::path::Path;

use runner_manifest::ComponentId;
use strum::VariantArray;

use crate::Error;

/// The name of what failed. Each limit that is hit has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// It computed for longer than its `cpu`.
    Cpu,
    /// There was no response within its `request_timeout`.
    RequestTimeout,
    /// Its response had not ended within its `response_timeout`.
    ResponseTimeout,
    /// It went on for too long after its response had ended.
    AfterResponse,
    /// It was refused memory beyond its `memory`, and ended.
    Oom,
    /// Its calls were nested too deeply.
    StackOverflow,
    /// It trapped.
    Trap,
    /// It exited.
    Exit,
    /// It returned without a response.
    NoResponse,
    /// It did not finish its response.
    Unfinished,
    /// It held too many resources.
    Handles,
    /// It handed too much over in one call.
    HostcallFuel,
    /// It wrote a header map that is too large.
    HeaderSize,
    /// Its request had a longer body than its `request_body`.
    RequestBody,
    /// It wrote a longer body than its `response_body`.
    ResponseBody,
    /// As many of its requests were served as may be, and as many waited.
    Concurrency,
    /// Its app had as many instances as were left to each other.
    Instances,
    /// It was refused memory: its app had as much as was left to each other.
    SharedMemory,
    /// It waited for a slow client, and another request needed its seat.
    SlowClient,
    /// More was asked of the process than it can do.
    Overload,
    /// Calls inside the app were nested too deeply.
    Loop,
    /// One request led to too many calls inside the app.
    Calls,
    /// It answered with something that is not HTTP.
    NotHttp,
    /// It answered with an error.
    Error,
    /// No instance could be made.
    Instantiate,
    /// Nothing of the guest's: its request could not be given to it.
    NotServed,
}

impl Reason {
    /// Every reason.
    pub const ALL: &'static [Reason] = Reason::VARIANTS;

    /// Its name in a log line and in a metric.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The key of `limits` in the manifest that sets this limit.
    pub fn key(self) -> Option<&'static str> {
        match self {
            Reason::Cpu => Some("cpu"),
            Reason::RequestTimeout => Some("request_timeout"),
            Reason::ResponseTimeout => Some("response_timeout"),
            Reason::Oom => Some("memory"),
            Reason::RequestBody => Some("request_body"),
            Reason::ResponseBody => Some("response_body"),
            Reason::Concurrency => Some("concurrency"),
            Reason::AfterResponse
            | Reason::StackOverflow
            | Reason::Trap
            | Reason::Exit
            | Reason::NoResponse
            | Reason::Unfinished
            | Reason::Handles
            | Reason::HostcallFuel
            | Reason::HeaderSize
            | Reason::Instances
            | Reason::SharedMemory
            | Reason::SlowClient
            | Reason::Overload
            | Reason::Loop
            | Reason::Calls
            | Reason::NotHttp
            | Reason::Error
            | Reason::Instantiate
            | Reason::NotServed => None,
        }
    }
}

impl Error {
    /// The one name that this has in the log and in the counters.
    pub fn reason(&self) -> Reason {
        match self {
            Error::Cpu(_) => Reason::Cpu,
            Error::RequestTimeout(_) => Reason::RequestTimeout,
            Error::ResponseTimeout(_) => Reason::ResponseTimeout,
            Error::AfterResponse(_) => Reason::AfterResponse,
            Error::Memory { .. } => Reason::Oom,
            Error::StackOverflow => Reason::StackOverflow,
            Error::Trap(_) => Reason::Trap,
            Error::Exit(_) => Reason::Exit,
            Error::NoResponse => Reason::NoResponse,
            Error::Unfinished => Reason::Unfinished,
            Error::Handles(_) => Reason::Handles,
            Error::HostcallFuel(_) => Reason::HostcallFuel,
            Error::HeaderSize(_) => Reason::HeaderSize,
            Error::RequestBody(_) => Reason::RequestBody,
            Error::ResponseBody(_) => Reason::ResponseBody,
            Error::Capacity(_) => Reason::Concurrency,
            Error::Instances => Reason::Instances,
            Error::SharedMemory { .. } => Reason::SharedMemory,
            Error::GaveUp(_) => Reason::SlowClient,
            Error::Overloaded => Reason::Overload,
            Error::Loop(_) => Reason::Loop,
            Error::Calls(_) => Reason::Calls,
            Error::NotHttp(_) => Reason::NotHttp,
            Error::Guest(_) => Reason::Error,
            Error::Instantiate(_) => Reason::Instantiate,
            Error::BadPath(_)
            | Error::NoRoute
            | Error::NotLoaded
            | Error::Engine(_)
            | Error::Cache(_) => Reason::NotServed,
        }
    }

    /// What to do about it, where the manifest can set the limit that was hit. A `ceiling` is the file of the operator in
    /// which it stands as one: then no manifest can raise it.
    pub fn help(&self, component: &ComponentId, ceiling: Option<&Path>) -> Option<String> {
        let key = self.reason().key()?;
        Some(match ceiling {
            Some(file) => format!(
                "let it do with less, or have the ceiling of `{key}` raised in `{}`",
                file.display()
            ),
            None => {
                format!("raise `{key}` in `[component.{component}.limits]`, or let it do with less")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_of_the_manifest_is_helped_by_its_key() {
        let component = "shop".parse().unwrap();
        let told = Error::Cpu(Duration::from_secs(1)).help(&component, None);
        assert_eq!(
            told.as_deref(),
            Some("raise `cpu` in `[component.shop.limits]`, or let it do with less")
        );
        let file = Path::new("runner.toml");
        let told = Error::Cpu(Duration::from_secs(1)).help(&component, Some(file));
        assert_eq!(
            told.as_deref(),
            Some("let it do with less, or have the ceiling of `cpu` raised in `runner.toml`")
        );
        assert_eq!(Error::NoResponse.help(&component, Some(file)), None);
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "cpu request_timeout response_timeout after_response oom stack_overflow trap exit no_response unfinished \
             handles hostcall_fuel header_size request_body response_body concurrency instances shared_memory slow_client overload loop calls not_http error instantiate not_served"
        );
    }
}
