//! The parts of a rule, cut before anything is filled in: a variable's value cannot become syntax.

use super::error::{RuleError, Why};
use super::rule::{AllowedHost, HostPattern, MAX_RULE};
use crate::host::is_local_name;
use crate::template::Template;

/// A rule, cut into its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: &'a str,
    /// After the `/` of a range of addresses.
    pub(super) prefix: Option<&'a str>,
    pub(super) port: Option<&'a str>,
    /// From its `/` on.
    pub(super) path: Option<&'a str>,
}

/// Where a rule is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As a string: for a whole server.
    Text,
    /// As the `url` of a table: it may have a path.
    Url,
}

/// A template with its variables filled in.
pub(crate) enum Filled<'a> {
    /// A rule.
    Rule(AllowedHost),
    /// This variable is empty: there is no such server, so there is no rule.
    Skipped { variable: &'a str },
}

impl AllowedHost {
    /// Reads a rule that may have variables in its host and port.
    pub(crate) fn fill<'a>(
        rule: &'a str,
        form: Form,
        value: impl Fn(&'a str) -> Result<&'a str, Why>,
    ) -> Result<Filled<'a>, RuleError> {
        let error = |why| RuleError::new(rule, why);
        if !rule.contains("{{") {
            let split = Split::parse(rule, form).map_err(error)?;
            return AllowedHost::of(rule, split.host, split.port, &split).map(Filled::Rule);
        }
        for name in Template::parse(rule)
            .map_err(Why::Template)
            .map_err(error)?
            .variables()
        {
            if value(name).map_err(error)?.is_empty() {
                return Ok(Filled::Skipped { variable: name });
            }
        }
        let split = Split::parse(rule, form).map_err(|why| error(instead(rule, why)))?;
        let in_path = split.path.is_some_and(|path| path.contains("{{"));
        if split.scheme.contains("{{") || split.prefix.is_some() || in_path {
            return Err(error(Why::VariablePlace));
        }
        let host = fill(split.host, labels, &value).map_err(error)?;
        let port = split
            .port
            .map(|port| fill(port, digits, &value))
            .transpose()
            .map_err(error)?;
        let filled = AllowedHost::of(rule, &host, port.as_deref(), &split)
            .map_err(|bad| RuleError::new(rule, veiled(&split, bad)))?;
        match split
            .host
            .contains("{{")
            .then(|| widens(&split, &filled))
            .flatten()
        {
            Some(what) => Err(error(Why::Value {
                variable: first_variable(split.host),
                what: what.into(),
            })),
            None => Ok(Filled::Rule(filled)),
        }
    }
}

/// A template that is not even cut in parts has its variable in the wrong place.
fn instead(rule: &str, why: Why) -> Why {
    match why {
        Why::NoScheme if rule.trim_start().starts_with("{{") => Why::VariablePlace,
        why => why,
    }
}

fn fill<'a>(
    text: &'a str,
    wrong: fn(&str) -> Option<String>,
    value: &impl Fn(&'a str) -> Result<&'a str, Why>,
) -> Result<String, Why> {
    let template = Template::parse(text).map_err(Why::Template)?;
    template.fill(|name| {
        let value = value(name)?;
        match wrong(value) {
            Some(what) => Err(Why::Value {
                variable: name.into(),
                what,
            }),
            None => Ok(value),
        }
    })
}

/// What in a value is not labels of a name.
fn labels(value: &str) -> Option<String> {
    let strange = value
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.'));
    match strange {
        Some(strange) => Some(format!("`{}`", strange.escape_default())),
        None if value.split('.').any(str::is_empty) => Some("a `.` without a label".into()),
        None if value.len() > MAX_RULE => Some("too long a name".into()),
        None => None,
    }
}

fn digits(value: &str) -> Option<String> {
    let strange = value.chars().find(|c| !c.is_ascii_digit());
    strange.map(|strange| format!("`{}`", strange.escape_default()))
}

/// What a value made of a rule that a name alone would not be.
fn widens(split: &Split<'_>, filled: &AllowedHost) -> Option<&'static str> {
    match filled.host() {
        HostPattern::Own => Some("the application itself"),
        HostPattern::Component(_) if !split.host.ends_with(crate::destination::INTERNAL) => {
            Some("another component")
        }
        HostPattern::AnyComponent if !split.host.ends_with(crate::destination::INTERNAL) => {
            Some("all components")
        }
        HostPattern::Name(name) if is_local_name(name) => Some("this machine"),
        HostPattern::Net(net) if !crate::is_global(net.addr()) => {
            Some("an address that is not public")
        }
        _ => None,
    }
}

/// An error that does not show what was filled in.
fn veiled(split: &Split<'_>, bad: RuleError) -> Why {
    let value = |text: &str, what: &str| Why::Value {
        variable: first_variable(text),
        what: what.into(),
    };
    match bad.into_why() {
        Why::Host(_) | Why::Component(_) if split.host.contains("{{") => {
            value(split.host, "no host")
        }
        Why::Port(_) if split.port.is_some_and(|port| port.contains("{{")) => {
            value(split.port.unwrap_or_default(), "no port")
        }
        why => why,
    }
}

fn first_variable(host: &str) -> String {
    let template = Template::parse(host);
    template
        .ok()
        .and_then(|template| template.variables().next().map(Into::into))
        .unwrap_or_default()
}

impl<'a> Split<'a> {
    pub(super) fn parse(rule: &'a str, form: Form) -> Result<Split<'a>, Why> {
        if matches!(rule, "" | "*" | ":" | "?" | "*:*" | "insecure:allow-all") {
            return Err(Why::NotARule);
        }
        if rule.len() > MAX_RULE {
            return Err(Why::TooLong);
        }
        let Some((scheme, rest)) = rule.split_once("://") else {
            let bad = if rule.contains('@') {
                Why::UserInfo
            } else {
                Why::NoScheme
            };
            return Err(bad);
        };
        if rest.contains('@') {
            return Err(Why::UserInfo);
        }
        if has_space(rule) {
            return Err(Why::WhiteSpace);
        }
        let (server, path) = cut(rest);
        let path = path.filter(|path| *path != "/");
        if server.contains(['?', '#', '\\']) || (form == Form::Text && path.is_some()) {
            return Err(Why::Path);
        }
        let split = match server.split_once('/') {
            None => Split::of(scheme, server),
            Some((host, range)) => Split::of_range(scheme, host, range),
        };
        Ok(Split { path, ..split })
    }

    fn of(scheme: &'a str, authority: &'a str) -> Split<'a> {
        // Without brackets it is an address or a mistake: the host's own error says so.
        let whole = authority.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = if whole {
            (authority, None)
        } else {
            crate::host::split_port(authority)
        };
        Split {
            scheme,
            host,
            prefix: None,
            port,
            path: None,
        }
    }

    fn of_range(scheme: &'a str, host: &'a str, range: &'a str) -> Split<'a> {
        match range.split_once(':') {
            Some((prefix, port)) => Split {
                scheme,
                host,
                prefix: Some(prefix),
                port: Some(port),
                path: None,
            },
            None => Split {
                scheme,
                host,
                prefix: Some(range),
                port: None,
                path: None,
            },
        }
    }
}

/// A server, which may be a range of addresses, and what follows it.
fn cut(rest: &str) -> (&str, Option<&str>) {
    let Some(slash) = rest.find('/') else {
        return (rest, None);
    };
    let after = &rest[slash + 1..];
    let is_range = is_address(&rest[..slash])
        && after.starts_with(|c: char| c.is_ascii_digit() || "+{".contains(c));
    let end = match (is_range, after.find('/')) {
        (false, _) => slash,
        (true, None) => return (rest, None),
        (true, Some(end)) => slash + 1 + end,
    };
    (&rest[..end], Some(&rest[end..]))
}

/// White space or a control character outside the braces of a variable.
fn has_space(rule: &str) -> bool {
    let mut outside = rule
        .split("{{")
        .map(|part| part.split_once("}}").map_or(part, |(_, after)| after));
    outside.any(|part| part.contains(|c: char| c.is_whitespace() || c.is_control()))
}

/// An address, or something that wants to be one.
fn is_address(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok()
}
