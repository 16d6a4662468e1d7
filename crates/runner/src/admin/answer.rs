//! What an operator may ask, and who may ask it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;

use super::State;
use crate::metrics::Gauges;

/// The text format that every Prometheus and every agent reads.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Which hosts a request may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Loopback only. A web page can make its own name lead to 127.0.0.1, and its visitor's browser then asks us in that
    /// page's name; the `Host` still is that name.
    Loopback,
    Any,
}

type Answer = Response<Full<Bytes>>;

/// What can be asked.
enum Page {
    Health,
    Readiness,
    Metrics,
}

pub(super) async fn answer<B>(request: Request<B>, state: &Arc<State>) -> Answer {
    match page(&request, state.hosts) {
        Ok(Page::Health) => whole(StatusCode::OK, PLAIN, "ok\n"),
        Ok(Page::Readiness) => match state.readiness() {
            Ok(text) => whole(StatusCode::OK, PLAIN, text),
            Err(text) => whole(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text),
        },
        Ok(Page::Metrics) => metrics(state).await,
        Err(status) => refused(status),
    }
}

/// Which page is asked for, or why none is given.
fn page<B>(request: &Request<B>, hosts: Hosts) -> Result<Page, StatusCode> {
    check_host(request, hosts)?;
    let page = match request.uri().path() {
        "/healthz" => Page::Health,
        "/readyz" => Page::Readiness,
        "/metrics" => Page::Metrics,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    match *request.method() {
        Method::GET | Method::HEAD => Ok(page),
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn check_host<B>(request: &Request<B>, hosts: Hosts) -> Result<(), StatusCode> {
    if hosts == Hosts::Any {
        return Ok(());
    }
    let named = named(request.headers(), request.uri(), request.version())?;
    match named.iter().all(is_loopback) {
        true => Ok(()),
        false => Err(StatusCode::FORBIDDEN),
    }
}

/// The hosts that a request names: in its field, and in its target. HTTP/1.0 may name none, and browsers never do that.
fn named(headers: &HeaderMap, uri: &Uri, version: Version) -> Result<Vec<Authority>, StatusCode> {
    let fields: Vec<_> = headers.get_all(HOST).iter().collect();
    let enough = version <= Version::HTTP_10 || !fields.is_empty();
    if fields.len() > 1 || !enough {
        return Err(StatusCode::BAD_REQUEST);
    }
    let field = fields.first().map(|field| field.as_bytes().try_into());
    let field = field.transpose().map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(field.into_iter().chain(uri.authority().cloned()).collect())
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    match address {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// On a thread of its own: ten thousand components are megabytes of text.
async fn metrics(state: &Arc<State>) -> Answer {
    let _only = state.scraping.lock().await;
    let gauges = state.ask(Gauges::of).unwrap_or_default();
    let metrics = state.metrics.clone();
    match tokio::task::spawn_blocking(move || metrics.render(&gauges)).await {
        Ok(text) => whole(StatusCode::OK, PROMETHEUS, text),
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn refused(status: StatusCode) -> Answer {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut answer = whole(status, PLAIN, format!("{reason}\n"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let headers = answer.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

fn whole(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, media_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, target: &str, hosts: &[&str], version: Version) -> u16 {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let request = request.body(()).expect("a request");
        page(&request, Hosts::Loopback).map_or_else(|status| status.as_u16(), |_| 200)
    }

    #[test]
    fn d60_who_names_another_host_than_loopback_is_refused() {
        for (hosts, status) in [
            (&["127.0.0.1:9090"][..], 200),
            (&["127.0.0.1"], 200),
            (&["127.1.2.3"], 200),
            (&["localhost"], 200),
            (&["LocalHost:9090"], 200),
            (&["[::1]:9090"], 200),
            (&["[::ffff:127.0.0.1]"], 200),
            (&["evil.test"], 403),
            (&["evil.test:9090"], 403),
            (&["localhost.evil.test"], 403),
            (&["localhost."], 403),
            (&["127.0.0.1.evil.test"], 403),
            (&["127.0.0.1@evil.test"], 403),
            (&["10.0.0.1"], 403),
            (&["0.0.0.0"], 403),
            (&["2130706433"], 403),
            (&["[::]"], 403),
            (&[""], 400),
            (&["a b"], 400),
            (&["localhost", "evil.test"], 400),
            (&["localhost", "localhost"], 400),
            (&[], 400),
        ] {
            let found = asked("GET", "/metrics", hosts, Version::HTTP_11);
            assert_eq!(found, status, "{hosts:?}");
        }
        let old = |hosts| asked("GET", "/healthz", hosts, Version::HTTP_10);
        assert_eq!((old(&[]), old(&["evil.test"])), (200, 403));
        let whole = |target| asked("GET", target, &["localhost"], Version::HTTP_11);
        let found = [
            whole("http://localhost/metrics"),
            whole("http://evil.test/metrics"),
        ];
        assert_eq!(found, [200, 403]);
    }

    #[test]
    fn d60_three_pages_are_read_and_nothing_else_is_there() {
        for (method, target, status) in [
            ("GET", "/healthz", 200),
            ("HEAD", "/healthz", 200),
            ("GET", "/readyz", 200),
            ("GET", "/metrics?name=x", 200),
            ("POST", "/metrics", 405),
            ("DELETE", "/healthz", 405),
            ("OPTIONS", "/readyz", 405),
            ("GET", "/", 404),
            ("GET", "/metrics/", 404),
            ("GET", "//metrics", 404),
            ("GET", "/Metrics", 404),
            ("GET", "/a/../metrics", 404),
            ("GET", "/debug", 404),
            ("POST", "/debug", 404),
            ("OPTIONS", "*", 404),
        ] {
            let found = asked(method, target, &["localhost"], Version::HTTP_11);
            assert_eq!(found, status, "{method} {target}");
        }
    }
}
