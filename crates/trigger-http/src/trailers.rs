//! Which fields of a request's trailers a guest may see.
//!
//! A trailer comes when everything has been decided by the head: who asks, for what, how long it is. A field that a
//! guest, or somebody it passes the request on to, could take for one of the head is dropped (RFC 9110, 6.5.1). What
//! is left says something about the body: a checksum, a signature, a status.

use http::{HeaderMap, HeaderName};

use crate::limits::Limits;

/// Fields that decide: framing, routing, who asks, how the body is read, and under what conditions.
const NEVER: [&str; 55] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cdn-loop",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "cookie2",
    "date",
    "expect",
    "expires",
    "forwarded",
    "from",
    "front-end-https",
    "host",
    "http2-settings",
    "keep-alive",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "soapaction",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Families of them.
const NEVER_BEGINNING_WITH: [&str; 7] = [
    "access-control-",
    "if-",
    "proxy-",
    "sec-",
    "spin-",
    "x-forwarded-",
    "x-real-",
];

/// Drops what a guest may not see. An underscore counts as a dash: gateways make one name of both.
pub(crate) fn keep_allowed(trailers: &mut HeaderMap) {
    let dropped: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !is_allowed(name.as_str()))
        .cloned()
        .collect();
    for name in dropped {
        trailers.remove(name);
    }
}

/// Whether there are no more fields and bytes of them than a trailer section may have.
pub(crate) fn fit(trailers: &HeaderMap, limits: &Limits) -> bool {
    let bytes: usize = trailers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    trailers.len() <= limits.fields && bytes <= limits.trailer_bytes
}

fn is_allowed(name: &str) -> bool {
    let name = name.replace('_', "-");
    !NEVER.contains(&name.as_str())
        && !NEVER_BEGINNING_WITH
            .iter()
            .any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d13_what_decides_about_a_request_is_no_trailer() {
        for (name, allowed) in [
            ("host", false),
            ("content-length", false),
            ("transfer-encoding", false),
            ("trailer", false),
            ("te", false),
            ("connection", false),
            ("authorization", false),
            ("proxy-authorization", false),
            ("cookie", false),
            ("set-cookie", false),
            ("forwarded", false),
            ("x-forwarded-for", false),
            ("x_forwarded_for", false),
            ("x-forwarded-anything", false),
            ("x-real-ip", false),
            ("spin-client-addr", false),
            ("spin_client_addr", false),
            ("content-type", false),
            ("content-encoding", false),
            ("content-range", false),
            ("expect", false),
            ("range", false),
            ("if-none-match", false),
            ("cache-control", false),
            ("max-forwards", false),
            ("x-http-method-override", false),
            ("grpc-status", true),
            ("x-checksum", true),
            ("digest", true),
            ("content-digest", true),
            ("content-md5", true),
            ("server-timing", true),
            ("signature", true),
            ("iffy", true),
        ] {
            let mut trailers = HeaderMap::new();
            trailers.append(HeaderName::from_static(name), "1".parse().unwrap());
            trailers.append(HeaderName::from_static(name), "2".parse().unwrap());
            keep_allowed(&mut trailers);
            assert_eq!(trailers.len(), if allowed { 2 } else { 0 }, "{name}");
        }
    }

    #[test]
    fn d13_trailers_are_few_and_small() {
        let limits = Limits::default();
        for (count, size, fits) in [
            (100, 100, true),
            (101, 1, false),
            (1, 16 * 1024 - 1, true),
            (1, 16 * 1024, false),
            (100, 163, false),
        ] {
            let mut trailers = HeaderMap::new();
            for _ in 0..count {
                trailers.append("a", "x".repeat(size).parse().unwrap());
            }
            assert_eq!(fit(&trailers, &limits), fits, "{count} x {size}");
        }
    }
}
