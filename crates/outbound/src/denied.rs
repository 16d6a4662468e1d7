//! A refusal, told so that the reader knows the one line that would change it.

use std::fmt;
use std::net::IpAddr;

use runner_manifest::{BadDestination, ComponentId, Destination, Diagnostic, Host, Miss, Place};

use crate::{Grants, Permit};

/// A name with more private addresses than this is not one to allow address by address.
const MOST_SUGGESTED: usize = 4;

/// The words beside a component, or a list, without any rule.
const NOTHING_COVERS: &str = "no `allowed_outbound_hosts` here covers it";

/// A call that did not leave. `Display` is the whole block.
#[derive(Clone, Debug)]
pub struct Denied {
    component: ComponentId,
    destination: String,
    diagnostic: Box<Diagnostic>,
}

impl Denied {
    /// Refuses what is not a destination at all: no rule could allow it.
    pub fn bad(grants: &Grants, bad: &BadDestination) -> Denied {
        let help = format!("no rule can allow this: {}", bad.reason());
        Denied::new(grants, bad.url().to_owned(), |diagnostic| {
            diagnostic.help(help)
        })
    }

    /// The component that asked.
    pub fn component(&self) -> &ComponentId {
        &self.component
    }

    /// What it asked for, without user name and password.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The block, to be extended with what only the caller knows.
    pub fn diagnostic(&self) -> &Diagnostic {
        &self.diagnostic
    }

    pub(crate) fn by_name(grants: &Grants, to: &Destination, nearest: Option<Miss<'_>>) -> Denied {
        let (place, label) = match &nearest {
            Some(miss) => (miss.rule.place().or_else(|| place(grants)), miss.label()),
            None => (place(grants), NOTHING_COVERS.to_owned()),
        };
        let help = allow(&grants.component, &[to.to_string()]);
        Denied::new(grants, to.to_string(), |diagnostic| {
            at(diagnostic, place, &label).help(help)
        })
    }

    /// Refuses a permitted name for what it resolved to.
    pub(crate) fn at_address(permit: &Permit, found: &[IpAddr]) -> Denied {
        let grants = permit.grants();
        let origin = permit.origin();
        let suggested = &found[..found.len().min(MOST_SUGGESTED)];
        let rules: Vec<_> = suggested
            .iter()
            .map(|ip| rule(permit, ip.to_canonical()))
            .collect();
        let label = match &origin.host {
            Host::Name(name) => resolved(name, found),
            Host::Ip(_) => "this rule does not write out the address, which is not public".into(),
        };
        let place = permit
            .rule()
            .and_then(|rule| rule.place())
            .or_else(|| place(grants));
        Denied::new(grants, origin.to_string(), |diagnostic| {
            let diagnostic = at(diagnostic, place, &label);
            if rules.is_empty() {
                return diagnostic;
            }
            diagnostic.help(allow(&grants.component, &rules))
        })
    }

    fn new(
        grants: &Grants,
        destination: String,
        finish: impl FnOnce(Diagnostic) -> Diagnostic,
    ) -> Denied {
        let component = grants.component.clone();
        let message = format!("{component} may not connect to {destination}");
        Denied {
            component,
            destination,
            diagnostic: Box::new(finish(Diagnostic::denied(message))),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl std::error::Error for Denied {}

/// The list, or the component's header when it has none.
fn place(grants: &Grants) -> Option<&Place> {
    grants.allow.place().or(grants.place.as_ref())
}

fn at(diagnostic: Diagnostic, place: Option<&Place>, label: &str) -> Diagnostic {
    match place {
        Some(place) => diagnostic.at(place.clone(), label),
        None => diagnostic,
    }
}

fn allow(component: &ComponentId, rules: &[String]) -> String {
    let mut text = String::from("to allow exactly this, run");
    for rule in rules {
        text.push_str(&format!("\nrunner allow {component} {}", quoted(rule)));
    }
    text
}

/// Brackets are a pattern to some shells.
fn quoted(rule: &str) -> String {
    if rule.contains('[') {
        return format!("'{rule}'");
    }
    rule.to_owned()
}

/// The rule that opens one address for the permit's scheme and port.
fn rule(permit: &Permit, ip: IpAddr) -> String {
    let origin = permit.origin();
    let scheme = origin.scheme;
    let host = match ip {
        IpAddr::V4(ip) => format!("{ip}/32"),
        IpAddr::V6(ip) => format!("[{ip}]/128"),
    };
    if origin.port == scheme.default_port() {
        return format!("{scheme}://{host}");
    }
    format!("{scheme}://{host}:{}", origin.port)
}

fn resolved(name: &str, found: &[IpAddr]) -> String {
    let Some(first) = found.first() else {
        return format!("`{name}` has no address");
    };
    let more = match found.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    format!("`{name}` resolved to {first}{more}, not public: a name alone does not open it")
}
