//! What is printed when apps begin to be served: where, what answers, and what each component may do.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use runner_host::{App, Loaded};
use runner_manifest::{Reply, Route};
use serde_json::{Map, Value, json};

use crate::inspect::world;
use crate::rights::{Rights, short};
use crate::telemetry::{Notice, escaped, took};

/// The message for both kinds of reader. Programs wait for its `listening` line before they connect.
pub(crate) fn notice(apps: &[Arc<App>], address: SocketAddr, scheme: &str) -> Notice {
    let url = format!("{scheme}://{address}");
    let notice = Notice::new("listening", text(apps, &url))
        .with("url", url)
        .with("pid", std::process::id());
    match apps {
        [app] => app_json(app)
            .into_iter()
            .fold(notice, |notice, (name, value)| notice.with(&name, value)),
        several => {
            let apps: Vec<Value> = several.iter().map(|app| one_of_several(app)).collect();
            notice.with("apps", apps)
        }
    }
}

fn app_json(app: &App) -> Map<String, Value> {
    let routes = app.manifest().routes.routes();
    let routes: Vec<Value> = routes.iter().map(route_json).collect();
    let components = app.components().values();
    let components: Vec<Value> = components
        .map(|loaded| component_json(app, loaded))
        .collect();
    Map::from_iter([
        ("app".to_owned(), app.manifest().name.clone().into()),
        ("routes".to_owned(), routes.into()),
        ("components".to_owned(), components.into()),
        ("loaded".to_owned(), app.is_loaded().into()),
    ])
}

fn one_of_several(app: &App) -> Value {
    let mount = &app.manifest().mount;
    let mut json = app_json(app);
    json.insert("hosts".to_owned(), mount.hosts.clone().into());
    let base = mount.base.as_ref().map(|base| base.as_str());
    json.insert("base".to_owned(), base.into());
    json.into()
}

fn text(apps: &[Arc<App>], url: &str) -> String {
    if let [app] = apps {
        let name = escaped(&app.manifest().name);
        return format!("{name} is served on {url}\n{}", parts(app));
    }
    let mut text = format!("{} apps are served on {url}\n", apps.len());
    for app in apps {
        // Writing to a string cannot fail.
        let manifest = app.manifest();
        let (name, mount) = (escaped(&manifest.name), &manifest.mount);
        if !app.is_loaded() {
            let _ = writeln!(text, "\n{name}: not loaded");
            continue;
        }
        let _ = write!(text, "\n{name}: for {mount}\n{}", parts(app));
    }
    text
}

/// The routes and the components.
fn parts(app: &App) -> String {
    let mut text = String::new();
    let base = app.manifest().mount.base.as_ref();
    let base = base.map_or("", |base| base.as_str());
    let routes: Vec<_> = app
        .manifest()
        .routes
        .routes()
        .iter()
        .map(|route| (path(route, base), reply(route)))
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

fn path(route: &Route, base: &str) -> String {
    let path = match &route.pattern {
        Some(pattern) => format!("{base}{pattern}"),
        None => "(inside the app)".to_owned(),
    };
    match &route.host {
        Some(host) => format!("{host}{path}"),
        None => path,
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
