//! The manifest: one file, read and checked as a whole.

mod application;
mod triggers;

use std::collections::BTreeMap;
use std::fs::File as OpenFile;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use crate::component::{self, Shared};
use crate::expect;
use crate::place::File;
use crate::quote::shorten;
use crate::raw::{Findings, Item, Table, Text};
use crate::{
    Component, ComponentId, Diagnostic, Error, Expectation, RouteTable, Variable, Variables,
    variables,
};

/// A thousand components with a page each; more is not written by hand.
const MAX_SIZE: usize = 1024 * 1024;
/// Up to here every mistake in the TOML is looked for, beyond it the first: each may be a copy of the line.
const MAX_RECOVERED: usize = 64 * 1024;
/// What a host can hold ready; it also bounds what a hostile file makes of one.
const MAX_COMPONENTS: usize = 10_000;
/// The only version there is.
const VERSION: i64 = 2;

/// `spin-like.toml`, read and checked: nothing in it can be wrong any more.
///
/// ```
/// use std::path::Path;
/// use runner_manifest::{Manifest, Variables};
/// let text = r#"
///     spin_manifest_version = 2
///     [application]
///     name = "hello"
///     [[trigger.http]]
///     route = "/..."
///     component = "hello"
///     [component.hello]
///     source = "hello.wasm"
/// "#;
/// let manifest = Manifest::parse(text, Path::new("app/spin-like.toml"), &Variables::default()).unwrap();
/// assert_eq!(manifest.name, "hello");
/// assert!(manifest.components["hello"].allow.rules().is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file.
    pub path: PathBuf,
    /// The application's name.
    pub name: String,
    /// Its version, `""` when it has none.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// The components, by name.
    pub components: BTreeMap<ComponentId, Component>,
    /// The routes.
    pub routes: RouteTable,
    /// The declared variables, by name.
    pub variables: BTreeMap<String, Variable>,
    /// What `[[expect]]` says that the rules must decide.
    pub expectations: Vec<Expectation>,
    /// What is allowed, and probably not meant.
    pub warnings: Vec<Diagnostic>,
}

impl Manifest {
    /// Reads a file.
    pub fn load(path: &Path, provided: &Variables) -> Result<Manifest, Error> {
        let text = read_file(path)?;
        Manifest::parse(&text, path, provided)
    }

    /// Reads a text; `path` is the file it came from, and its folder is where relative paths begin.
    pub fn parse(text: &str, path: &Path, provided: &Variables) -> Result<Manifest, Error> {
        if text.len() > MAX_SIZE {
            return Err(too_large(path));
        }
        let file = File::new(path, text);
        let document = DeTable::parse(file.text()).map_err(|mistake| not_toml(&file, mistake))?;
        let findings = Findings::new(file.clone());
        let manifest = lower(document.get_ref(), path, provided, &findings);
        let (errors, warnings) = findings.into_parts();
        match manifest {
            Some(manifest) if errors.is_empty() => Ok(Manifest {
                warnings,
                ..manifest
            }),
            _ => Err(Error {
                diagnostics: errors,
            }),
        }
    }
}

impl Manifest {
    /// Every `[[expect]]` that the rules do not meet, in the order of the file. Asks no network.
    pub fn failed_expectations(&self) -> Vec<Diagnostic> {
        let failure = |expectation: &Expectation| {
            let component = self.components.get(expectation.component())?;
            expectation.failure(&component.allow)
        };
        self.expectations.iter().filter_map(failure).collect()
    }
}

/// Reads everything there is; what is missing or wrong is among the findings.
fn lower(
    document: &DeTable<'_>,
    path: &Path,
    provided: &Variables,
    findings: &Findings,
) -> Option<Manifest> {
    let root = Table::root(document, findings);
    if !is_version(&root) {
        return None;
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let application = root
        .required("application", "[application]")
        .and_then(|item| item.table());
    let application = application.and_then(application::read);
    let variables = variables::read(&root.entries_of("variables"), provided, findings);
    let limits = application
        .as_ref()
        .map(|application| application.limits.clone())
        .unwrap_or_default();
    let shared = Shared::new(folder, limits, &variables, findings);
    let declared = root.entries_of("component");
    let mut components = components(&declared, &shared);
    let triggers = root
        .required("trigger", "[[trigger.http]]")
        .and_then(|item| item.table());
    let routes =
        triggers.and_then(|table| triggers::read(table, &declared, &mut components, &shared));
    let expectations = expect::read(&root, &declared);
    root.finish();
    let application = application?;
    Some(Manifest {
        path: path.into(),
        name: application.name,
        version: application.version,
        description: application.description,
        authors: application.authors,
        components,
        routes: routes?,
        variables,
        expectations,
        warnings: Vec::new(),
    })
}

fn is_version(root: &Table<'_>) -> bool {
    let Some(item) = root.required("spin_manifest_version", "spin_manifest_version = 2") else {
        return false;
    };
    if item.is_integer() && item.integer() == Some(VERSION) {
        return true;
    }
    let old = item.is_text() && item.text().is_some_and(|text| text.text == "1");
    let (message, help) = match old {
        true => (
            "this is a manifest of version 1",
            "write it as version 2; `spin doctor` can do that",
        ),
        false => (
            "this version of a manifest is not known",
            "write `spin_manifest_version = 2`",
        ),
    };
    root.findings.error(
        Diagnostic::error(message)
            .at(item.place, "not version 2")
            .help(help),
    );
    false
}

fn components(
    declared: &[(Text<'_>, Item<'_>)],
    shared: &Shared<'_>,
) -> BTreeMap<ComponentId, Component> {
    if let Some((name, _)) = declared.get(MAX_COMPONENTS) {
        let error = Diagnostic::error(format!(
            "a manifest has at most {MAX_COMPONENTS} components"
        ));
        shared.findings.error(
            error
                .at(name.place.clone(), "one too many")
                .help("make two applications of it"),
        );
    }
    let read = |(name, item): &(Text<'_>, Item<'_>)| {
        let id = id(name, shared.findings);
        let table = item.table()?;
        component::read(id?, table, shared).map(|component| (component.id.clone(), component))
    };
    declared
        .iter()
        .take(MAX_COMPONENTS)
        .filter_map(read)
        .collect()
}

fn id(name: &Text<'_>, findings: &Findings) -> Option<ComponentId> {
    match name.text.parse() {
        Ok(id) => Some(id),
        Err(bad) => {
            let bad: crate::BadComponentId = bad;
            let error = Diagnostic::error(format!(
                "`{}` is not the name of a component: {bad}",
                shorten(name.text, 80)
            ));
            let help = "write lower-case letters, digits and single dashes, such as `user-api`";
            findings.error(error.at(name.place.clone(), "not a name").help(help));
            None
        }
    }
}

fn read_file(path: &Path) -> Result<String, Error> {
    let unreadable = |why: &dyn std::fmt::Display, help: &str| {
        let error = Diagnostic::error(format!("cannot read `{}`: {why}", path.display()));
        Error::from(error.help(help))
    };
    let check = "check the path, and that you may read the file";
    // Asked before it is opened: to open a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error, check))?;
    if !metadata.is_file() {
        return Err(unreadable(
            &"it is not a file",
            "name the manifest itself, such as `spin-like.toml`",
        ));
    }
    let file = OpenFile::open(path).map_err(|error| unreadable(&error, check))?;
    let mut bytes = Vec::new();
    let cap = MAX_SIZE as u64 + 1;
    file.take(cap)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error, check))?;
    if bytes.len() > MAX_SIZE {
        return Err(too_large(path));
    }
    String::from_utf8(bytes).map_err(|_| unreadable(&"it is not UTF-8 text", "save it as UTF-8"))
}

fn too_large(path: &Path) -> Error {
    let error = Diagnostic::error(format!("`{}` is too large", path.display()));
    error
        .help(format!("a manifest has at most {MAX_SIZE} bytes"))
        .into()
}

fn not_toml(file: &Arc<File>, mistake: toml::de::Error) -> Error {
    let mut mistakes = vec![mistake];
    if file.text().len() <= MAX_RECOVERED {
        mistakes = DeTable::parse_recoverable(file.text()).1;
    }
    let diagnostic = |mistake: &toml::de::Error| {
        let place = file.place(mistake.span().unwrap_or(0..0));
        let error =
            Diagnostic::error("this is not TOML").at(place, shorten(mistake.message(), 200));
        error.help("correct this first: the rest of the manifest was not looked at")
    };
    // What follows the first mistakes follows from them.
    Error {
        diagnostics: mistakes.iter().take(3).map(diagnostic).collect(),
    }
}

#[cfg(test)]
mod tests;
