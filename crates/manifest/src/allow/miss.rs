//! The rule that nearly covers a destination, in the user's words.

use std::fmt;

use super::narrow::NarrowFit;
use super::rule::{AllowedHost, HostPattern};
use crate::{Call, Destination, Host};

/// The rule that nearly covers a destination, and what it misses by.
#[derive(Debug, Clone)]
pub struct Miss<'a> {
    /// The rule.
    pub rule: &'a AllowedHost,
    /// What differs first.
    pub part: Part,
    label: String,
}

/// A part of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The scheme.
    Scheme,
    /// The host.
    Host,
    /// The port.
    Port,
    /// The destination is not on the public internet, and the rule does not write it out.
    PrivateAddress,
    /// The method; the server is allowed.
    Method,
    /// The path; the server is allowed.
    Path,
}

/// Which parts of a rule fit a destination.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub(super) scheme: bool,
    pub(super) host: HostFit,
    pub(super) port: bool,
    pub(super) narrow: NarrowFit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostFit {
    Fits,
    Differs,
    /// It would fit, but a wildcard covers only the public internet.
    Private,
}

impl Fit {
    pub(super) fn is_whole(self) -> bool {
        self.fits_server() && self.narrow == NarrowFit::Fits
    }

    /// Whether only method or path are in the way.
    fn fits_server(self) -> bool {
        self.scheme && self.port && self.host == HostFit::Fits
    }

    /// The more parts fit, the nearer; the host counts most.
    pub(super) fn score(self) -> u8 {
        let host = match self.host {
            HostFit::Fits => 3,
            HostFit::Private => 2,
            HostFit::Differs => 0,
        };
        host + u8::from(self.scheme) + u8::from(self.scheme && self.port)
    }

    fn part(self) -> Part {
        match self.host {
            HostFit::Differs => Part::Host,
            HostFit::Private => Part::PrivateAddress,
            HostFit::Fits if !self.scheme => Part::Scheme,
            HostFit::Fits if !self.port => Part::Port,
            HostFit::Fits if self.narrow == NarrowFit::Method => Part::Method,
            HostFit::Fits => Part::Path,
        }
    }
}

impl<'a> Miss<'a> {
    pub(super) fn new(rule: &'a AllowedHost, fit: Fit, call: &Call<'_>) -> Miss<'a> {
        let narrow = rule.narrow().label(fit.narrow, call);
        let label = narrow
            .filter(|_| fit.fits_server())
            .unwrap_or_else(|| label(rule, fit, call.to));
        Miss {
            rule,
            part: fit.part(),
            label,
        }
    }

    /// What differs, in words: `the port is 9101, this rule allows 9100`.
    pub fn label(&self) -> &str {
        &self.label
    }
}

fn label(rule: &AllowedHost, fit: Fit, to: &Destination) -> String {
    let origin = match to {
        Destination::Own => return inside(rule, "self"),
        Destination::Component(id) => return inside(rule, &format!("{id}.spin.internal")),
        Destination::Remote(origin) => origin,
    };
    let (scheme, _, port) = rule.written();
    let mut differences = Vec::new();
    if !fit.scheme {
        differences.push(format!(
            "the scheme is {}, this rule allows {scheme}",
            origin.scheme
        ));
    }
    differences.extend(host_label(rule, fit.host, &origin.host));
    if !fit.port {
        differences.push(format!(
            "the port is {}, this rule allows {port}",
            origin.port
        ));
    }
    differences.join("; ")
}

fn inside(rule: &AllowedHost, host: &str) -> String {
    match rule.host() {
        HostPattern::Any => {
            "`*` covers servers elsewhere, not what is inside the application".into()
        }
        _ => hosts(rule, host),
    }
}

fn host_label(rule: &AllowedHost, fit: HostFit, host: &Host) -> Option<String> {
    let words = match (fit, rule.host(), host) {
        (HostFit::Fits, ..) => return None,
        (HostFit::Private, _, Host::Ip(ip)) => {
            format!("{ip} is not a public address, a rule must write it out")
        }
        (HostFit::Private, _, Host::Name(name)) => {
            format!("`{name}` is this machine, a rule must write it out")
        }
        (HostFit::Differs, HostPattern::Below(suffix), Host::Name(name))
            if suffix[1..] == **name =>
        {
            format!("this rule allows what is below `{name}`, not `{name}` itself")
        }
        (HostFit::Differs, HostPattern::Below(_), Host::Ip(_)) => {
            "the host is an address, this rule allows names".into()
        }
        (HostFit::Differs, HostPattern::Net(_), Host::Name(_)) => {
            "the host is a name, this rule allows addresses".into()
        }
        (HostFit::Differs, _, host) => hosts(rule, &host.to_string()),
    };
    Some(words)
}

fn hosts(rule: &AllowedHost, host: &str) -> String {
    format!(
        "the host is `{host}`, this rule allows `{}`",
        rule.written().1
    )
}

impl fmt::Display for Miss<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
