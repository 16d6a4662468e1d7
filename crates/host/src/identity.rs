//! Who asked, and for what, as the guest is told: the `spin-*` request headers, and nothing a client made up.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{HOST, HeaderName, HeaderValue};
use runner_manifest::{Match, NormalPath};

use crate::{Client, Forwarded};

/// Headers by which a proxy in front would tell who asked, beside `x-forwarded…`.
const OF_PROXIES: [&str; 3] = ["forwarded", "x-real-ip", "x-client-ip"];

/// What of all that a trusted proxy is believed, in this spelling alone.
const OF_TRUSTED_PROXIES: [&str; 5] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Headers about one connection, which no guest is concerned with.
const OF_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "te",
    "proxy-authorization",
];

/// Headers by which requests are told to belong together. From outside they are a client's word, as its body is; inside,
/// where a callee may believe its caller's host, no component speaks for it.
const OF_TRACES: [&str; 2] = ["traceparent", "tracestate"];

/// Removes what a caller inside the app may not say, beside what [`strip`] removes.
pub(crate) fn strip_inside(headers: &mut HeaderMap) {
    remove(headers, |name| OF_TRACES.contains(&&*with_dashes(name)));
}

/// Removes what only the host may say, in every spelling a guest might read as the same name.
pub(crate) fn strip(headers: &mut HeaderMap, forwarded: Forwarded) {
    let named: Vec<HeaderName> = headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named.iter().for_each(|name| drop(headers.remove(name)));
    remove(headers, |name| {
        let believed = forwarded == Forwarded::Believed && OF_TRUSTED_PROXIES.contains(&name);
        !believed && is_ours(name)
    });
}

fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| unwanted(name.as_str()))
        .cloned()
        .collect();
    names.iter().for_each(|name| drop(headers.remove(name)));
}

fn is_ours(name: &str) -> bool {
    let name = with_dashes(name);
    name.starts_with("spin-")
        || name.starts_with("x-forwarded")
        || OF_PROXIES.contains(&&*name)
        || OF_CONNECTION.contains(&&*name)
}

/// As a guest might read it that takes both for the same.
fn with_dashes(name: &str) -> Cow<'_, str> {
    match name.contains('_') {
        true => name.replace('_', "-").into(),
        false => name.into(),
    }
}

/// The route by which a request came, as its component is told of it.
pub(crate) struct Seen<'a> {
    base: &'a str,
    matched_route: &'a str,
    raw_component_route: &'a str,
    component_route: &'a str,
    path_info: &'a str,
    params: &'a [(&'a str, String)],
}

impl<'a> Seen<'a> {
    /// By a route of the manifest.
    pub(crate) fn route(found: &'a Match<'a>) -> Seen<'a> {
        Seen {
            base: found.base,
            matched_route: found.matched_route,
            raw_component_route: found.raw_component_route,
            component_route: found.component_route,
            path_info: &found.path_info,
            params: &found.params,
        }
    }

    /// By its name, from inside the app: as if it had all paths to itself.
    pub(crate) fn name(path: &'a NormalPath) -> Seen<'a> {
        let whole = "/...";
        Seen {
            base: "/",
            matched_route: whole,
            raw_component_route: whole,
            component_route: "/",
            path_info: path.as_str(),
            params: &[],
        }
    }
}

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// Adds the headers that Spin's HTTP trigger adds.
pub(crate) fn add(
    headers: &mut HeaderMap,
    query: &str,
    path: &NormalPath,
    seen: &Seen<'_>,
    client: &Client,
) {
    let full_url = format!(
        "{}://{}{}{query}",
        client.scheme,
        client.authority,
        path.as_str()
    );
    let address = client
        .address
        .map_or_else(|| "0.0.0.0:0".to_owned(), |address| address.to_string());
    let mut set = |name: HeaderName, value: &str| {
        // A path is ASCII once normalised; a value that is still no header value has no business in one.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(PATH_INFO, seen.path_info);
    set(FULL_URL, &full_url);
    set(MATCHED_ROUTE, seen.matched_route);
    set(BASE_PATH, seen.base);
    set(RAW_COMPONENT_ROUTE, seen.raw_component_route);
    set(COMPONENT_ROUTE, seen.component_route);
    set(CLIENT_ADDR, &address);
    for (name, value) in seen.params {
        if let Ok(name) = HeaderName::try_from(format!("spin-path-match-{name}")) {
            set(name, value);
        }
    }
    if let Ok(host) = HeaderValue::try_from(&client.authority) {
        headers.insert(HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(names: &[(&str, &str)]) -> Vec<String> {
        stripped_of(names, Forwarded::Removed)
    }

    fn stripped_of(names: &[(&str, &str)], forwarded: Forwarded) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in names {
            headers.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::try_from(*value).unwrap(),
            );
        }
        strip(&mut headers, forwarded);
        headers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn d33_d34_a_client_says_nothing_that_the_host_says() {
        let mine = [("accept", "*/*"), ("x-request-id", "7"), ("spinach", "yes")];
        assert_eq!(stripped(&mine), ["accept", "x-request-id", "spinach"]);
        for claimed in [
            "spin-client-addr",
            "SPIN_CLIENT_ADDR",
            "Spin-Full_Url",
            "spin-path-match-id",
            "x-forwarded-for",
            "X_Forwarded_For",
            "forwarded",
            "x-real-ip",
            "X-Forwarded",
            "x-forwarded-ssl",
            "upgrade",
            "http2-settings",
        ] {
            assert_eq!(
                stripped(&[(claimed, "6.6.6.6"), (claimed, "7.7.7.7")]),
                [""; 0],
                "{claimed}"
            );
        }
    }

    #[test]
    fn d34_a_trusted_proxy_says_five_things_in_their_own_spelling() {
        for (name, kept) in [
            ("forwarded", true),
            ("X-Forwarded-For", true),
            ("x-forwarded-host", true),
            ("x-forwarded-proto", true),
            ("x-real-ip", true),
            ("x_forwarded_for", false),
            ("x-forwarded-port", false),
            ("x-forwarded-user", false),
            ("x-client-ip", false),
            ("spin-client-addr", false),
        ] {
            let left = stripped_of(&[(name, "6.6.6.6")], Forwarded::Believed);
            assert_eq!(left.len(), usize::from(kept), "{name}");
        }
    }

    #[test]
    fn c55_a_caller_inside_says_nothing_of_traces() {
        let mut headers = HeaderMap::new();
        for name in ["traceparent", "TraceState", "x-trace"] {
            headers.insert(
                HeaderName::try_from(name).unwrap(),
                HOST.as_str().parse().unwrap(),
            );
        }
        strip_inside(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-trace"]);
    }

    #[test]
    fn d43_what_connection_names_goes_with_it() {
        assert_eq!(
            stripped(&[
                ("connection", "x-hop, keep-alive"),
                ("x-hop", "1"),
                ("x-stay", "2")
            ]),
            ["x-stay"]
        );
    }
}
