//! The `[trigger]` tables: routes, and what else would start a component.

use std::collections::{BTreeMap, BTreeSet};

use super::Declared;
use crate::component::{self, Shared, unsupported};
use crate::quote::shorten;
use crate::raw::{Item, Table};
use crate::route::{Duplicate, Target, Trigger};
use crate::{
    AllowedHost, Base, Code, Component, ComponentId, Diagnostic, Executor, Place, Reply, Route,
    RouteTable,
};

/// As many as a manifest has room for.
const MAX_ROUTES: usize = 10_000;

/// Who has more has one mistake, not many.
const MAX_DUPLICATES: usize = 20;

/// What triggers refer to: the components, those that could not be read too.
struct Names<'a, 'b> {
    declared: &'b Declared<'a>,
    components: &'b mut BTreeMap<ComponentId, Component>,
    shared: &'b Shared<'b>,
    inline: usize,
    /// Those that a trigger names.
    triggered: BTreeSet<ComponentId>,
}

pub(super) fn read<'a>(
    table: Table<'a>,
    declared: &Declared<'a>,
    components: &mut BTreeMap<ComponentId, Component>,
    base: Option<&Base>,
    shared: &Shared<'_>,
) -> Option<RouteTable> {
    let mut names = Names {
        declared,
        components,
        shared,
        inline: 0,
        triggered: BTreeSet::new(),
    };
    let http = names.list(table.item("http"));
    let routes: Vec<Route> = http.iter().filter_map(|item| names.route(item)).collect();
    for (kind, item) in table.entries() {
        if kind.text != "http" {
            names
                .list(Some(item))
                .iter()
                .for_each(|item| names.other(kind.text, item));
        }
    }
    let triggered = names.triggered;
    warn_of_unused(components, &triggered, shared);
    build(routes, base, shared)
}

/// Warns of a component that nothing can reach: it would be loaded for nobody.
fn warn_of_unused(
    components: &BTreeMap<ComponentId, Component>,
    triggered: &BTreeSet<ComponentId>,
    shared: &Shared<'_>,
) {
    let (mut named, mut any) = (BTreeSet::new(), Vec::new());
    for own in components.values() {
        let rules = own.allow.rules().iter();
        for named_here in rules.filter_map(AllowedHost::component) {
            match named_here {
                None => any.push(&own.id),
                Some(id) if *id != own.id => drop(named.insert(id)),
                Some(_) => {}
            }
        }
    }
    any.dedup();
    let is_called = |id: &ComponentId| named.contains(id) || any.iter().take(2).any(|by| *by != id);
    for (id, component) in components {
        if !triggered.contains(id) && !is_called(id) {
            shared.warn(
                Code::ComponentUnused,
                format!("nothing leads to component `{id}`"),
                &component.place,
                "no route, and no other component may call it",
                &format!(
                    "give it a `[[trigger.http]]`, or another component the rule `http://{id}.spin.internal`"
                ),
            );
        }
    }
}

impl<'a> Names<'a, '_> {
    fn list(&self, item: Option<Item<'a>>) -> Vec<Item<'a>> {
        let triggers = item.into_iter().flat_map(Item::list);
        let mut triggers: Vec<_> = triggers.take(MAX_ROUTES + 1).collect();
        if let Some(item) = triggers.get(MAX_ROUTES) {
            let message = format!("a manifest has at most {MAX_ROUTES} triggers of a type");
            let error = Diagnostic::error(Code::TooManyTriggers, message);
            let help = "make one route with `/...` of many, or two applications";
            self.shared
                .findings
                .error(error.at(item.place.clone(), "one too many").help(help));
        }
        triggers.truncate(MAX_ROUTES);
        triggers
    }

    fn route(&mut self, item: &Item<'a>) -> Option<Route> {
        let trigger = Trigger::read(item.table()?)?;
        let reply = match &trigger.target {
            Target::Component(item) => {
                let id = self.component(item)?;
                self.note_uses(&id, &trigger);
                Reply::Component(id)
            }
            Target::Static(response, place) => {
                self.check_static(&trigger, place);
                Reply::Static(response.clone())
            }
        };
        Some(trigger.into_route(reply))
    }

    /// What a trigger refers to, by name or as a table of its own.
    fn component(&mut self, item: &Item<'a>) -> Option<ComponentId> {
        let id = self.named(item)?;
        self.triggered.insert(id.clone());
        Some(id)
    }

    fn named(&mut self, item: &Item<'a>) -> Option<ComponentId> {
        if item.is_table() {
            return self.inline(item);
        }
        let text = item.text()?;
        if self.declared.contains(text.text) {
            // One that is declared and is no name has its own error.
            return text.text.parse().ok();
        }
        if self.shared.findings.has_room() {
            let error = self.declared.no_such(text.text, text.place);
            self.shared.findings.error(error);
        }
        None
    }

    fn inline(&mut self, item: &Item<'a>) -> Option<ComponentId> {
        let table = item.table()?;
        let id = loop {
            self.inline += 1;
            let name = format!("inline-component{}", self.inline);
            if !self.declared.contains(name.as_str()) {
                break name
                    .parse::<ComponentId>()
                    .expect("letters, one dash and digits");
            }
        };
        let component = component::read(id.clone(), table, self.shared)?;
        self.components.insert(id.clone(), component);
        Some(id)
    }

    fn note_uses(&mut self, id: &ComponentId, trigger: &Trigger<'_>) {
        let Some(component) = self.components.get_mut(id) else {
            return;
        };
        let executor = match trigger.executor {
            Executor::Http => None,
            Executor::Wagi { .. } => Some("executor.wagi"),
            Executor::Cgi => Some("executor.cgi"),
        };
        if let (Some(what), Some(place)) = (executor, &trigger.executor_place) {
            component
                .unsupported
                .push(unsupported(id, what, place.clone()));
        }
        if let Some(place) = &trigger.middleware {
            component
                .unsupported
                .push(unsupported(id, "dependencies.middleware", place.clone()));
        }
    }

    /// The host answers these itself: nothing that is for a component can be with them.
    fn check_static(&self, trigger: &Trigger<'_>, response: &Place) {
        let private = trigger.pattern.is_none().then_some(&trigger.place);
        let strange = [
            private,
            trigger.executor_place.as_ref(),
            trigger.middleware.as_ref(),
        ];
        for place in strange.into_iter().flatten() {
            let message = "a `static_response` has a public route and nothing for a component";
            let error = Diagnostic::error(Code::NoComponentHere, message)
                .at(place.clone(), "this is for a component")
                .also(response.clone(), "and the host answers with this");
            let help = "leave one of them out, or name a `component`";
            self.shared.findings.error(error.help(help));
        }
    }

    /// A trigger of another type: its components are known, and do not start.
    fn other(&mut self, kind: &str, item: &Item<'a>) {
        let Some(table) = item.table() else { return };
        let what = format!("trigger.{}", shorten(kind, 40));
        let mut wanted: Vec<Item<'a>> = table.item("component").into_iter().collect();
        for (_, items) in table.entries_of("components") {
            match items.is_list() {
                true => wanted.extend(items.list()),
                false => wanted.push(items),
            }
        }
        for item in wanted {
            let Some(id) = self.component(&item) else {
                continue;
            };
            if let Some(component) = self.components.get_mut(&id) {
                component
                    .unsupported
                    .push(unsupported(&id, &what, table.place.clone()));
            }
        }
    }
}

fn build(routes: Vec<Route>, base: Option<&Base>, shared: &Shared<'_>) -> Option<RouteTable> {
    // The table takes the routes, also when it fails.
    let places: Vec<_> = routes.iter().map(|route| route.place.clone()).collect();
    match RouteTable::new(routes, base) {
        Ok(table) => Some(table),
        Err(duplicates) => {
            // A place on a very long line is dear to tell.
            for Duplicate { first, second } in duplicates.into_iter().take(MAX_DUPLICATES) {
                let (first, second) = (&places[first], &places[second]);
                let route = shorten(second.text().trim_matches(['"', '\'']), 80);
                let message = format!("the route `{route}` is there twice");
                let error = Diagnostic::error(Code::DuplicateRoute, message)
                    .at(second.clone(), "the second")
                    .also(first.clone(), "the first");
                let help = "remove one, or give each a `host` of its own";
                shared.findings.error(error.help(help));
            }
            None
        }
    }
}
