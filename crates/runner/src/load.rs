//! From files to an app: what `up`, its reloads and `check` share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runner_host::{
    App, CacheDir, CompileProcess, Compiler, Engine, EngineOptions, Error, LoadError, Services,
};
use runner_manifest::{Code, Flawed, Manifest, Source, Variables};
use runner_outbound::{Options, Outbound};

use crate::cli::{AppArgs, CacheArgs, DoorArgs, OperatorArgs};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::telemetry::{Notice, Telemetry};
use crate::{find, operator};

/// A start that takes longer than this looks like a hang to whoever waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads one manifest, as often as it changes, under what the operator allows.
#[derive(Clone)]
pub(crate) struct Reader {
    path: PathBuf,
    variables: Variables,
    config: Option<PathBuf>,
}

impl Reader {
    /// Finds the manifest and gathers what its variables are set to.
    pub(crate) fn new(
        args: &AppArgs,
        directory: Option<&Path>,
        environment: &Environment,
    ) -> Result<Reader, Failure> {
        let path = find::manifest(args.from.as_deref(), directory)?;
        Ok(Reader {
            path,
            variables: environment.variables(&args.variables).into_iter().collect(),
            config: None,
        })
    }

    /// Of a manifest that was found, with what its variables are set to.
    pub(crate) fn at(path: PathBuf, variables: Variables) -> Reader {
        Reader {
            path,
            variables,
            config: None,
        }
    }

    /// With the operator's file, if there is one.
    pub(crate) fn under(mut self, args: &OperatorArgs) -> Reader {
        self.config.clone_from(&args.config);
        self
    }

    /// For a command that runs nothing: values may lack.
    pub(crate) fn without_values(mut self) -> Reader {
        self.variables = self.variables.may_lack();
        self
    }

    /// The manifest's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the manifest's variables are set to.
    pub(crate) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Reads it; what is wrong with it is the user's to mend.
    pub(crate) fn read(&self) -> Result<Manifest, Failure> {
        self.examine()?
            .map_err(|flawed| Failure::diagnosed(Exit::Usage, flawed.error))
    }

    /// Reads it, also what is left of it where something is wrong. The operator's file has no mistakes then.
    pub(crate) fn examine(&self) -> Result<Result<Manifest, Flawed>, Failure> {
        let operator = operator::read(self.config.as_deref())?;
        let read = Manifest::examine(&self.path, &self.variables, &operator);
        Ok(read.map(|mut manifest| {
            manifest.warnings.splice(0..0, operator.warnings);
            manifest
        }))
    }
}

/// The files whose change calls for a reload: the manifest and every component.
pub(crate) fn files(manifest: &Manifest) -> Vec<PathBuf> {
    let sources = manifest
        .components
        .values()
        .filter_map(|component| match &component.source {
            Source::Local { path, .. } => Some(path.clone()),
            Source::Bytes { .. } | Source::Remote { .. } | Source::Registry { .. } => None,
        });
    std::iter::once(manifest.path.clone())
        .chain(sources)
        .collect()
}

/// The directory for compiled code, if there is to be one.
pub(crate) fn cache_dir(args: &CacheArgs, environment: &Environment) -> CacheDir {
    match (&args.cache_dir, &environment.cache_dir) {
        _ if args.disable_cache => CacheDir::None,
        (Some(chosen), _) => CacheDir::Chosen(chosen.clone()),
        (None, Some(usual)) => CacheDir::Usual(usual.clone()),
        (None, None) => CacheDir::None,
    }
}

/// Where control sockets are, the best place first.
pub(crate) fn control_folders(cache_dir: Option<&Path>, environment: &Environment) -> Vec<PathBuf> {
    let runtime = environment.runtime_dir.as_deref();
    let cache = cache_dir.or(environment.cache_dir.as_deref());
    let folders = [
        runtime.map(|dir| dir.join("runner")),
        cache.map(|dir| dir.join("run")),
    ];
    folders.into_iter().flatten().collect()
}

/// What to say when there is nowhere to keep compiled code, though nobody asked for that.
pub(crate) fn no_cache_warning(args: &CacheArgs, environment: &Environment) -> Option<Notice> {
    let wanted = !args.disable_cache && args.cache_dir.is_none() && environment.cache_dir.is_none();
    let warning = || {
        Notice::warning(
            "neither HOME nor XDG_CACHE_HOME is set: compiled code is not kept; set `--cache-dir`",
        )
    };
    wanted.then(warning)
}

/// Makes the engine. What it compiles, it compiles in processes of this very program.
pub(crate) fn engine(cache: CacheDir) -> Result<Engine, Failure> {
    let options = EngineOptions {
        cache,
        compiler: Compiler::Process(CompileProcess::this()),
        ..EngineOptions::default()
    };
    Engine::new(options).map_err(|error| match &error {
        Error::Cache(cache) => Failure::new(Exit::Environment, &error, cache.help()),
        Error::Engine(why) if why.contains("mmap") => Failure::new(
            Exit::Environment,
            &error,
            "the engine reserves addresses that it mostly never uses: raise the limits on them, `ulimit -v` and `ulimit -d`",
        ),
        _ => Failure::of(Exit::Environment, &error),
    })
}

/// Whose fault it is that an app is not loaded: the machine's, where there is no process to compile in.
pub(crate) fn exit_of(error: &LoadError) -> Exit {
    let all = &error.diagnostics;
    match all
        .iter()
        .all(|found| found.code == Code::CompilerNotStarted)
    {
        true => Exit::Environment,
        false => Exit::App,
    }
}

/// Makes the door out.
pub(crate) fn outbound(args: &DoorArgs) -> Result<Outbound, Failure> {
    let options = Options {
        ca_file: args.ca_file.clone(),
        dns: args.dns.clone(),
        ..Options::default()
    };
    Outbound::new(options).map_err(|error| Failure::of(Exit::Environment, &error))
}

/// Loads apps, one generation after the other.
#[derive(Clone)]
pub(crate) struct Loader {
    engine: Engine,
    services: Services,
}

impl Loader {
    /// With everything that all generations share.
    pub(crate) fn new(engine: Engine, services: Services) -> Loader {
        Loader { engine, services }
    }

    /// What each generation is given.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// What stands in for an app of this manifest: see [`App::not_loaded`].
    pub(crate) fn stand_in(&self, manifest: Manifest, generation: u64) -> App {
        App::not_loaded(&self.engine, manifest, generation, self.services.clone())
    }

    /// Loads every component; on a task of its own, so that a long compile never holds up who asks.
    pub(crate) async fn load(
        &self,
        manifest: Manifest,
        generation: u64,
    ) -> Result<Arc<App>, Failure> {
        let Loader { engine, services } = self.clone();
        let loading =
            tokio::spawn(async move { App::load(&engine, manifest, generation, services).await });
        match loading.await {
            Ok(Ok(app)) => Ok(Arc::new(app)),
            Ok(Err(error)) => Err(Failure::diagnosed(
                exit_of(&error),
                runner_manifest::Error {
                    diagnostics: error.diagnostics,
                },
            )),
            Err(error) => Err(Failure::of(Exit::App, &error)),
        }
    }

    /// Loads, and says what it is waiting for when that takes long.
    pub(crate) async fn load_telling(
        &self,
        manifest: Manifest,
        generation: u64,
        telemetry: &Telemetry,
    ) -> Result<Arc<App>, Failure> {
        let loading = self.load(manifest, generation);
        tokio::pin!(loading);
        let mut told = None;
        loop {
            tokio::select! {
                loaded = &mut loading => return loaded,
                () = tokio::time::sleep(PATIENCE) => {
                    let compiling = telemetry.compiling();
                    if let Some(id) = compiling.as_ref().filter(|_| told != compiling) {
                        let notice = Notice::new("compiling", format!("compiling {id} …"));
                        telemetry.say(&notice.with("component", id.as_str()));
                    }
                    told = compiling;
                }
            }
        }
    }
}
