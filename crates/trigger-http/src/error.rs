//! The one place where an error becomes a status.
//!
//! What a client reads here says nothing about the inside: no path, no name, no version, no cause.

use http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Version};
use runner_host::{Body, Error};

use crate::refusal::Refusal;

/// Long enough for a queue of short requests to empty, short enough for somebody who waits.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What `TRACE` is answered with: the methods that a guest may be called with.
const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What a client is told about a request that failed inside.
pub fn refuse(error: &Error) -> Response<Body> {
    let status = match error {
        Error::BadPath(_) => StatusCode::BAD_REQUEST,
        Error::NoRoute => StatusCode::NOT_FOUND,
        Error::Timeout(_) | Error::Overran(_) => StatusCode::GATEWAY_TIMEOUT,
        Error::Capacity(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Loop(_) => StatusCode::LOOP_DETECTED,
        Error::Guest(_) if error.is_loop() => StatusCode::LOOP_DETECTED,
        Error::NotHttp(_) => StatusCode::BAD_GATEWAY,
        Error::Guest(_) if error.blames_upstream() => StatusCode::BAD_GATEWAY,
        Error::Guest(_)
        | Error::NoResponse
        | Error::Trap(_)
        | Error::Instantiate(_)
        | Error::Engine(_)
        | Error::Cache(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = plain(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

/// What a client is told about a request that never reached the app. HTTP/1 closes after it: what follows such a
/// head on the wire may not be what it seems.
pub(crate) fn refuse_target(refusal: Refusal, version: Version) -> Response<Body> {
    let mut response = plain(match refusal {
        Refusal::Connect | Refusal::LongMethod => StatusCode::NOT_IMPLEMENTED,
        Refusal::Trace => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::Method
        | Refusal::Form
        | Refusal::NoHost
        | Refusal::Hosts
        | Refusal::Host
        | Refusal::Mismatch
        | Refusal::Scheme
        | Refusal::NotHttp
        | Refusal::ContentLength
        | Refusal::TransferEncoding
        | Refusal::Body => StatusCode::BAD_REQUEST,
        Refusal::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        Refusal::LargeHead | Refusal::ManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::LongTarget => StatusCode::URI_TOO_LONG,
        Refusal::Expectation => StatusCode::EXPECTATION_FAILED,
        Refusal::SlowHead | Refusal::SlowBody => StatusCode::REQUEST_TIMEOUT,
    });
    if refusal == Refusal::Trace {
        response.headers_mut().insert(ALLOW, METHODS);
    }
    if version < Version::HTTP_2 {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let text = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use runner_manifest::NormalPath;
    use std::time::Duration;

    /// The whole response but its version, which is hyper's: status, headers, body.
    async fn shown(response: Response<Body>) -> String {
        let (head, body) = response.into_parts();
        let mut text = format!("{}\n", head.status.as_u16());
        for (name, value) in &head.headers {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let body = body
            .collect()
            .await
            .map_err(|error| error.to_string())
            .unwrap()
            .to_bytes();
        text + std::str::from_utf8(&body).unwrap()
    }

    #[tokio::test]
    async fn errors_become_statuses_and_say_nothing_more() {
        let bad_path = NormalPath::parse("/secret/%00").unwrap_err();
        let secret = || "/srv/app/secret.wasm: main.rs:7".to_string();
        for (error, expected) in [
            (Error::BadPath(bad_path), "400\nBad Request"),
            (Error::NoRoute, "404\nNot Found"),
            (
                Error::Timeout(Duration::from_secs(7)),
                "504\nGateway Timeout",
            ),
            (
                Error::Capacity(7),
                "503\nretry-after: 1\nService Unavailable",
            ),
            (Error::Loop(7), "508\nLoop Detected"),
            (Error::NoResponse, "500\nInternal Server Error"),
            (Error::Trap(secret()), "500\nInternal Server Error"),
            (Error::Instantiate(secret()), "500\nInternal Server Error"),
            (Error::Engine(secret()), "500\nInternal Server Error"),
        ] {
            assert_eq!(shown(refuse(&error)).await, expected, "{error}");
        }
    }

    #[tokio::test]
    async fn refused_targets_become_statuses() {
        for (refusal, version, expected) in [
            (
                Refusal::Host,
                Version::HTTP_11,
                "400\nconnection: close\nBad Request",
            ),
            (
                Refusal::Host,
                Version::HTTP_10,
                "400\nconnection: close\nBad Request",
            ),
            (Refusal::Host, Version::HTTP_2, "400\nBad Request"),
            (
                Refusal::Connect,
                Version::HTTP_11,
                "501\nconnection: close\nNot Implemented",
            ),
            (Refusal::LongMethod, Version::HTTP_2, "501\nNot Implemented"),
            (
                Refusal::Trace,
                Version::HTTP_2,
                "405\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\nMethod Not Allowed",
            ),
        ] {
            assert_eq!(
                shown(refuse_target(refusal, version)).await,
                expected,
                "{refusal:?}"
            );
        }
    }
}
