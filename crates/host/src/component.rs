//! From a manifest's component to a handler: read, check, compile or take from the cache, link.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use runner_manifest::{
    Build, Code, Component as Wanted, ComponentId, Diagnostic, Manifest, Source,
};
use runner_outbound::Grants;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::admission::Admission;
use crate::artifact::{self, Artifact};
use crate::bucket::Bucket;
use crate::cache::{Cache, Fault};
use crate::event::{Event, Events};
use crate::files::Files;
use crate::handler::Handler;
use crate::imports;
use crate::limit::Hits;
use crate::log::ComponentLog;
use crate::state::State;
use crate::tenant::TenantId;
use crate::usage::Usage;
use crate::{Engine, capabilities, caps};

/// What a message shows of a build command, or of a folder.
const MAX_QUOTED: usize = 160;

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
    tenant: TenantId,
    events: &Events,
) -> Result<Vec<(Handler, Loaded)>, LoadError> {
    if let Some(message) = engine.untold() {
        events(Event::Cache {
            component: None,
            message: &message,
        });
    }
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
        let id = wanted.id.clone();
        let load = move || {
            let _slot = slot;
            Loader {
                engine: &engine,
                linker: &linker,
                wanted: &wanted,
                app: &app,
                tenant,
                generation,
            }
            .load(&events)
        };
        loading.push((id, on_own_thread(load)));
    }
    let (mut loaded, mut diagnostics) = (Vec::new(), Vec::new());
    for (id, task) in loading {
        match task.await {
            Ok(Ok(handler)) => loaded.push(handler),
            Ok(Err(found)) => diagnostics.extend(found),
            Err(_) => diagnostics.push(interrupted(&id)),
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

fn interrupted(id: &ComponentId) -> Diagnostic {
    let message = format!("component `{id}` could not be loaded: loading it was interrupted");
    Diagnostic::error(Code::LoadingInterrupted, message)
        .help("try again; if it happens again, the log with `-v` may say why")
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
    tenant: TenantId,
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
        let (pre, world) = self.link(&component, &artifact)?;
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
        Ok((self.handler(pre, world, files, events), loaded))
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
            let help = "name a `.wasm` file as `source`";
            return Err(self.wrong(Code::NotProvided, "has a source that is not a file", help));
        };
        Artifact::read(path).map_err(|error| self.unusable(&error))
    }

    /// Compiled code, and whether it came from the cache.
    fn compile(
        &self,
        artifact: &Artifact,
        events: &Events,
    ) -> Result<(Component, bool), Vec<Diagnostic>> {
        let Some(cache) = self.engine.cache() else {
            return Ok((self.compile_anew(artifact, events)?, false));
        };
        let name = Cache::name(&artifact.origin, self.engine.wasmtime());
        let turn = cache.turn(&name);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.cached(cache, &name) {
            Ok(Some(component)) => return Ok((component, true)),
            Ok(None) => {}
            Err(fault) => self.tell(
                events,
                &format!(
                    "the compiled code of `{}` in the cache {fault}; it is compiled anew ({})",
                    self.wanted.id,
                    cache.path(&name).display()
                ),
            ),
        }
        let component = self.compile_anew(artifact, events)?;
        if let Ok(code) = component.serialize()
            && let Err(message) = cache.put(&name, &code)
        {
            self.tell(events, &message);
        }
        Ok((component, false))
    }

    fn compile_anew(
        &self,
        artifact: &Artifact,
        events: &Events,
    ) -> Result<Component, Vec<Diagnostic>> {
        events(Event::Loading {
            component: &self.wanted.id,
        });
        Component::from_binary(self.engine.wasmtime(), &artifact.component).map_err(|error| {
            self.unusable(&artifact::Error::Invalid(format!(
                "{:#}",
                error.root_cause()
            )))
        })
    }

    #[expect(
        unsafe_code,
        clippy::disallowed_methods,
        reason = "the cache gives only what this installation wrote, see cache.rs"
    )]
    fn cached(&self, cache: &Cache, name: &str) -> Result<Option<Component>, Fault> {
        let Some(code) = cache.get(name)? else {
            return Ok(None);
        };
        // SAFETY: the bytes are those that `Component::serialize` gave for the component of this name, as the MAC over
        // name and bytes proves; they are in memory, where no file can change them. Code of another wasmtime or with
        // other settings has another name, and wasmtime refuses it.
        let loaded = unsafe { Component::deserialize(self.engine.wasmtime(), &code) };
        loaded
            .map(Some)
            .map_err(|error| Fault::Stale(error.root_cause().to_string()))
    }

    fn tell(&self, events: &Events, message: &str) {
        events(Event::Cache {
            component: Some(&self.wanted.id),
            message,
        });
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
        let tell = |missing: &imports::Missing| {
            let what = format!("imports {}", missing.what);
            let mut found = self.diagnostic(missing.code, &what).help(&missing.help);
            found.notes.extend(missing.note.clone());
            found.notes.extend(artifact.made_by());
            found
        };
        Err(missing.iter().map(tell).collect())
    }

    fn link(
        &self,
        component: &Component,
        artifact: &Artifact,
    ) -> Result<(Arc<ProxyPre<State>>, World), Vec<Diagnostic>> {
        let exports = imports::exports(component, self.engine.wasmtime());
        let world = self.world(&exports, artifact)?;
        let pre = self
            .linker
            .instantiate_pre(component)
            .and_then(|pre| handler_of(pre, world))
            .map_err(|error| self.mismatch(&error, artifact))?;
        Ok((Arc::new(pre), world))
    }

    fn world(&self, exports: &[String], artifact: &Artifact) -> Result<World, Vec<Diagnostic>> {
        let worlds: Vec<_> = exports
            .iter()
            .filter_map(|name| Some((name, world_of(name)?)))
            .collect();
        match worlds[..] {
            [(_, world)] => Ok(world),
            [] => Err(vec![self.no_handler(exports, artifact)]),
            _ => {
                let names: Vec<_> = worlds.iter().map(|(name, _)| (*name).clone()).collect();
                let what = format!("exports several HTTP handlers: {}", list(&names));
                Err(self.wrong(Code::SeveralHandlers, &what, "export one of them"))
            }
        }
    }

    fn no_handler(&self, exports: &[String], artifact: &Artifact) -> Diagnostic {
        let found = match exports.is_empty() {
            true => "nothing".into(),
            false => list(exports),
        };
        let what = format!("exports no HTTP handler; it exports {found}");
        let mut error = self.diagnostic(Code::NoHandler, &what);
        if exports.iter().any(|name| name.starts_with("wasi:cli/run@")) {
            error =
                error.note("it is a program with a `main`, which runs once and takes no requests");
        }
        error.notes.extend(artifact.made_by());
        error.help("export `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`")
    }

    fn files(&self) -> Result<Option<Files>, Vec<Diagnostic>> {
        let wanted = self.wanted;
        Files::copy(self.app, &wanted.files, &wanted.exclude_files).map_err(|refused| {
            let (key, place) = match refused.mount {
                Some(n) => ("files", wanted.file_places.get(n)),
                None => ("exclude_files", wanted.grants.get("exclude_files")),
            };
            let what = format!("cannot be given its `{key}`: {refused}");
            let mut error = self.diagnostic(refused.error.code(), &what);
            error.place = place.cloned().or(error.place);
            vec![error.help(refused.error.help())]
        })
    }

    fn handler(
        &self,
        pre: Arc<ProxyPre<State>>,
        world: World,
        files: Option<Files>,
        events: &Events,
    ) -> Handler {
        let wanted = self.wanted;
        let grants = Grants {
            component: wanted.id.clone(),
            allow: wanted.allow.clone(),
            place: Some(wanted.place.clone()),
            generation: self.generation,
        };
        let limits = &wanted.limits;
        let outbound = limits.outbound_concurrency;
        let hits = Arc::new(Hits::new(events.clone(), wanted.id.clone()));
        let log_rate = limits.log_rate.unwrap_or(caps::LOG_RATE);
        Handler {
            id: wanted.id.clone(),
            engine: self.engine.clone(),
            tenant: self.tenant,
            pre,
            world,
            grants: Arc::new(grants),
            environment: wanted.environment.clone().into_iter().collect(),
            variables: wanted.variables.clone().into_iter().collect(),
            files,
            cpu: limits.cpu.unwrap_or(caps::CPU),
            request_timeout: limits.request_timeout.unwrap_or(caps::REQUEST_TIMEOUT),
            response_timeout: limits.response_timeout.unwrap_or(caps::RESPONSE_TIMEOUT),
            memory: limits.memory.unwrap_or(caps::MEMORY),
            request_body: limits.request_body,
            response_body: limits.response_body,
            log: Arc::new(ComponentLog::new(hits.clone(), log_rate)),
            hits,
            outbound_rate: limits
                .outbound_rate
                .map(|rate| Arc::new(Bucket::new(rate, 1))),
            outbound_per_instance: outbound.unwrap_or(caps::OUTBOUND_PER_INSTANCE) as usize,
            outbound: Arc::new(Semaphore::new(caps::OUTBOUND_PER_COMPONENT)),
            denials: AtomicU64::new(0),
            usage: Arc::new(Usage::of(&wanted.allow)),
            admission: Arc::new(Admission::of(limits)),
            of_app: None,
        }
    }

    fn unusable(&self, error: &artifact::Error) -> Vec<Diagnostic> {
        let file = match &self.wanted.source {
            Source::Local { path, .. } => path.display().to_string(),
            _ => String::new(),
        };
        let what = format!("cannot be loaded from `{file}`: {error}");
        let help = match (error, &self.wanted.build) {
            (artifact::Error::Missing, Some(build)) => build_it("build it first", build),
            (artifact::Error::Empty | artifact::Error::Truncated(_), Some(build)) => {
                build_it("build it again", build)
            }
            _ => error.help().to_owned(),
        };
        self.wrong(error.code(), &what, &help)
    }

    fn mismatch(&self, error: &wasmtime::Error, artifact: &Artifact) -> Vec<Diagnostic> {
        let what = format!("does not fit this version of runner: {error:#}");
        let mut found = self.diagnostic(Code::ComponentMismatch, &what);
        found.notes.extend(artifact.made_by());
        vec![found.help("build it again with a current toolchain")]
    }

    fn wrong(&self, code: Code, what: &str, help: &str) -> Vec<Diagnostic> {
        vec![self.diagnostic(code, what).help(help)]
    }

    fn diagnostic(&self, code: Code, what: &str) -> Diagnostic {
        let message = format!("component `{}` {what}", self.wanted.id);
        Diagnostic::error(code, message).at(self.wanted.source.place().clone(), "")
    }
}

fn handler_of(pre: InstancePre<State>, world: World) -> wasmtime::Result<ProxyPre<State>> {
    match world {
        World::Http02 => p2::bindings::ProxyPre::new(pre).map(ProxyPre::P2),
        World::Http03 => p3::bindings::ServicePre::new(pre).map(ProxyPre::P3),
    }
}

/// What to type where a component has yet to be built.
fn build_it(first: &str, build: &Build) -> String {
    let folder = match build.workdir.as_os_str().is_empty() {
        true => ".".into(),
        false => build.workdir.display().to_string(),
    };
    let command = one_line(&build.command.join(" && "));
    format!("{first}: run `{command}` in `{}`", one_line(&folder))
}

/// A text from the manifest within a line of ours: a line end in it would begin a line that looks like ours.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().take(MAX_QUOTED) {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    if text.chars().nth(MAX_QUOTED).is_some() {
        line.push('…');
    }
    line
}

/// The version of `wasi:http` that an export of this name serves.
pub(crate) fn world_of(export: &str) -> Option<World> {
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

    #[tokio::test]
    async fn a_loader_that_ends_without_an_answer_is_told() {
        let id: ComponentId = "cart".parse().unwrap();
        let answer = on_own_thread(|| std::panic::resume_unwind(Box::new(())));
        let error = answer.await.map(|(): ()| ()).map_err(|_| interrupted(&id));
        assert_eq!(
            error.unwrap_err().to_string(),
            "error: component `cart` could not be loaded: loading it was interrupted\n\
             help: try again; if it happens again, the log with `-v` may say why"
        );
    }

    #[test]
    fn a_build_command_is_told_on_one_line() {
        let build = |command: &[&str], workdir: &str| Build {
            command: command.iter().map(ToString::to_string).collect(),
            workdir: workdir.into(),
            watch: Vec::new(),
        };
        let rows = [
            (
                build(&["make"], ""),
                "build it first: run `make` in `.`".into(),
            ),
            (
                build(&["make", "strip a.wasm"], "cart"),
                "build it first: run `make && strip a.wasm` in `cart`".into(),
            ),
            (
                build(&["a\nhelp: b\u{1b}"], "\r"),
                "build it first: run `a\\nhelp: b\\u{1b}` in `\\r`".into(),
            ),
            (
                build(&[&"x".repeat(1_000_000)], "w"),
                format!("build it first: run `{}…` in `w`", "x".repeat(MAX_QUOTED)),
            ),
        ];
        for (build, expected) in rows {
            assert_eq!(build_it("build it first", &build), expected);
        }
    }

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

    /// The smallest component.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    /// A component in a file, and an engine with a cache.
    struct Story {
        root: tempfile::TempDir,
        engine: Engine,
        artifact: Artifact,
        manifest: Manifest,
    }

    impl Story {
        fn new() -> Story {
            let root = tempfile::tempdir().unwrap();
            let (cache, file) = (root.path().join("cache"), root.path().join("empty.wasm"));
            std::fs::write(&file, EMPTY).unwrap();
            let text = "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
                        [[trigger.http]]\nroute = \"/\"\ncomponent = \"empty\"\n\
                        [component.empty]\nsource = \"empty.wasm\"\n";
            let cache = crate::CacheDir::Chosen(cache);
            Story {
                engine: Engine::new(crate::EngineOptions { cache }).unwrap(),
                artifact: Artifact::read(&file).unwrap(),
                manifest: Manifest::parse(
                    text,
                    &root.path().join("spin-like.toml"),
                    &runner_manifest::Variables::default(),
                )
                .unwrap(),
                root,
            }
        }

        /// Whether its code came from the cache, and what was told of the cache.
        fn compile(&self) -> (bool, Vec<String>) {
            let told = Arc::<std::sync::Mutex<Vec<String>>>::default();
            let telling = told.clone();
            let events: Events = Arc::new(move |event| {
                if let Event::Cache { component, message } = event {
                    let component = component.map(ComponentId::as_str).unwrap_or_default();
                    telling
                        .lock()
                        .unwrap()
                        .push(format!("{component}: {message}"));
                }
            });
            let loader = Loader {
                engine: &self.engine,
                linker: &linker(&self.engine),
                wanted: self.manifest.components.values().next().unwrap(),
                app: self.root.path(),
                tenant: crate::tenant::Tenant::new("").id(),
                generation: 1,
            };
            let (_, cached) = loader.compile(&self.artifact, &events).unwrap();
            let told = told.lock().unwrap().clone();
            (cached, told)
        }
    }

    #[test]
    fn code_of_another_wasmtime_or_with_other_settings_is_compiled_anew_and_replaced() {
        let mut version = crate::engine::config();
        let custom = wasmtime::ModuleVersionStrategy::Custom("47.0.0".into());
        version.module_version(custom).unwrap();
        let mut settings = crate::engine::config();
        settings.epoch_interruption(false);
        for (config, what) in [
            (
                version,
                "Module was compiled with incompatible version '47.0.0'",
            ),
            (
                settings,
                "Module was compiled without epoch interruption but it is enabled for the host",
            ),
        ] {
            let story = Story::new();
            assert_eq!(story.compile(), (false, vec![]));
            assert_eq!(story.compile(), (true, vec![]));
            let other = wasmtime::Engine::new(&config).unwrap();
            let code = Component::from_binary(&other, EMPTY).unwrap().serialize();
            let ours = Cache::name(&story.artifact.origin, story.engine.wasmtime());
            assert_ne!(Cache::name(&story.artifact.origin, &other), ours);
            let cache = story.engine.cache().unwrap();
            cache.put(&ours, &code.unwrap()).unwrap();

            let told = format!(
                "empty: the compiled code of `empty` in the cache does not fit this engine: {what}; \
                 it is compiled anew ({})",
                cache.path(&ours).display()
            );
            assert_eq!(story.compile(), (false, vec![told]));
            assert_eq!(story.compile(), (true, vec![]));
        }
    }
}
