//! What is printed when an app begins to be served: where, what answers, and what each component may do.

use std::fmt::Write;
use std::net::SocketAddr;

use runner_host::{App, Loaded};
use runner_manifest::{Reply, Route};
use serde_json::{Value, json};

use crate::inspect::world;
use crate::rights::{Rights, short};
use crate::telemetry::{Notice, escaped, took};

/// The message for both kinds of reader. Programs wait for its `listening` line before they connect.
pub(crate) fn notice(app: &App, address: SocketAddr, scheme: &str) -> Notice {
    let url = format!("{scheme}://{address}");
    let routes: Vec<Value> = app
        .manifest()
        .routes
        .routes()
        .iter()
        .map(route_json)
        .collect();
    let components: Vec<Value> = app
        .components()
        .values()
        .map(|loaded| component_json(app, loaded))
        .collect();
    Notice::new("listening", text(app, &url))
        .with("url", url)
        .with("pid", std::process::id())
        .with("app", app.manifest().name.clone())
        .with("routes", routes)
        .with("components", components)
}

fn text(app: &App, url: &str) -> String {
    let mut text = format!("{} is served on {url}\n", escaped(&app.manifest().name));
    let routes: Vec<_> = app
        .manifest()
        .routes
        .routes()
        .iter()
        .map(|route| (path(route), reply(route)))
        .collect();
    let width = routes
        .iter()
        .map(|(path, _)| path.chars().count())
        .max()
        .unwrap_or_default();
    text += "\n  routes\n";
    for (path, reply) in &routes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {}{}  {reply}", escaped(path), pad(path, width));
    }
    text += "\n  components\n";
    let width = app
        .components()
        .keys()
        .map(|id| id.as_str().len())
        .max()
        .unwrap_or_default();
    for loaded in app.components().values() {
        let id = loaded.id.as_str();
        let margin = pad("", width);
        let _ = writeln!(
            text,
            "    {id}{}  {}",
            pad(id, width),
            rights(app, loaded).line()
        );
        let _ = writeln!(
            text,
            "    {margin}  sha256 {}  {}",
            short(&loaded.digest),
            came(loaded)
        );
    }
    text
}

fn pad(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.chars().count()))
}

fn rights(app: &App, loaded: &Loaded) -> Rights {
    app.manifest()
        .components
        .get(&loaded.id)
        .map(Rights::of)
        .unwrap_or_default()
}

/// Where its code came from, and how long that took.
fn came(loaded: &Loaded) -> String {
    let how = if loaded.cached {
        "from cache"
    } else {
        "compiled"
    };
    format!("{how} in {}", took(loaded.took))
}

fn path(route: &Route) -> String {
    let path = route
        .pattern
        .as_ref()
        .map_or("(inside the app)", |pattern| pattern.as_str());
    match &route.host {
        Some(host) => format!("{host}{path}"),
        None => path.to_owned(),
    }
}

fn reply(route: &Route) -> String {
    match &route.reply {
        Reply::Component(id) => id.to_string(),
        Reply::Static(response) => format!("static {}", response.status),
    }
}

fn route_json(route: &Route) -> Value {
    let (component, status) = match &route.reply {
        Reply::Component(id) => (Some(id.as_str()), None),
        Reply::Static(response) => (None, Some(response.status)),
    };
    json!({
        "route": route.pattern.as_ref().map(|pattern| pattern.as_str()),
        "host": route.host,
        "component": component,
        "static": status,
    })
}

/// What is known of a component, for programs.
pub(crate) fn component_json(app: &App, loaded: &Loaded) -> Value {
    json!({
        "id": loaded.id.as_str(),
        "digest": loaded.digest,
        "size": loaded.size,
        "world": world(loaded.world),
        "took_ms": loaded.took.as_millis() as u64,
        "cached": loaded.cached,
        "grants": rights(app, loaded).json(),
    })
}
