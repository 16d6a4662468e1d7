//! One call out, from its beginning to its end.

use std::sync::Arc;
use std::time::Instant;

use http::Method;
use runner_manifest::Destination;
use runner_outbound::Grants;
use wasmtime_wasi_http::Error as HttpError;

use crate::app::App;
use crate::event::{CallOutcome, Called, Event, RequestId};
use crate::trace::Trace;

/// What a call is said to have ended with that its guest let go of before there was a response.
const ABANDONED: &str = "abandoned";
/// An error that has no name here.
const OTHER: &str = "other";

/// A call that has begun. Whoever drops it ends it, and it is told.
pub(crate) struct Ongoing {
    pub(crate) app: Arc<App>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) request_id: RequestId,
    pub(crate) method: Method,
    pub(crate) to: Option<Destination>,
    /// The rule that allowed it, by its place in the list.
    pub(crate) rule: Option<usize>,
    pub(crate) started: Instant,
    pub(crate) trace: Trace,
    pub(crate) outcome: CallOutcome,
}

impl Ongoing {
    /// What is told of a call of which nothing more is heard.
    pub(crate) const UNHEARD: CallOutcome = CallOutcome::Error(ABANDONED);

    pub(crate) fn answered(&mut self, status: http::StatusCode) {
        self.outcome = CallOutcome::Status(status.as_u16());
    }

    pub(crate) fn failed(&mut self, error: &HttpError) {
        self.outcome = CallOutcome::of(error);
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let rules = self.grants.allow.rules();
        (self.app.events())(Event::Call(Called {
            component: &self.grants.component,
            generation: self.grants.generation,
            request_id: self.request_id,
            method: &self.method,
            to: self.to.as_ref(),
            rule: self.rule.and_then(|at| rules.get(at)),
            outcome: self.outcome,
            started: self.started,
            duration: self.started.elapsed(),
            trace: &self.trace,
        }));
    }
}

impl CallOutcome {
    /// Every name that an error has here: those of `wasi:http`, where it has one.
    pub const ERRORS: [&str; 20] = [
        ABANDONED,
        OTHER,
        "DNS-error",
        "DNS-timeout",
        "HTTP-protocol-error",
        "HTTP-request-URI-invalid",
        "HTTP-response-header-section-size",
        "HTTP-response-incomplete",
        "HTTP-response-timeout",
        "HTTP-upgrade-failed",
        "TLS-alert-received",
        "TLS-certificate-error",
        "TLS-protocol-error",
        "configuration-error",
        "connection-limit-reached",
        "connection-read-timeout",
        "connection-refused",
        "connection-terminated",
        "connection-timeout",
        "internal-error",
    ];

    fn of(error: &HttpError) -> CallOutcome {
        if matches!(error, HttpError::HttpRequestDenied) {
            return CallOutcome::Denied;
        }
        let name = crate::error::code(error);
        let known = CallOutcome::ERRORS.iter().find(|known| **known == name);
        CallOutcome::Error(known.copied().unwrap_or(OTHER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_one_of_few_names() {
        let dns = HttpError::DnsError {
            rcode: Some("3".into()),
            info_code: None,
        };
        for (error, name) in [
            (dns, "DNS-error"),
            (HttpError::ConnectionRefused, "connection-refused"),
            (HttpError::HttpRequestUriInvalid, "HTTP-request-URI-invalid"),
            (
                HttpError::HttpResponseHeaderSectionSize(None),
                "HTTP-response-header-section-size",
            ),
            (HttpError::InternalError(Some("x".into())), "internal-error"),
            (HttpError::HttpResponseBodySize(None), OTHER),
        ] {
            assert_eq!(CallOutcome::of(&error), CallOutcome::Error(name));
            assert!(CallOutcome::ERRORS.contains(&name));
        }
        let denied = CallOutcome::of(&HttpError::HttpRequestDenied);
        assert_eq!(denied, CallOutcome::Denied);
    }
}
