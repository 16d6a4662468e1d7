//! The `[application]` table.

use crate::mount::{Base, Mount};
use crate::quote::shorten;
use crate::raw::{Item, Table};
use crate::{Code, Diagnostic, Limits, Operator, Place, route};

/// It becomes a title, a log field and a metric label.
const MAX_NAME: usize = 128;

/// What a manifest says of the application as a whole.
pub(super) struct Application {
    pub(super) name: String,
    pub(super) named: Place,
    pub(super) mount: Mount,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) authors: Vec<String>,
    pub(super) limits: Limits,
}

pub(super) fn read(table: Table<'_>, operator: &Operator) -> Option<Application> {
    let named = table.required("name", "name = \"my-app\"");
    let name = named.as_ref().and_then(name);
    let version = table.owned("version").unwrap_or_default();
    let description = table.owned("description").unwrap_or_default();
    let authors = table.strings("authors");
    let limits = table.table("limits").map(|own| operator.read(own));
    let limits = limits.unwrap_or_default().or(&operator.defaults);
    table.item("targets").map(Item::list);
    table.table("tool");
    let named = named.map(|item| item.place);
    let mount = named.as_ref().map(|named| triggers(&table, named));
    table.finish();
    Some(Application {
        name: name?,
        named: named?,
        mount: mount?,
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

/// Settings for all triggers of a type; HTTP's say which requests the app is for.
fn triggers(application: &Table<'_>, named: &Place) -> Mount {
    let mut mount = Mount {
        hosts: Vec::new(),
        base: None,
        place: named.clone(),
    };
    for (kind, item) in application.entries_of("trigger") {
        let Some(table) = item.table() else { continue };
        if kind.text != "http" {
            continue;
        }
        if let Some(item) = table.item("host") {
            mount.place = item.place.clone();
            mount.hosts = hosts(item, &table);
        }
        if let Some(item) = table.item("base")
            && let Some(base) = base(&item, &table)
        {
            mount.place = item.place;
            mount.base = Some(base);
        }
        table.finish();
    }
    mount
}

/// One host, or a list of them.
fn hosts<'a>(item: Item<'a>, table: &Table<'a>) -> Vec<String> {
    let items: Vec<Item<'a>> = match item.is_list() {
        true => item.list().collect(),
        false => vec![item],
    };
    let texts = items.iter().filter_map(Item::text);
    texts.filter_map(|text| route::host(&text, table)).collect()
}

fn base(item: &Item<'_>, table: &Table<'_>) -> Option<Base> {
    let base = item.text()?;
    let place = base.place.clone();
    if base.text == "/" {
        let warning = Diagnostic::warning(Code::BaseWithoutEffect, "`base = \"/\"` does nothing");
        let warning = warning.at(place, "routes begin there in any case");
        table.findings.warning(warning.help("leave it out"));
        return None;
    }
    match base.text.parse() {
        Ok(base) => Some(base),
        Err(why) => {
            let message = format!("`{}` is not a base", shorten(base.text, 80));
            let error = Diagnostic::error(Code::BadBase, message).at(place, "not a base");
            table.findings.error(error.help(why));
            None
        }
    }
}
