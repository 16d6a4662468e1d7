//! The `[application]` table.

use crate::quote::shorten;
use crate::raw::{Item, Table};
use crate::{Code, Diagnostic, Limits};

/// It becomes a title, a log field and a metric label.
const MAX_NAME: usize = 128;

/// What a manifest says of the application as a whole.
pub(super) struct Application {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) authors: Vec<String>,
    pub(super) limits: Limits,
}

pub(super) fn read(table: Table<'_>) -> Option<Application> {
    let name = table
        .required("name", "name = \"my-app\"")
        .and_then(|item| name(&item));
    let version = table.owned("version").unwrap_or_default();
    let description = table.owned("description").unwrap_or_default();
    let authors = table.strings("authors");
    let limits = table.table("limits").map(Limits::read).unwrap_or_default();
    table.item("targets").map(Item::list);
    table.table("tool");
    triggers(&table);
    table.finish();
    Some(Application {
        name: name?,
        version,
        description,
        authors,
        limits,
    })
}

fn name(item: &Item<'_>) -> Option<String> {
    let text = item.text()?.text;
    if text.trim().is_empty() || text.len() > MAX_NAME || text.contains(char::is_control) {
        let expected = format!("a name: one line of 1 to {MAX_NAME} characters");
        return item.unfit(Code::BadApplicationName, &expected);
    }
    Some(text.into())
}

/// Settings for all triggers of a type: HTTP has only one left, which does nothing.
fn triggers(application: &Table<'_>) {
    for (kind, item) in application.entries_of("trigger") {
        let Some(table) = item.table() else { continue };
        if kind.text != "http" {
            continue;
        }
        if let Some(base) = table.item("base") {
            check_base(&base, application);
        }
        table.finish();
    }
}

fn check_base(item: &Item<'_>, application: &Table<'_>) {
    let Some(base) = item.text() else { return };
    let findings = application.findings;
    let place = base.place.clone();
    if base.text == "/" {
        let warning = Diagnostic::warning(Code::BaseWithoutEffect, "`base` does nothing any more");
        findings.warning(warning.at(place, "this has no effect").help("leave it out"));
        return;
    }
    let message = format!("`base = \"{}\"` is not supported", shorten(base.text, 80));
    let error = Diagnostic::error(Code::BaseNotSupported, message);
    findings.error(
        error
            .at(place, "routes begin at `/`")
            .help("write it in front of each `route`, and leave `base` out"),
    );
}
