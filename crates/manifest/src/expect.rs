//! `[[expect]]`: what a manifest's author expects of its own rules, checked without a network.

use crate::quote::{escape, shorten};
use crate::raw::{Item, Table, Text, names};
use crate::{AllowList, Code, Diagnostic, Place, Verdict, WrittenCall};

/// What an error shows of the file's own words.
const MAX_SHOWN: usize = 120;

/// One call that a component must be allowed to make, or must not.
#[derive(Debug, Clone)]
pub struct Expectation {
    component: String,
    call: WrittenCall,
    wanted: Wanted,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Allow,
    Deny,
}

impl Expectation {
    /// The component that would call.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// What is wrong, when the rules decide otherwise.
    pub fn failure(&self, rules: &AllowList) -> Option<Diagnostic> {
        let (wanted, found) = (self.wanted, rules.check(&self.call.as_call()));
        match (wanted, found) {
            (Wanted::Allow, Verdict::Allow { .. }) | (Wanted::Deny, Verdict::Deny { .. }) => None,
            (Wanted::Allow, Verdict::Deny { nearest }) => {
                let failure = self.failed(
                    Code::ExpectedAllow,
                    "may not make a call that is expected to be allowed",
                    "denied",
                );
                let note = nearest.map(|miss| match miss.rule.place() {
                    Some(place) => format!("the nearest rule is at {place:?}: {miss}"),
                    None => format!("the nearest rule is `{}`: {miss}", miss.rule),
                });
                Some(Diagnostic {
                    notes: note.into_iter().collect(),
                    ..failure
                })
            }
            (Wanted::Deny, Verdict::Allow { rule }) => {
                let failure = self.failed(
                    Code::ExpectedDeny,
                    "may make a call that is expected to be denied",
                    "allowed",
                );
                let at = rule
                    .place()
                    .map(|place| format!(" at {place:?}"))
                    .unwrap_or_default();
                Some(failure.note(format!("the rule `{rule}`{at} allows it")))
            }
        }
    }

    fn failed(&self, code: Code, what: &str, label: &str) -> Diagnostic {
        Diagnostic::error(code, format!("component `{}` {what}", self.component))
            .at(self.place.clone(), label)
    }
}

/// Reads all `[[expect]]` tables.
pub(crate) fn read(root: &Table<'_>, declared: &[(Text<'_>, Item<'_>)]) -> Vec<Expectation> {
    let mut expectations = Vec::new();
    for item in root.list("expect") {
        let Some(table) = item.table() else { continue };
        let component = table.required("component", "component = \"NAME\"");
        let lists = [
            (Wanted::Allow, table.texts("allow").collect::<Vec<_>>()),
            (Wanted::Deny, table.texts("deny").collect()),
        ];
        check_not_empty(&table);
        let Some(component) = component.and_then(|item| known(&item, &table, declared)) else {
            table.finish();
            continue;
        };
        for (wanted, texts) in lists {
            expectations.extend(texts.iter().filter_map(|text| {
                let call = call(text, wanted, &table)?;
                let (component, place) = (component.clone(), text.place.clone());
                Some(Expectation {
                    component,
                    call,
                    wanted,
                    place,
                })
            }));
        }
        table.finish();
    }
    expectations
}

fn check_not_empty(table: &Table<'_>) {
    if table.item("allow").is_none() && table.item("deny").is_none() {
        let error = Diagnostic::error(Code::ExpectNothing, "an `[[expect]]` expects nothing");
        let help =
            "add `allow = [\"https://api.example.com\"]` or `deny = [\"https://example.com\"]`";
        table.findings.error(
            error
                .at(table.place.clone(), "neither `allow` nor `deny`")
                .help(help),
        );
    }
}

fn known(item: &Item<'_>, table: &Table<'_>, declared: &[(Text<'_>, Item<'_>)]) -> Option<String> {
    let text = item.text()?;
    if declared.iter().any(|(name, _)| name.text == text.text) {
        return Some(text.text.into());
    }
    let error = Diagnostic::error(
        Code::NoSuchComponent,
        format!("there is no component `{}`", shorten(text.text, MAX_SHOWN)),
    );
    let there = names(declared.iter().map(|(name, _)| name.text));
    table.findings.error(
        error
            .at(text.place.clone(), "not defined")
            .help(format!("the components are {there}")),
    );
    None
}

/// What is no destination is always denied: it may be expected.
fn call(text: &Text<'_>, wanted: Wanted, table: &Table<'_>) -> Option<WrittenCall> {
    match WrittenCall::parse(text.text) {
        Ok(call) => Some(call),
        Err(_) if wanted == Wanted::Deny && text.text.contains("://") => None,
        Err(bad) => {
            let error = Diagnostic::error(Code::ExpectNotACall, escape(&bad.to_string()));
            let help = "write a URL, with a method in front where it is not `GET`: `POST https://api.example.com/v1/items`";
            table
                .findings
                .error(error.at(text.place.clone(), "not a call").help(help));
            None
        }
    }
}
