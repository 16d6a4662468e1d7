//! Where a guest wants to go: parsed once, then matched, resolved, dialled and logged as this very value.

use std::fmt;

use crate::host::{port, split_port};
use crate::quote::{escape, shorten};
use crate::{BadHost, ComponentId, Host};

/// The names below it are the components of the application.
pub(crate) const INTERNAL: &str = ".spin.internal";
/// What an error shows of a guest's text.
const MAX_SHOWN: usize = 200;

/// How to speak to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
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
///
/// ```
/// use runner_manifest::Destination;
/// let to = Destination::from_guest("HTTPS", "Example.COM.:443").unwrap();
/// assert_eq!(to.to_string(), "https://example.com");
/// ```
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

/// Which part is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("it has no scheme; write `http://` or `https://` in front")]
    NoScheme,
    #[error("its scheme is not `http` or `https`")]
    Scheme,
    #[error("it has a user name or a password; send them in a header")]
    UserInfo,
    #[error("`{}` ends the host, and what follows is not part of it", .0.escape_default())]
    NotAuthority(char),
    #[error("{0}")]
    Host(#[from] BadHost),
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("what is inside the application has no port")]
    InternalPort,
    #[error("below `spin.internal` stands the name of one component")]
    Internal,
}

impl Destination {
    /// Reads what a guest gave as scheme and authority: the only parser of destinations.
    pub fn from_guest(scheme: &str, authority: &str) -> Result<Destination, BadDestination> {
        parse(scheme, authority)
            .map_err(|reason| BadDestination::new(&format!("{scheme}://{authority}"), reason))
    }

    /// Reads a URL as a person types it; one that begins with `/` is the application's own.
    pub fn from_url(url: &str) -> Result<Destination, BadDestination> {
        if url.starts_with('/') && !url.starts_with("//") {
            return Ok(Destination::Own);
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(BadDestination::new(url, Reason::NoScheme));
        };
        // The authority ends at the first of these, also when an `@` follows.
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        Destination::from_guest(scheme, &rest[..end])
    }
}

fn parse(scheme: &str, authority: &str) -> Result<Destination, Reason> {
    let scheme = Scheme::parse(scheme)?;
    if authority.contains('@') {
        return Err(Reason::UserInfo);
    }
    if let Some(end) = authority.find(['/', '?', '#', '\\']) {
        return Err(Reason::NotAuthority(char::from(authority.as_bytes()[end])));
    }
    let (host, number) = split_port(authority);
    let host: Host = host.parse()?;
    let port = match number {
        None | Some("") => scheme.default_port(),
        Some(number) => port(number).ok_or(Reason::Port)?,
    };
    let Some(inside) = inside(&host)? else {
        return Ok(Destination::Remote(Origin { scheme, host, port }));
    };
    if port == scheme.default_port() {
        Ok(inside)
    } else {
        Err(Reason::InternalPort)
    }
}

/// What a name of the application itself stands for.
fn inside(host: &Host) -> Result<Option<Destination>, Reason> {
    let Host::Name(name) = host else {
        return Ok(None);
    };
    match &**name {
        "self" | "self.alt" => Ok(Some(Destination::Own)),
        "spin.internal" => Err(Reason::Internal),
        name => match name.strip_suffix(INTERNAL) {
            Some(id) => id
                .parse()
                .map(|id| Some(Destination::Component(id)))
                .map_err(|_| Reason::Internal),
            None => Ok(None),
        },
    }
}

impl BadDestination {
    /// What was asked for, without user name and password, made fit for a terminal.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which part of it is wrong, and why.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    fn new(url: &str, reason: Reason) -> BadDestination {
        BadDestination {
            url: escape(&shorten(&redact(url), MAX_SHOWN)),
            reason: reason.to_string(),
        }
    }
}

/// Puts `***` in place of everything before the last `@`.
pub(crate) fn redact(url: &str) -> String {
    let Some(at) = url.rfind('@') else {
        return url.into();
    };
    let start = url[..at]
        .find("://")
        .map_or(0, |scheme| scheme + "://".len());
    format!("{}***{}", &url[..start], &url[at..])
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

    fn parse(text: &str) -> Result<Scheme, Reason> {
        match text.to_ascii_lowercase().as_str() {
            "http" => Ok(Scheme::Http),
            "https" => Ok(Scheme::Https),
            "" => Err(Reason::NoScheme),
            _ => Err(Reason::Scheme),
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

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Own => f.write_str("http://self"),
            Destination::Component(id) => write!(f, "http://{id}{INTERNAL}"),
            Destination::Remote(origin) => origin.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
