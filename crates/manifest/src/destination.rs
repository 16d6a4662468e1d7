//! Where a guest wants to go: parsed once, then matched, resolved, dialled and logged as this very value.

use std::fmt;
use std::net::IpAddr;

use crate::ComponentId;

/// How to speak to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

/// The host of a destination: lower case, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name.
    Name(Box<str>),
    /// An address, never an IPv4 address written as IPv6.
    Ip(IpAddr),
}

/// Scheme, host and port: all that decides where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// How to speak.
    pub scheme: Scheme,
    /// With whom.
    pub host: Host,
    /// On which port.
    pub port: u16,
}

/// Where a guest wants to go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// The component's own application, by its public routes.
    Own,
    /// Another component of the same application.
    Component(ComponentId),
    /// A server elsewhere.
    Remote(Origin),
}

/// Why a text is not a destination; never shows a user name or a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not a destination: {reason}")]
pub struct BadDestination {
    url: String,
    reason: String,
}

impl Destination {
    /// Reads what a guest gave as scheme and authority.
    pub fn from_guest(scheme: &str, authority: &str) -> Result<Destination, BadDestination> {
        let bad = |reason: &str| BadDestination {
            url: format!("{scheme}://{authority}"),
            reason: reason.into(),
        };
        let scheme = if scheme == "http" {
            Scheme::Http
        } else {
            Scheme::Https
        };
        let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
        let port = port.parse().map_err(|_| bad("the port"))?;
        let host = host
            .parse()
            .map_or_else(|_| Host::Name(host.into()), Host::Ip);
        Ok(Destination::Remote(Origin { scheme, host, port }))
    }

    /// Reads a URL as a person types it; one that begins with `/` is the application's own.
    pub fn from_url(url: &str) -> Result<Destination, BadDestination> {
        if url.starts_with('/') {
            return Ok(Destination::Own);
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        Destination::from_guest(scheme, &rest[..end])
    }
}

impl BadDestination {
    /// What was asked for, without user name and password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which part of it is wrong, and why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl Scheme {
    /// The port when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// The scheme as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl Origin {
    /// The `Host` header: the host, and the port unless it is the scheme's default.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            return self.host.to_string();
        }
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Own => f.write_str("http://self"),
            Destination::Component(id) => write!(f, "http://{id}.spin.internal"),
            Destination::Remote(origin) => origin.fmt(f),
        }
    }
}
