//! The one place where an error becomes a status.
//!
//! What a client reads here says nothing about the inside: no path, no name, no version, no cause. It has the request's
//! id, by which whoever reads the log finds the rest. [`refuse_showing`] is for a developer who is his own client.

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode, Version};
use runner_host::{Body, Error, Refused, RequestId};

use crate::refusal::Refusal;

/// Long enough for a queue of short requests to empty, short enough for somebody who waits.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What `TRACE` is answered with: the methods that a guest may be called with.
const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What a cause is, whatever a browser would make of it.
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What a client is told about a request that failed inside.
pub fn refuse(refused: &Refused<'_>) -> Response<Body> {
    let status = status(refused.error);
    answer(status, text(status, refused.request_id))
}

/// The same with a cause behind it, for `--dev-errors`. The cause is shown as it is: it must have been escaped.
pub fn refuse_showing(refused: &Refused<'_>, cause: &str) -> Response<Body> {
    let status = status(refused.error);
    let text = text(status, refused.request_id);
    let mut response = answer(status, format!("{text}\n{cause}"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, PLAIN);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a client is told about a request that never reached the app. HTTP/1 closes after it: what follows such a
/// head on the wire may not be what it seems.
pub(crate) fn refuse_target(
    refusal: Refusal,
    version: Version,
    request_id: RequestId,
) -> Response<Body> {
    let status = match refusal {
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
        | Refusal::Body
        | Refusal::Malformed
        | Refusal::Http2 => StatusCode::BAD_REQUEST,
        Refusal::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        Refusal::LargeHead | Refusal::ManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::LongTarget => StatusCode::URI_TOO_LONG,
        Refusal::Expectation => StatusCode::EXPECTATION_FAILED,
        Refusal::SlowHead | Refusal::SlowBody => StatusCode::REQUEST_TIMEOUT,
    };
    let mut response = plain(status, request_id);
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

/// A status, and the request's id: all that a client is told of an error that is ours.
pub(crate) fn plain(status: StatusCode, request_id: RequestId) -> Response<Body> {
    answer(status, text(status, request_id))
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::BadPath(_) => StatusCode::BAD_REQUEST,
        Error::NoRoute => StatusCode::NOT_FOUND,
        Error::Cpu(_)
        | Error::RequestTimeout(_)
        | Error::ResponseTimeout(_)
        | Error::AfterResponse(_) => StatusCode::GATEWAY_TIMEOUT,
        Error::RequestBody(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Capacity(_)
        | Error::Instances
        | Error::SharedMemory { .. }
        | Error::GaveUp(_)
        | Error::Overloaded
        | Error::NotLoaded => StatusCode::SERVICE_UNAVAILABLE,
        Error::Loop(_) | Error::Calls(_) => StatusCode::LOOP_DETECTED,
        Error::Guest(_) if error.is_loop() => StatusCode::LOOP_DETECTED,
        Error::NotHttp(_) => StatusCode::BAD_GATEWAY,
        Error::Guest(_) if error.blames_upstream() => StatusCode::BAD_GATEWAY,
        Error::Guest(_)
        | Error::NoResponse
        | Error::Unfinished
        | Error::Memory { .. }
        | Error::StackOverflow
        | Error::Handles(_)
        | Error::HostcallFuel(_)
        | Error::HeaderSize(_)
        | Error::Exit(_)
        | Error::ResponseBody(_)
        | Error::Trap(_)
        | Error::Instantiate(_)
        | Error::Engine(_)
        | Error::Cache(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn text(status: StatusCode, request_id: RequestId) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("{reason}\nrequest id: {request_id}\n")
}

fn answer(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
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
    async fn d59_errors_become_statuses_and_say_the_requests_id_and_nothing_more() {
        let bad_path = NormalPath::parse("/secret/%00").unwrap_err();
        let secret = || "/srv/app/secret.wasm: main.rs:7".to_string();
        for (error, expected) in [
            (
                Error::BadPath(bad_path),
                "400\nBad Request\nrequest id: ID\n",
            ),
            (Error::NoRoute, "404\nNot Found\nrequest id: ID\n"),
            (
                Error::RequestTimeout(Duration::from_secs(7)),
                "504\nGateway Timeout\nrequest id: ID\n",
            ),
            (
                Error::Cpu(Duration::from_secs(7)),
                "504\nGateway Timeout\nrequest id: ID\n",
            ),
            (
                Error::Instances,
                "503\nretry-after: 1\nService Unavailable\nrequest id: ID\n",
            ),
            (
                Error::Memory {
                    limit: 7,
                    what: secret(),
                },
                "500\nInternal Server Error\nrequest id: ID\n",
            ),
            (
                Error::NotHttp(secret()),
                "502\nBad Gateway\nrequest id: ID\n",
            ),
            (
                Error::Capacity(7),
                "503\nretry-after: 1\nService Unavailable\nrequest id: ID\n",
            ),
            (
                Error::GaveUp(7),
                "503\nretry-after: 1\nService Unavailable\nrequest id: ID\n",
            ),
            (
                Error::Overloaded,
                "503\nretry-after: 1\nService Unavailable\nrequest id: ID\n",
            ),
            (
                Error::NotLoaded,
                "503\nretry-after: 1\nService Unavailable\nrequest id: ID\n",
            ),
            (
                Error::RequestBody(7),
                "413\nPayload Too Large\nrequest id: ID\n",
            ),
            (
                Error::ResponseBody(7),
                "500\nInternal Server Error\nrequest id: ID\n",
            ),
            (Error::Loop(7), "508\nLoop Detected\nrequest id: ID\n"),
            (Error::Calls(7), "508\nLoop Detected\nrequest id: ID\n"),
            (
                Error::NoResponse,
                "500\nInternal Server Error\nrequest id: ID\n",
            ),
            (
                Error::Trap(secret()),
                "500\nInternal Server Error\nrequest id: ID\n",
            ),
            (
                Error::Instantiate(secret()),
                "500\nInternal Server Error\nrequest id: ID\n",
            ),
            (
                Error::Engine(secret()),
                "500\nInternal Server Error\nrequest id: ID\n",
            ),
        ] {
            let component = "shop".parse().unwrap();
            let request_id = RequestId::next();
            let refused = Refused {
                request_id,
                component: Some(&component),
                error: &error,
            };
            let expected = expected.replace("ID", &request_id.to_string());
            assert_eq!(shown(refuse(&refused)).await, expected, "{error}");
        }
    }

    #[tokio::test]
    async fn a_cause_is_plain_text_behind_what_everybody_is_told() {
        let (request_id, error) = (RequestId::next(), Error::Capacity(7));
        let refused = Refused {
            request_id,
            component: None,
            error: &error,
        };
        let expected = format!(
            "503\nretry-after: 1\ncontent-type: text/plain; charset=utf-8\nx-content-type-options: nosniff\n\
             Service Unavailable\nrequest id: {request_id}\n\n<b>why</b>\n"
        );
        let response = refuse_showing(&refused, "<b>why</b>\n");
        assert_eq!(shown(response).await, expected);
    }

    #[tokio::test]
    async fn refused_targets_become_statuses() {
        for (refusal, version, expected) in [
            (
                Refusal::Host,
                Version::HTTP_11,
                "400\nconnection: close\nBad Request\nrequest id: ID\n",
            ),
            (
                Refusal::Host,
                Version::HTTP_10,
                "400\nconnection: close\nBad Request\nrequest id: ID\n",
            ),
            (
                Refusal::Host,
                Version::HTTP_2,
                "400\nBad Request\nrequest id: ID\n",
            ),
            (
                Refusal::Connect,
                Version::HTTP_11,
                "501\nconnection: close\nNot Implemented\nrequest id: ID\n",
            ),
            (
                Refusal::LongMethod,
                Version::HTTP_2,
                "501\nNot Implemented\nrequest id: ID\n",
            ),
            (
                Refusal::Trace,
                Version::HTTP_2,
                "405\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\nMethod Not Allowed\nrequest id: ID\n",
            ),
        ] {
            let request_id = RequestId::next();
            let shown = shown(refuse_target(refusal, version, request_id)).await;
            let expected = expected.replace("ID", &request_id.to_string());
            assert_eq!(shown, expected, "{refusal:?}");
        }
    }
}
