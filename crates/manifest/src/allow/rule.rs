//! One rule: a scheme, a host and a port, each a word or a pattern.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use http::Method;
use ipnet::IpNet;

use super::error::{RuleError, Why, near_scheme};
use super::fill::{Form, Split};
use super::inject::Inject;
use super::miss::{Fit, HostFit};
use super::narrow::{self, Narrow, NarrowFit};
use crate::destination::{INTERNAL, redact};
use crate::host::is_local_name;
use crate::quote::escape;
use crate::{Call, ComponentId, Destination, Host, Origin, Place, Scheme};

/// Long enough for the longest name with scheme, port and a variable or two.
pub(super) const MAX_RULE: usize = 512;

/// One rule of `allowed_outbound_hosts`; `Display` is the user's own text.
#[derive(Clone)]
pub struct AllowedHost {
    text: Box<str>,
    host_text: Box<str>,
    port_text: Box<str>,
    scheme: SchemePattern,
    host: HostPattern,
    port: PortPattern,
    narrow: Narrow,
    inject: Option<Arc<Inject>>,
    place: Option<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SchemePattern {
    Any,
    Http(Scheme),
    /// Of a protocol that is not HTTP: it never matches a [`Destination`].
    Other(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// `*`
    Any,
    /// `self`
    Own,
    /// `*.spin.internal`
    AnyComponent,
    /// `name.spin.internal`
    Component(ComponentId),
    /// `*.example.com`, kept as `.example.com`.
    Below(Box<str>),
    /// `example.com`
    Name(Box<str>),
    /// An address, or a range of them.
    Net(IpNet),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortPattern {
    Any,
    /// None was written: the scheme's own.
    Usual(u16),
    One(u16),
    /// The end is not part of it.
    Range(Range<u16>),
}

impl AllowedHost {
    /// Reads one rule. A template is not one: it is filled when a manifest is read.
    pub fn parse(rule: &str) -> Result<AllowedHost, RuleError> {
        AllowedHost::read(rule, Form::Text)
    }

    /// Reads the `url` of a rule that is a table, and its `methods`; none is every method.
    pub fn parse_url(url: &str, methods: &[&str]) -> Result<AllowedHost, RuleError> {
        let rule = AllowedHost::read(url, Form::Url)?;
        if methods.is_empty() {
            return Ok(rule);
        }
        rule.for_methods(methods)
            .map_err(|why| RuleError::new(url, why))
    }

    fn read(rule: &str, form: Form) -> Result<AllowedHost, RuleError> {
        let split = Split::parse(rule, form).map_err(|why| RuleError::new(rule, why))?;
        AllowedHost::of(rule, split.host, split.port, &split)
    }

    /// The rule of a text whose host and port have been filled in.
    pub(super) fn of(
        rule: &str,
        host: &str,
        port: Option<&str>,
        written: &Split<'_>,
    ) -> Result<AllowedHost, RuleError> {
        let error = |why| RuleError::new(rule, why);
        let scheme = SchemePattern::parse(written.scheme, port.is_some()).map_err(error)?;
        let host = HostPattern::parse(host, written.prefix).map_err(error)?;
        let port = PortPattern::parse(port, written.scheme).map_err(error)?;
        let narrow = Narrow::new(written.path).map_err(error)?;
        let host_text = match written.prefix {
            Some(prefix) => format!("{}/{prefix}", written.host).into(),
            None => written.host.into(),
        };
        let port_text = match (&port, written.port) {
            (PortPattern::Range(range), Some(text)) => {
                format!("{text} ({} not included)", range.end).into()
            }
            (PortPattern::Usual(usual), _) => usual.to_string().into(),
            (_, text) => text.unwrap_or_default().into(),
        };
        let rule = AllowedHost {
            text: escape(&redact(rule)).into(),
            host_text,
            port_text,
            scheme,
            host,
            port,
            narrow,
            inject: None,
            place: None,
        };
        if rule.is_inside() && !rule.may_be_inside() {
            return Err(error(Why::Inside));
        }
        if rule.is_narrow() && rule.foreign_scheme().is_some() {
            return Err(error(Why::NarrowScheme));
        }
        Ok(rule)
    }

    /// The same rule for some methods only.
    pub(crate) fn for_methods(mut self, names: &[&str]) -> Result<AllowedHost, Why> {
        if self.foreign_scheme().is_some() {
            return Err(Why::NarrowScheme);
        }
        self.narrow.methods = narrow::methods(names)?;
        self.text = format!("{} ({})", self.text, self.narrow.method_names()).into();
        Ok(self)
    }

    /// The same rule, with a header that is added to its calls.
    pub(crate) fn injecting(mut self, name: &str, value: &str) -> Result<AllowedHost, Why> {
        if self.host == HostPattern::Any {
            return Err(Why::InjectAnywhere);
        }
        if self.is_inside() || self.foreign_scheme().is_some() {
            return Err(Why::InjectInside);
        }
        let inject = Inject::new(name, value)?;
        self.text = format!("{} + {}", self.text, inject.name()).into();
        self.inject = Some(Arc::new(inject));
        Ok(self)
    }

    pub(crate) fn at(mut self, place: Place) -> AllowedHost {
        self.place = Some(place);
        self
    }

    /// The path that it is for, or with a `/` at its end what is below; `None` is every path.
    pub fn path(&self) -> Option<&str> {
        self.narrow.path()
    }

    /// The methods that it is for; none written is every method.
    pub fn methods(&self) -> &[Method] {
        &self.narrow.methods
    }

    /// The header that the door adds to its calls.
    pub fn inject(&self) -> Option<&Inject> {
        self.inject.as_deref()
    }

    /// Whether it is for less than a whole server.
    pub fn is_narrow(&self) -> bool {
        !self.narrow.is_empty()
    }

    /// Whether a call by it could go over a network unencrypted.
    pub(crate) fn is_clear_text(&self) -> bool {
        let local = match &self.host {
            HostPattern::Net(net) => !crate::is_global(net.addr()),
            HostPattern::Name(name) => is_local_name(name),
            _ => false,
        };
        !local && self.scheme != SchemePattern::Http(Scheme::Https)
    }

    /// Where it is written.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The scheme, when it is of a protocol that is not HTTP.
    pub(crate) fn foreign_scheme(&self) -> Option<&str> {
        match &self.scheme {
            SchemePattern::Other(scheme) => Some(scheme),
            SchemePattern::Any | SchemePattern::Http(_) => None,
        }
    }

    /// How each part of a call fits.
    pub(super) fn fit(&self, call: &Call<'_>) -> Fit {
        let narrow = self.narrow.fit(call);
        match call.to {
            Destination::Own => self.fit_inside(self.host == HostPattern::Own, narrow),
            Destination::Component(id) => {
                let fits = match &self.host {
                    HostPattern::AnyComponent => true,
                    HostPattern::Component(own) => own == id,
                    _ => false,
                };
                self.fit_inside(fits, narrow)
            }
            Destination::Remote(origin) => {
                let scheme = self.fits_scheme(origin);
                // A port that follows from another scheme is not a second difference.
                let follows = !scheme
                    && matches!(self.port, PortPattern::Usual(_))
                    && origin.port == origin.scheme.default_port();
                Fit {
                    scheme,
                    host: self.host.fit(&origin.host),
                    port: follows || self.fits_port(origin),
                    narrow,
                }
            }
        }
    }

    fn fit_inside(&self, fits: bool, narrow: NarrowFit) -> Fit {
        let host = match (&self.host, fits) {
            (_, true) => HostFit::Fits,
            (HostPattern::Any, false) => HostFit::Private,
            _ => HostFit::Differs,
        };
        // Inside the application only the name counts.
        let near = fits || matches!(self.host, HostPattern::Any) || self.is_inside();
        Fit {
            scheme: near,
            host,
            port: near,
            narrow,
        }
    }

    pub(super) fn fits_scheme(&self, origin: &Origin) -> bool {
        match &self.scheme {
            SchemePattern::Any => true,
            SchemePattern::Http(own) => *own == origin.scheme,
            SchemePattern::Other(_) => false,
        }
    }

    pub(super) fn fits_port(&self, origin: &Origin) -> bool {
        match &self.port {
            PortPattern::Any => true,
            PortPattern::Usual(own) | PortPattern::One(own) => *own == origin.port,
            PortPattern::Range(range) => range.contains(&origin.port),
        }
    }

    /// The addresses that the rule writes out.
    pub(super) fn writes_out(&self) -> Vec<IpNet> {
        match &self.host {
            HostPattern::Net(net) => vec![*net],
            HostPattern::Name(name) if &**name == "localhost" => {
                let addresses = [
                    IpAddr::from([127, 0, 0, 1]),
                    std::net::Ipv6Addr::LOCALHOST.into(),
                ];
                addresses.map(IpNet::from).to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// The one port that it is for; `None` for several.
    pub(super) fn one_port(&self) -> Option<u16> {
        match &self.port {
            PortPattern::Usual(port) | PortPattern::One(port) => Some(*port),
            PortPattern::Any | PortPattern::Range(_) => None,
        }
    }

    pub(super) fn narrow(&self) -> &Narrow {
        &self.narrow
    }

    /// The scheme, host and port as they are written, for the words of a [`super::Miss`].
    pub(super) fn written(&self) -> (&str, &str, &str) {
        let scheme = match &self.scheme {
            SchemePattern::Any => "*",
            SchemePattern::Http(scheme) => scheme.as_str(),
            SchemePattern::Other(scheme) => scheme,
        };
        (scheme, &self.host_text, &self.port_text)
    }

    pub(super) fn host(&self) -> &HostPattern {
        &self.host
    }

    /// The component of the application that it is for; with `None` in it, any.
    pub(crate) fn component(&self) -> Option<Option<&ComponentId>> {
        match &self.host {
            HostPattern::AnyComponent => Some(None),
            HostPattern::Component(id) => Some(Some(id)),
            HostPattern::Own
            | HostPattern::Any
            | HostPattern::Name(_)
            | HostPattern::Below(_)
            | HostPattern::Net(_) => None,
        }
    }

    fn is_inside(&self) -> bool {
        matches!(
            self.host,
            HostPattern::Own | HostPattern::AnyComponent | HostPattern::Component(_)
        )
    }

    fn may_be_inside(&self) -> bool {
        match (&self.scheme, &self.port) {
            (SchemePattern::Other(_), _) | (_, PortPattern::Range(_)) => false,
            (_, PortPattern::Any | PortPattern::Usual(_)) => true,
            (SchemePattern::Http(scheme), PortPattern::One(port)) => *port == scheme.default_port(),
            (SchemePattern::Any, PortPattern::One(_)) => false,
        }
    }
}

impl SchemePattern {
    fn parse(text: &str, has_port: bool) -> Result<SchemePattern, Why> {
        let bad = || Err(Why::Scheme(escape(text)));
        if text.contains('{') {
            return Err(Why::List);
        }
        let plain = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
        match text {
            "*" => Ok(SchemePattern::Any),
            "http" => Ok(SchemePattern::Http(Scheme::Http)),
            "https" => Ok(SchemePattern::Http(Scheme::Https)),
            "" => Err(Why::NoScheme),
            _ if !plain => bad(),
            other if usual_port(other).is_none() && near_scheme(other).is_some() => bad(),
            other if usual_port(other).is_none() && !has_port => Err(Why::NoPort(other.into())),
            other => Ok(SchemePattern::Other(other.into())),
        }
    }
}

impl HostPattern {
    fn parse(text: &str, prefix: Option<&str>) -> Result<HostPattern, Why> {
        if let Some(prefix) = prefix {
            return range(text, prefix).map(HostPattern::Net).ok_or(Why::Range);
        }
        if text.contains(['{', '}', ',']) {
            return Err(Why::List);
        }
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        let (below, base) = text
            .strip_prefix("*.")
            .map_or((false, text), |base| (true, base));
        if base.contains('*') {
            return Err(Why::Wildcard);
        }
        match base.parse::<Host>().map_err(Why::Host)? {
            Host::Ip(_) if below => Err(Why::Wildcard),
            Host::Ip(ip) => Ok(HostPattern::Net(ip.into())),
            Host::Name(name) if below => HostPattern::below(&name),
            Host::Name(name) => HostPattern::name(name),
        }
    }

    fn below(name: &str) -> Result<HostPattern, Why> {
        if name == &INTERNAL[1..] {
            return Ok(HostPattern::AnyComponent);
        }
        // A component has no names below its own.
        if name.ends_with(INTERNAL) {
            return Err(Why::Wildcard);
        }
        Ok(HostPattern::Below(format!(".{name}").into()))
    }

    fn name(name: Box<str>) -> Result<HostPattern, Why> {
        if matches!(&*name, "self" | "self.alt") {
            return Ok(HostPattern::Own);
        }
        match name.strip_suffix(INTERNAL) {
            Some(id) => id
                .parse()
                .map(HostPattern::Component)
                .map_err(Why::Component),
            None if *name == INTERNAL[1..] => Err(Why::Component(crate::BadComponentId::Empty)),
            None => Ok(HostPattern::Name(name)),
        }
    }

    fn fit(&self, host: &Host) -> HostFit {
        let fits = |fits| {
            if fits {
                HostFit::Fits
            } else {
                HostFit::Differs
            }
        };
        match (self, host) {
            (HostPattern::Net(net), Host::Ip(ip)) => fits(net.contains(ip)),
            (HostPattern::Any, Host::Ip(ip)) if !crate::is_global(*ip) => HostFit::Private,
            (HostPattern::Any, Host::Name(name)) if is_local_name(name) => HostFit::Private,
            (HostPattern::Any, _) => HostFit::Fits,
            (HostPattern::Name(own), Host::Name(name)) => fits(own == name),
            (HostPattern::Below(suffix), Host::Name(name)) if name.ends_with(&**suffix) => {
                let local = is_local_name(name) && !is_local_name(&suffix[1..]);
                if local {
                    HostFit::Private
                } else {
                    HostFit::Fits
                }
            }
            (HostPattern::Own | HostPattern::AnyComponent | HostPattern::Component(_), _) => {
                HostFit::Differs
            }
            (HostPattern::Net(_) | HostPattern::Name(_) | HostPattern::Below(_), _) => {
                HostFit::Differs
            }
        }
    }
}

impl PortPattern {
    fn parse(text: Option<&str>, scheme: &str) -> Result<PortPattern, Why> {
        let Some(text) = text else {
            return usual_port(scheme)
                .map(PortPattern::Usual)
                .ok_or_else(|| Why::NoPort(scheme.into()));
        };
        let port = |text: &str| crate::host::port(text).ok_or_else(|| Why::Port(escape(text)));
        match text.split_once("..") {
            _ if text == "*" => Ok(PortPattern::Any),
            _ if text.contains(['{', ',']) => Err(Why::List),
            None => port(text).map(PortPattern::One),
            Some((start, end)) => match port(start)?..port(end)? {
                range if range.is_empty() => Err(Why::EmptyPorts),
                range => Ok(PortPattern::Range(range)),
            },
        }
    }
}

/// A range of addresses; the bits after its prefix do not count.
fn range(address: &str, prefix: &str) -> Option<IpNet> {
    let bracketed = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = bracketed.unwrap_or(address).parse().ok()?;
    let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    // `/011` is 11 to some and 9 to others.
    let one_way = !prefix.starts_with('0') || prefix == "0";
    let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit()) && one_way;
    if mapped || !digits || (bracketed.is_some() && ip.is_ipv4()) {
        return None;
    }
    IpNet::new(ip, prefix.parse().ok()?)
        .ok()
        .map(|net| net.trunc())
}

/// The port of a scheme when none is written.
fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "postgres" => Some(5432),
        "mysql" => Some(3306),
        "redis" => Some(6379),
        "mqtt" => Some(1883),
        _ => None,
    }
}

// What a variable put into it stays out of logs.
impl fmt::Debug for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AllowedHost({})", self.text)
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
