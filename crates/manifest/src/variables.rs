//! Application variables: what the manifest declares and what the operator provided.

use std::collections::BTreeMap;
use std::fmt;

use crate::Place;

/// A value that may be a secret: `Debug` is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(String);

/// What the operator provided, by name.
#[derive(Debug, Clone, Default)]
pub struct Variables(BTreeMap<String, Value>);

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
        self.0.insert(name.into(), value.into());
    }

    /// What was provided under a name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All that was provided.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Variables {
        Variables(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}
