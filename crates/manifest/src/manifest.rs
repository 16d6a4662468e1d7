//! The manifest: one file, read and checked as a whole.

mod application;
mod declared;
mod made;
mod syntax;
mod triggers;
mod values;

use std::collections::BTreeMap;
use std::fs::File as OpenFile;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub(crate) use self::declared::Declared;
pub use self::made::NotAdded;
pub(crate) use self::syntax::not_toml;
pub use self::values::veiled;
use crate::component::{self, Shared};
use crate::expect;
use crate::place::File;
use crate::quote::shorten;
use crate::raw::{Findings, Item, Table, Text};
use crate::{
    Code, Component, ComponentId, Diagnostic, Error, Expectation, Limits, Mount, Operator, Place,
    RouteTable, Variable, Variables, variables,
};

/// A thousand components with a page each; more is not written by hand.
const MAX_SIZE: usize = 1024 * 1024;
/// What a host can hold ready; it also bounds what a hostile file makes of one.
const MAX_COMPONENTS: usize = 10_000;
/// Ten for each component; it bounds what is kept of a hostile file, where each takes a hundred bytes.
const MAX_VALUES: usize = 100_000;
/// A dot in a key makes a table. A hundred thousand values have room for as many in their texts.
const MAX_DOTS: usize = 3 * MAX_VALUES;
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
    /// Where its name is written.
    pub(crate) named: Place,
    /// Which requests it is for, where one process serves several apps.
    pub mount: Mount,
    /// Its version, `""` when it has none.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// What each component may use that does not say otherwise, the operator's defaults included.
    pub limits: Limits,
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

/// What is wrong with a manifest, and what could be read of it all the same.
#[derive(Debug, Clone)]
pub struct Flawed {
    /// Everything that is wrong.
    pub error: Error,
    /// The rest, where there is one: to find more mistakes in, never to be served.
    pub rest: Option<Box<Manifest>>,
}

impl Manifest {
    /// Reads a file.
    pub fn load(path: &Path, provided: &Variables) -> Result<Manifest, Error> {
        Manifest::examine(path, provided, &Operator::default()).map_err(|flawed| flawed.error)
    }

    /// Reads a text; `path` is the file it came from, and its folder is where relative paths begin.
    pub fn parse(text: &str, path: &Path, provided: &Variables) -> Result<Manifest, Error> {
        read(text, path, provided, &Operator::default()).map_err(|flawed| flawed.error)
    }

    /// Reads a file under what the operator allows, and gives what could be read also when something in it is wrong.
    pub fn examine(
        path: &Path,
        provided: &Variables,
        operator: &Operator,
    ) -> Result<Manifest, Flawed> {
        read(&read_file(path)?, path, provided, operator)
    }
}

impl From<Error> for Flawed {
    fn from(error: Error) -> Flawed {
        Flawed { error, rest: None }
    }
}

fn read(
    text: &str,
    path: &Path,
    provided: &Variables,
    operator: &Operator,
) -> Result<Manifest, Flawed> {
    if text.len() > MAX_SIZE {
        return Err(too_large(path).into());
    }
    if has_too_many_values(text) {
        return Err(too_many_values(path).into());
    }
    let file = File::new(path, text);
    let document =
        DeTable::parse(file.text()).map_err(|mistake| syntax::not_toml(&file, mistake))?;
    file.hide(values::of(document.get_ref()));
    let findings = Findings::new(file.clone());
    let manifest = lower(document.get_ref(), path, provided, operator, &findings);
    let (diagnostics, warnings) = findings.into_parts();
    match manifest {
        Some(manifest) if diagnostics.is_empty() => Ok(Manifest {
            warnings,
            ..manifest
        }),
        rest => Err(Flawed {
            error: Error { diagnostics },
            rest: rest.map(Box::new),
        }),
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
    operator: &Operator,
    findings: &Findings,
) -> Option<Manifest> {
    let root = Table::root("the manifest", document, findings);
    if !is_version(&root) {
        return None;
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let application = root
        .required("application", "[application]")
        .and_then(|item| item.table());
    let application = application.and_then(|table| application::read(table, operator));
    let variables = variables::read(&root.entries_of("variables"), provided, findings);
    let limits = application
        .as_ref()
        .map(|application| application.limits.clone())
        .unwrap_or_default();
    let shared = Shared::new(
        folder,
        limits,
        operator,
        &variables,
        provided.is_lack_a_mistake(),
        findings,
    );
    let base = application
        .as_ref()
        .and_then(|application| application.mount.base.as_ref());
    let tables = root.entries_of("component");
    let declared = Declared::new(&tables);
    let mut components = components(&tables, &shared);
    let triggers = root
        .required("trigger", "[[trigger.http]]")
        .and_then(|item| item.table());
    let routes =
        triggers.and_then(|table| triggers::read(table, &declared, &mut components, base, &shared));
    let expectations = expect::read(&root, &declared);
    root.finish();
    let application = application?;
    Some(Manifest {
        path: path.into(),
        name: application.name,
        named: application.named,
        mount: application.mount,
        version: application.version,
        description: application.description,
        authors: application.authors,
        limits: application.limits,
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
    let (code, message, help) = match old {
        true => (
            Code::OldManifest,
            "this is a manifest of version 1",
            "write it as version 2; `spin doctor` can do that",
        ),
        false => (
            Code::UnknownVersion,
            "this version of a manifest is not known",
            "write `spin_manifest_version = 2`",
        ),
    };
    root.findings.error(
        Diagnostic::error(code, message)
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
        let message = format!("a manifest has at most {MAX_COMPONENTS} components");
        let error = Diagnostic::error(Code::TooManyComponents, message);
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
            let name_shown = shorten(name.text, 80);
            let message = format!("`{name_shown}` is not the name of a component: {bad}");
            let error = Diagnostic::error(Code::BadComponentName, message);
            findings.error(
                error
                    .at(name.place.clone(), "not a name")
                    .help(instead(name.text, &bad)),
            );
            None
        }
    }
}

/// A name that could be meant.
fn instead(name: &str, bad: &crate::BadComponentId) -> String {
    if *bad == crate::BadComponentId::Reserved {
        return "give it another name".into();
    }
    let plain = name.to_lowercase().replace(['_', ' ', '.', '/'], "-");
    match plain.parse::<ComponentId>() {
        Ok(id) => format!("write `{id}`"),
        Err(_) => "write lower-case letters, digits and single dashes, such as `user-api`".into(),
    }
}

fn read_file(path: &Path) -> Result<String, Error> {
    let unreadable = |error| {
        let help = "check the path, and that you may read the file";
        cannot_read(path, Code::ManifestUnreadable, &error, help)
    };
    // Asked before it is opened: to open a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        let help = "name the manifest itself, such as `spin-like.toml`";
        return Err(cannot_read(
            path,
            Code::ManifestNotAFile,
            &"it is not a file",
            help,
        ));
    }
    let file = OpenFile::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let cap = MAX_SIZE as u64 + 1;
    file.take(cap).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_SIZE {
        return Err(too_large(path));
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))
}

fn cannot_read(path: &Path, code: Code, why: &dyn std::fmt::Display, help: &str) -> Error {
    let message = format!("cannot read `{}`: {why}", path.display());
    Diagnostic::error(code, message).help(help).into()
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Error {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = good.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let why = format!("it is not UTF-8 text, from line {line} on");
    cannot_read(path, Code::ManifestNotUtf8, &why, "save it as UTF-8")
}

/// Each value has a `=` before it or a `,` behind it; those within a text are counted too.
fn has_too_many_values(text: &str) -> bool {
    let (mut marks, mut dots) = (0, 0);
    for byte in text.bytes() {
        match byte {
            b'=' | b',' => marks += 1,
            b'.' => dots += 1,
            _ => {}
        }
    }
    marks > MAX_VALUES || dots > MAX_DOTS
}

fn too_many_values(path: &Path) -> Error {
    let message = format!("`{}` has too many values", path.display());
    let error = Diagnostic::error(Code::TooManyValues, message);
    error
        .help(format!(
            "a manifest has at most {MAX_VALUES} `=` and `,`, and {MAX_DOTS} dots"
        ))
        .into()
}

fn too_large(path: &Path) -> Error {
    let message = format!("`{}` is too large", path.display());
    let error = Diagnostic::error(Code::ManifestTooLarge, message);
    error
        .help(format!("a manifest has at most {MAX_SIZE} bytes"))
        .into()
}

/// The keys that every table of a manifest without mistakes is asked for.
#[cfg(test)]
pub(crate) fn asked(text: &str) -> Vec<crate::raw::Asked> {
    let path = Path::new("spin-like.toml");
    let file = File::new(path, text);
    let document = DeTable::parse(file.text()).expect("it is TOML");
    let findings = Findings::new(file.clone());
    let (provided, operator) = (Variables::default(), Operator::default());
    let manifest = lower(document.get_ref(), path, &provided, &operator, &findings);
    assert!(manifest.is_some() && Manifest::parse(text, path, &provided).is_ok());
    findings.into_asked()
}
#[cfg(test)]
mod tests;
