//! Why a rule is not one, and what to write instead.

use crate::destination::redact;
use crate::quote::{escape, shorten};
use crate::variables::how_to_set;
use crate::{BadHost, Code};

/// What an error shows of a rule.
const MAX_SHOWN: usize = 120;

/// Why a text is not a rule of `allowed_outbound_hosts`, and what to write instead; never shows a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}` {why}")]
pub struct RuleError {
    rule: String,
    why: Why,
    help: String,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error("is not a rule")]
    NotARule,
    #[error("is longer than a rule can be")]
    TooLong,
    #[error("has white space in it")]
    WhiteSpace,
    #[error("has no scheme")]
    NoScheme,
    #[error("has a scheme that is no scheme: `{0}`")]
    Scheme(String),
    #[error("has a user name or a password")]
    UserInfo,
    #[error("has a path; a rule is for a whole server")]
    Path,
    #[error("has a path that is no path")]
    BadPath,
    #[error("has a path that is not written plainly")]
    NotPlain(Box<str>),
    #[error("has paths or methods, which are HTTP's")]
    NarrowScheme,
    #[error("has a method that is no method: `{0}`")]
    Method(String),
    #[error("has the method `{0}`, which no component may use")]
    NoSuchMethod(String),
    #[error("has `methods` without a method, or with too many")]
    Methods,
    #[error("would inject `{0}`, which is not the name of a header")]
    InjectName(String),
    #[error("would inject `{0}`, which is written by the host itself")]
    InjectOurs(String),
    #[error("would inject a value that no header can have")]
    InjectValue,
    #[error("would inject a header on the way to every server there is")]
    InjectAnywhere,
    #[error("would inject a header into a call that goes to no server outside")]
    InjectInside,
    #[error("has a list in `{{ }}`")]
    List,
    #[error("is not a host: {0}")]
    Host(BadHost),
    #[error("has a `*` within the host; it can only stand alone, or first as in `*.example.com`")]
    Wildcard,
    #[error("is not a range of addresses")]
    Range,
    #[error("has no port, and `{0}` has no usual one")]
    NoPort(String),
    #[error("has a port that is no port: `{0}`")]
    Port(String),
    #[error("has an empty range of ports; its end is not part of it")]
    EmptyPorts,
    #[error("has a port or a scheme that the application itself does not have")]
    Inside,
    #[error("names no component: {0}")]
    Component(crate::BadComponentId),
    #[error("is not a template: {0}")]
    Template(crate::template::BadTemplate),
    #[error(
        "has a variable where it would be a rule of its own; it can fill a host's labels or the port"
    )]
    VariablePlace,
    #[error("would get {what} from variable `{variable}`; it can fill a host's labels or the port")]
    Value { variable: String, what: String },
    #[error("uses the variable `{0}`, which is not declared")]
    Undeclared(String),
    #[error("uses the variable `{0}`, which has no value")]
    NoValue(String),
}

impl RuleError {
    pub(crate) fn new(rule: &str, why: Why) -> RuleError {
        let help = help(rule, &why);
        RuleError {
            rule: escape(&shorten(&redact(rule), MAX_SHOWN)),
            why,
            help,
        }
    }

    /// What kind of mistake it is.
    pub fn code(&self) -> Code {
        self.why.code()
    }

    /// The variable that it comes from, when it comes from one.
    pub(crate) fn variable(&self) -> Option<&str> {
        match &self.why {
            Why::Value { variable: name, .. } | Why::NoValue(name) | Why::Undeclared(name) => {
                Some(name)
            }
            _ => None,
        }
    }

    /// The variable that it uses and nobody declares.
    pub(crate) fn undeclared(&self) -> Option<&str> {
        match &self.why {
            Why::Undeclared(name) => Some(name),
            _ => None,
        }
    }

    /// The variable that it uses and that has no value.
    pub(crate) fn unset(&self) -> Option<&str> {
        match &self.why {
            Why::NoValue(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn into_why(self) -> Why {
        self.why
    }

    /// What to write instead.
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl Why {
    fn code(&self) -> Code {
        match self {
            Why::NotARule => Code::RuleNotARule,
            Why::TooLong => Code::RuleTooLong,
            Why::WhiteSpace => Code::RuleWhiteSpace,
            Why::NoScheme => Code::RuleNoScheme,
            Why::Scheme(_) => Code::RuleScheme,
            Why::UserInfo => Code::RuleUserInfo,
            Why::Path => Code::RulePath,
            Why::BadPath => Code::RuleBadPath,
            Why::NotPlain(_) => Code::RulePathNotPlain,
            Why::NarrowScheme => Code::RuleNarrowScheme,
            Why::Method(_) => Code::RuleMethod,
            Why::NoSuchMethod(_) => Code::RuleMethodNotProvided,
            Why::Methods => Code::RuleMethods,
            Why::InjectName(_) => Code::InjectName,
            Why::InjectOurs(_) => Code::InjectReserved,
            Why::InjectValue => Code::InjectValue,
            Why::InjectAnywhere => Code::InjectAnywhere,
            Why::InjectInside => Code::InjectInside,
            Why::List => Code::RuleList,
            Why::Host(_) => Code::RuleHost,
            Why::Wildcard => Code::RuleWildcard,
            Why::Range => Code::RuleRange,
            Why::NoPort(_) => Code::RuleNoPort,
            Why::Port(_) => Code::RulePort,
            Why::EmptyPorts => Code::RuleEmptyPorts,
            Why::Inside => Code::RuleInside,
            Why::Component(_) => Code::RuleComponent,
            Why::Template(_) => Code::RuleTemplate,
            Why::VariablePlace => Code::RuleVariablePlace,
            Why::Value { .. } => Code::RuleValue,
            Why::Undeclared(_) => Code::RuleUndeclared,
            Why::NoValue(_) => Code::RuleNotSet,
        }
    }
}

fn help(rule: &str, why: &Why) -> String {
    let shown = escape(&shorten(&redact(rule), MAX_SHOWN));
    match why {
        Why::NotARule => "to allow every public server write `*://*:*`".into(),
        Why::TooLong => "write one rule for each server".into(),
        Why::WhiteSpace => "write each rule as its own string".into(),
        Why::NoScheme => format!("write `https://{}`", shown.trim_start_matches("://")),
        Why::Scheme(scheme) => match near_scheme(scheme) {
            Some(near) => format!(
                "did you mean `{}`?",
                shown.replacen(scheme.as_str(), near, 1)
            ),
            None => "a scheme is `*`, `http`, `https`, or another in lower case".into(),
        },
        Why::UserInfo => {
            "write the host alone; a component sends its credentials in a header".into()
        }
        Why::Path => format!(
            "write `{}`; for this path alone, write {{ url = \"{shown}\" }}",
            without_path(&shown)
        ),
        Why::BadPath => {
            "a path is written as it is sent: `/v1/items`, or `/v1/` for what is below".into()
        }
        Why::NotPlain(plain) => {
            format!("write the path as `{}`", escape(&shorten(plain, MAX_SHOWN)))
        }
        Why::NarrowScheme => "write `http` or `https`, or leave path and methods out".into(),
        Why::Method(name) => format!(
            "write methods as HTTP does, such as `{}`",
            name.to_ascii_uppercase()
        ),
        Why::NoSuchMethod(_) => {
            "leave it out: `CONNECT` and `TRACE` are not available to components".into()
        }
        Why::Methods => {
            "write the methods, such as `methods = [\"GET\"]`, or leave the key out for all".into()
        }
        Why::InjectName(_) => "write letters, digits and `-`, such as `authorization`".into(),
        Why::InjectOurs(_) => "choose another header, such as `authorization`".into(),
        Why::InjectValue => "a header's value is text on one line".into(),
        Why::InjectAnywhere => "name the server, or `*.` and its domain".into(),
        Why::InjectInside => {
            "give a component of the app what it needs in its own `variables`".into()
        }
        Why::List => "write one rule for each".into(),
        Why::Host(BadHost::Mapped(ip)) => format!("write `{ip}`"),
        Why::Host(_) | Why::Wildcard => {
            "a host is a name, `*.` and a name, `*`, an address, or a range of addresses".into()
        }
        Why::Range => "a range of addresses looks like `10.0.0.0/8` or `[fd00::]/8`".into(),
        Why::NoPort(_) => format!("write the port, or `{shown}:*` for every port"),
        Why::Port(_) => {
            "a port is a number from 1 to 65535, `*`, or a range such as `8000..8010`".into()
        }
        Why::EmptyPorts => "`8000..8010` is the ports 8000 to 8009".into(),
        Why::Inside => {
            "write `http://self`, `http://NAME.spin.internal` or `http://*.spin.internal`".into()
        }
        Why::Component(_) => "write `http://NAME.spin.internal` or `http://*.spin.internal`".into(),
        Why::Template(_) => "a variable is written `{{ name }}`".into(),
        Why::VariablePlace | Why::Value { .. } => {
            "write scheme, wildcards, ranges and private addresses in the rule itself".into()
        }
        Why::Undeclared(name) => {
            format!("declare it: `[variables]` and `{name} = {{ required = true }}`")
        }
        Why::NoValue(name) => how_to_set(name, false),
    }
}

/// The scheme of HTTP that was probably meant.
pub(crate) fn near_scheme(scheme: &str) -> Option<&'static str> {
    let lower = scheme.to_ascii_lowercase();
    crate::nearest::nearest(&lower, ["https", "http"])
}

fn without_path(rule: &str) -> &str {
    let start = rule.find("://").map_or(0, |scheme| scheme + "://".len());
    let end = rule[start..]
        .find(['/', '?', '#', '\\'])
        .map_or(rule.len(), |end| start + end);
    &rule[..end]
}
