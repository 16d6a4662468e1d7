//! Which proxies are trusted to say on whose behalf they ask, and what of it is believed.
//!
//! A client can write all of these headers itself, so they count only where the peer is a trusted proxy; from all others
//! the host removes them. What is malformed is as if it were not there: the client is then the peer.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use crate::connection::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// More proxies than this in a row is no chain but an attempt to be read for long.
const MAX_HOPS: usize = 32;

/// Whose word counts about the client behind it. By default nobody's.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// The networks that trusted proxies are in.
    pub trusted: Vec<IpNet>,
    /// How a connection begins.
    pub announced: Announced,
}

/// Whether a connection begins with the header of the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announced {
    /// With what the client sends.
    #[default]
    No,
    /// With the header, which each connection must have, and trusted proxies alone may send.
    ByHeader,
}

impl Proxies {
    /// Whether an address is a trusted proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// Whether somebody at this address may connect at all.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        self.announced == Announced::No || self.trusts(address)
    }

    /// Who asks, as a trusted proxy tells it.
    pub(crate) fn believe(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        if !peer.is_proxy {
            return peer;
        }
        Peer {
            address: self.client(headers).unwrap_or(peer.address),
            client_scheme: scheme(headers).unwrap_or(peer.scheme),
            ..peer
        }
    }

    /// The client's address; none where nothing is said, or where what is said makes no sense.
    fn client(&self, headers: &HeaderMap) -> Option<SocketAddr> {
        let lists = [&X_FORWARDED_FOR, &FORWARDED].map(|name| {
            headers
                .contains_key(name)
                .then(|| self.first_outside(&nodes(name, headers)?))
        });
        match lists {
            [Some(client), None] | [None, Some(client)] => client,
            // A proxy sets one of them, and lets the client's own word through in the other.
            [Some(client), Some(other)] if client == other => client,
            [Some(_), Some(_)] | [None, None] => None,
        }
    }

    /// The right-most address that is no trusted proxy's: what stands left of it is a stranger's word.
    fn first_outside(&self, nodes: &[&str]) -> Option<SocketAddr> {
        let mut farthest = None;
        for node in nodes.iter().rev().take(MAX_HOPS) {
            let address = address(node)?;
            if !self.trusts(address.ip()) {
                return Some(address);
            }
            farthest = Some(address);
        }
        farthest.filter(|_| nodes.len() <= MAX_HOPS)
    }
}

/// The addresses that a header tells, in all its lines, the nearest last.
fn nodes<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<Vec<&'a str>> {
    let mut nodes = Vec::new();
    for line in headers.get_all(name) {
        for element in line.to_str().ok()?.split(',') {
            let element = element.trim();
            nodes.push(if *name == FORWARDED {
                for_of(element)?
            } else {
                element
            });
        }
    }
    Some(nodes)
}

/// The `for` of one element of `forwarded`, without its quotes.
fn for_of(element: &str) -> Option<&str> {
    let mut found = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim())
    });
    let value = found.next()?;
    if found.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address as proxies write it; port 0 where there is none.
fn address(node: &str) -> Option<SocketAddr> {
    if let Ok(address) = node.parse() {
        return Some(address);
    }
    let bare = match node.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .filter(|inside| inside.contains(':'))?,
        None => node,
    };
    Some(SocketAddr::new(bare.parse().ok()?, 0))
}

/// The scheme that the client spoke to the proxy.
fn scheme(headers: &HeaderMap) -> Option<&'static str> {
    let mut lines = headers.get_all(X_FORWARDED_PROTO).iter();
    let line = lines.next()?.to_str().ok()?;
    if lines.next().is_some() {
        return None;
    }
    ["http", "https"]
        .into_iter()
        .find(|scheme| line.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies {
            trusted: ["10.0.0.0/8", "fd00::/8"]
                .map(|net| net.parse().unwrap())
                .to_vec(),
            announced: Announced::No,
        }
    }

    fn believed(is_proxy: bool, lines: &[(&str, &str)]) -> (String, &'static str) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let peer = Peer {
            address: "10.0.0.9:999".parse().unwrap(),
            local: "10.0.0.1:80".parse().unwrap(),
            scheme: "http",
            client_scheme: "http",
            is_proxy,
        };
        let peer = proxies().believe(peer, &headers);
        (peer.address.to_string(), peer.client_scheme)
    }

    #[test]
    fn d34_the_client_is_the_right_most_address_that_is_no_proxys() {
        const PEER: &str = "10.0.0.9:999";
        for (lines, client) in [
            (&[][..], PEER),
            (&[("x-forwarded-for", "192.0.2.1")], "192.0.2.1:0"),
            (&[("x-forwarded-for", "192.0.2.1:4711")], "192.0.2.1:4711"),
            (&[("x-forwarded-for", "2001:db8::1")], "[2001:db8::1]:0"),
            (&[("x-forwarded-for", "[2001:db8::1]")], "[2001:db8::1]:0"),
            (&[("x-forwarded-for", "[2001:db8::1]:7")], "[2001:db8::1]:7"),
            // What the client itself said stands left of what the proxy saw.
            (&[("x-forwarded-for", "6.6.6.6, 192.0.2.1")], "192.0.2.1:0"),
            (
                &[("x-forwarded-for", "6.6.6.6,192.0.2.1, 10.1.1.1,fd00::7")],
                "192.0.2.1:0",
            ),
            (
                &[
                    ("x-forwarded-for", "6.6.6.6"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                "192.0.2.1:0",
            ),
            (&[("x-forwarded-for", "<script>, 192.0.2.1")], "192.0.2.1:0"),
            (&[("x-forwarded-for", "10.3.3.3, 10.2.2.2")], "10.3.3.3:0"),
            (
                &[("x-forwarded-for", "::ffff:10.2.2.2")],
                "[::ffff:10.2.2.2]:0",
            ),
            // Malformed where it counts.
            (&[("x-forwarded-for", "")], PEER),
            (&[("x-forwarded-for", "unknown")], PEER),
            (&[("x-forwarded-for", "192.0.2.1,")], PEER),
            (&[("x-forwarded-for", "192.0.2.1, 10.2.2.2, nobody")], PEER),
            (&[("x-forwarded-for", "192.0.2.1 192.0.2.2")], PEER),
            (&[("x-forwarded-for", "192.0.2.1:99999")], PEER),
            (&[("x-forwarded-for", "[192.0.2.1]")], PEER),
            (&[("x-forwarded-for", "192.0.2.\u{e9}")], PEER),
            (&[("forwarded", "for=192.0.2.1")], "192.0.2.1:0"),
            (
                &[(
                    "forwarded",
                    "for=6.6.6.6, For=\"192.0.2.1:80\";proto=https;by=10.0.0.9",
                )],
                "192.0.2.1:80",
            ),
            (
                &[("forwarded", "proto=http;for=\"[2001:db8::1]:7\"")],
                "[2001:db8::1]:7",
            ),
            (&[("forwarded", "for=_hidden")], PEER),
            (&[("forwarded", "for=unknown")], PEER),
            (&[("forwarded", "for=\"192.0.2.1")], PEER),
            (&[("forwarded", "for=192.0.2.1;for=6.6.6.6")], PEER),
            (&[("forwarded", "proto=https")], PEER),
            // One of them is the client's own, and nobody knows which.
            (
                &[
                    ("x-forwarded-for", "192.0.2.1"),
                    ("forwarded", "for=6.6.6.6"),
                ],
                PEER,
            ),
            (
                &[("x-forwarded-for", "192.0.2.1"), ("forwarded", "nonsense")],
                PEER,
            ),
            (
                &[
                    ("x-forwarded-for", "192.0.2.1"),
                    ("forwarded", "for=192.0.2.1"),
                ],
                "192.0.2.1:0",
            ),
        ] {
            assert_eq!(believed(true, lines).0, client, "{lines:?}");
            assert_eq!(believed(false, lines).0, PEER, "{lines:?}");
        }
        let chain = vec!["10.2.2.2"; MAX_HOPS + 1].join(",");
        assert_eq!(believed(true, &[("x-forwarded-for", &chain)]).0, PEER);
    }

    #[test]
    fn d34_the_scheme_is_http_or_https_said_once() {
        for (lines, scheme) in [
            (&[][..], "http"),
            (&[("x-forwarded-proto", "https")], "https"),
            (&[("x-forwarded-proto", "HTTPS")], "https"),
            (&[("x-forwarded-proto", "gopher")], "http"),
            (&[("x-forwarded-proto", "https, http")], "http"),
            (
                &[
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-proto", "https"),
                ],
                "http",
            ),
        ] {
            assert_eq!(believed(true, lines).1, scheme, "{lines:?}");
            assert_eq!(believed(false, lines).1, "http", "{lines:?}");
        }
    }

    #[test]
    fn d34_a_proxy_is_one_of_the_named_networks_also_where_ipv4_comes_as_ipv6() {
        for (address, trusted) in [
            ("10.255.0.1", true),
            ("::ffff:10.255.0.1", true),
            ("11.0.0.1", false),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(
                proxies().trusts(address.parse().unwrap()),
                trusted,
                "{address}"
            );
        }
    }
}
