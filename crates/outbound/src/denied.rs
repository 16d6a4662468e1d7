//! A refusal, told so that the reader knows the one line that would change it.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use http::Method;
use runner_manifest::{
    AllowedHost, BadDestination, Call, ComponentId, Destination, Diagnostic, Host, Miss, Origin,
    Part, Place,
};

use crate::permit::MAX_METHOD;
use crate::{Grants, Permit};

/// A name with more private addresses than this is not one to allow address by address.
const MOST_SUGGESTED: usize = 4;

/// What tells denied paths apart; a guest can make them long.
const MAX_SUBJECT: usize = 256;

/// The manifest that `runner` takes without being told.
const USUAL: &str = "spin-like.toml";

/// The words beside a component, or a list, without any rule.
const NOTHING_COVERS: &str = "no `allowed_outbound_hosts` here covers it";

/// A call that did not leave. It is cheap to make; `Display` is the whole block, made when it is asked for.
#[derive(Clone, Debug)]
pub struct Denied {
    grants: Arc<Grants>,
    why: Box<Why>,
}

#[derive(Clone, Debug)]
enum Why {
    /// It is not a destination at all.
    Bad(BadDestination),
    /// Its method is for nobody.
    Method { to: Destination, method: Box<str> },
    /// No rule covers it.
    Rules {
        to: Destination,
        method: Method,
        path: Box<str>,
    },
    /// A permitted name leads to addresses that no rule opens.
    Address {
        origin: Origin,
        rule: usize,
        found: Vec<IpAddr>,
    },
}

/// A rule that would allow what was denied, as `runner allow` takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suggestion {
    /// The rule, or with a method or a path the `url` of its table.
    pub url: String,
    /// The only method it is for; `None` is every one.
    pub method: Option<String>,
}

impl Denied {
    /// Refuses what is not a destination at all: no rule could allow it.
    pub fn bad(grants: &Arc<Grants>, bad: BadDestination) -> Denied {
        Denied::new(grants, Why::Bad(bad))
    }

    /// Refuses a method that is for nobody: no rule could allow it.
    pub(crate) fn method(grants: &Arc<Grants>, call: &Call<'_>) -> Denied {
        let name = call.method.as_str();
        let (to, method) = (call.to.clone(), name[..name.len().min(MAX_METHOD)].into());
        Denied::new(grants, Why::Method { to, method })
    }

    pub(crate) fn by_rules(grants: &Arc<Grants>, call: &Call<'_>) -> Denied {
        let why = Why::Rules {
            to: call.to.clone(),
            method: call.method.clone(),
            path: call.path.into(),
        };
        Denied::new(grants, why)
    }

    /// Refuses a permitted name for what it resolved to.
    pub(crate) fn at_address(permit: &Permit, found: &[IpAddr]) -> Denied {
        let why = Why::Address {
            origin: permit.origin().clone(),
            rule: permit.rule_at(),
            found: found.to_vec(),
        };
        Denied::new(permit.grants(), why)
    }

    fn new(grants: &Arc<Grants>, why: Why) -> Denied {
        Denied {
            grants: grants.clone(),
            why: Box::new(why),
        }
    }

    /// The component that asked.
    pub fn component(&self) -> &ComponentId {
        &self.grants.component
    }

    /// What it asked for: a server, or what stands in place of one; without user name and password.
    pub fn destination(&self) -> String {
        match &*self.why {
            Why::Bad(bad) => bad.url().to_owned(),
            Why::Method { to, .. } | Why::Rules { to, .. } => to.to_string(),
            Why::Address { origin, .. } => origin.to_string(),
        }
    }

    /// What makes two denials of a component the same: where rules ask for a method or a path, those too.
    pub fn subject(&self) -> String {
        match &*self.why {
            Why::Rules { to, method, path } if self.grants.allow.has_narrow() => {
                format!(
                    "{method} {to}{}",
                    &path[..path.floor_char_boundary(MAX_SUBJECT)]
                )
            }
            Why::Method { to, method } => format!("{method} {to}"),
            _ => self.destination(),
        }
    }

    /// The rule that came nearest.
    pub fn nearest(&self) -> Option<&AllowedHost> {
        match &*self.why {
            Why::Bad(_) | Why::Method { .. } => None,
            Why::Rules { to, method, path } => {
                let call = Call::new(to, method, path);
                self.grants.allow.nearest(&call).map(|miss| miss.rule)
            }
            Why::Address { rule, .. } => self.grants.allow.rules().get(*rule),
        }
    }

    /// The place of [`Denied::nearest`] in the component's list.
    pub fn nearest_at(&self) -> Option<usize> {
        let nearest = self.nearest()?;
        self.grants.allow.rules().element_offset(nearest)
    }

    /// The rules that would allow exactly this; none where no rule can.
    pub fn suggestions(&self) -> Vec<Suggestion> {
        match &*self.why {
            Why::Bad(_) | Why::Method { .. } => Vec::new(),
            Why::Rules { to, method, path } => {
                let call = Call::new(to, method, path);
                let nearest = self.grants.allow.nearest(&call);
                suggestion(&call, nearest.as_ref()).into_iter().collect()
            }
            Why::Address { origin, found, .. } => {
                let suggested = &found[..found.len().min(MOST_SUGGESTED)];
                let rules = suggested
                    .iter()
                    .map(|ip| opening(origin, ip.to_canonical()));
                rules.map(Suggestion::server).collect()
            }
        }
    }

    /// The commands that would allow exactly this, from where the manifest was named; none where no rule can.
    pub fn commands(&self) -> Vec<String> {
        let suggestions = self.suggestions().into_iter();
        let manifest = self.manifest();
        let command = |suggestion: Suggestion| {
            let (component, arguments) = (self.component(), suggestion.arguments());
            format!("runner allow {component} {arguments}{manifest}")
        };
        suggestions.map(command).collect()
    }

    /// The flag that names the manifest, where it is not the one that `runner` finds by itself.
    fn manifest(&self) -> String {
        let place = self.grants.place.as_ref().or(self.grants.allow.place());
        let path = place
            .map(Place::path)
            .filter(|path| *path != Path::new(USUAL));
        let Some(path) = path.map(|path| path.display().to_string()) else {
            return String::new();
        };
        // Else it would be a flag, or somebody's home.
        let before = if path.starts_with(['-', '~']) {
            "./"
        } else {
            ""
        };
        format!(" -f {}", quoted(&format!("{before}{path}")))
    }

    /// The block, to be extended with what only the caller knows.
    pub fn diagnostic(&self) -> Diagnostic {
        let diagnostic = match &*self.why {
            Why::Bad(bad) => {
                let help = format!("no rule can allow this: {}", bad.reason());
                self.message(&connect(bad.url())).help(help)
            }
            Why::Method { to, method } => {
                let help = format!(
                    "no rule can allow this: method `{method}` is not available to components"
                );
                self.message(&connect(&to.to_string())).help(help)
            }
            Why::Rules { to, method, path } => {
                let call = Call::new(to, method, path);
                let nearest = self.grants.allow.nearest(&call);
                let (place, label) = self.mark(nearest.as_ref());
                let denied = at(self.message(&what(&call, nearest.as_ref())), place, label);
                match suggestion(&call, nearest.as_ref()) {
                    Some(_) => denied,
                    None => denied.help("no rule for a path can have this one: write it plainly"),
                }
            }
            Why::Address {
                origin,
                rule,
                found,
            } => {
                let rule = self.grants.allow.rules().get(*rule);
                let place = rule.and_then(AllowedHost::place);
                let place = place.or(self.grants.place.as_ref());
                let label = at_address(origin, found);
                at(self.message(&connect(&origin.to_string())), place, label)
            }
        };
        match self.commands() {
            none if none.is_empty() => diagnostic,
            some => diagnostic.help(format!("to allow exactly this, run\n{}", some.join("\n"))),
        }
    }

    fn message(&self, what: &str) -> Diagnostic {
        Diagnostic::denied(format!("{} may not {what}", self.component()))
    }

    /// The nearest rule, or what stands for there being none.
    fn mark<'a>(&'a self, nearest: Option<&Miss<'a>>) -> (Option<&'a Place>, String) {
        let grants = &self.grants;
        let list = || grants.allow.place().or(grants.place.as_ref());
        match nearest {
            Some(miss) => (miss.rule.place().or_else(list), miss.label().to_owned()),
            None if grants.allow.rules().is_empty() => {
                let header = grants.place.as_ref().or(grants.allow.place());
                (header, NOTHING_COVERS.to_owned())
            }
            None => (list(), "no rule here covers it".to_owned()),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl std::error::Error for Denied {}

impl Suggestion {
    fn server(rule: String) -> Suggestion {
        let method = None;
        Suggestion { url: rule, method }
    }

    /// The words behind `runner allow COMPONENT`, quoted for a shell.
    fn arguments(&self) -> String {
        match &self.method {
            None => quoted(&self.url),
            Some(method) => format!("{} --method {}", quoted(&self.url), quoted(method)),
        }
    }
}

/// The words stay also where a list that no file holds has no place to mark.
fn at(mut diagnostic: Diagnostic, place: Option<&Place>, label: String) -> Diagnostic {
    diagnostic.place = place.cloned();
    diagnostic.label = label;
    diagnostic
}

/// Only method or path are in the way.
fn is_narrow(nearest: Option<&Miss<'_>>) -> bool {
    nearest.is_some_and(|miss| matches!(miss.part, Part::Method | Part::Path))
}

fn connect(to: &str) -> String {
    format!("connect to {to}")
}

/// What the component wanted, as far as it is what was denied.
fn what(call: &Call<'_>, nearest: Option<&Miss<'_>>) -> String {
    if is_narrow(nearest) {
        return format!("{} {}{}", call.method, call.to, call.path);
    }
    connect(&call.to.to_string())
}

/// For this method and path alone where the server is allowed for others; else for the server. None where the path is one
/// that no rule can have: then the whole server would be more than what was asked.
fn suggestion(call: &Call<'_>, nearest: Option<&Miss<'_>>) -> Option<Suggestion> {
    if !is_narrow(nearest) {
        return Some(Suggestion::server(call.to.to_string()));
    }
    let (url, method) = (format!("{}{}", call.to, call.path), call.method.as_str());
    // In a manifest, braces would be a variable.
    let is_plain = !url.contains("{{") && AllowedHost::parse_url(&url, &[method]).is_ok();
    let method = Some(method.to_owned());
    is_plain.then_some(Suggestion { url, method })
}

/// One word of a shell: the text may be a guest's.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/%".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The rule that opens one address for an origin's scheme and port.
fn opening(origin: &Origin, ip: IpAddr) -> String {
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

fn at_address(origin: &Origin, found: &[IpAddr]) -> String {
    match &origin.host {
        Host::Name(name) => resolved(name, found),
        Host::Ip(_) => "this rule does not write out the address, which is not public".into(),
    }
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

    use runner_manifest::{AllowList, Manifest, WrittenCall};

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
            Ok(to) => permit(&grants, &Call::get(&to)).unwrap_err(),
            Err(bad) => Denied::bad(&grants, bad),
        }
    }

    fn granted(rule: &str, url: &str) -> Permit {
        let to = Destination::from_url(url).unwrap();
        match permit(&grants(&[rule]), &Call::get(&to)) {
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
            permit(&grants(&[url]), &Call::get(&to)).unwrap();
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

    fn block(rules: &str, call: &str) -> String {
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
        let call = WrittenCall::parse(call).unwrap();
        permit(&grants, &call.as_call()).unwrap_err().to_string()
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
    fn the_command_names_a_manifest_that_is_not_the_usual_one() {
        for (path, flag) in [
            ("spin-like.toml", ""),
            ("spin.toml", " -f spin.toml"),
            ("shop/spin-like.toml", " -f shop/spin-like.toml"),
            ("/a b/it's.toml", r" -f '/a b/it'\''s.toml'"),
            ("-x.toml", " -f ./-x.toml"),
            ("~x.toml", " -f ./~x.toml"),
        ] {
            let text = "spin_manifest_version = 2\n[application]\nname = \"a\"\n[trigger]\n[component.thief]\nsource = \"a\"\n";
            let manifest = Manifest::parse(text, Path::new(path), &Default::default()).unwrap();
            let component = &manifest.components["thief"];
            let grants = Arc::new(Grants {
                component: component.id.clone(),
                allow: component.allow.clone(),
                place: Some(component.place.clone()),
                generation: 1,
            });
            let to = Destination::from_url("https://a.com").unwrap();
            let denied = permit(&grants, &Call::get(&to)).unwrap_err();
            let command = format!("runner allow thief https://a.com{flag}");
            let end = format!("\nhelp: to allow exactly this, run\n      {command}");
            assert!(denied.to_string().ends_with(&end), "{denied}");
            assert_eq!(denied.commands(), [command]);
        }
    }

    #[test]
    fn a_denied_method_or_path_says_which_call_and_allows_that_alone() {
        let rules =
            "allowed_outbound_hosts = [{ url = \"https://a.com/v1/\", methods = [\"GET\"] }]";
        let post = "\
denied: thief may not POST https://a.com/v1/x
  --> spin-like.toml:11:27
   |
11 | allowed_outbound_hosts = [{ url = \"https://a.com/v1/\", methods = [\"GET\"] }]
   |                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the method is POST, this rule allows GET
   |
help: to allow exactly this, run
      runner allow thief https://a.com/v1/x --method POST";
        assert_eq!(block(rules, "POST https://a.com/v1/x"), post);
        for (call, command) in [
            (
                "GET https://a.com/v2;$(x)'",
                r"'https://a.com/v2;$(x)'\''' --method GET",
            ),
            ("GET https://b.com/v1/x", "https://b.com"),
        ] {
            let block = block(rules, call);
            let end = format!("\n      runner allow thief {command}");
            assert!(block.ends_with(&end), "{block}");
        }
        // Never more than what was asked.
        let long = format!("GET https://a.com/{}", "x".repeat(600));
        for call in [
            "GET https://a.com/v1/../x",
            "GET https://a.com/{{token}}",
            &long,
        ] {
            let block = block(rules, call);
            let end = "\nhelp: no rule for a path can have this one: write it plainly";
            assert!(
                block.ends_with(end) && !block.contains("runner allow"),
                "{block}"
            );
        }
        let block = block(
            rules,
            &format!("{} https://a.com/v1/x", "M".repeat(1 << 20)),
        );
        assert!(
            block.len() < 500 && block.contains("no rule can allow this: method"),
            "{block}"
        );
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
    fn c28_a_method_that_is_never_sent_has_no_rule() {
        let to = Destination::from_url("http://127.0.0.1:9100/collect").unwrap();
        for (method, never) in [
            ("CONNECT", true),
            ("connect", true),
            ("Trace", true),
            ("TRACK", true),
            ("GET", false),
            ("CONNECTS", false),
        ] {
            let method = method.parse().unwrap();
            assert_eq!(runner_manifest::is_never_sent(&method), never, "{method}");
            let text = format!(
                "denied: thief may not connect to http://127.0.0.1:9100\n\
                 help: no rule can allow this: method `{method}` is not available to components"
            );
            let call = Call::new(&to, &method, "/collect");
            assert_eq!(Denied::method(&grants(&[]), &call).to_string(), text);
        }
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
