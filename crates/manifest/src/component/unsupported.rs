//! Keys that are read, and that nothing stands behind yet.

use super::Unsupported;
use super::source::sha256;
use crate::quote::shorten;
use crate::raw::{Item, Table};
use crate::{Code, ComponentId, Diagnostic, Place};

/// What [`check_dependencies`] lets a dependency hand down.
pub(crate) const INHERITABLE: [&str; 7] = [
    "ai_models",
    "allowed_outbound_hosts",
    "environment",
    "files",
    "key_value_stores",
    "sqlite_databases",
    "variables",
];

/// A use of something that this version does not provide.
pub(crate) fn unsupported(id: &ComponentId, what: &str, place: Place) -> Unsupported {
    let message = format!(
        "component `{id}` uses `{what}`, which this version of runner does not provide yet"
    );
    let diagnostic = Diagnostic::error(Code::NotProvided, message).at(place, "not provided yet");
    let help = format!("remove it, and what `{id}` does with it, to run the component without");
    Unsupported {
        what: what.into(),
        diagnostic: diagnostic.help(help),
    }
}

/// The uses in a component's own table.
pub(super) fn read(table: &Table<'_>, id: &ComponentId) -> Vec<Unsupported> {
    let mut uses = Vec::new();
    for key in ["key_value_stores", "sqlite_databases", "ai_models"] {
        let Some(item) = table.item(key) else {
            continue;
        };
        let names: Vec<_> = table.texts(key).collect();
        if key != "ai_models" {
            names
                .iter()
                .filter(|name| !is_label(name.text))
                .for_each(|name| {
                    let message =
                        format!("`{}` is not the name of a store", shorten(name.text, 80));
                    let error = Diagnostic::error(Code::BadStoreName, message);
                    let help = "write letters, digits, `-` and `_`";
                    table
                        .findings
                        .error(error.at(name.place.clone(), "not a name").help(help));
                });
        }
        if !names.is_empty() {
            uses.push(unsupported(id, key, item.place.clone()));
        }
    }
    let dependencies = table.entries_of("dependencies");
    dependencies
        .iter()
        .for_each(|(_, item)| check_dependency(item));
    if let Some((name, _)) = dependencies.first() {
        uses.push(unsupported(id, "dependencies", name.place.clone()));
    }
    table.flag("dependencies_inherit_configuration");
    uses
}

fn is_label(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Checks a list or table of dependencies.
pub(crate) fn check_dependencies(items: &[Item<'_>]) {
    items.iter().for_each(check_dependency);
}

/// Checks a dependency: a version, or a table.
fn check_dependency(item: &Item<'_>) {
    if item.is_text() {
        return;
    }
    if !item.is_table() {
        let expected = "a version, or a table with `version`, `path`, `url` or `component`";
        item.wrong::<()>(Code::BadDependency, expected);
        return;
    }
    let Some(table) = item.table() else { return };
    for key in [
        "version",
        "registry",
        "package",
        "export",
        "path",
        "url",
        "component",
    ] {
        table.text(key);
    }
    table.item("digest").as_ref().and_then(sha256);
    if let Some(inherit) = table.item("inherit_configuration") {
        check_inherit(&inherit);
    }
    table.finish();
}

fn check_inherit(item: &Item<'_>) {
    if item.is_flag() {
        return;
    }
    if !item.is_list() {
        item.wrong::<()>(Code::BadInheritance, "`true`, `false` or a list of keys");
        return;
    }
    for key in item.clone().list() {
        if key
            .text()
            .is_some_and(|text| !INHERITABLE.contains(&text.text))
        {
            let expected = format!("one of {}", crate::raw::names(INHERITABLE));
            key.unfit::<()>(Code::NotInheritable, &expected);
        }
    }
}
