//! The names of the components that a manifest declares, for whatever refers to one.

use std::collections::BTreeMap;

use crate::nearest::nearest;
use crate::quote::shorten;
use crate::raw::{Item, Text, names};
use crate::{Code, Diagnostic, Place};

/// Every declared component, also one that could not be read, and where it is declared.
pub(crate) struct Declared<'a>(BTreeMap<&'a str, Place>);

impl<'a> Declared<'a> {
    pub(super) fn new(components: &[(Text<'a>, Item<'a>)]) -> Declared<'a> {
        let entries = components.iter();
        Declared(
            entries
                .map(|(name, item)| (name.text, header(name, item)))
                .collect(),
        )
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What is said of a component that is not there: the one that was probably meant, and those that there are.
    pub(crate) fn no_such(&self, name: &str, place: Place) -> Diagnostic {
        let shown = shorten(name, 80);
        let message = format!("there is no component `{shown}`");
        let mut error = Diagnostic::error(Code::NoSuchComponent, message).at(place, "not defined");
        if let Some(near) = nearest(name, self.0.keys().copied()) {
            let place = self.0[near].clone();
            error = error
                .also(place, format!("`{near}` is defined here"))
                .help(format!("did you mean `{near}`?"));
        }
        error.help(match self.0.is_empty() {
            true => format!("the manifest has no components; add `[component.{shown}]`"),
            false => format!("the components are {}", names(self.0.keys().copied())),
        })
    }
}

/// Where a component is declared: its header, or its name when it is a table in one line.
fn header(name: &Text<'_>, item: &Item<'_>) -> Place {
    match item.place.text().starts_with('[') {
        true => item.place.clone(),
        false => name.place.clone(),
    }
}
