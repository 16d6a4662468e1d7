//! From a `[component.<id>]` table to a [`Component`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::allow;
use super::{Build, Component, FileMount, Source, Unsupported, unsupported};
use crate::allow::Why;
use crate::nearest::nearest;
use crate::quote::shorten;
use crate::raw::{Findings, Item, Table, Text};
use crate::template::{Template, is_variable_name};
use crate::variables::{MAX_VALUE, how_to_set};
use crate::{Code, ComponentId, Diagnostic, Level, Limits, Operator, Place, Value, Variable};

/// The keys that give a component something.
const GRANTS: [&str; 6] = [
    "allowed_http_hosts",
    "allowed_outbound_hosts",
    "environment",
    "exclude_files",
    "files",
    "variables",
];
/// The limit that gives something too: what one request leaves in memory to the next.
const REUSE: &str = "instance_reuse";
/// What all templates of a manifest may grow to: a small file must not fill the memory.
const MAX_FILLED: usize = 8 * 1024 * 1024;

/// What all components of a manifest share.
pub(crate) struct Shared<'a> {
    pub(crate) folder: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) operator: &'a Operator,
    pub(crate) variables: &'a BTreeMap<String, Variable>,
    pub(crate) findings: &'a Findings,
    /// Whether a value that was not provided is a mistake.
    pub(super) needs_values: bool,
    filled: Cell<usize>,
}

/// Reads one component.
pub(crate) fn read(id: ComponentId, table: Table<'_>, shared: &Shared<'_>) -> Option<Component> {
    let source = table.required("source", "source = \"component.wasm\"");
    let source = source.and_then(|item| Source::read(&item, &shared.folder));
    let description = table.owned("description").unwrap_or_default();
    let environment = environment(&table);
    let variables = variables(&table, shared);
    let (files, file_places) = table
        .list("files")
        .filter_map(|item| Some((file(&item, shared)?, item.place.clone())))
        .unzip();
    let exclude_files = table.strings("exclude_files");
    let allow = allow::read(&table, shared);
    let own = table.table("limits");
    let reuse = own
        .as_ref()
        .and_then(|own| Some((REUSE, own.item(REUSE)?.place)));
    let limits = own
        .map(|own| shared.operator.read(own))
        .unwrap_or_default()
        .or(&shared.limits);
    let mut uses = unsupported::read(&table, &id);
    uses.extend(source.as_ref().and_then(|source| remote(&id, source)));
    let build = table
        .table("build")
        .and_then(|build| read_build(build, shared));
    table.item("targets").map(Item::list);
    table.table("tool");
    table
        .entries_of("profile")
        .iter()
        .filter_map(|(_, item)| item.table())
        .for_each(|profile| check_profile(profile, shared));
    let place = table.place.clone();
    let grants = GRANTS
        .into_iter()
        .filter_map(|key| Some((key, table.item(key)?.place)))
        .chain(reuse)
        .collect();
    table.finish();
    Some(Component {
        id,
        description,
        source: source?,
        environment,
        variables,
        files,
        file_places,
        exclude_files,
        allow,
        limits,
        ceilings: shared.operator.ceilings().clone(),
        unsupported: uses,
        build,
        place,
        grants,
    })
}

impl<'a> Shared<'a> {
    pub(crate) fn new(
        folder: PathBuf,
        limits: Limits,
        operator: &'a Operator,
        variables: &'a BTreeMap<String, Variable>,
        needs_values: bool,
        findings: &'a Findings,
    ) -> Shared<'a> {
        Shared {
            folder,
            limits,
            operator,
            variables,
            findings,
            needs_values,
            filled: Cell::new(0),
        }
    }

    pub(super) fn error(
        &self,
        code: Code,
        message: String,
        place: &Place,
        label: &str,
        help: &str,
    ) {
        let error = Diagnostic::error(code, message).at(place.clone(), label);
        self.findings.error(error.help(help));
    }

    pub(crate) fn warn(&self, code: Code, message: String, place: &Place, label: &str, help: &str) {
        let warning = Diagnostic::warning(code, message).at(place.clone(), label);
        self.findings.warning(warning.help(help));
    }

    /// With the declaration of the variable that a mistake comes from.
    pub(super) fn declared(&self, error: Diagnostic, variable: Option<&str>) -> Diagnostic {
        let found = variable.and_then(|name| Some((name, self.variables.get(name)?)));
        let Some((name, Variable { place, secret, .. })) = found else {
            return error;
        };
        match secret {
            // Its line may have its default in it.
            true => error.note(format!("`{name}` is declared at {place:?}")),
            false => error.also(place.clone(), format!("`{name}` is declared here")),
        }
    }

    pub(super) fn value(&self, name: &str) -> Result<&str, Why> {
        let variable = self
            .variables
            .get(name)
            .ok_or_else(|| Why::Undeclared(name.into()))?;
        variable
            .value
            .as_ref()
            .map(Value::expose)
            .ok_or_else(|| Why::NoValue(name.into()))
    }

    /// How a variable of this manifest gets its value.
    pub(super) fn how_to_set(&self, name: &str) -> String {
        let secret = self.variables.get(name).is_some_and(|own| own.secret);
        how_to_set(name, secret)
    }

    /// Says that a value was not provided: what needs it is left out, unless it must not lack.
    pub(super) fn lacks(&self, lacking: Diagnostic) {
        match self.needs_values {
            true => self.findings.error(lacking),
            false => self.findings.warning(Diagnostic {
                level: Level::Warning,
                ..lacking.note("it is left out here; `runner up` does not start without it")
            }),
        }
    }

    /// Whether there is room for so much more.
    fn make_room(&self, bytes: usize) -> bool {
        self.filled.set(self.filled.get().saturating_add(bytes));
        self.filled.get() <= MAX_FILLED
    }
}

fn remote(id: &ComponentId, source: &Source) -> Option<Unsupported> {
    let what = match source {
        Source::Local { .. } | Source::Bytes { .. } => return None,
        Source::Remote { .. } => "source.url",
        Source::Registry { .. } => "source.package",
    };
    Some(unsupported(id, what, source.place().clone()))
}

fn environment(table: &Table<'_>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, item) in table.entries_of("environment") {
        let Some(value) = item.text() else { continue };
        if name.text.is_empty() || name.text.contains(['=', '\0']) || value.text.contains('\0') {
            let message = format!("`{}` cannot be in an environment", shorten(name.text, 80));
            let error = Diagnostic::error(Code::BadEnvironment, message);
            let help = "a name has no `=`, and neither name nor value has a NUL";
            table
                .findings
                .error(error.at(name.place, "not a name and a value").help(help));
            continue;
        }
        environment.insert(name.text.into(), value.text.into());
    }
    environment
}

fn variables(table: &Table<'_>, shared: &Shared<'_>) -> BTreeMap<String, Value> {
    let mut variables = BTreeMap::new();
    for (name, item) in table.entries_of("variables") {
        if !is_variable_name(name.text) {
            let message = format!("`{}` is not the name of a variable", shorten(name.text, 80));
            let help = "write lower-case letters and digits, with single `_` between words, and a letter first";
            shared.error(
                Code::BadVariableName,
                message,
                &name.place,
                "not `lower_snake_case`",
                help,
            );
        }
        let value = item.text().and_then(|text| fill(&text, shared));
        variables.extend(value.map(|value| (name.text.to_owned(), value)));
    }
    variables
}

/// Fills a template; what is filled in is not read again.
pub(super) fn fill(text: &Text<'_>, shared: &Shared<'_>) -> Option<Value> {
    let template = match Template::parse(text.text) {
        Ok(template) => template,
        Err(bad) => {
            let help = "a variable is written `{{ name }}`";
            shared.error(
                Code::BadTemplate,
                bad.to_string(),
                &text.place,
                "not a template",
                help,
            );
            return None;
        }
    };
    let length = template
        .variables()
        .filter_map(|name| shared.value(name).ok())
        .map(str::len)
        .sum::<usize>();
    let length = length.saturating_add(text.text.len());
    if length > MAX_VALUE || !shared.make_room(length) {
        too_long(text, template.variables().next(), shared);
        return None;
    }
    match template.fill(|name| shared.value(name)) {
        Ok(filled) => Some(filled.into()),
        Err(why) => {
            unfilled(text, &why, shared);
            None
        }
    }
}

fn too_long(text: &Text<'_>, variable: Option<&str>, shared: &Shared<'_>) {
    let message = "a variable would become too long";
    let error =
        Diagnostic::error(Code::FilledTooLong, message).at(text.place.clone(), "this value");
    let help = format!("a value has at most {MAX_VALUE} bytes, and all of them {MAX_FILLED}");
    shared
        .findings
        .error(shared.declared(error, variable).help(help));
}

/// Says which variable a template lacks.
fn unfilled(text: &Text<'_>, why: &Why, shared: &Shared<'_>) {
    let error =
        |code, message| Diagnostic::error(code, message).at(text.place.clone(), "used here");
    let error = match why {
        Why::NoValue(name) => {
            let error = error(
                Code::VariableNotSet,
                format!("the variable `{name}` has no value"),
            );
            let lacking = shared.declared(error, Some(name));
            return shared.lacks(lacking.help(shared.how_to_set(name)));
        }
        Why::Undeclared(name) => {
            let message = format!("the variable `{}` is not declared", shorten(name, 80));
            let error = error(Code::UndeclaredVariable, message);
            match nearest(name, shared.variables.keys().map(String::as_str)) {
                Some(near) => shared
                    .declared(error, Some(near))
                    .help(format!("did you mean `{near}`?")),
                None => error.help(format!(
                    "declare it: `[variables]` and `{name} = {{ required = true }}`"
                )),
            }
        }
        _ => return,
    };
    shared.findings.error(error);
}

fn file(item: &Item<'_>, shared: &Shared<'_>) -> Option<FileMount> {
    if item.is_text() {
        let glob = item.text()?;
        let inside = !glob.text.is_empty()
            && !glob.text.starts_with('/')
            && !glob.text.split('/').any(|part| part == "..");
        if !inside || glob.text.contains(['\0', '\\']) {
            return item.unfit(
                Code::BadGlob,
                "a pattern for files below the manifest's folder",
            );
        }
        return Some(FileMount::Glob(glob.text.into()));
    }
    if !item.is_table() {
        return item.wrong(
            Code::BadFiles,
            "a pattern, or a table with `source` and `destination`",
        );
    }
    let table = item.table()?;
    let source = table.required("source", "source = \"folder\"");
    let destination = table.required("destination", "destination = \"/folder\"");
    table.finish();
    let (source, destination) = (source?, destination?);
    let (from, to) = (source.text()?.text, destination.text()?.text);
    if from.is_empty() || from.contains('\0') {
        return source.unfit(Code::BadMountSource, "the path of a folder");
    }
    if !to.starts_with('/') || to.split('/').any(|part| part == "..") || to.contains('\0') {
        return destination.unfit(Code::BadMountDestination, "an absolute path without `..`");
    }
    Some(FileMount::Directory {
        source: shared.folder.join(from),
        destination: to.into(),
    })
}

fn read_build(table: Table<'_>, shared: &Shared<'_>) -> Option<Build> {
    let command = table
        .required("command", "command = \"make\"")
        .map(|item| commands(&item));
    let workdir = table.owned("workdir").unwrap_or_default();
    let watch = table.strings("watch");
    table.finish();
    Some(Build {
        command: command?,
        workdir: shared.folder.join(workdir),
        watch,
    })
}

fn commands(item: &Item<'_>) -> Vec<String> {
    if item.is_text() {
        return item
            .text()
            .into_iter()
            .map(|text| text.text.into())
            .collect();
    }
    if !item.is_list() {
        item.wrong::<()>(Code::BadBuildCommand, "a command, or a list of commands");
        return Vec::new();
    }
    item.clone()
        .list()
        .filter_map(|item| item.text())
        .map(|text| text.text.into())
        .collect()
}

/// A profile is checked; none is ever chosen here.
fn check_profile(table: Table<'_>, shared: &Shared<'_>) {
    if let Some(source) = table.item("source") {
        Source::read(&source, &shared.folder);
    }
    environment(&table);
    let dependencies: Vec<_> = table
        .entries_of("dependencies")
        .into_iter()
        .map(|(_, item)| item)
        .collect();
    super::check_dependencies(&dependencies);
    if let Some(build) = table.table("build") {
        build.item("command").map(|item| commands(&item));
        build.finish();
    }
    table.finish();
}
