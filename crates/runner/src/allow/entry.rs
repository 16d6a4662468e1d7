//! What `allowed_outbound_hosts` holds: strings, and tables for less than a whole server.

use std::fmt;

use http::Method;
use runner_manifest::{BadDestination, WrittenCall};
use toml_edit::{Array, InlineTable, Value};

/// One element of the list; `Display` is its TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A rule for a whole server.
    Text(String),
    /// A rule for some paths and methods; no methods is all of them.
    Table { url: String, methods: Vec<String> },
    /// Something that is not ours to make, as its TOML.
    Other(String),
}

impl Entry {
    /// A rule for a whole server.
    pub(crate) fn text(rule: &str) -> Entry {
        Entry::Text(rule.trim().to_owned())
    }

    /// A rule for some paths and methods.
    pub(crate) fn table(url: &str, methods: &[&str]) -> Entry {
        Entry::Table {
            url: url.trim().to_owned(),
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
        }
    }

    /// As people name it: a string without its quotes.
    pub(super) fn words(&self) -> String {
        match self {
            Entry::Text(rule) => rule.clone(),
            Entry::Table { .. } | Entry::Other(_) => self.to_string(),
        }
    }

    /// Whether it is for every method.
    pub(super) fn has_all_methods(&self) -> bool {
        !matches!(self, Entry::Table { methods, .. } if !methods.is_empty())
    }

    pub(super) fn is_narrow(&self) -> bool {
        matches!(self, Entry::Table { .. })
    }

    /// The calls that it is for: with a method each, or `GET` for all of them.
    pub(super) fn calls(&self) -> Result<Vec<WrittenCall>, BadDestination> {
        match self {
            Entry::Text(rule) => Ok(vec![WrittenCall::new(Method::GET, rule)?]),
            Entry::Table { url, methods } => {
                let methods = methods.iter().filter_map(|method| method.parse().ok());
                methods
                    .map(|method| WrittenCall::new(method, url))
                    .collect()
            }
            Entry::Other(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn of(value: &Value) -> Entry {
        Entry::read(value).unwrap_or_else(|| Entry::Other(value.to_string().trim().to_owned()))
    }

    /// A value that has nothing but what an entry has.
    fn read(value: &Value) -> Option<Entry> {
        if let Some(text) = value.as_str() {
            return Some(Entry::text(text));
        }
        let table = value.as_inline_table()?;
        let url = table.get("url")?.as_str()?;
        let methods = table.get("methods");
        if table.len() != 1 + usize::from(methods.is_some()) {
            return None;
        }
        let methods: Option<Vec<_>> = match methods {
            None => Some(Vec::new()),
            Some(list) => list.as_array()?.iter().map(Value::as_str).collect(),
        };
        Some(Entry::table(url, &methods?))
    }

    fn value(&self) -> Option<Value> {
        match self {
            Entry::Text(rule) => Some(Value::from(rule.as_str())),
            Entry::Table { url, methods } => {
                let mut table = InlineTable::new();
                table.insert("url", url.as_str().into());
                if !methods.is_empty() {
                    table.insert("methods", methods.iter().collect::<Array>().into());
                }
                Some(table.into())
            }
            Entry::Other(_) => None,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value(), self) {
            (Some(value), _) => value.fmt(f),
            (None, Entry::Other(toml)) => f.write_str(toml),
            (None, Entry::Text(_) | Entry::Table { .. }) => Ok(()),
        }
    }
}
