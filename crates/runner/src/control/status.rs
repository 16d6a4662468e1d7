//! What is answered: the app that is served now, and what each component has used since it was loaded.

use std::path::Path;

use runner_host::{App, Used};
use runner_manifest::ComponentId;
use serde_json::{Map, Value, json};

use crate::explain::at;
use crate::rights::Rights;
use crate::telemetry::rfc3339;

/// The whole document.
pub(super) fn of(app: &App) -> Value {
    let manifest = &app.manifest().path;
    let path = std::path::absolute(manifest).unwrap_or_else(|_| manifest.clone());
    let components: Vec<Value> = app
        .components()
        .keys()
        .filter_map(|id| component(app, id))
        .collect();
    json!({
        "schema": 1,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "app": app.manifest().name,
        "manifest": path.to_string_lossy(),
        "generation": app.generation(),
        "since": rfc3339(app.since()),
        "manifest_is_newer": is_newer(manifest, app),
        "components": components,
    })
}

/// Whether the manifest has been written since the app was loaded from it.
fn is_newer(manifest: &Path, app: &App) -> bool {
    let written = std::fs::metadata(manifest).and_then(|found| found.modified());
    written.is_ok_and(|written| written > app.since())
}

fn component(app: &App, id: &ComponentId) -> Option<Value> {
    let (loaded, wanted) = (
        app.components().get(id)?,
        app.manifest().components.get(id)?,
    );
    Some(json!({
        "id": id.as_str(),
        "digest": loaded.digest,
        "grants": Rights::of(wanted).json(),
        "used": used(&app.used(id)?, &app.manifest().path),
    }))
}

fn used(used: &Used, manifest: &Path) -> Value {
    let rule = |rule: &runner_host::RuleUse| {
        json!({
            "rule": rule.rule.to_string(),
            "place": rule.rule.place().map(at).unwrap_or_else(|| manifest.display().to_string()),
            "calls": rule.calls,
        })
    };
    let variables: Map<String, Value> = used
        .variables
        .iter()
        .map(|(name, reads)| (name.clone(), (*reads).into()))
        .collect();
    json!({
        "requests": used.requests,
        "denied": used.denied,
        "rules": used.rules.iter().map(rule).collect::<Vec<_>>(),
        "variables": variables,
        "environment": used.environment,
        "files": used.opened,
    })
}
