//! `runner check`: everything that would stop a start, and everything that is granted and never used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use runner_host::{App, Event, Events};
use runner_manifest::{
    Component, Diagnostic, Error, Flawed, Level, Manifest, Source, Variables, slug,
};
use runner_outbound::{Options, Outbound};
use serde_json::{Value, json};

use crate::banner::component_json;
use crate::cli::{Check, Format, Global};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::load::{self, Reader};
use crate::print::Print;
use crate::telemetry::{escaped, short_safe};
use crate::{find, tenants, up};

/// What was found; `App` only when nothing is wrong.
struct Report {
    exit: Exit,
    app: Option<App>,
    diagnostics: Vec<Diagnostic>,
}

/// Prints the report and ends as it says.
pub(crate) fn run(
    args: &Check,
    global: &Global,
    environment: &Environment,
    print: &Print,
) -> Result<Exit, Failure> {
    let paths = match &args.apps[..] {
        [] => vec![find::manifest(
            args.app.from.as_deref(),
            global.directory.as_deref(),
        )?],
        apps => {
            let find = |app: &PathBuf| find::app(app, global.directory.as_deref());
            tenants::all(apps.iter().map(find))?
        }
    };
    let mut reports = Vec::new();
    for path in &paths {
        reports.push(report(path, args, environment, print)?);
    }
    let together = together(&reports);
    match args.format.format {
        Format::Text => {
            reports.iter().for_each(|report| report.print(print));
            if !together.is_empty() {
                let diagnostics = together.clone();
                print.talk(&Error { diagnostics }.to_string());
            }
        }
        Format::Json => print.data(&short_safe(&document(&reports, &together))),
    }
    Ok(exit(&reports, &together))
}

/// What is found of one app.
fn report(
    path: &Path,
    args: &Check,
    environment: &Environment,
    print: &Print,
) -> Result<Report, Failure> {
    let reader = |variables: Variables| {
        let reader = Reader::at(path.to_owned(), variables);
        reader.under(&args.operator).without_values()
    };
    let given = &args.app.variables;
    let variables = match args.apps.len() {
        0 | 1 => environment.variables(given),
        _ => {
            let name = tenants::name(&reader(Variables::default()))?;
            environment.variables_of(&slug(&name), given)
        }
    };
    let reader = reader(variables.into_iter().collect());
    match reader.examine()? {
        Ok(manifest) => load(manifest, args, environment, print),
        Err(flawed) => beside_flaws(flawed, args, environment, print),
    }
}

/// What is wrong with serving them all.
fn together(reports: &[Report]) -> Vec<Diagnostic> {
    let apps = reports.iter().filter_map(|report| report.app.as_ref());
    Manifest::clashes(apps.map(App::manifest))
}

/// As the first of them that is wrong ends, or as they end together.
fn exit(reports: &[Report], together: &[Diagnostic]) -> Exit {
    let wrong = reports.iter().find(|report| report.exit != Exit::Done);
    match wrong {
        Some(report) => report.exit,
        None if together.is_empty() => Exit::Done,
        None => Exit::Usage,
    }
}

/// One app's own document, or one with those of several in it.
fn document(reports: &[Report], together: &[Diagnostic]) -> Value {
    if let [report] = reports {
        return report.json();
    }
    let exit = exit(reports, together);
    let together = together.iter().map(crate::telemetry::diagnostic);
    json!({
        "schema": 1,
        "ok": exit == Exit::Done,
        "exit": exit.number(),
        "apps": reports.iter().map(Report::json).collect::<Vec<_>>(),
        "diagnostics": together.map(Value::Object).collect::<Vec<_>>(),
    })
}

/// What is wrong with a manifest, and with those of its components whose files are there all the same.
fn beside_flaws(
    Flawed { error, rest }: Flawed,
    args: &Check,
    environment: &Environment,
    print: &Print,
) -> Result<Report, Failure> {
    let mut diagnostics = error.diagnostics;
    if let Some(mut rest) = rest {
        rest.components.retain(|_, component| has_file(component));
        // Their rules may be among what could not be read.
        rest.expectations.clear();
        if !rest.components.is_empty() {
            let found = load(*rest, args, environment, print)?.diagnostics;
            diagnostics.extend(
                found
                    .into_iter()
                    .filter(|found| found.level == Level::Error),
            );
        }
    }
    let at = |found: &Diagnostic| found.place.as_ref().map(|place| place.span().start);
    diagnostics.sort_by_key(|found| at(found).unwrap_or(usize::MAX));
    Ok(Report {
        exit: Exit::Usage,
        app: None,
        diagnostics,
    })
}

fn has_file(component: &Component) -> bool {
    match &component.source {
        Source::Local { path, .. } => path.is_file(),
        Source::Bytes { .. } | Source::Remote { .. } | Source::Registry { .. } => false,
    }
}

fn load(
    manifest: Manifest,
    args: &Check,
    environment: &Environment,
    print: &Print,
) -> Result<Report, Failure> {
    let engine = load::engine(load::cache_dir(&args.cache, environment))?;
    // Nothing is called, so the door opens on nothing: no name server is asked.
    let options = Options {
        dns: vec![([127, 0, 0, 1], 53).into()],
        ..Options::default()
    };
    let (tell, told) = mpsc::channel();
    let events: Events = Arc::new(move |event: Event<'_>| {
        if let Event::Cache { message, .. } = event {
            let _ = tell.send(format!("warning: {}", escaped(message)));
        }
    });
    let mut diagnostics = manifest.warnings.clone();
    let failed = manifest.failed_expectations();
    let runtime = up::runtime()?;
    let loaded = runtime.block_on(async {
        let outbound =
            Outbound::new(options).map_err(|error| Failure::of(Exit::Environment, &error))?;
        let services = runner_host::Services {
            tenant: runner_host::Tenant::new(&manifest.name),
            outbound,
            events,
            refuse: Arc::new(runner_trigger_http::refuse),
            tracing: Default::default(),
        };
        Ok(App::load(&engine, manifest, 0, services).await)
    })?;
    told.try_iter().for_each(|warning| print.talk(&warning));
    Ok(match loaded {
        Ok(app) => {
            diagnostics.extend(
                app.components()
                    .values()
                    .flat_map(|loaded| loaded.audit.clone()),
            );
            let exit = match failed.is_empty() {
                true => Exit::Done,
                false => Exit::App,
            };
            diagnostics.extend(failed);
            Report {
                exit,
                app: Some(app),
                diagnostics,
            }
        }
        Err(error) => {
            let exit = load::exit_of(&error);
            diagnostics.extend(error.diagnostics);
            diagnostics.extend(failed);
            Report {
                exit,
                app: None,
                diagnostics,
            }
        }
    })
}

impl Report {
    fn print(&self, print: &Print) {
        if !self.diagnostics.is_empty() {
            print.talk(
                &Error {
                    diagnostics: self.diagnostics.clone(),
                }
                .to_string(),
            );
        }
        if let (Exit::Done, Some(app)) = (self.exit, &self.app) {
            let (components, routes) =
                (app.components().len(), app.manifest().routes.routes().len());
            let warnings = self.diagnostics.len();
            print.data(&format!(
                "ok: {}, {}, {}",
                count(components, "component"),
                count(routes, "route"),
                count(warnings, "warning"),
            ));
        }
    }

    fn json(&self) -> Value {
        let diagnostics = self
            .diagnostics
            .iter()
            .map(|found| Value::Object(crate::telemetry::diagnostic(found)));
        let app = self.app.as_ref();
        let components = app.iter().flat_map(|app| {
            app.components()
                .values()
                .map(|loaded| component_json(app, loaded))
        });
        json!({
            "schema": 1,
            "ok": self.exit == Exit::Done,
            "exit": self.exit.number(),
            "components": components.collect::<Vec<_>>(),
            "diagnostics": diagnostics.collect::<Vec<_>>(),
        })
    }
}

/// `1 route`, `2 routes`.
fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        for (number, text) in [(0, "0 routes"), (1, "1 route"), (2, "2 routes")] {
            assert_eq!(count(number, "route"), text);
        }
    }
}
