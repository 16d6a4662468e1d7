//! What can go wrong with one request. The trigger, and only the trigger, makes a status of it.

use wasmtime_wasi_http::Error as HttpError;

use crate::CacheError;

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
    Timeout(std::time::Duration),
    /// The guest computed for as long as its `request_timeout` after its response had begun.
    #[error("computed for {0:?} after its response had begun")]
    Overran(std::time::Duration),
    /// The guest returned without a response.
    #[error("returned without a response")]
    NoResponse,
    /// The guest trapped or exited.
    #[error("{0}")]
    Trap(String),
    /// An instance could not be made.
    #[error("could not be instantiated: {0}")]
    Instantiate(String),
    /// As many requests are being served as may be, and as many wait.
    #[error("all {0} instances are in use")]
    Capacity(u32),
    /// More is asked of the process than it can do.
    #[error("the server has more requests than it can serve")]
    Overloaded,
    /// The guest waited for a slow client, and its place was needed.
    #[error("gave up its place: its client was slow while all {0} instances were in use")]
    GaveUp(u32),
    /// Components of the app called one another too deeply.
    #[error("calls inside the app are nested more than {0} deep")]
    Loop(u8),
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
    /// Whether calls inside the app were nested too deeply, here or where the guest passes it on from.
    pub fn is_loop(&self) -> bool {
        matches!(self, Error::Loop(_) | Error::Guest(HttpError::LoopDetected))
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
