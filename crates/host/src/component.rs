//! From a manifest's component to a handler: read, check, compile or take from the cache, link.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use runner_manifest::{
    Build, Code, Component as Wanted, ComponentId, Diagnostic, InstanceReuse, Manifest, Place,
    Resolution, Source,
};
use runner_outbound::Grants;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::artifact::{self, Artifact};
use crate::cache::{Cache, Fault};
use crate::compile::{Compiled, Needs, Refusal};
use crate::crew::Crew;
use crate::engine::cores;
use crate::event::{Event, Events};
use crate::files::Files;
use crate::handler::{Handler, Reuse};
use crate::imports;
use crate::limit::Hits;
use crate::log::ComponentLog;
use crate::shelf::Shelf;
use crate::state::State;
use crate::tenant::Tenant;
use crate::usage::Usage;
use crate::within::Within;
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
    tenant: &Tenant,
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
    let slots = Arc::new(Semaphore::new(cores()));
    let (mut loading, stack) = (Vec::new(), engine.loader_stack());
    for wanted in manifest.components.values() {
        let (engine, linker, events) = (engine.clone(), linker.clone(), events.clone());
        let (wanted, app, tenant) = (wanted.clone(), app.clone(), tenant.clone());
        let slot = slots.clone().acquire_owned().await;
        let id = wanted.id.clone();
        let load = move || {
            let _slot = slot;
            Loader {
                engine: &engine,
                linker: &linker,
                wanted: &wanted,
                app: &app,
                tenant: &tenant,
                generation,
            }
            .load(&events)
        };
        loading.push((id, on_own_thread(stack, load)));
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

/// Runs `load` on a thread with so much room. Its answer never comes where there is no thread, or where it panicked.
fn on_own_thread<T: Send + 'static>(
    stack: usize,
    load: impl FnOnce() -> T + Send + 'static,
) -> tokio::sync::oneshot::Receiver<T> {
    let (answer, wait) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("runner-load".into())
        .stack_size(stack);
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

/// A component that can be linked.
struct Ready {
    component: Component,
    compiled: Compiled,
    /// Whether its code came from the cache.
    cached: bool,
}

struct Loader<'a> {
    engine: &'a Engine,
    linker: &'a Linker<State>,
    wanted: &'a Wanted,
    app: &'a Path,
    tenant: &'a Tenant,
    generation: u64,
}

impl Loader<'_> {
    fn load(&self, events: &Events) -> Result<(Handler, Loaded), Vec<Diagnostic>> {
        let started = Instant::now();
        let within = self.within()?;
        let artifact = match (self.refuse_unsupported(), self.read(within.as_ref())) {
            (Ok(()), Ok(artifact)) => artifact,
            (unsupported, read) => {
                // Whoever mends one of these would meet the next.
                let files = self.files(within.as_ref()).err();
                // A source that is no file is among what is not supported.
                let is_file = matches!(self.wanted.source, Source::Local { .. });
                let read = read.err().filter(|_| is_file || unsupported.is_ok());
                let found = [unsupported.err(), read, files];
                return Err(found.into_iter().flatten().flatten().collect());
            }
        };
        let Ready {
            component,
            compiled,
            cached,
        } = self.compile(&artifact, events)?;
        let imports = imports::of(&component, self.engine.wasmtime());
        self.refuse_missing(&imports, &compiled)?;
        let (pre, world) = self.link(&component, &compiled)?;
        self.refuse_concurrent(world)?;
        let files = self.files(within.as_ref())?;
        let places = compiled.needs.places();
        let audit = imports::unused(&imports, self.wanted);
        let loaded = Loaded {
            id: self.wanted.id.clone(),
            digest: artifact.digest,
            size: artifact.bytes.len() as u64,
            took: started.elapsed(),
            cached,
            world,
            imports,
            audit,
        };
        Ok((self.handler(pre, world, places, files, events), loaded))
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

    /// One instance for several requests at once is what only the newer interface is made for.
    fn refuse_concurrent(&self, world: World) -> Result<(), Vec<Diagnostic>> {
        let is_asked = self.wanted.limits.instance_reuse == Some(InstanceReuse::Concurrent);
        if !is_asked || world == World::Http03 {
            return Ok(());
        }
        let what = "asks for `concurrent`, and handles one request at a time: it exports \
                    `wasi:http/incoming-handler@0.2`";
        let mut error = self.diagnostic(Code::ReuseNotProvided, what);
        if let Some(place) = self.wanted.grants.get("instance_reuse") {
            error.place = Some(place.clone());
        }
        Err(vec![error.help(
            "use `serial`: an instance serves one request after the other; or export `wasi:http/handler@0.3`",
        )])
    }

    fn reuse(&self) -> Reuse {
        match self.wanted.limits.instance_reuse {
            None | Some(InstanceReuse::Never) => Reuse::Never,
            Some(InstanceReuse::Serial) => Reuse::Serial(Shelf::new(self.engine.idle().clone())),
            Some(InstanceReuse::Concurrent) => {
                Reuse::Concurrent(Crew::new(self.engine.idle().clone()))
            }
        }
    }

    /// What holds it to the files of its app, where the operator wants that.
    fn within(&self) -> Result<Option<Within>, Vec<Diagnostic>> {
        let ceiling = self.wanted.ceilings.files();
        let within = ceiling.map(|_| Within::new(self.app)).transpose();
        within.map_err(|error| self.refused(&artifact::Error::Read(error).into()))
    }

    fn read(&self, within: Option<&Within>) -> Result<Artifact, Vec<Diagnostic>> {
        let read = match (&self.wanted.source, within) {
            (Source::Local { path, .. }, None) => Artifact::read(path),
            (Source::Local { path, .. }, Some(within)) => Artifact::read_within(path, within),
            (Source::Bytes { bytes, .. }, _) => Artifact::of(Bytes::from_owner(bytes.clone())),
            (Source::Remote { .. } | Source::Registry { .. }, _) => {
                let help = "name a `.wasm` file as `source`";
                return Err(self.wrong(Code::NotProvided, "has a source that is not a file", help));
            }
        };
        read.map_err(|error| self.refused(&error.into()))
    }

    /// Code from the cache, or compiled anew.
    fn compile(&self, artifact: &Artifact, events: &Events) -> Result<Ready, Vec<Diagnostic>> {
        let Some(cache) = self.engine.cache() else {
            return self.fresh(self.compile_anew(artifact, events)?);
        };
        let name = Cache::name(&artifact.origin(), self.engine.wasmtime());
        let turn = cache.turn(&name);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.cached(cache, &name)? {
            Ok(Some(ready)) => return Ok(ready),
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
        let compiled = self.compile_anew(artifact, events)?;
        if let Err(message) = cache.put(&name, compiled.as_bytes()) {
            self.tell(events, &message);
        }
        self.fresh(compiled)
    }

    fn compile_anew(
        &self,
        artifact: &Artifact,
        events: &Events,
    ) -> Result<Compiled, Vec<Diagnostic>> {
        events(Event::Loading {
            component: &self.wanted.id,
        });
        let compiled = self.engine.compile(artifact);
        compiled.map_err(|error| {
            self.refused(&Refusal {
                code: error.code(),
                what: error.to_string(),
                help: error.help().to_owned(),
            })
        })
    }

    fn fresh(&self, compiled: Compiled) -> Result<Ready, Vec<Diagnostic>> {
        self.refuse_needs(&compiled.needs)?;
        match self.code_of(&compiled) {
            Ok(component) => Ok(Ready {
                component,
                compiled,
                cached: false,
            }),
            Err(error) => Err(self.mismatch(&error, &compiled)),
        }
    }

    /// What the cache has under this name: nothing, code, or what is no use.
    fn cached(
        &self,
        cache: &Cache,
        name: &str,
    ) -> Result<Result<Option<Ready>, Fault>, Vec<Diagnostic>> {
        let bytes = match cache.get(name) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Ok(None)),
            Err(fault) => return Ok(Err(fault)),
        };
        let Some(compiled) = Compiled::decode(bytes) else {
            return Ok(Err(Fault::Stale("it is of another version".into())));
        };
        self.refuse_needs(&compiled.needs)?;
        let ready = self.code_of(&compiled).map(|component| {
            Some(Ready {
                component,
                compiled,
                cached: true,
            })
        });
        Ok(ready.map_err(|error| Fault::Stale(error.root_cause().to_string())))
    }

    #[expect(
        unsafe_code,
        clippy::disallowed_methods,
        reason = "only what was compiled for us, or what the cache has verified"
    )]
    fn code_of(&self, compiled: &Compiled) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are those that `Engine::precompile_component` gave, in this process or in one that is this
        // program and was started for it (see compile.rs), or those that such a start of this installation wrote for the
        // component of this name, as the MAC over name and bytes proves (see cache.rs). They are in memory, where no file
        // can change them. Code of another wasmtime or with other settings has another name, and wasmtime refuses it.
        unsafe { Component::deserialize(self.engine.wasmtime(), compiled.code()) }
    }

    /// What cannot fit into its limits is told now, not to its first client.
    fn refuse_needs(&self, needs: &Needs) -> Result<(), Vec<Diagnostic>> {
        if let Some((has, what, most)) = needs.excess() {
            let what = format!("has {has} {what}, and may have {most}");
            let help = "no limit raises that: make several components of it";
            return Err(self.wrong(Code::ComponentNeedsTooMuch, &what, help));
        }
        let most = self.wanted.limits.memory.unwrap_or(caps::MEMORY);
        if needs.memory <= most {
            return Ok(());
        }
        let (id, need) = (&self.wanted.id, least_size(needs.memory));
        let what = format!(
            "needs {need} of memory from the start, and may have {}",
            size(most)
        );
        let error = self.diagnostic(Code::ComponentNeedsMemory, &what);
        let ceilings = &self.wanted.ceilings;
        let is_above = ceilings
            .limits()
            .memory
            .is_some_and(|ceiling| needs.memory > ceiling);
        let ceiling = ceilings.place("memory").filter(|_| is_above);
        let help = match ceiling {
            Some(_) => "make it need less".to_owned(),
            None => {
                format!("set `limits.memory`: `memory = \"{need}\"` in `[component.{id}.limits]`")
            }
        };
        Err(vec![beyond(error, &help, ceiling)])
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
        compiled: &Compiled,
    ) -> Result<(), Vec<Diagnostic>> {
        let missing: Vec<_> = imports
            .iter()
            .filter_map(|import| imports::missing(import))
            .take(caps::LISTED)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let tell = |missing: &imports::Missing| {
            let what = format!("imports {}", missing.what);
            let mut found = self.diagnostic(missing.code, &what).help(&missing.help);
            found.notes.extend(missing.note.clone());
            found.notes.extend(compiled.made_by());
            found
        };
        Err(missing.iter().map(tell).collect())
    }

    fn link(
        &self,
        component: &Component,
        compiled: &Compiled,
    ) -> Result<(Arc<ProxyPre<State>>, World), Vec<Diagnostic>> {
        let exports = imports::exports(component, self.engine.wasmtime());
        let world = self.world(&exports, compiled)?;
        let pre = self
            .linker
            .instantiate_pre(component)
            .and_then(|pre| handler_of(pre, world))
            .map_err(|error| self.mismatch(&error, compiled))?;
        Ok((Arc::new(pre), world))
    }

    fn world(&self, exports: &[String], compiled: &Compiled) -> Result<World, Vec<Diagnostic>> {
        let worlds: Vec<_> = exports
            .iter()
            .filter_map(|name| Some((name, world_of(name)?)))
            .collect();
        match worlds[..] {
            [(_, world)] => Ok(world),
            [] => Err(vec![self.no_handler(exports, compiled)]),
            _ => {
                let names: Vec<_> = worlds.iter().map(|(name, _)| (*name).clone()).collect();
                let what = format!("exports several HTTP handlers: {}", list(&names));
                Err(self.wrong(Code::SeveralHandlers, &what, "export one of them"))
            }
        }
    }

    fn no_handler(&self, exports: &[String], compiled: &Compiled) -> Diagnostic {
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
        error.notes.extend(compiled.made_by());
        error.help("export `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`")
    }

    fn files(&self, within: Option<&Within>) -> Result<Option<Files>, Vec<Diagnostic>> {
        let wanted = self.wanted;
        let copied = Files::copy(self.app, &wanted.files, &wanted.exclude_files, within);
        copied.map_err(|refused| {
            let (key, place) = match refused.mount {
                Some(n) => ("files", wanted.file_places.get(n)),
                None => ("exclude_files", wanted.grants.get("exclude_files")),
            };
            let what = format!("cannot be given its `{key}`: {refused}");
            let mut error = self.diagnostic(refused.error.code(), &what);
            error.place = place.cloned().or(error.place);
            let ceiling = match error.code {
                Code::FileAboveCeiling => wanted.ceilings.files(),
                _ => None,
            };
            vec![beyond(error, refused.error.help(), ceiling)]
        })
    }

    fn handler(
        &self,
        pre: Arc<ProxyPre<State>>,
        world: World,
        places: u64,
        files: Option<Files>,
        events: &Events,
    ) -> Handler {
        let wanted = self.wanted;
        let grants = Grants {
            component: wanted.id.clone(),
            allow: wanted.allow.clone(),
            place: Some(wanted.place.clone()).filter(|place| !place.is_nowhere()),
            generation: self.generation,
        };
        let limits = &wanted.limits;
        let outbound = limits.outbound_concurrency;
        let hits = Arc::new(Hits::new(events.clone(), wanted.id.clone()));
        let door = self.tenant.doors().of(&wanted.id, limits);
        Handler {
            id: wanted.id.clone(),
            engine: self.engine.clone(),
            quota: self.engine.quota(self.tenant.id()),
            places,
            pre,
            world,
            grants: Arc::new(grants),
            environment: wanted.environment.clone().into_iter().collect(),
            variables: wanted.variables.clone().into_iter().collect(),
            files,
            clock_resolution: limits.clock_resolution.map(|Resolution(step)| step),
            cpu: limits.cpu.unwrap_or(caps::CPU),
            request_timeout: limits.request_timeout.unwrap_or(caps::REQUEST_TIMEOUT),
            response_timeout: limits.response_timeout.unwrap_or(caps::RESPONSE_TIMEOUT),
            memory: limits.memory.unwrap_or(caps::MEMORY),
            request_body: limits.request_body,
            response_body: limits.response_body,
            log: Arc::new(ComponentLog::new(hits.clone(), door.log.clone())),
            hits,
            outbound_rate: limits.outbound_rate.map(|rate| door.outbound_rate(rate)),
            outbound_per_instance: outbound.unwrap_or(caps::OUTBOUND_PER_INSTANCE) as usize,
            outbound: door.outbound.clone(),
            denials: AtomicU64::new(0),
            usage: Arc::new(Usage::of(&wanted.allow)),
            admission: door.admission.clone(),
            of_app: None,
            _door: door,
            reuse: self.reuse(),
        }
    }

    fn refused(&self, refusal: &Refusal) -> Vec<Diagnostic> {
        let from = match &self.wanted.source {
            Source::Local { path, .. } => format!(" from `{}`", path.display()),
            Source::Bytes { .. } | Source::Remote { .. } | Source::Registry { .. } => String::new(),
        };
        let what = format!("cannot be loaded{from}: {}", refusal.what);
        let help = match (refusal.code, &self.wanted.build) {
            (Code::ComponentMissing, Some(build)) => build_it("build it first", build),
            (Code::ComponentEmpty | Code::ComponentTruncated, Some(build)) => {
                build_it("build it again", build)
            }
            _ => refusal.help.clone(),
        };
        let ceiling = match refusal.code {
            Code::FileAboveCeiling => self.wanted.ceilings.files(),
            _ => None,
        };
        vec![beyond(self.diagnostic(refusal.code, &what), &help, ceiling)]
    }

    fn mismatch(&self, error: &wasmtime::Error, compiled: &Compiled) -> Vec<Diagnostic> {
        let what = format!("does not fit this version of runner: {error:#}");
        let mut found = self.diagnostic(Code::ComponentMismatch, &what);
        found.notes.extend(compiled.made_by());
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

/// With what to do about it, also by the operator where a ceiling of theirs is in the way.
fn beyond(error: Diagnostic, help: &str, ceiling: Option<&Place>) -> Diagnostic {
    let Some(ceiling) = ceiling else {
        return error.help(help);
    };
    let file = ceiling.path().display();
    error
        .also(ceiling.clone(), "the ceiling")
        .help(format!("{help}, or have the ceiling raised in `{file}`"))
}

fn handler_of(pre: InstancePre<State>, world: World) -> wasmtime::Result<ProxyPre<State>> {
    match world {
        World::Http02 => p2::bindings::ProxyPre::new(pre).map(ProxyPre::P2),
        World::Http03 => p3::bindings::ServicePre::new(pre).map(ProxyPre::P3),
    }
}

/// A size that is no less, in words that a manifest takes.
fn least_size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

/// A size in words.
fn size(bytes: u64) -> String {
    [(1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes.is_multiple_of(*unit))
        .map_or(format!("{bytes} B"), |(unit, name)| {
            format!("{} {name}", bytes / unit)
        })
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
        let answer = on_own_thread(1 << 20, || std::panic::resume_unwind(Box::new(())));
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

    #[test]
    fn a_size_is_told_as_a_manifest_takes_it() {
        for (bytes, least, exact) in [
            (1, "1 KiB", "1 B"),
            (100 << 10, "100 KiB", "100 KiB"),
            (1 << 20, "1 MiB", "1 MiB"),
            ((128 << 20) + 16, "129 MiB", "134217744 B"),
            (u64::MAX, "17592186044416 MiB", "18446744073709551615 B"),
        ] {
            assert_eq!(
                (least_size(bytes), size(bytes)),
                (least.into(), exact.into())
            );
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
                engine: Engine::new(crate::EngineOptions {
                    cache,
                    ..Default::default()
                })
                .unwrap(),
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
                tenant: &Tenant::new(""),
                generation: 1,
            };
            let ready = loader.compile(&self.artifact, &events).unwrap();
            let told = told.lock().unwrap().clone();
            (ready.cached, told)
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
            let code = other.precompile_component(EMPTY).unwrap();
            let code = Compiled::new(None, Needs::default(), &code);
            let origin = story.artifact.origin();
            let ours = Cache::name(&origin, story.engine.wasmtime());
            assert_ne!(Cache::name(&origin, &other), ours);
            let cache = story.engine.cache().unwrap();
            cache.put(&ours, code.as_bytes()).unwrap();

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
