//! `[[expect]]`: what a manifest's author expects of its own rules, checked without a network.

use crate::manifest::Declared;
use crate::quote::escape;
use crate::raw::{Item, Table, Text};
use crate::{AllowList, AllowedHost, Code, Diagnostic, Miss, Place, Verdict, WrittenCall};

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
            (Wanted::Allow, Verdict::Deny { nearest }) => Some(self.denied(nearest.as_ref())),
            (Wanted::Deny, Verdict::Allow { rule }) => Some(self.allowed(rule)),
        }
    }

    fn denied(&self, nearest: Option<&Miss<'_>>) -> Diagnostic {
        let what = "may not make a call that is expected to be allowed";
        let failed = self.failed(Code::ExpectedAllow, what, "denied");
        let failed = match nearest.and_then(|miss| Some((miss, miss.rule.place()?))) {
            Some((miss, place)) => failed.also(place.clone(), miss.label()),
            None => failed,
        };
        let component = &self.component;
        failed.help(format!(
            "add a rule to `{component}` that covers it, or leave it out here"
        ))
    }

    fn allowed(&self, rule: &AllowedHost) -> Diagnostic {
        let what = "may make a call that is expected to be denied";
        let failed = self.failed(Code::ExpectedDeny, what, "allowed");
        let failed = match rule.place() {
            Some(place) => failed.also(place.clone(), "this rule allows it"),
            None => failed.note(format!("the rule `{rule}` allows it")),
        };
        failed.help("make the rule narrower, or leave the call out here")
    }

    fn failed(&self, code: Code, what: &str, label: &str) -> Diagnostic {
        Diagnostic::error(code, format!("component `{}` {what}", self.component))
            .at(self.place.clone(), label)
    }
}

/// Reads all `[[expect]]` tables.
pub(crate) fn read(root: &Table<'_>, declared: &Declared<'_>) -> Vec<Expectation> {
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

fn known(item: &Item<'_>, table: &Table<'_>, declared: &Declared<'_>) -> Option<String> {
    let text = item.text()?;
    if declared.contains(text.text) {
        return Some(text.text.into());
    }
    let error = declared.no_such(text.text, text.place);
    table.findings.error(error);
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
