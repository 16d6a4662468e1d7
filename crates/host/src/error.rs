//! What can go wrong with one request. The trigger, and only the trigger, makes a status of it.

use wasmtime_wasi_http::Error as HttpError;

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
    /// The guest returned without a response.
    #[error("returned without a response")]
    NoResponse,
    /// The guest trapped or exited.
    #[error("{0}")]
    Trap(String),
    /// An instance could not be made.
    #[error("could not be instantiated: {0}")]
    Instantiate(String),
    /// All instances are in use.
    #[error("all {0} instances are in use")]
    Capacity(u32),
    /// Components of the app called one another too deeply.
    #[error("calls inside the app are nested more than {0} deep")]
    Loop(u8),
    /// The guest gave an error instead of a response, `wasi:http/types.error-code`.
    #[error("answered with the error `{}`", code(.0))]
    Guest(HttpError),
    /// The engine could not be made or a cache directory cannot be used.
    #[error("{0}")]
    Engine(String),
}

impl Error {
    /// Whether the guest passed on that an inner call was nested too deeply.
    pub fn is_loop(&self) -> bool {
        matches!(self, Error::Loop(_) | Error::Guest(HttpError::LoopDetected))
    }
}

/// The name of an error as WIT writes it, for the log.
pub(crate) fn code(error: &HttpError) -> String {
    let debug = format!("{error:?}");
    let name = debug.split(['(', ' ', '{']).next().unwrap_or_default();
    let mut words = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            words.push('-');
        }
        words.push(c);
    }
    words
        .replace("Http-", "HTTP-")
        .replace("Dns", "DNS")
        .replace("-Ip-", "-IP-")
        .replace("Tls-", "TLS-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_named_as_wit_names_them() {
        assert_eq!(code(&HttpError::HttpRequestDenied), "HTTP-Request-Denied");
        assert_eq!(
            code(&HttpError::InternalError(Some("x".into()))),
            "Internal-Error"
        );
    }
}
