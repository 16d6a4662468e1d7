//! Application variables: what the manifest declares and what the operator provided.

use std::collections::BTreeMap;
use std::fmt;

use crate::nearest::nearest;
use crate::quote::shorten;
use crate::raw::{Findings, Item, Text, names};
use crate::template::{Template, is_variable_name};
use crate::{Code, Diagnostic, Place};

/// A long key or certificate passes, a file does not.
pub(crate) const MAX_VALUE: usize = 64 * 1024;

/// Values for other applications, which are not ours to list.
const MAX_UNDECLARED: usize = 20;

/// A value that may be a secret: `Debug` is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(String);

/// What the operator provided, by name.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: BTreeMap<String, Value>,
    may_lack: bool,
}

/// One `[variables]` entry.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its value: provided, or the default; `None` when it is required and was not provided.
    pub value: Option<Value>,
    /// Whether the operator must provide it.
    pub required: bool,
    /// Whether it is a secret.
    pub secret: bool,
    /// What it is for.
    pub description: String,
    /// Where it is declared.
    pub place: Place,
}

impl Value {
    /// The text itself: for the guest, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value(text.into())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Variables {
    /// Provides one, in place of what was provided before.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.values.insert(name.into(), value.into());
    }

    /// What was provided under a name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// All that was provided.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// For who only reads a manifest and runs nothing: what needs a value that was not provided is left out, with a
    /// warning in place of an error.
    pub fn may_lack(mut self) -> Variables {
        self.may_lack = true;
        self
    }

    pub(crate) fn is_lack_a_mistake(&self) -> bool {
        !self.may_lack
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Variables {
        let pairs = pairs.into_iter();
        Variables {
            values: pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            may_lack: false,
        }
    }
}

/// How a variable gets its value. A secret is better not on a command line, which every user of a machine can list.
pub(crate) fn how_to_set(name: &str, secret: bool) -> String {
    let own = name.to_ascii_uppercase();
    match secret {
        true => format!(
            "set `RUNNER_VARIABLE_{own}` in the environment; others can see a command line with `--variable {name}=VALUE`"
        ),
        false => format!(
            "set `RUNNER_VARIABLE_{own}` in the environment, run with `--variable {name}=VALUE`, or give it a `default`"
        ),
    }
}

/// The names of all variables, and where each is declared.
type Declared<'a> = BTreeMap<&'a str, &'a Place>;

/// Reads `[variables]`.
pub(crate) fn read(
    entries: &[(Text<'_>, Item<'_>)],
    provided: &Variables,
    findings: &Findings,
) -> BTreeMap<String, Variable> {
    let declared: Declared<'_> = entries
        .iter()
        .map(|(name, _)| (name.text, &name.place))
        .collect();
    warn_of_undeclared(&declared, provided, findings);
    let read = |(name, item): &(Text<'_>, Item<'_>)| {
        check_name(name, findings);
        Some((
            name.text.to_owned(),
            variable(name, item, &declared, provided, findings)?,
        ))
    };
    entries.iter().filter_map(read).collect()
}

fn variable(
    name: &Text<'_>,
    item: &Item<'_>,
    declared: &Declared<'_>,
    provided: &Variables,
    findings: &Findings,
) -> Option<Variable> {
    let table = item.table()?;
    let required = table.flag("required").unwrap_or(false);
    let secret = table.flag("secret").unwrap_or(false);
    let description = table.owned("description").unwrap_or_default();
    let written = table.item("default");
    let default = written.as_ref().and_then(Item::text);
    table.finish();
    if let Some(default) = &default {
        check_default(name, default, declared, findings);
    }
    if !required && written.is_none() {
        let message = format!(
            "the variable `{}` has neither a `default` nor `required`",
            shorten(name.text, 80)
        );
        let error = Diagnostic::error(Code::VariableWithoutValue, message);
        let help = "add `required = true`, or a `default`";
        findings.error(
            error
                .at(name.place.clone(), "it could be without a value")
                .help(help),
        );
    }
    let given = provided.value(name.text).cloned();
    if given
        .as_ref()
        .is_some_and(|value| value.expose().len() > MAX_VALUE)
    {
        let message = format!("the value that was given for `{}` is too long", name.text);
        let error = Diagnostic::error(Code::ValueTooLong, message);
        let help = format!("a value has at most {MAX_VALUE} bytes; put more into a file");
        findings.error(error.at(name.place.clone(), "declared here").help(help));
    }
    let value = given.or(default.map(|default| default.text.into()));
    Some(Variable {
        value,
        required,
        secret,
        description,
        place: name.place.clone(),
    })
}

fn check_name(name: &Text<'_>, findings: &Findings) {
    if is_variable_name(name.text) {
        return;
    }
    let message = format!("`{}` is not the name of a variable", shorten(name.text, 80));
    let error = Diagnostic::error(Code::BadVariableName, message);
    let help =
        "write lower-case letters and digits, with single `_` between words, and a letter first";
    findings.error(
        error
            .at(name.place.clone(), "not `lower_snake_case`")
            .help(help),
    );
}

/// A default is plain text: one that refers to a variable would need an order, and could go in a circle.
fn check_default(
    name: &Text<'_>,
    default: &Text<'_>,
    declared: &Declared<'_>,
    findings: &Findings,
) {
    let own = shorten(name.text, 80);
    if default.text.len() > MAX_VALUE {
        let message = format!("the default of `{own}` is too long");
        let error = Diagnostic::error(Code::DefaultTooLong, message);
        let help = format!("a value has at most {MAX_VALUE} bytes; put more into a file");
        findings.error(error.at(default.place.clone(), "this value").help(help));
    }
    let Ok(template) = Template::parse(default.text) else {
        return;
    };
    let Some((other, declared)) = template
        .variables()
        .find_map(|other| Some((other, *declared.get(other)?)))
    else {
        return;
    };
    let message = format!("the default of `{own}` refers to the variable `{other}`");
    let error = Diagnostic::error(Code::DefaultRefers, message);
    let error = error.at(default.place.clone(), "a default is plain text");
    let help = "put the two together where they are used, in a component's `variables`";
    findings.error(
        error
            .also(declared.clone(), format!("`{other}` is declared here"))
            .help(help),
    );
}

fn warn_of_undeclared(declared: &Declared<'_>, provided: &Variables, findings: &Findings) {
    for (name, _) in provided
        .iter()
        .filter(|(name, _)| !declared.contains_key(name))
        .take(MAX_UNDECLARED)
    {
        let message = format!(
            "a value was given for `{}`, which is not a declared variable",
            shorten(name, 80)
        );
        let warning = Diagnostic::warning(Code::UndeclaredValue, message);
        let help = match nearest(name, declared.keys().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if declared.is_empty() => "the manifest has no `[variables]`".into(),
            None => format!("the variables are {}", names(declared.keys().copied())),
        };
        findings.warning(warning.help(help));
    }
}
