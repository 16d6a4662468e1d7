//! `runner suggest`: what a running server that observes would be granted, as a patch; nothing is changed.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{Format, Global, Suggest};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::load::{self, Reader};
use crate::print::Print;
use crate::telemetry::{escaped, short_safe};
use crate::{control, up};

/// Prints the patch of each server that serves the app and observes.
pub(crate) fn run(
    args: &Suggest,
    global: &Global,
    environment: &Environment,
    print: &Print,
) -> Result<Exit, Failure> {
    let reader = Reader::new(&args.server.app, global.directory.as_deref(), environment)?;
    let folders = load::control_folders(args.server.cache_dir.as_deref(), environment);
    let asked = control::ask(&folders, reader.path(), control::SUGGEST);
    let answers = up::runtime()?.block_on(asked);
    if answers.is_empty() {
        return Err(nobody(reader.path()));
    }
    let observing: Vec<&Value> = answers
        .iter()
        .filter(|answer| answer["patch"].is_string())
        .collect();
    if observing.is_empty() {
        return Err(not_observing(&answers));
    }
    match args.server.format.format {
        Format::Text => {
            for answer in &observing {
                print.data(answer["patch"].as_str().unwrap_or_default());
            }
        }
        Format::Json => print.data(&short_safe(&json!({ "schema": 1, "servers": observing }))),
    }
    Ok(Exit::Done)
}

fn nobody(manifest: &Path) -> Failure {
    let manifest = manifest.display().to_string();
    Failure::new(
        Exit::Environment,
        format!("no running server of yours serves `{}`", escaped(&manifest)),
        "start one with `runner up --observe FILE`, and use the app",
    )
}

fn not_observing(answers: &[Value]) -> Failure {
    let why = answers.iter().find_map(|answer| answer["error"].as_str());
    Failure::new(
        Exit::App,
        escaped(why.unwrap_or("the running server does not observe")),
        "start it with `runner up --observe FILE`, and use the app",
    )
}
