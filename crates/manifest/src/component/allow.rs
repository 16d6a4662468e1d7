//! From `allowed_outbound_hosts` to an [`AllowList`].

use super::Shared;
use super::read::fill;
use crate::allow::{Filled, Form, RuleError, Why, probably_meant};
use crate::nearest::nearest;
use crate::raw::{Item, Table, Text};
use crate::template::Template;
use crate::{AllowList, AllowedHost, Code, Diagnostic, Place};

/// As many as a manifest has room for.
const MAX_RULES: usize = 20_000;

pub(super) fn read(table: &Table<'_>, shared: &Shared<'_>) -> AllowList {
    let list = table.item("allowed_outbound_hosts");
    let old = table.item("allowed_http_hosts");
    let place = list
        .as_ref()
        .or(old.as_ref())
        .map_or(&table.place, |item| &item.place)
        .clone();
    let mut rules: Vec<AllowedHost> = Vec::new();
    for item in table.list("allowed_outbound_hosts").take(MAX_RULES + 1) {
        rules.extend(entry(&item, shared));
    }
    if let Some(old) = old {
        rules.extend(read_old(&old, shared));
    }
    if rules.len() > MAX_RULES {
        let help = "write a wildcard or a range in place of single hosts";
        shared.error(
            Code::TooManyRules,
            format!("a component has at most {MAX_RULES} rules"),
            &place,
            "too many",
            help,
        );
    }
    AllowList::from(rules).at(place)
}

/// A rule, or a table with one.
fn entry(item: &Item<'_>, shared: &Shared<'_>) -> Option<AllowedHost> {
    if item.is_text() {
        let text = item.text()?;
        return rule(text.text, Form::Text, &text.place, shared);
    }
    if !item.is_table() {
        return item.wrong(
            Code::BadRule,
            "a rule such as `\"https://api.example.com\"`, or a table with a `url`",
        );
    }
    let table = item.table()?;
    let url = table.required("url", "url = \"https://api.example.com/v1/\"");
    let methods = table.item("methods");
    let inject = table.item("inject");
    table.finish();
    let url = url?.text()?;
    let rule = rule(url.text, Form::Url, &url.place, shared)?.at(table_place(item, &url));
    let rule = narrow(rule, methods, &url, shared)?;
    match inject {
        Some(inject) => injecting(rule, &inject, &url, shared),
        None => Some(rule),
    }
}

/// A table on one line is marked whole.
fn table_place(item: &Item<'_>, url: &Text<'_>) -> Place {
    match item.place.text().contains('\n') {
        true => url.place.clone(),
        false => item.place.clone(),
    }
}

fn narrow(
    rule: AllowedHost,
    methods: Option<Item<'_>>,
    url: &Text<'_>,
    shared: &Shared<'_>,
) -> Option<AllowedHost> {
    let Some(methods) = methods else {
        return Some(rule);
    };
    let names: Vec<_> = methods
        .clone()
        .list()
        .filter_map(|name| name.text())
        .collect();
    let texts: Vec<_> = names.iter().map(|name| name.text).collect();
    let narrowed = rule.for_methods(&texts);
    let narrowed = narrowed.map_err(|why| refuse(why, url, &methods.place, shared));
    if narrowed.is_ok() {
        names.iter().for_each(|name| check_method(name, shared));
    }
    narrowed.ok()
}

/// A method may be anybody's own; one that is nearly a usual one is probably that.
fn check_method(name: &Text<'_>, shared: &Shared<'_>) {
    if let Some(near) = probably_meant(name.text) {
        shared.warn(
            Code::RuleMethodUnknown,
            format!("`{}` is not a usual method of HTTP", name.text),
            &name.place,
            "sent as it is written, by nobody perhaps",
            &format!("did you mean `{near}`?"),
        );
    }
}

fn injecting(
    rule: AllowedHost,
    item: &Item<'_>,
    url: &Text<'_>,
    shared: &Shared<'_>,
) -> Option<AllowedHost> {
    let table = item.table()?;
    let header = table.required("header", "header = \"authorization\"");
    let value = table.required("value", "value = \"Bearer {{ token }}\"");
    table.finish();
    let (header, value) = (header?.text()?, value?.text()?);
    let filled = match fill(&value, shared) {
        // Nothing is sent where values may lack: the rule stands, so that its calls are decided as they will be.
        None if !shared.needs_values => "".into(),
        filled => filled?,
    };
    warn_of_empty(&header, &value, shared);
    if rule.is_clear_text() {
        shared.warn(
            Code::InjectInTheClear,
            "a secret header is sent without encryption".into(),
            &header.place,
            "everybody on the way can read it",
            "write `https` as the scheme of the rule",
        );
    }
    let place = |why: &Why| match why {
        Why::InjectValue => value.place.clone(),
        Why::InjectAnywhere | Why::InjectInside => url.place.clone(),
        _ => header.place.clone(),
    };
    let injecting = rule.injecting(header.text, filled.expose());
    injecting
        .map_err(|why| {
            let place = place(&why);
            refuse(why, url, &place, shared);
        })
        .ok()
}

/// An empty token is more often a mistake of whoever started this than a wish.
fn warn_of_empty(header: &Text<'_>, value: &Text<'_>, shared: &Shared<'_>) {
    let template = Template::parse(value.text).ok();
    let empty = template.and_then(|template| {
        template
            .variables()
            .find(|name| shared.value(name) == Ok(""))
    });
    let Some(variable) = empty else { return };
    let message = format!(
        "the header `{}` is sent with nothing for the variable `{variable}`, which is empty",
        header.text
    );
    let warning =
        Diagnostic::warning(Code::InjectEmpty, message).at(value.place.clone(), "used here");
    let warning = shared.declared(warning, Some(variable));
    shared
        .findings
        .warning(warning.help(shared.how_to_set(variable)));
}

fn refuse(why: Why, url: &Text<'_>, place: &Place, shared: &Shared<'_>) {
    let error = RuleError::new(url.text, why);
    shared.findings.error(not_a_rule(&error, place, shared));
}

fn rule(text: &str, form: Form, place: &Place, shared: &Shared<'_>) -> Option<AllowedHost> {
    match AllowedHost::fill(text, form, |name| shared.value(name)) {
        Ok(Filled::Rule(rule)) => {
            if let Some(scheme) = rule.foreign_scheme() {
                warn_of_scheme(&rule, scheme, place, shared);
            }
            Some(rule.at(place.clone()))
        }
        Ok(Filled::Skipped { variable }) => {
            let message = format!("a rule is left out because the variable `{variable}` is empty");
            let warning = Diagnostic::warning(Code::RuleLeftOut, message)
                .at(place.clone(), "this allows nothing");
            let warning = shared.declared(warning, Some(variable));
            shared
                .findings
                .warning(warning.help(format!("give `{variable}` a value to allow it")));
            None
        }
        Err(error) => {
            let found = not_a_rule(&error, place, shared);
            match error.unset() {
                Some(_) => shared.lacks(found),
                None => shared.findings.error(found),
            }
            None
        }
    }
}

/// What is said of a rule that is none, with the variable that it comes from.
fn not_a_rule(error: &RuleError, place: &Place, shared: &Shared<'_>) -> Diagnostic {
    let label = match error.variable() {
        Some(_) => "used here",
        None => "not a rule",
    };
    let found = Diagnostic::error(error.code(), error.to_string()).at(place.clone(), label);
    let near = error
        .undeclared()
        .and_then(|name| nearest(name, shared.variables.keys().map(String::as_str)));
    match near {
        Some(near) => {
            let help = format!("did you mean `{near}`?");
            shared.declared(found, Some(near)).help(help)
        }
        None => {
            let help = error.unset().map(|name| shared.how_to_set(name));
            let found = shared.declared(found, error.variable());
            found.help(help.as_deref().unwrap_or(error.help()))
        }
    }
}

fn warn_of_scheme(rule: &AllowedHost, scheme: &str, place: &Place, shared: &Shared<'_>) {
    shared.warn(
        Code::RuleNotProvided,
        format!(
            "`{rule}` is a rule for `{scheme}`, which this version of runner does not provide yet"
        ),
        place,
        "this allows nothing",
        "leave it out, or write `http` or `https`",
    );
}

/// `allowed_http_hosts` had hosts without a scheme, for both.
fn read_old(list: &Item<'_>, shared: &Shared<'_>) -> Vec<AllowedHost> {
    shared.warn(
        Code::OldRuleKey,
        "`allowed_http_hosts` is the old name of `allowed_outbound_hosts`".into(),
        &list.place,
        "read as both `http://` and `https://`",
        "write `allowed_outbound_hosts`, with `https://` in front of each host",
    );
    let texts = list
        .clone()
        .list()
        .take(MAX_RULES + 1)
        .filter_map(|item| item.text());
    texts.flat_map(|text| old_rules(&text, shared)).collect()
}

fn old_rules(text: &Text<'_>, shared: &Shared<'_>) -> Vec<AllowedHost> {
    let read = |text_of: &str| rule(text_of, Form::Text, &text.place, shared);
    if text.text.contains("://") || text.text == "insecure:allow-all" {
        return read(text.text).into_iter().collect();
    }
    let rules = ["http", "https"].map(|scheme| read(&format!("{scheme}://{}", text.text)));
    rules.into_iter().flatten().collect()
}
