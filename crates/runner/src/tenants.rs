//! The apps that one process serves, and what each of them has for itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runner_host::{App, Engine, Events, Refuse, Services, Tenant};
use runner_manifest::{Manifest, Variables, slug};
use runner_outbound::Outbound;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use crate::account::{Account, AuditLog};
use crate::cli::Up;
use crate::dev_errors::{self, DevErrors};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::find;
use crate::load::{self, Loader, Reader};
use crate::metrics::{Counts, Metrics};
use crate::otel::Otel;
use crate::telemetry::{Notice, Telemetry, escaped};
use crate::watch::Followed;

/// One app, and what is its own: its log, its account, its numbers, its reloads.
#[derive(Clone)]
pub(crate) struct Served {
    /// Its place among all.
    pub(crate) at: usize,
    pub(crate) reader: Reader,
    pub(crate) loader: Loader,
    pub(crate) telemetry: Telemetry,
    pub(crate) account: Account,
    pub(crate) counts: Option<Counts>,
    pub(crate) followed: Option<Followed>,
    /// Takes wishes that it be reloaded.
    pub(crate) wish: Sender<()>,
    /// Whether it is the only one of its process.
    is_alone: bool,
}

/// An app that is named on the command line.
pub(crate) struct Named {
    reader: Reader,
    /// Its name, where there are several.
    name: Option<String>,
}

/// What all apps of a process have in common.
pub(crate) struct Common<'a> {
    pub(crate) telemetry: &'a Telemetry,
    pub(crate) metrics: Option<&'a Metrics>,
    pub(crate) otel: &'a Otel,
    pub(crate) errors: Option<&'a DevErrors>,
    pub(crate) engine: &'a Engine,
    pub(crate) outbound: &'a Outbound,
}

/// The apps that the command line names, or the one of the folder.
pub(crate) fn named(
    args: &Up,
    directory: Option<&Path>,
    environment: &Environment,
) -> Result<Vec<Named>, Failure> {
    let one = |path: PathBuf| {
        let variables = environment.variables(&args.app.variables);
        let reader = Reader::at(path, variables.into_iter().collect()).under(&args.operator);
        Ok(vec![Named { reader, name: None }])
    };
    match &args.apps[..] {
        [] => one(find::manifest(args.app.from.as_deref(), directory)?),
        [only] => one(find::app(only, directory)?),
        several => of_several(several, args, directory, environment),
    }
}

/// Each gets the variables that are meant for it, and no other's.
fn of_several(
    several: &[PathBuf],
    args: &Up,
    directory: Option<&Path>,
    environment: &Environment,
) -> Result<Vec<Named>, Failure> {
    let find = |path: &PathBuf| match find::app(path, directory) {
        Err(_) if args.keep_going => Ok(find::missing(path, directory)),
        found => found,
    };
    let paths = all(several.iter().map(find))?;
    check_twice(several, &paths)?;
    let mut names: Vec<String> = Vec::new();
    for path in &paths {
        let reader = Reader::at(path.clone(), Variables::default()).under(&args.operator);
        let name = name(&reader.without_values())?;
        names.push(name);
    }
    let given = &args.app.variables;
    for (name, _) in given {
        check_scope(name, &names)?;
    }
    let named = paths.into_iter().zip(names);
    Ok(named
        .map(|(path, name)| {
            let variables = environment.variables_of(&slug(&name), given);
            Named {
                reader: Reader::at(path, variables.into_iter().collect()).under(&args.operator),
                name: Some(name),
            }
        })
        .collect())
}

/// An app that is named twice would clash with itself, in words that help nobody.
fn check_twice(named: &[PathBuf], paths: &[PathBuf]) -> Result<(), Failure> {
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let all: Vec<PathBuf> = paths.iter().map(real).collect();
    let first = |at: usize| all[..at].iter().position(|path| *path == all[at]);
    let twice = (0..all.len()).find_map(|at| Some((first(at)?, at)));
    let Some((first, second)) = twice else {
        return Ok(());
    };
    let [first, second] =
        [first, second].map(|at| escaped(&named[at].to_string_lossy()).into_owned());
    let sentence = match first == second {
        true => format!("the app `{first}` is named twice"),
        false => format!("`{first}` and `{second}` are the same app"),
    };
    Err(Failure::new(Exit::Usage, sentence, "name each app once"))
}

/// What an app is called: also one that has mistakes, which are told when it is loaded.
pub(crate) fn name(reader: &Reader) -> Result<String, Failure> {
    let manifest = match reader.examine()? {
        Ok(manifest) => Some(manifest),
        Err(flawed) => flawed.rest.map(|rest| *rest),
    };
    Ok(manifest.map_or_else(|| folder_name(reader.path()), |manifest| manifest.name))
}

/// What an app is called whose manifest does not say it.
fn folder_name(manifest: &Path) -> String {
    let path = std::path::absolute(manifest).unwrap_or_else(|_| manifest.to_owned());
    let folder = path.parent().and_then(Path::file_name);
    folder.map_or_else(
        || "app".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// `shop:token` is the variable `token` of the app `shop`.
fn check_scope(name: &str, apps: &[String]) -> Result<(), Failure> {
    let is_one = |app: &str| apps.iter().any(|name| slug(name) == slug(app));
    let sentence = match name.split_once(':') {
        Some((app, _)) if is_one(app) => return Ok(()),
        Some((app, _)) => format!("`--variable {name}=…`: there is no app `{app}`"),
        None => format!("`--variable {name}=…` does not say which app it is for"),
    };
    let help = "with several apps, write `--variable APP:NAME=VALUE`";
    Err(Failure::new(Exit::Usage, sentence, help))
}

/// All that went well, or all that went wrong.
pub(crate) fn all<T>(
    results: impl IntoIterator<Item = Result<T, Failure>>,
) -> Result<Vec<T>, Failure> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(failure) => bad.push(failure),
        }
    }
    match bad.into_iter().reduce(Failure::and) {
        None => Ok(good),
        Some(failure) => Err(failure),
    }
}

/// Whether these can be served together.
pub(crate) fn check_clashes<'a>(
    manifests: impl IntoIterator<Item = &'a Manifest>,
) -> Result<(), Failure> {
    let diagnostics = Manifest::clashes(manifests);
    match diagnostics.is_empty() {
        true => Ok(()),
        false => Err(Failure::diagnosed(
            Exit::Usage,
            runner_manifest::Error { diagnostics },
        )),
    }
}

impl Named {
    /// Opens its account. Of several, each has a patch of its own: `FILE.1`, `FILE.2`, in their order.
    pub(crate) fn account(&self, at: usize, log: &AuditLog, args: &Up) -> Result<Account, Failure> {
        let observe = args.account.observe.clone();
        let observe = observe.map(|path| match &self.name {
            None => path,
            Some(_) => {
                let mut path = path.into_os_string();
                path.push(format!(".{}", at + 1));
                path.into()
            }
        });
        Account::of(log, observe.as_deref(), &self.reader, self.name.as_deref())
    }

    /// With what it has for itself, and the wishes that it be reloaded.
    pub(crate) fn served(
        self,
        at: usize,
        account: Account,
        common: &Common<'_>,
    ) -> (Served, Receiver<()>) {
        let name = self.name.as_deref();
        let telemetry = match name {
            Some(name) => common.telemetry.of_app(name),
            None => common.telemetry.clone(),
        };
        let counts = common.metrics.map(|metrics| metrics.of_app(name));
        let events = account.listening(telemetry.events());
        let events = common.events(events, counts.as_ref(), name);
        let tenant = Tenant::new(name.unwrap_or("app"));
        let services = common.services(tenant, events);
        let (wish, wishes) = channel(1);
        let served = Served {
            at,
            reader: self.reader,
            loader: Loader::new(common.engine.clone(), services),
            telemetry,
            account,
            counts,
            followed: None,
            wish,
            is_alone: name.is_none(),
        };
        (served, wishes)
    }
}

impl Common<'_> {
    /// What is told of requests that are for no app, where there are several.
    pub(crate) fn nobody(&self) -> Services {
        let counts = self.metrics.map(|metrics| metrics.of_app(Some("")));
        let events = self.events(self.telemetry.events(), counts.as_ref(), None);
        self.services(Tenant::new(""), events)
    }

    fn events(&self, next: Events, counts: Option<&Counts>, name: Option<&str>) -> Events {
        let mut events = self.otel.listening(next, name);
        if let Some(counts) = counts {
            events = counts.listening(events);
        }
        if let Some(errors) = self.errors {
            events = errors.listening(events);
        }
        events
    }

    fn services(&self, tenant: Tenant, events: Events) -> Services {
        let refuse: Refuse = match self.errors {
            Some(errors) => errors.clone().refuse(),
            None => dev_errors::plain(),
        };
        Services {
            tenant,
            outbound: self.outbound.clone(),
            events,
            refuse,
            tracing: self.otel.tracing(),
        }
    }
}

impl Served {
    /// Reads its manifest and watches what that names, also when it turns out to be broken.
    pub(crate) fn read(&self) -> Result<Manifest, Failure> {
        let manifest = self.reader.read()?;
        if let Some(followed) = &self.followed {
            followed.follow(&load::files(&manifest));
        }
        Ok(manifest)
    }

    /// Loads it, and says what it waits for when that takes long.
    pub(crate) async fn load(
        &self,
        manifest: Manifest,
        generation: u64,
    ) -> Result<Arc<App>, Failure> {
        self.loader
            .load_telling(manifest, generation, &self.telemetry)
            .await
    }

    /// Reads and loads it on a task of its own, when it is its turn.
    pub(crate) fn start(
        &self,
        manifest: Manifest,
        generation: u64,
        turns: Arc<Semaphore>,
    ) -> JoinHandle<Result<Arc<App>, Failure>> {
        let app = self.clone();
        tokio::spawn(async move {
            let _turn = turns.acquire_owned().await;
            app.load(manifest, generation).await
        })
    }

    /// What stands in for it beside these apps, as it cannot be loaded: for its requests, where they are known and no
    /// other app is for them.
    pub(crate) fn stand_in(&self, generation: u64, others: &[&Manifest]) -> Arc<App> {
        let read = self.reader.clone().without_values().examine();
        let read = match read {
            Ok(Ok(manifest)) => Some(manifest),
            Ok(Err(flawed)) => flawed.rest.map(|rest| *rest),
            Err(_) => None,
        };
        let fits = |manifest: &Manifest| {
            let all = others.iter().copied().chain([manifest]);
            Manifest::clashes(all).is_empty()
        };
        let manifest = read.filter(fits).unwrap_or_else(|| self.unknown());
        Arc::new(self.loader.stand_in(manifest, generation))
    }

    /// Nobody knows what it is for. One that is alone is for everything.
    fn unknown(&self) -> Manifest {
        let tenant = &self.loader.services().tenant;
        let mut manifest = match self.is_alone {
            true => Manifest::new(tenant.name()),
            false => Manifest::for_nothing(tenant.name()),
        };
        manifest.path = self.reader.path().to_owned();
        manifest
    }

    /// Says what in its manifest is probably not meant, as it is about to be served.
    pub(crate) fn warn(&self, manifest: &Manifest) {
        self.telemetry.follow(manifest);
        for warning in &manifest.warnings {
            self.telemetry.say(&Notice::diagnostic(warning));
        }
    }
}
