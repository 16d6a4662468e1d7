//! What a client may ask for: the method, the form of the request target, and whom it thinks it is talking to.
//!
//! All of it is decided before the app sees the request, so that nobody behind this page meets a request without a
//! host, with two, or with a target that is not a path.

use std::net::{Ipv6Addr, SocketAddr};

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri, Version};

use crate::refusal::Refusal;

/// Longer than any registered method (`UPDATEREDIRECTREF` has 17 bytes); what is longer, nobody implements.
const MAX_METHOD: usize = 32;

/// A DNS name has at most 253 bytes; a port and the colon add six.
const MAX_AUTHORITY: usize = 253 + 6;

/// Who should answer a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `OPTIONS *` asks about the server as a whole.
    Server,
    /// Everything else is for the app.
    App {
        /// The host, with its port if the client gave one, exactly as it wrote it.
        authority: String,
    },
}

/// Decides who answers. `local` is where the request came in, which is all that an HTTP/1.0 client may have named.
pub(crate) fn check(head: &Parts, scheme: &str, local: SocketAddr) -> Result<Target, Refusal> {
    check_method(&head.method)?;
    let authority = authority(head, local)?;
    check_scheme(&head.uri, head.version, scheme)?;
    match form(&head.uri) {
        Some(Form::Path) => Ok(Target::App { authority }),
        Some(Form::Asterisk) if head.method == Method::OPTIONS => Ok(Target::Server),
        Some(Form::Asterisk) | None => Err(Refusal::Form),
    }
}

/// The target without the scheme and authority that a client may write in front of the path.
pub(crate) fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query;
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::CONNECT => Err(Refusal::Connect),
        Method::TRACE => Err(Refusal::Trace),
        _ if method.as_str().len() > MAX_METHOD => Err(Refusal::LongMethod),
        _ if method
            .as_str()
            .bytes()
            .any(|byte| byte.is_ascii_lowercase()) =>
        {
            Err(Refusal::Method)
        }
        _ => Ok(()),
    }
}

fn authority(head: &Parts, local: SocketAddr) -> Result<String, Refusal> {
    let named = head.uri.authority().map(|authority| authority.as_str());
    let authority = match (host_header(&head.headers)?, named) {
        (Some(host), Some(named)) if !host.eq_ignore_ascii_case(named) => {
            return Err(Refusal::Mismatch);
        }
        // HTTP/1 clients must send `Host` even with a URL as the target, so that old servers see the same host.
        (None, Some(_)) if head.version == Version::HTTP_11 => return Err(Refusal::NoHost),
        (Some(host), _) => host,
        (None, Some(named)) => named,
        (None, None) if head.version <= Version::HTTP_10 => return Ok(local.to_string()),
        (None, None) => return Err(Refusal::NoHost),
    };
    if is_authority(authority) {
        Ok(authority.to_owned())
    } else {
        Err(Refusal::Host)
    }
}

fn host_header(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        return Ok(None);
    };
    if hosts.next().is_some() {
        return Err(Refusal::Hosts);
    }
    host.to_str().map(Some).map_err(|_| Refusal::Host)
}

/// HTTP/1 clients write a scheme only to a proxy, so `http` may stand for the TLS that ends in front of us, and the
/// guest is told the listener's scheme in any case. HTTP/2 clients always write one, and know which.
fn check_scheme(uri: &Uri, version: Version, listener: &str) -> Result<(), Refusal> {
    match uri.scheme_str() {
        None => Ok(()),
        Some(scheme) if version >= Version::HTTP_2 && scheme != listener => Err(Refusal::Scheme),
        Some("http" | "https") => Ok(()),
        Some(_) => Err(Refusal::Scheme),
    }
}

enum Form {
    Path,
    Asterisk,
}

fn form(uri: &Uri) -> Option<Form> {
    match uri.path_and_query()?.as_str() {
        "*" => Some(Form::Asterisk),
        path if path.starts_with('/') => Some(Form::Path),
        _ => None,
    }
}

/// A host with or without a port. Stricter than RFC 3986: no user, no escapes, none of `!$&'()*+,;=`, which no DNS
/// name has and which log readers, caches and guests take apart in different ways.
fn is_authority(text: &str) -> bool {
    if text.len() > MAX_AUTHORITY {
        return false;
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return address.parse::<Ipv6Addr>().is_ok(),
        Some((address, rest)) if address.parse::<Ipv6Addr>().is_ok() => {
            ("v6", rest.strip_prefix(':'))
        }
        Some(_) => return false,
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, Some("0")),
        },
    };
    !host.is_empty() && host.bytes().all(is_name_byte) && port.is_some_and(is_port)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1:3000";

    /// As hyper hands over an HTTP/1 head; `None` when hyper refuses the target itself.
    fn http1(
        version: Version,
        method: &str,
        target: &str,
        hosts: &[&str],
    ) -> Option<Result<Target, Refusal>> {
        let mut head = http::Request::new(()).into_parts().0;
        head.version = version;
        head.method = Method::from_bytes(method.as_bytes()).ok()?;
        head.uri = target.parse().ok()?;
        for host in hosts {
            head.headers.append(HOST, host.parse().ok()?);
        }
        Some(check(&head, "http", LOCAL.parse().unwrap()))
    }

    fn app(authority: &str) -> Option<Result<Target, Refusal>> {
        Some(Ok(Target::App {
            authority: authority.to_owned(),
        }))
    }

    #[track_caller]
    fn asks(method: &str, target: &str, hosts: &[&str], expected: Option<Result<Target, Refusal>>) {
        let outcome = http1(Version::HTTP_11, method, target, hosts);
        assert_eq!(outcome, expected, "{method} {target} with {hosts:?}");
    }

    #[track_caller]
    fn refuses(method: &str, target: &str, hosts: &[&str], refusal: Refusal) {
        asks(method, target, hosts, Some(Err(refusal)));
    }

    #[test]
    fn d25_exactly_one_host_that_is_one() {
        refuses("GET", "/", &[], Refusal::NoHost);
        refuses("GET", "/", &["a", "b"], Refusal::Hosts);
        refuses("GET", "/", &["a", "a"], Refusal::Hosts);
        for host in [
            "",
            ":80",
            "a@b",
            "user:secret@b",
            "a/b?c",
            "a?b",
            "a#b",
            "a b",
            "a\tb",
            "a,b",
            "a%20b",
            "a\\b",
            "<a>",
            "a:99999",
            "a:65536",
            "a:",
            "a:+1",
            "a:-1",
            "a:b",
            "a:1:2",
            "a:080x",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::1]:99999",
            "[a]",
            "[]",
            "::1",
            "[fe80::1%eth0]",
            "http://a",
        ] {
            refuses("GET", "/", &[host], Refusal::Host);
        }
        refuses("GET", "/", &[&"a".repeat(260)], Refusal::Host);
        for host in [
            "a",
            "A.Example.COM",
            "example.com.",
            "a:80",
            "a:0",
            "a:65535",
            "my_service:8080",
            "127.0.0.1:3000",
            "[::1]",
            "[::1]:3000",
        ] {
            asks("GET", "/", &[host], app(host));
        }
    }

    #[test]
    fn d25_only_http10_may_name_no_host() {
        assert_eq!(http1(Version::HTTP_10, "GET", "/", &[]), app(LOCAL));
        assert_eq!(http1(Version::HTTP_10, "GET", "/", &["a"]), app("a"));
        assert_eq!(
            http1(Version::HTTP_10, "GET", "/", &["a@b"]),
            Some(Err(Refusal::Host))
        );
    }

    #[test]
    fn d26_a_url_as_target_names_the_same_host() {
        asks("GET", "http://a/x", &["a"], app("a"));
        asks("GET", "http://A/x", &["a"], app("a"));
        asks("GET", "http://a", &["a"], app("a"));
        asks("GET", "https://a:8443/x", &["a:8443"], app("a:8443"));
        refuses("GET", "http://b/x", &["a"], Refusal::Mismatch);
        refuses("GET", "http://a:80/x", &["a"], Refusal::Mismatch);
        refuses("GET", "http://u@a/x", &["a"], Refusal::Mismatch);
        refuses("GET", "http://u@a/x", &["u@a"], Refusal::Host);
        refuses("GET", "http://a/x", &[], Refusal::NoHost);
        refuses("GET", "ftp://a/x", &["a"], Refusal::Scheme);
        refuses("GET", "http://a?x", &["a"], Refusal::Form);
    }

    #[test]
    fn d27_the_target_is_a_path() {
        asks("OPTIONS", "*", &["a"], Some(Ok(Target::Server)));
        asks("OPTIONS", "/x", &["a"], app("a"));
        asks("GET", "/*", &["a"], app("a"));
        asks("GET", "//x", &["a"], app("a"));
        refuses("OPTIONS", "*", &[], Refusal::NoHost);
        refuses("GET", "*", &["a"], Refusal::Form);
        refuses("GET", "foo", &["foo"], Refusal::Form);
        refuses("GET", "foo", &["a"], Refusal::Mismatch);
        refuses("GET", "foo:80", &["foo:80"], Refusal::Form);
        asks("GET", "", &["a"], None);
        asks("GET", "?x", &["a"], None);
        asks("GET", "*x", &["a"], Some(Err(Refusal::Mismatch)));
    }

    #[test]
    fn d28_there_are_no_tunnels() {
        refuses("CONNECT", "a:443", &["a:443"], Refusal::Connect);
        refuses("CONNECT", "/", &["a"], Refusal::Connect);
        refuses("CONNECT", "a:443", &[], Refusal::Connect);
    }

    #[test]
    fn d32_methods_are_short_and_in_capitals() {
        for method in ["GET", "HEAD", "PATCH", "PROPFIND", "M-SEARCH", "X_1"] {
            asks(method, "/", &["a"], app("a"));
        }
        refuses("TRACE", "/", &["a"], Refusal::Trace);
        refuses("get", "/", &["a"], Refusal::Method);
        refuses("Post", "/", &["a"], Refusal::Method);
        refuses("connect", "/", &["a"], Refusal::Method);
        asks(&"A".repeat(32), "/", &["a"], app("a"));
        refuses(&"A".repeat(33), "/", &["a"], Refusal::LongMethod);
        refuses(&"a".repeat(2048), "/", &["a"], Refusal::LongMethod);
    }

    #[test]
    fn d54_http2_names_one_host_and_the_right_scheme() {
        let http2 = |uri: &str, hosts: &[&str], scheme| {
            let mut head = http::Request::new(()).into_parts().0;
            head.version = Version::HTTP_2;
            head.uri = uri.parse().unwrap();
            for host in hosts {
                head.headers.append(HOST, host.parse().unwrap());
            }
            Some(check(&head, scheme, LOCAL.parse().unwrap()))
        };
        assert_eq!(http2("http://a/x", &[], "http"), app("a"));
        assert_eq!(http2("https://a:8443/x", &[], "https"), app("a:8443"));
        assert_eq!(http2("http://a/x", &["a"], "http"), app("a"));
        assert_eq!(http2("/x", &["a"], "http"), app("a"));
        assert_eq!(http2("/x", &[], "http"), Some(Err(Refusal::NoHost)));
        assert_eq!(
            http2("http://a/x", &["b"], "http"),
            Some(Err(Refusal::Mismatch))
        );
        assert_eq!(http2("http://u@a/x", &[], "http"), Some(Err(Refusal::Host)));
        assert_eq!(
            http2("https://a/x", &[], "http"),
            Some(Err(Refusal::Scheme))
        );
        assert_eq!(
            http2("http://a/x", &[], "https"),
            Some(Err(Refusal::Scheme))
        );
    }

    #[test]
    fn only_the_path_reaches_the_app() {
        for (target, expected) in [
            ("/x?y", "/x?y"),
            ("http://a/x?y", "/x?y"),
            ("https://a:8443/x/../y", "/x/../y"),
            ("http://a", "/"),
        ] {
            assert_eq!(
                origin_form(target.parse().unwrap()).to_string(),
                expected,
                "{target}"
            );
        }
    }
}
