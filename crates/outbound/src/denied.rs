//! A refusal, told so that the reader knows the one line that would change it.

use std::fmt;
use std::net::IpAddr;

use runner_manifest::{
    AllowedHost, BadDestination, ComponentId, Destination, Diagnostic, Host, Miss, Place,
};

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
        let list = || grants.allow.place().or(grants.place.as_ref());
        let (place, label) = match nearest {
            Some(miss) => (miss.rule.place().or_else(list), miss.label().to_string()),
            None if grants.allow.rules().is_empty() => {
                let header = grants.place.as_ref().or(grants.allow.place());
                (header, NOTHING_COVERS.to_owned())
            }
            None => (list(), "no rule here covers it".to_owned()),
        };
        let help = allow(&grants.component, &[to.to_string()]);
        Denied::new(grants, to.to_string(), |diagnostic| {
            at(diagnostic, place, label).help(help)
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
        let place = permit.rule().and_then(AllowedHost::place);
        Denied::new(grants, origin.to_string(), |diagnostic| {
            let diagnostic = at(diagnostic, place.or(grants.place.as_ref()), label);
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

/// The words stay also where a list that no file holds has no place to mark.
fn at(mut diagnostic: Diagnostic, place: Option<&Place>, label: String) -> Diagnostic {
    diagnostic.place = place.cloned();
    diagnostic.label = label;
    diagnostic
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use runner_manifest::{AllowList, Manifest};

    use super::*;
    use crate::{Permitted, permit};

    fn grants(rules: &[&str]) -> Arc<Grants> {
        Arc::new(Grants {
            component: "thief".parse().unwrap(),
            allow: AllowList::parse(rules.iter().copied()).unwrap(),
            place: None,
            generation: 1,
        })
    }

    fn denied(rules: &[&str], url: &str) -> Denied {
        let grants = grants(rules);
        match Destination::from_url(url) {
            Ok(to) => permit(&grants, &to).unwrap_err(),
            Err(bad) => Denied::bad(&grants, &bad),
        }
    }

    fn granted(rule: &str, url: &str) -> Permit {
        let to = Destination::from_url(url).unwrap();
        match permit(&grants(&[rule]), &to) {
            Ok(Permitted::Remote(permit)) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_help_is_the_rule_that_allows_exactly_this() {
        for (url, rule) in [
            ("http://127.0.0.1:9100/collect?x", "http://127.0.0.1:9100"),
            ("https://API.example.com.", "https://api.example.com"),
            (
                "https://api.example.com:8443",
                "https://api.example.com:8443",
            ),
            ("http://[::1]:9100", "'http://[::1]:9100'"),
            ("http://localhost:9100", "http://localhost:9100"),
            ("/own/path", "http://self"),
            ("http://self/own", "http://self"),
            ("http://cart.spin.internal/", "http://cart.spin.internal"),
        ] {
            let denied = denied(&[], url);
            let url = rule.trim_matches('\'');
            let text = format!(
                "denied: thief may not connect to {url}\nhelp: to allow exactly this, run\n      \
                 runner allow thief {rule}"
            );
            assert_eq!(denied.to_string(), text);
            assert_eq!(denied.destination(), url);
            let to = Destination::from_url(url).unwrap();
            permit(&grants(&[url]), &to).unwrap();
        }
    }

    #[test]
    fn the_label_says_why_the_nearest_rule_missed() {
        for (rules, label) in [
            (&[][..], NOTHING_COVERS),
            (
                &["http://127.0.0.1:9101"],
                "the port is 9100, this rule allows 9101",
            ),
        ] {
            let denied = denied(rules, "http://127.0.0.1:9100");
            assert_eq!(denied.diagnostic().label, label);
        }
    }

    fn block(rules: &str, url: &str) -> String {
        let text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"demo\"\n\n[[trigger.http]]\nroute = \"/...\"\n\
             component = \"thief\"\n\n[component.thief]\nsource = \"thief.wasm\"\n{rules}"
        );
        let variables = Default::default();
        let manifest = Manifest::parse(&text, Path::new("spin-like.toml"), &variables).unwrap();
        let component = &manifest.components["thief"];
        let grants = Arc::new(Grants {
            component: component.id.clone(),
            allow: component.allow.clone(),
            place: Some(component.place.clone()),
            generation: 1,
        });
        let to = Destination::from_url(url).unwrap();
        permit(&grants, &to).unwrap_err().to_string()
    }

    #[test]
    fn a_denial_marks_the_component_or_the_nearest_rule() {
        let nothing = "\
denied: thief may not connect to http://127.0.0.1:9100
 --> spin-like.toml:9:1
  |
9 | [component.thief]
  | ^^^^^^^^^^^^^^^^^ no `allowed_outbound_hosts` here covers it
  |
help: to allow exactly this, run
      runner allow thief http://127.0.0.1:9100";
        assert_eq!(block("", "http://127.0.0.1:9100/collect"), nothing);
        let nearest = "\
denied: thief may not connect to http://127.0.0.1:9101
  --> spin-like.toml:11:27
   |
11 | allowed_outbound_hosts = [\"http://127.0.0.1:9100\"]
   |                           ^^^^^^^^^^^^^^^^^^^^^^^ the port is 9101, this rule allows 9100
   |
help: to allow exactly this, run
      runner allow thief http://127.0.0.1:9101";
        let rules = "allowed_outbound_hosts = [\"http://127.0.0.1:9100\"]";
        assert_eq!(block(rules, "http://127.0.0.1:9101"), nearest);
    }

    #[test]
    fn what_is_no_destination_has_no_rule_and_shows_no_password() {
        let denied = denied(
            &["https://allowed.com"],
            "https://allowed.com:secret@evil.com/",
        );
        let text = denied.to_string();
        assert!(
            text.starts_with("denied: thief may not connect to https://***@evil.com\n"),
            "{text}"
        );
        assert!(text.contains("\nhelp: no rule can allow this: "), "{text}");
        assert!(
            !text.contains("secret") && !text.contains("runner allow"),
            "{text}"
        );
    }

    #[test]
    fn an_address_is_opened_by_a_rule_that_the_grammar_accepts() {
        let found = ["127.0.0.1", "::1", "::ffff:10.0.0.5"].map(|ip| ip.parse().unwrap());
        for (url, port) in [("http://a.test:9001", ":9001"), ("https://a.test", "")] {
            let scheme = url.split(':').next().unwrap();
            let denied = Denied::at_address(&granted(url, url), &found);
            let rules = [
                format!("{scheme}://127.0.0.1/32{port}"),
                format!("{scheme}://[::1]/128{port}"),
                format!("{scheme}://10.0.0.5/32{port}"),
            ];
            AllowList::parse(rules.iter().map(String::as_str)).unwrap();
            let [one, two, three] = rules;
            let text = format!(
                "denied: thief may not connect to {url}\nhelp: to allow exactly this, run\n      \
                 runner allow thief {one}\n      runner allow thief '{two}'\n      runner allow thief {three}"
            );
            assert_eq!(denied.to_string(), text);
            let label = "`a.test` resolved to 127.0.0.1 and 2 more, not public: a name alone does not open it";
            assert_eq!(denied.diagnostic().label, label);
        }
    }
}
