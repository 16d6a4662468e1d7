//! What is allowed is exactly what would be dialled.
//!
//! The input is text: scheme, authority, path and method, a line each, and on each further line a rule, as
//! `URL [METHOD,…]`. The decision is compared with a second, slow reading of the rules, and the destination with what two
//! other parsers of URLs make of it.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;
use runner_manifest::{AllowList, AllowedHost, Call, Destination, Host, Origin, Scheme, is_global};

/// Longer inputs say nothing new.
const MAX_INPUT: usize = 4096;
/// More rules only slow the search down.
const MAX_RULES: usize = 16;

/// Addresses that no name may lead to by itself.
const PRIVATE: [&str; 6] = [
    "127.0.0.1",
    "10.0.0.5",
    "169.254.169.254",
    "::1",
    "fd00:ec2::254",
    "192.168.1.1",
];

/// Checks the property for one input.
///
/// # Panics
/// Where it does not hold.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > MAX_INPUT {
        return;
    }
    let mut lines = text.split('\n');
    let [scheme, authority, path, method] = [(); 4].map(|()| lines.next().unwrap_or_default());
    let rules: Vec<_> = lines.take(MAX_RULES).filter_map(Rule::read).collect();
    let Ok(to) = Destination::from_guest(scheme, authority) else {
        return;
    };
    let method: Method = method.parse().unwrap_or(Method::GET);
    let call = Call::new(&to, &method, path);
    let list = AllowList::from(
        rules
            .iter()
            .map(|rule| rule.rule.clone())
            .collect::<Vec<_>>(),
    );
    let covering = list.covering(&call);
    let slow = rules.iter().position(|rule| rule.covers(&call));
    assert_eq!(covering, slow, "{text:?}");
    if let Destination::Remote(origin) = &to {
        stays_itself(origin);
        is_what_others_read(scheme, authority, origin);
        if let Some(covering) = covering {
            leads_nowhere_else(&list, covering, origin, &rules);
        }
    }
}

/// Written out and read again it is the same: for the log, the `Host` header, and the rule that is suggested.
fn stays_itself(origin: &Origin) {
    let again = Destination::from_guest(origin.scheme.as_str(), &origin.authority());
    assert_eq!(again, Ok(Destination::Remote(origin.clone())));
    let url = Destination::from_url(&origin.to_string());
    assert_eq!(url, Ok(Destination::Remote(origin.clone())));
    let rule = AllowedHost::parse(&origin.to_string()).expect("what is suggested is a rule");
    let to = Destination::Remote(origin.clone());
    let suggested = AllowList::from(vec![rule]);
    assert!(suggested.covering(&Call::get(&to)).is_some(), "{origin}");
}

/// Whoever else takes the same text for a URL goes to the same server.
fn is_what_others_read(scheme: &str, authority: &str, origin: &Origin) {
    let text = format!("{scheme}://{authority}/");
    if let Ok(url) = url::Url::parse(&text) {
        let host = match url.host() {
            Some(url::Host::Domain(name)) => {
                Host::Name(name.strip_suffix('.').unwrap_or(name).into())
            }
            Some(url::Host::Ipv4(ip)) => Host::Ip(ip.into()),
            Some(url::Host::Ipv6(ip)) => Host::Ip(ip.into()),
            None => panic!("{text:?} has no host"),
        };
        assert_eq!(
            (&host, url.port_or_known_default()),
            (&origin.host, Some(origin.port)),
            "{text:?}"
        );
    }
    // What hyper is given to send.
    let uri: http::Uri = format!("{origin}/").parse().expect("an origin is a URI");
    assert_eq!(uri.host().map(str::to_owned), Some(origin.host.to_string()));
    let port = uri.port_u16().unwrap_or(origin.scheme.default_port());
    assert_eq!(port, origin.port);
}

/// Only what a rule writes out is dialled beyond the public internet.
fn leads_nowhere_else(list: &AllowList, covering: usize, origin: &Origin, rules: &[Rule]) {
    let literal = match &origin.host {
        Host::Ip(ip) => Some(*ip),
        Host::Name(_) => None,
    };
    let private = PRIVATE.iter().map(|ip| ip.parse().expect("an address"));
    for ip in private.chain(literal) {
        let writes_out = |(at, rule): (usize, &Rule)| {
            (at == covering || !rule.is_narrow()) && rule.serves(origin) && rule.writes_out(ip)
        };
        let expected = is_global(ip) || rules.iter().enumerate().any(writes_out);
        assert_eq!(
            list.may_dial(covering, origin, ip),
            expected,
            "{origin} {ip}"
        );
    }
    if let Some(ip) = literal {
        assert!(
            list.may_dial(covering, origin, ip),
            "{origin} is allowed and cannot be dialled"
        );
    }
}

/// A rule that the project accepts, read a second time in the slowest way.
struct Rule {
    rule: AllowedHost,
    scheme: String,
    host: String,
    range: Option<String>,
    port: Option<String>,
    path: Option<String>,
    methods: Vec<String>,
}

impl Rule {
    fn read(line: &str) -> Option<Rule> {
        let (url, methods) = line.split_once(' ').unwrap_or((line, ""));
        let methods: Vec<&str> = methods
            .split(',')
            .filter(|method| !method.is_empty())
            .collect();
        let rule = AllowedHost::parse_url(url, &methods).ok()?;
        let (scheme, rest) = url.split_once("://")?;
        let (mut server, mut path) = match rest.split_once('/') {
            Some((server, path)) => (server, Some(format!("/{path}"))),
            None => (rest, None),
        };
        let mut range = None;
        let bare = server.trim_start_matches('[').trim_end_matches(']');
        if let (Ok(_), Some(after)) = (bare.parse::<IpAddr>(), &path) {
            let digits: String = after[1..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            if !digits.is_empty() {
                let behind = after[1 + digits.len()..].to_owned();
                let (port, below) = match behind.split_once('/') {
                    Some((port, below)) => (port.to_owned(), Some(format!("/{below}"))),
                    None => (behind, None),
                };
                range = Some(format!("{bare}/{digits}"));
                let port = port.strip_prefix(':').map(str::to_owned);
                path = below;
                return Some(Rule::of(rule, scheme, server, range, port, path, &methods));
            }
        }
        let mut port = None;
        let colon = match server.rfind(']') {
            Some(bracket) => server[bracket..].find(':').map(|at| bracket + at),
            None => server.find(':'),
        };
        if let Some(colon) = colon {
            port = Some(server[colon + 1..].to_owned());
            server = &server[..colon];
        }
        Some(Rule::of(rule, scheme, server, range, port, path, &methods))
    }

    fn of(
        rule: AllowedHost,
        scheme: &str,
        host: &str,
        range: Option<String>,
        port: Option<String>,
        path: Option<String>,
        methods: &[&str],
    ) -> Rule {
        let host = host.to_ascii_lowercase();
        Rule {
            rule,
            scheme: scheme.to_owned(),
            host: host.strip_suffix('.').unwrap_or(&host).to_owned(),
            range,
            port,
            path: path.filter(|path| path != "/"),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        }
    }

    fn is_narrow(&self) -> bool {
        self.path.is_some() || !self.methods.is_empty()
    }

    fn covers(&self, call: &Call<'_>) -> bool {
        let server = match call.to {
            Destination::Own => self.host == "self" || self.host == "self.alt",
            Destination::Component(id) => {
                self.host == format!("{id}.spin.internal") || self.host == "*.spin.internal"
            }
            Destination::Remote(origin) => self.serves(origin) && self.names(origin),
        };
        server && self.allows_call(call)
    }

    fn allows_call(&self, call: &Call<'_>) -> bool {
        if !self.methods.is_empty() && !self.methods.iter().any(|own| own == call.method.as_str()) {
            return false;
        }
        match &self.path {
            None => true,
            Some(own) => {
                let same = if own.ends_with('/') {
                    call.path.starts_with(own)
                } else {
                    call.path == own
                };
                same && is_obvious(call.path)
            }
        }
    }

    /// Whether scheme and port are those of an origin.
    fn serves(&self, origin: &Origin) -> bool {
        if self.scheme != "*" && self.scheme != origin.scheme.as_str() {
            return false;
        }
        let usual = match origin.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        match self.port.as_deref() {
            None => origin.port == usual,
            Some("*") => true,
            Some(port) => match port.split_once("..") {
                Some((start, end)) => number(start) <= origin.port && origin.port < number(end),
                None => number(port) == origin.port,
            },
        }
    }

    fn names(&self, origin: &Origin) -> bool {
        let local = |name: &str| {
            name == "localhost"
                || name.ends_with(".localhost")
                || name.ends_with(".localdomain")
                || name == "localdomain"
        };
        match &origin.host {
            Host::Ip(ip) if self.host == "*" => is_global(*ip),
            Host::Ip(ip) => self.is_address() && self.writes_out(*ip),
            Host::Name(name) if self.host == "*" => !local(name),
            Host::Name(name) => match self.host.strip_prefix('*') {
                Some(suffix) => name.ends_with(suffix) && (!local(name) || local(&suffix[1..])),
                None => !self.is_address() && self.host == **name,
            },
        }
    }

    fn bare(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn is_address(&self) -> bool {
        self.range.is_some() || self.bare().parse::<IpAddr>().is_ok()
    }

    fn writes_out(&self, ip: IpAddr) -> bool {
        if let Some(range) = &self.range {
            return range.parse::<IpNet>().is_ok_and(|net| net.contains(&ip));
        }
        match self.bare().parse::<IpAddr>() {
            Ok(own) => own == ip,
            Err(_) => {
                self.host == "localhost"
                    && (ip == IpAddr::from([127, 0, 0, 1])
                        || ip == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]))
            }
        }
    }
}

/// Leading zeros say nothing.
fn number(text: &str) -> u16 {
    text.parse().expect("the rule was accepted")
}

/// Whether nobody could read a path as another: stricter than what the project asks for is a finding too.
fn is_obvious(path: &str) -> bool {
    let mut text = path.to_owned();
    let plain = |c: char| c.is_ascii_graphic() && !"\\?#".contains(c);
    if !path.starts_with('/') || !path.chars().all(plain) {
        return false;
    }
    // The first round: what need not be escaped is not, and what is escaped is.
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let Some(digits) = rest.get(at + 1..at + 3) else {
            return false;
        };
        let Ok(byte) = u8::from_str_radix(digits, 16) else {
            return false;
        };
        if digits.starts_with('+') || byte.is_ascii_alphanumeric() || b"-._~\0\\".contains(&byte) {
            return false;
        }
        rest = &rest[at + 3..];
    }
    for _ in 0..8 {
        text = decoded_once(&text);
    }
    let like_a_dot = |c: char| "\u{2024}\u{ff0e}".contains(c);
    let like_a_slash = |c: char| "\u{2215}\u{ff0f}\u{ff3c}\\;?#".contains(c);
    let folded: String = text
        .chars()
        .map(|c| match c {
            c if like_a_dot(c) => ".".to_owned(),
            '\u{2025}' => "..".to_owned(),
            c if like_a_slash(c) => "/".to_owned(),
            c => c.to_string(),
        })
        .collect();
    let is_dots = |segment: &str| {
        matches!(
            segment.trim_matches(|c: char| c.is_whitespace() || c.is_control()),
            "." | ".."
        )
    };
    if folded.contains('\u{fffd}') || folded.split('/').any(is_dots) {
        return false;
    }
    // What is still escaped after so many rounds is made to deceive.
    deepest(path) < 4
}

fn decoded_once(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = hex
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// In how many rounds the last escape is gone.
fn deepest(path: &str) -> usize {
    let mut text = path.to_owned();
    for round in 0..8 {
        let next = decoded_once(&text);
        if next == text {
            return round;
        }
        text = next;
    }
    8
}
