//! What can go wrong with one request. The trigger, and only the trigger, makes a status of it.

use std::time::Duration;

use wasmtime_wasi_http::Error as HttpError;

use crate::{CacheError, Limit, caps};

/// Why a request has no answer from a guest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path cannot be normalised.
    #[error("{0}")]
    BadPath(#[from] runner_manifest::BadPath),
    /// No route of the app matches.
    #[error("no route matches")]
    NoRoute,
    /// The guest gave no response within the component's `request_timeout`.
    #[error("no response within {0:?}")]
    RequestTimeout(Duration),
    /// The guest's response had not ended within the component's `response_timeout`.
    #[error("its response had not ended within {0:?}")]
    ResponseTimeout(Duration),
    /// The guest went on for too long after its response had ended.
    #[error("went on for {0:?} after its response had ended")]
    AfterResponse(Duration),
    /// The guest computed for longer than the component's `cpu`.
    #[error("computed for {0:?}")]
    Cpu(Duration),
    /// The guest was refused memory, and ended.
    #[error("{what}; it had been refused more memory than its {}", size(*.limit))]
    Memory {
        /// The component's `memory`, in bytes.
        limit: u64,
        /// How it ended.
        what: String,
    },
    /// The guest's calls were nested too deeply.
    #[error("its calls were nested too deeply: its stack has {}", size(caps::WASM_STACK as u64))]
    StackOverflow,
    /// The guest trapped.
    #[error("{0}")]
    Trap(String),
    /// The guest exited.
    #[error("exited with code {0}")]
    Exit(i32),
    /// The guest returned without a response.
    #[error("returned without a response")]
    NoResponse,
    /// The guest let go of its response's body before it was whole.
    #[error("did not finish its response")]
    Unfinished,
    /// The guest held as many resources as it may.
    #[error("held {0} resources, and asked for one more")]
    Handles(usize),
    /// The guest handed too much over in one call.
    #[error("handed more than {} over in one call", size(*.0 as u64))]
    HostcallFuel(usize),
    /// The guest wrote a header map that is too large.
    #[error("wrote headers of more than {}", size(*.0 as u64))]
    HeaderSize(usize),
    /// An instance could not be made.
    #[error("could not be instantiated: {0}")]
    Instantiate(String),
    /// The request's body is longer than the component's `request_body`.
    #[error("the request's body is longer than {}", size(*.0))]
    RequestBody(u64),
    /// The response's body is longer than the component's `response_body`.
    #[error("the response's body is longer than {}", size(*.0))]
    ResponseBody(u64),
    /// As many requests of the component are being served as may be, and as many wait.
    #[error("all {0} instances are in use")]
    Capacity(u32),
    /// The app could not be loaded, and waits for a reload.
    #[error("the app is not loaded")]
    NotLoaded,
    /// More is asked of the process than it can do.
    #[error("the server has more requests than it can serve")]
    Overloaded,
    /// The guest waited for a slow client, and its place was needed.
    #[error("gave up its place: its client was slow while all {0} instances were in use")]
    GaveUp(u32),
    /// The app has as many instances as are left to each other.
    #[error("its app has as many instances as the server has left")]
    Instances,
    /// The app has as much memory as is left to each other: the guest was refused more, and ended.
    #[error("{what}; it had been refused more memory: its app has as much as the server has left")]
    SharedMemory {
        /// How it ended.
        what: String,
    },
    /// Components of the app called one another too deeply.
    #[error("calls inside the app are nested more than {0} deep")]
    Loop(u8),
    /// One request led to too many calls inside the app.
    #[error("the request leads to more than {0} calls inside the app")]
    Calls(u32),
    /// The guest gave an error instead of a response, `wasi:http/types.error-code`.
    #[error("answered with the error `{}`", code(.0))]
    Guest(HttpError),
    /// The guest's answer is not HTTP.
    #[error("answered with {0}")]
    NotHttp(String),
    /// The engine could not be made.
    #[error("{0}")]
    Engine(String),
    /// The directory that was named for the compile cache is not one that can be used.
    #[error("{0}")]
    Cache(#[from] CacheError),
}

impl Error {
    /// Whether calls inside the app were nested too deeply or too many, here or where the guest passes it on from.
    pub fn is_loop(&self) -> bool {
        matches!(
            self,
            Error::Loop(_) | Error::Calls(_) | Error::Guest(HttpError::LoopDetected)
        )
    }

    /// The limit of the component that was hit, where it was one.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Error::RequestBody(_) => Some(Limit::RequestBody),
            Error::ResponseBody(_) => Some(Limit::ResponseBody),
            Error::Capacity(_) => Some(Limit::Concurrency),
            _ => None,
        }
    }

    /// Whether the guest's error says that somebody it called is at fault.
    pub fn blames_upstream(&self) -> bool {
        use HttpError as E;
        let Error::Guest(code) = self else {
            return false;
        };
        match code {
            E::DnsTimeout
            | E::DnsError { .. }
            | E::DestinationNotFound
            | E::DestinationUnavailable
            | E::DestinationIpProhibited
            | E::DestinationIpUnroutable
            | E::ConnectionRefused
            | E::ConnectionTerminated
            | E::ConnectionTimeout
            | E::ConnectionReadTimeout
            | E::ConnectionWriteTimeout
            | E::ConnectionLimitReached
            | E::TlsProtocolError
            | E::TlsCertificateError
            | E::TlsAlertReceived { .. }
            | E::HttpResponseIncomplete
            | E::HttpResponseHeaderSectionSize(_)
            | E::HttpResponseHeaderSize { .. }
            | E::HttpResponseBodySize(_)
            | E::HttpResponseTrailerSectionSize(_)
            | E::HttpResponseTrailerSize { .. }
            | E::HttpResponseTransferCoding(_)
            | E::HttpResponseContentCoding(_)
            | E::HttpResponseTimeout
            | E::HttpUpgradeFailed
            | E::HttpProtocolError => true,
            // The guest's own request, or nothing that has a name yet.
            _ => false,
        }
    }
}

/// A size in the largest unit that it is a whole number of.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = UNITS
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// The name of an error as WIT writes it, `HTTP-request-denied`, for the log.
pub(crate) fn code(error: &HttpError) -> String {
    const ACRONYMS: [&str; 5] = ["Http", "Dns", "Tls", "Ip", "Uri"];
    let debug = format!("{error:?}");
    let name = debug.split(['(', ' ', '{']).next().unwrap_or_default();
    let starts = name.char_indices().filter(|(_, c)| c.is_ascii_uppercase());
    let starts: Vec<usize> = starts.map(|(at, _)| at).chain([name.len()]).collect();
    let words = starts.windows(2).map(|ends| &name[ends[0]..ends[1]]);
    let words = words.map(|word| match ACRONYMS.contains(&word) {
        true => word.to_ascii_uppercase(),
        false => word.to_ascii_lowercase(),
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 bytes"),
            (65_536, "64 KiB"),
            (65_537, "65537 bytes"),
            (128 << 20, "128 MiB"),
            (1 << 30, "1 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn errors_are_named_as_wit_names_them() {
        assert_eq!(code(&HttpError::HttpRequestDenied), "HTTP-request-denied");
        assert_eq!(
            code(&HttpError::DestinationIpProhibited),
            "destination-IP-prohibited"
        );
        assert_eq!(
            code(&HttpError::InternalError(Some("x".into()))),
            "internal-error"
        );
    }

    #[test]
    fn a_guests_error_blames_an_upstream_or_the_guest() {
        let dns = HttpError::DnsError {
            rcode: None,
            info_code: None,
        };
        for (code, upstream, inner_loop) in [
            (HttpError::DnsTimeout, true, false),
            (dns, true, false),
            (HttpError::ConnectionRefused, true, false),
            (HttpError::DestinationUnavailable, true, false),
            (HttpError::TlsCertificateError, true, false),
            (HttpError::HttpResponseTimeout, true, false),
            (HttpError::HttpResponseBodySize(None), true, false),
            (HttpError::HttpProtocolError, true, false),
            (HttpError::LoopDetected, false, true),
            (HttpError::HttpRequestDenied, false, false),
            (HttpError::ConfigurationError, false, false),
            (HttpError::InternalError(None), false, false),
        ] {
            let error = Error::Guest(code);
            let got = (error.blames_upstream(), error.is_loop());
            assert_eq!(got, (upstream, inner_loop), "{error}");
        }
    }
}
