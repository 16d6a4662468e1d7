//! A host: a DNS name or an address, read once into the one form that is compared, resolved and dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::{address, punycode};

/// DNS: a name, written without its trailing dot.
const MAX_NAME: usize = 253;
/// DNS: one label.
const MAX_LABEL: usize = 63;

/// The host of a destination: lower case, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name.
    Name(Box<str>),
    /// An address, never an IPv4 address written as IPv6.
    Ip(IpAddr),
}

/// Why a text is not a [`Host`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadHost {
    /// Nothing was written.
    #[error("it has no host")]
    Empty,
    /// A character outside ASCII.
    #[error("the host has `{}`, which is not ASCII; write the name as it is in DNS, `xn--…`", crate::quote::escape(&.0.to_string()))]
    NotAscii(char),
    /// A percent sign.
    #[error("the host has a `%`; hosts are not percent-encoded")]
    Percent,
    /// A character that has no place in a name.
    #[error("the host has `{}`, which no name has", .0.escape_default())]
    Character(char),
    /// `a..b`, or a dot at the beginning.
    #[error("the host has an empty label between dots")]
    EmptyLabel,
    /// A label that DNS cannot carry.
    #[error("a part of the host is longer than {MAX_LABEL} characters")]
    LongLabel,
    /// A name that DNS cannot carry.
    #[error("the host is longer than {MAX_NAME} characters")]
    LongName,
    /// A label with a dash at its end.
    #[error("a part of the host begins or ends with `-`")]
    Dash,
    /// A label that says it is encoded and is not.
    #[error("`{0}` is not a valid encoded name")]
    Punycode(String),
    /// `127.1`, `0x7f000001`, `0177.0.0.1`, `127.0.0.1.`
    #[error(
        "the host looks like a number but is not an address of four decimal parts, such as `192.0.2.1`"
    )]
    NotCanonical,
    /// An IPv6 address with an interface.
    #[error("an address may not have a zone (`%…`)")]
    Zone,
    /// Something in brackets, or a bracket alone.
    #[error("what stands in brackets is not an IPv6 address")]
    NotIpv6,
    /// An IPv6 address without brackets.
    #[error("an IPv6 address stands in brackets: `[{0}]`")]
    NoBrackets(IpAddr),
    /// An IPv4 address written as IPv6.
    #[error("it is an IPv4 address in an IPv6 one; write `{0}`")]
    Mapped(Ipv4Addr),
    /// An address that a gateway would translate to one that is not public.
    #[error("`{0}` carries an IPv4 address that is not public")]
    Dressed(IpAddr),
    /// Unspecified, multicast or broadcast.
    #[error("`{0}` is not the address of one host")]
    NotOneHost(IpAddr),
}

impl FromStr for Host {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Host, BadHost> {
        if let Some(strange) = text.chars().find(|c| !c.is_ascii()) {
            return Err(BadHost::NotAscii(strange));
        }
        if let Some(bracketed) = text.strip_prefix('[') {
            return ipv6(bracketed).map(Host::Ip);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return if ip.is_ipv6() {
                Err(BadHost::NoBrackets(ip))
            } else {
                one_host(ip).map(Host::Ip)
            };
        }
        name(text).map(Host::Name)
    }
}

fn ipv6(bracketed: &str) -> Result<IpAddr, BadHost> {
    if bracketed.contains('%') {
        return Err(BadHost::Zone);
    }
    let inner = bracketed.strip_suffix(']').ok_or(BadHost::NotIpv6)?;
    let ip: std::net::Ipv6Addr = inner.parse().map_err(|_| BadHost::NotIpv6)?;
    if let Some(inner) = ip.to_ipv4_mapped() {
        return Err(BadHost::Mapped(inner));
    }
    let ip = IpAddr::V6(ip);
    if address::is_dressed(ip) {
        return Err(BadHost::Dressed(ip));
    }
    one_host(ip)
}

fn one_host(ip: IpAddr) -> Result<IpAddr, BadHost> {
    if address::is_one_host(ip) {
        Ok(ip)
    } else {
        Err(BadHost::NotOneHost(ip))
    }
}

fn name(text: &str) -> Result<Box<str>, BadHost> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err(BadHost::Empty);
    }
    if text.len() > MAX_NAME {
        return Err(BadHost::LongName);
    }
    let lower = text.to_ascii_lowercase();
    lower.split('.').try_for_each(label)?;
    let last = lower.rsplit('.').next().unwrap_or_default();
    if last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadHost::NotCanonical);
    }
    Ok(lower.into())
}

fn label(label: &str) -> Result<(), BadHost> {
    if let Some(strange) = label
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
    {
        return Err(if strange == '%' {
            BadHost::Percent
        } else {
            BadHost::Character(strange)
        });
    }
    if label.is_empty() {
        return Err(BadHost::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(BadHost::LongLabel);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(BadHost::Dash);
    }
    match label.strip_prefix("xn--") {
        Some(encoded) if !punycode::is_valid(encoded) => Err(BadHost::Punycode(label.into())),
        _ => Ok(()),
    }
}

/// Names that mean this machine, whatever DNS says: a wildcard does not cover them.
pub(crate) fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost") || name == "localhost.localdomain"
}

/// A port: decimal digits, 1 to 65535.
pub(crate) fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits {
        text.parse::<u16>().ok()
    } else {
        None
    };
    port.filter(|&port| port != 0)
}

/// Host and port of an authority; a bracketed host keeps its brackets.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let from = if authority.starts_with('[') {
        authority.find(']').unwrap_or(authority.len())
    } else {
        0
    };
    match authority[from..].find(':') {
        Some(colon) => (
            &authority[..from + colon],
            Some(&authority[from + colon + 1..]),
        ),
        None => (authority, None),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}
