//! What a manifest writes out and a message must not: the values of variables and of environments, which may be secrets.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::place::Hidden;

/// A text of the manifest's size with a star for each byte of such a value; one that is not TOML is as it was.
///
/// ```
/// let text = "[component.shop.environment]\nTOKEN = \"hunter2\"\n";
/// assert_eq!(runner_manifest::veiled(text), "[component.shop.environment]\nTOKEN = \"*******\"\n");
/// ```
pub fn veiled(text: &str) -> String {
    let mut out = text.to_owned();
    let Ok(document) = DeTable::parse(text) else {
        return out;
    };
    for Hidden { span, .. } in of(document.get_ref()) {
        let stars = text[span.clone()]
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { '*' });
        out.replace_range(span, &stars.collect::<String>());
    }
    out
}

/// Where they stand, in the order of the file.
pub(super) fn of(document: &DeTable<'_>) -> Vec<Hidden> {
    let mut hidden = Vec::new();
    for variable in tables(document, "variables") {
        let secret = variable.get("secret").map(Spanned::get_ref);
        let is_secret = secret.and_then(DeValue::as_bool) == Some(true);
        hidden.extend(
            variable
                .get("default")
                .and_then(|value| hide(value, is_secret)),
        );
    }
    for component in tables(document, "component") {
        for key in ["environment", "variables"] {
            let table = component
                .get(key)
                .and_then(|table| table.get_ref().as_table());
            let values = table.into_iter().flat_map(DeTable::values);
            hidden.extend(values.filter_map(|value| hide(value, false)));
        }
        let rules = component.get("allowed_outbound_hosts");
        let rules = rules.and_then(|rules| rules.get_ref().as_array());
        for rule in rules.into_iter().flat_map(|rules| rules.iter()) {
            hidden.extend(injected(rule.get_ref()).and_then(|value| hide(value, true)));
        }
    }
    hidden.sort_by_key(|hidden| hidden.span.start);
    hidden
}

/// The tables in a table.
fn tables<'a, 'b>(document: &'a DeTable<'b>, key: &str) -> impl Iterator<Item = &'a DeTable<'b>> {
    let all = document.get(key).and_then(|all| all.get_ref().as_table());
    let all = all.into_iter().flat_map(DeTable::values);
    all.filter_map(|one| one.get_ref().as_table())
}

/// What a rule adds as a header.
fn injected<'a, 'b>(rule: &'a DeValue<'b>) -> Option<&'a Spanned<DeValue<'b>>> {
    rule.as_table()?
        .get("inject")?
        .get_ref()
        .as_table()?
        .get("value")
}

/// A text without its quotes. A template shows no more than a variable's name, where nothing but that is secret.
fn hide(value: &Spanned<DeValue<'_>>, is_secret: bool) -> Option<Hidden> {
    let text = value.get_ref().as_str()?;
    if is_secret && text.contains("{{") {
        return None;
    }
    let Range { start, end } = value.span();
    (end > start + 2).then(|| Hidden {
        span: start + 1..end - 1,
        is_secret,
    })
}
