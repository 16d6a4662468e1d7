//! `runner inspect`: what a component is, what it is granted, and what of that a running server saw it use.
//!
//! Nothing is compiled and nothing runs. What a file says of itself is its own word: it is escaped, cut, and bounded.

mod text;
mod used;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runner_host::{Extent, Form, Inspection, List, Name, World, caps};
use runner_manifest::{ComponentId, Limits, Source};
use serde_json::{Value, json};

use self::used::Running;
use crate::cli::{Format, Global, Inspect};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::explain::component;
use crate::load::{self, Reader};
use crate::print::Print;
use crate::rights::Rights;
use crate::telemetry::{cut, escaped, short_safe};
use crate::{control, up};

/// What is shown of an error: it may repeat a name of the file.
const ERROR: usize = 300;

/// What is inspected, and what is known of it.
struct Report {
    file: PathBuf,
    found: Inspection,
    granted: Option<Granted>,
}

/// What the manifest and its servers say.
struct Granted {
    id: ComponentId,
    rights: Rights,
    /// In effect, by its manifest or as they usually are.
    limits: Limits,
    running: Vec<Running>,
}

/// Prints what is found.
pub(crate) fn run(
    args: &Inspect,
    global: &Global,
    environment: &Environment,
    print: &Print,
) -> Result<Exit, Failure> {
    let report = match names_component(&args.what) {
        true => of_component(args, global, environment)?,
        false => of_file(&in_directory(global, Path::new(&args.what)), None)?,
    };
    match args.server.format.format {
        Format::Text => print.data(&text::of(&report)),
        Format::Json => print.data(&short_safe(&report.json())),
    }
    Ok(Exit::Done)
}

/// Whether it can be the name of a component; a file has a dot or a slash in its name, or `./` is put in front of it.
fn names_component(what: &str) -> bool {
    what.parse::<ComponentId>().is_ok()
}

fn in_directory(global: &Global, path: &Path) -> PathBuf {
    match &global.directory {
        Some(directory) => directory.join(path),
        None => path.to_owned(),
    }
}

fn of_component(
    args: &Inspect,
    global: &Global,
    environment: &Environment,
) -> Result<Report, Failure> {
    let reader = Reader::new(&args.server.app, global.directory.as_deref(), environment)?;
    let reader = reader.without_values();
    let manifest = reader.read()?;
    let component = component(&manifest, &args.what)?;
    let Source::Local { path, .. } = &component.source else {
        let sentence = format!("the source of component `{}` is not a file", component.id);
        let help = "fetch it, and name the file: `runner inspect ./FILE.wasm`";
        return Err(Failure::new(Exit::App, sentence, help));
    };
    let folders = load::control_folders(args.server.cache_dir.as_deref(), environment);
    let answers = up::runtime()?.block_on(control::ask(&folders, reader.path(), control::STATUS));
    let granted = Granted {
        id: component.id.clone(),
        rights: Rights::of(component),
        limits: component.limits.clone().or(&caps::limits()),
        running: answers
            .iter()
            .filter_map(|answer| Running::of(answer, component.id.as_str()))
            .collect(),
    };
    of_file(path, Some(granted))
}

fn of_file(file: &Path, granted: Option<Granted>) -> Result<Report, Failure> {
    let found = Inspection::of(file).map_err(|error| {
        let path = file.display().to_string();
        let sentence = format!(
            "cannot inspect `{}`: {}",
            escaped(&path),
            cut(&escaped(&error.to_string()), ERROR)
        );
        let help = match &granted {
            Some(_) => error.help_of_source,
            None => error.help,
        };
        Failure::new(Exit::App, sentence, help)
    })?;
    Ok(Report {
        file: file.to_owned(),
        found,
        granted,
    })
}

impl Report {
    fn json(&self) -> Value {
        let found = &self.found;
        let granted = self.granted.as_ref();
        json!({
            "schema": 1,
            "component": granted.map(|granted| granted.id.as_str()),
            "file": self.file.to_string_lossy(),
            "digest": found.digest,
            "size": found.size,
            "producers": found.producers,
            "kind": kind(found.form),
            "worlds": found.worlds.iter().copied().map(world).collect::<Vec<_>>(),
            "imports": names(&found.imports),
            "exports": names(&found.exports),
            "memories": extents(&found.memories),
            "tables": extents(&found.tables),
            "not_shown": {
                "imports": found.imports.more,
                "exports": found.exports.more,
                "memories": found.memories.more,
                "tables": found.tables.more,
            },
            "limits": granted.map(|granted| granted.limits.words().into_iter().collect::<BTreeMap<_, _>>()),
            "grants": granted.map(|granted| granted.rights.json()),
            "running": granted.map(|granted| {
                let running = granted.running.iter();
                running.map(|running| running.json(&found.digest)).collect::<Vec<_>>()
            }),
        })
    }
}

fn kind(form: Form) -> &'static str {
    match form {
        Form::Component => "component",
        Form::CoreModule => "core module",
    }
}

/// As programs know it.
pub(crate) fn world(world: World) -> &'static str {
    match world {
        World::Http02 => "wasi:http@0.2",
        World::Http03 => "wasi:http@0.3",
    }
}

fn names(list: &List<Name>) -> Vec<Value> {
    let name = |name: &Name| json!({ "name": name.name, "version": name.version, "provided": name.provided });
    list.shown.iter().map(name).collect()
}

fn extents(list: &List<Extent>) -> Vec<Value> {
    let extent = |extent: &Extent| json!({ "module": extent.module, "initial": extent.initial, "maximum": extent.maximum });
    list.shown.iter().map(extent).collect()
}
