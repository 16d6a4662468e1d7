//! From a manifest's component to a handler: read, check, compile or take from the cache, link.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use runner_manifest::{Component as Wanted, ComponentId, Diagnostic, Level, Manifest, Source};
use runner_outbound::Grants;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::artifact::{self, Artifact};
use crate::cache::Cache;
use crate::event::{Event, Events};
use crate::files::Files;
use crate::handler::Handler;
use crate::imports;
use crate::state::State;
use crate::{Engine, capabilities, caps};

/// What is known of a loaded component.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its id in the manifest.
    pub id: ComponentId,
    /// SHA-256 of the file it was read from, in lower-case hexadecimal.
    pub digest: String,
    /// Length of that file in bytes.
    pub size: u64,
    /// Time to read, check, compile and link it.
    pub took: Duration,
    /// Whether its code came from the compile cache.
    pub cached: bool,
    /// What it exports.
    pub world: World,
    /// The interfaces it imports, as it names them.
    pub imports: Vec<String>,
    /// Grants that nothing it imports could use.
    pub audit: Vec<Diagnostic>,
}

/// Which version of `wasi:http` a component serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `wasi:http/incoming-handler@0.2`
    Http02,
    /// `wasi:http/handler@0.3`
    Http03,
}

impl World {
    /// The function by which such a component calls out.
    pub(crate) fn outgoing(self) -> &'static str {
        match self {
            World::Http02 => "wasi:http/outgoing-handler.handle",
            World::Http03 => "wasi:http/client.send",
        }
    }
}

/// Every component of an app that could not be loaded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct LoadError {
    /// What is wrong, a diagnostic each.
    pub diagnostics: Vec<Diagnostic>,
}

pub(crate) async fn load_all(
    engine: &Engine,
    manifest: &Manifest,
    generation: u64,
    events: &Events,
) -> Result<Vec<(Handler, Loaded)>, LoadError> {
    let linker = linker(engine);
    let app = app_dir(&manifest.path);
    // As many at once as there are cores: a compile uses them all by itself.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = Arc::new(Semaphore::new(cores));
    let mut loading = Vec::new();
    for wanted in manifest.components.values() {
        let (engine, linker, events) = (engine.clone(), linker.clone(), events.clone());
        let (wanted, app) = (wanted.clone(), app.clone());
        let slot = slots.clone().acquire_owned().await;
        loading.push(on_own_thread(move || {
            let _slot = slot;
            Loader {
                engine: &engine,
                linker: &linker,
                wanted: &wanted,
                app: &app,
                generation,
            }
            .load(&events)
        }));
    }
    let (mut loaded, mut diagnostics) = (Vec::new(), Vec::new());
    for task in loading {
        match task.await {
            Ok(Ok(handler)) => loaded.push(handler),
            Ok(Err(found)) => diagnostics.extend(found),
            Err(_) => diagnostics.push(diagnostic("loading was interrupted".into())),
        }
    }
    if diagnostics.is_empty() {
        Ok(loaded)
    } else {
        Err(LoadError { diagnostics })
    }
}

/// Runs `load` on a thread with room for what a hostile component makes its reader do. Its answer never comes where there
/// is no thread, or where it panicked.
fn on_own_thread<T: Send + 'static>(
    load: impl FnOnce() -> T + Send + 'static,
) -> tokio::sync::oneshot::Receiver<T> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("runner-load".into())
        .stack_size(caps::LOADER_STACK);
    let run = move || drop(answer.send(load()));
    if let Err(error) = thread.spawn(run) {
        tracing::error!(%error, "cannot start a thread to load a component");
    }
    wait
}

/// The folder of the manifest, absolute: the folder of `spin-like.toml` is empty, and a glob below that is one below `/`.
fn app_dir(manifest: &Path) -> Arc<Path> {
    let path = std::path::absolute(manifest).unwrap_or_else(|_| Path::new(".").join(manifest));
    path.parent().unwrap_or(Path::new(".")).into()
}

fn linker(engine: &Engine) -> Arc<Linker<State>> {
    let mut linker = Linker::new(engine.wasmtime());
    capabilities::add_to_linker(&mut linker).expect("no interface is linked twice");
    Arc::new(linker)
}

struct Loader<'a> {
    engine: &'a Engine,
    linker: &'a Linker<State>,
    wanted: &'a Wanted,
    app: &'a Path,
    generation: u64,
}

impl Loader<'_> {
    fn load(&self, events: &Events) -> Result<(Handler, Loaded), Vec<Diagnostic>> {
        let started = Instant::now();
        self.refuse_unsupported()?;
        let artifact = self.read()?;
        let (component, cached) = self.compile(&artifact, events)?;
        let imports = imports::of(&component, self.engine.wasmtime());
        self.refuse_missing(&imports, &artifact)?;
        let (pre, world) = self.link(&component)?;
        let files = self.files()?;
        let audit = imports::unused(&imports, self.wanted);
        let loaded = Loaded {
            id: self.wanted.id.clone(),
            digest: artifact.digest,
            size: artifact.size,
            took: started.elapsed(),
            cached,
            world,
            imports,
            audit,
        };
        Ok((self.handler(pre, world, files), loaded))
    }

    fn refuse_unsupported(&self) -> Result<(), Vec<Diagnostic>> {
        if self.wanted.unsupported.is_empty() {
            return Ok(());
        }
        Err(self
            .wanted
            .unsupported
            .iter()
            .map(|unsupported| unsupported.diagnostic.clone())
            .collect())
    }

    fn read(&self) -> Result<Artifact, Vec<Diagnostic>> {
        let Source::Local { path, .. } = &self.wanted.source else {
            return Err(self.wrong(
                "its source is not a file".into(),
                "name a `.wasm` file as `source`",
            ));
        };
        Artifact::read(path).map_err(|error| self.unusable(&error))
    }

    /// Compiled code, and whether it came from the cache.
    fn compile(
        &self,
        artifact: &Artifact,
        events: &Events,
    ) -> Result<(Component, bool), Vec<Diagnostic>> {
        let engine = self.engine.wasmtime();
        let name = Cache::name(&artifact.digest, engine);
        if let Some(component) = self.cached(&name) {
            return Ok((component, true));
        }
        events(Event::Loading {
            component: &self.wanted.id,
        });
        let component = Component::from_binary(engine, &artifact.component).map_err(|error| {
            self.unusable(&artifact::Error::Invalid(format!(
                "{:#}",
                error.root_cause()
            )))
        })?;
        if let (Some(cache), Ok(code)) = (self.engine.cache(), component.serialize()) {
            cache.put(&name, &code);
        }
        Ok((component, false))
    }

    #[expect(
        unsafe_code,
        clippy::disallowed_methods,
        reason = "the cache gives only what this installation wrote, see cache.rs"
    )]
    fn cached(&self, name: &str) -> Option<Component> {
        let code = self.engine.cache()?.get(name)?;
        // SAFETY: the bytes are those that `Component::serialize` gave for this digest, this engine's settings and this
        // wasmtime version (all part of `name`), as the MAC over name and bytes proves.
        let loaded = unsafe { Component::deserialize(self.engine.wasmtime(), &code) };
        loaded.inspect_err(|error| tracing::warn!(%error, "a compile cache entry does not load; compiling anew")).ok()
    }

    fn refuse_missing(
        &self,
        imports: &[String],
        artifact: &Artifact,
    ) -> Result<(), Vec<Diagnostic>> {
        let missing: Vec<_> = imports
            .iter()
            .filter_map(|import| imports::missing(import))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let made_by = artifact
            .producers
            .as_ref()
            .map(|made_by| format!("made by: {made_by}"));
        let tell = |missing: &imports::Missing| {
            let mut found = self.diagnostic(format!("imports {}", missing.what), &missing.help);
            found.notes.extend(missing.note.clone());
            found.notes.extend(made_by.clone());
            found
        };
        Err(missing.iter().map(tell).collect())
    }

    fn link(
        &self,
        component: &Component,
    ) -> Result<(Arc<ProxyPre<State>>, World), Vec<Diagnostic>> {
        let exports = imports::exports(component, self.engine.wasmtime());
        let world = self.world(&exports)?;
        let pre = self
            .linker
            .instantiate_pre(component)
            .map_err(|error| self.mismatch(&error))?;
        let pre = match world {
            World::Http02 => self.pre_02(pre)?,
            World::Http03 => self.pre_03(pre)?,
        };
        Ok((Arc::new(pre), world))
    }

    fn pre_02(&self, pre: InstancePre<State>) -> Result<ProxyPre<State>, Vec<Diagnostic>> {
        p2::bindings::ProxyPre::new(pre)
            .map(ProxyPre::P2)
            .map_err(|error| self.mismatch(&error))
    }

    fn pre_03(&self, pre: InstancePre<State>) -> Result<ProxyPre<State>, Vec<Diagnostic>> {
        p3::bindings::ServicePre::new(pre)
            .map(ProxyPre::P3)
            .map_err(|error| self.mismatch(&error))
    }

    fn world(&self, exports: &[String]) -> Result<World, Vec<Diagnostic>> {
        let worlds: Vec<_> = exports
            .iter()
            .filter_map(|name| Some((name, world_of(name)?)))
            .collect();
        match worlds[..] {
            [(_, world)] => Ok(world),
            [] => {
                let found = if exports.is_empty() {
                    "nothing".into()
                } else {
                    list(exports)
                };
                let what = format!("exports no HTTP handler; it exports {found}");
                Err(self.wrong(
                    what,
                    "export `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`",
                ))
            }
            _ => {
                let names: Vec<_> = worlds.iter().map(|(name, _)| (*name).clone()).collect();
                let what = format!("exports several HTTP handlers: {}", list(&names));
                Err(self.wrong(what, "export one of them"))
            }
        }
    }

    fn files(&self) -> Result<Option<Files>, Vec<Diagnostic>> {
        Files::copy(self.app, &self.wanted.files, &self.wanted.exclude_files).map_err(|error| {
            self.wrong(
                format!("cannot be given its `files`: {error}"),
                "correct `files`",
            )
        })
    }

    fn handler(&self, pre: Arc<ProxyPre<State>>, world: World, files: Option<Files>) -> Handler {
        let wanted = self.wanted;
        let grants = Grants {
            component: wanted.id.clone(),
            allow: wanted.allow.clone(),
            place: Some(wanted.place.clone()),
            generation: self.generation,
        };
        let outbound = wanted
            .limits
            .outbound_concurrency
            .map(|limit| limit as usize);
        Handler {
            id: wanted.id.clone(),
            engine: self.engine.wasmtime().clone(),
            pre,
            world,
            grants: Arc::new(grants),
            environment: wanted.environment.clone().into_iter().collect(),
            variables: wanted.variables.clone().into_iter().collect(),
            files,
            request_timeout: wanted
                .limits
                .request_timeout
                .unwrap_or(caps::REQUEST_TIMEOUT),
            memory: wanted.limits.memory.unwrap_or(caps::MEMORY),
            outbound_per_instance: outbound.unwrap_or(caps::OUTBOUND_PER_INSTANCE),
            outbound: Arc::new(Semaphore::new(caps::OUTBOUND_PER_COMPONENT)),
            denials: AtomicU64::new(0),
        }
    }

    fn unusable(&self, error: &artifact::Error) -> Vec<Diagnostic> {
        let file = match &self.wanted.source {
            Source::Local { path, .. } => path.display().to_string(),
            _ => String::new(),
        };
        self.wrong(
            format!("cannot be loaded from `{file}`: {error}"),
            error.help(),
        )
    }

    fn mismatch(&self, error: &wasmtime::Error) -> Vec<Diagnostic> {
        self.wrong(
            format!("does not fit this version of runner: {error:#}"),
            "build it again with a current toolchain",
        )
    }

    fn wrong(&self, what: String, help: &str) -> Vec<Diagnostic> {
        vec![self.diagnostic(what, help)]
    }

    fn diagnostic(&self, what: String, help: &str) -> Diagnostic {
        let place = match &self.wanted.source {
            Source::Local { place, .. } => place.clone(),
            _ => self.wanted.place.clone(),
        };
        let mut found = diagnostic(format!("component `{}` {what}", self.wanted.id));
        found.place = Some(place);
        found.help = vec![help.to_owned()];
        found
    }
}

fn diagnostic(message: String) -> Diagnostic {
    Diagnostic {
        level: Level::Error,
        message,
        place: None,
        label: String::new(),
        notes: Vec::new(),
        help: Vec::new(),
    }
}

fn world_of(export: &str) -> Option<World> {
    match export.split_once('@')? {
        ("wasi:http/incoming-handler", version) if version.starts_with("0.2.") => {
            Some(World::Http02)
        }
        ("wasi:http/handler", version) if version.starts_with("0.3.") => Some(World::Http03),
        _ => None,
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<_> = names
        .iter()
        .take(8)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = names.len().saturating_sub(shown.len());
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_an_app_is_absolute() {
        let here = std::env::current_dir().unwrap();
        for (manifest, dir) in [
            ("spin-like.toml", here.clone()),
            ("shop/spin-like.toml", here.join("shop")),
            ("/shop/spin-like.toml", "/shop".into()),
        ] {
            assert_eq!(*app_dir(Path::new(manifest)), *dir, "{manifest}");
        }
    }
}
