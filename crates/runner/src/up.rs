//! `runner up`: load, listen, serve, reload, drain.

use std::future::pending;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use runner_host::{App, Apps, Services};
use runner_manifest::Manifest;
use runner_trigger_http::{
    Announced, Drained, Error, Handle, Limits, Options, Proxies, Server, Tls,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

use crate::account::AuditLog;
use crate::admin::{Admin, AdminAddress};
use crate::banner;
use crate::cli::{ClientArgs, Global, Up};
use crate::control::{Control, Predecessor, Subject};
use crate::dev_errors::DevErrors;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, limit};
use crate::load;
use crate::metrics::Metrics;
use crate::otel::Otel;
use crate::print::Print;
use crate::reload::Reloads;
use crate::rights::Snapshot;
use crate::signals::{Signal, Signals};
use crate::telemetry::{Detail, Notice, Telemetry, headed};
use crate::tenants::{self, Common, Served};
use crate::watch::Watch;
use crate::{descriptors, inherited, trim};

/// The generation of the app that is loaded first.
const FIRST: u64 = 1;

/// Where to listen when nobody says so.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// Beside the runtime's own: what compiles, what reads files, what keeps time.
const SPARE_THREADS: usize = 4;

/// The runtime's own six, and a few for what it is to do.
const SPARE_DESCRIPTORS: usize = 12;

/// Runs until the app has drained.
pub(crate) fn run(args: &Up, global: &Global, environment: &Environment) -> Exit {
    // Before there is a second thread.
    let inherited = inherited::take();
    trim::keep_large_apart();
    let detail = if args.output.quiet {
        Detail::Quiet
    } else {
        Detail::All
    };
    let telemetry = Telemetry::start(args.output.log_format, global.color, detail);
    telemetry.log(environment.log.as_deref(), global.verbose);
    let exit = inherited.and_then(|socket| serve(args, global, environment, &telemetry, socket));
    let exit = exit.unwrap_or_else(|failure| {
        match telemetry.is_written() {
            true => telemetry.say(&Notice::failure(&failure)),
            false => Print::new(global.color).talk(&failure.text),
        }
        failure.exit
    });
    telemetry.finish();
    exit
}

fn serve(
    args: &Up,
    global: &Global,
    environment: &Environment,
    telemetry: &Telemetry,
    inherited: Option<TcpListener>,
) -> Result<Exit, Failure> {
    let descriptors = descriptors::raise();
    if let Some(socket) = &inherited {
        inherited::check(socket, args.network.listen)?;
    }
    check_addresses(args, inherited.as_ref())?;
    let named = tenants::named(args, global.directory.as_deref(), environment)?;
    if let Some(wanted) = args
        .clients
        .max_connections
        .filter(|wanted| wanted.get() > descriptors)
    {
        telemetry.say(&Notice::warning(format!(
            "`--max-connections {wanted}` is more than the {descriptors} files and sockets that may be open"
        )));
    }
    if let Some(warning) = load::no_cache_warning(&args.cache, environment) {
        telemetry.say(&warning);
    }
    let audit = AuditLog::open(&args.account, telemetry)?;
    let accounts = named.iter().enumerate();
    let accounts = accounts.map(|(at, app)| app.account(at, &audit, args));
    let accounts = tenants::all(accounts)?;
    let runtime = runtime()?;
    // Nobody waits for it.
    drop(runtime.spawn_blocking(runner_host::sweep_files));
    let exit = runtime.block_on(async {
        let engine = load::engine(load::cache_dir(&args.cache, environment))?;
        let otel = Otel::start(&environment.otel, &args.door, telemetry);
        let metrics = args.operation.admin.as_ref().map(|_| {
            let audit = audit.dropped().map(|dropped| ("audit", dropped));
            let logs = [("log", telemetry.dropped())].into_iter().chain(audit);
            Metrics::new(engine.clone(), logs.collect())
        });
        let errors = shows_errors(args).then(DevErrors::default);
        let outbound = load::outbound(&args.door)?;
        let common = Common {
            telemetry,
            metrics: metrics.as_ref(),
            otel: &otel,
            errors: errors.as_ref(),
            engine: &engine,
            outbound: &outbound,
        };
        let apps = named.into_iter().zip(&accounts).enumerate();
        let apps: Vec<_> = apps
            .map(|(at, (app, account))| app.served(at, account.clone(), &common))
            .collect();
        let nobody = match &apps[..] {
            [(app, _)] => app.loader.services().clone(),
            _ => common.nobody(),
        };
        let (apps, wishes) = apps.into_iter().unzip();
        Service {
            args,
            apps,
            nobody,
            telemetry,
            environment,
            inherited,
            descriptors,
            metrics,
            otel,
        }
        .run(wishes)
        .await
    });
    // What a second signal cut short may never end by itself.
    runtime.shutdown_background();
    audit.finish();
    accounts
        .iter()
        .for_each(|account| account.finish(telemetry));
    exit
}

/// Two listeners cannot have one port.
fn check_addresses(args: &Up, inherited: Option<&TcpListener>) -> Result<(), Failure> {
    let Some(AdminAddress::Tcp(admin)) = args.operation.admin else {
        return Ok(());
    };
    let inherited = inherited.and_then(|socket| socket.local_addr().ok());
    let listen = inherited.or(args.network.listen).unwrap_or(LISTEN);
    let all = |address: SocketAddr| address.ip().is_unspecified();
    let meet = listen.ip() == admin.ip() || all(listen) || all(admin);
    if listen.port() != admin.port() || admin.port() == 0 || !meet {
        return Ok(());
    }
    let sentence = format!("`--listen {listen}` and `--admin {admin}` are on the same port");
    Err(Failure::new(
        Exit::Usage,
        sentence,
        "give one of them another; port 0 takes a free one",
    ))
}

/// Whether clients are told causes. Only a developer has a terminal and watches his files.
fn shows_errors(args: &Up) -> bool {
    let is_developer = || args.watch && std::io::stderr().is_terminal();
    args.operation.dev_errors.unwrap_or_else(is_developer)
}

/// How long a thread is kept that has done work that blocks. There is little of that, and each reload has some: with ten
/// seconds there were soon as many threads as there had ever been work at once.
const BLOCKING_KEPT: Duration = Duration::from_secs(1);

/// The runtime that everything runs on.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let build = || {
        let mut runtime = Builder::new_multi_thread();
        runtime.thread_keep_alive(BLOCKING_KEPT).enable_all();
        runtime.build()
    };
    has_descriptors()
        .and_then(|()| has_threads(workers + SPARE_THREADS))
        .and_then(|()| build())
        .map_err(|error| Failure::of_machine("the runtime cannot start", &error))
}

/// Opens as many descriptors as the runtime does, and more: where it cannot have one for signals it panics.
fn has_descriptors() -> io::Result<()> {
    let pairs = (0..SPARE_DESCRIPTORS / 2).map(|_| UnixStream::pair());
    pairs.collect::<io::Result<Vec<_>>>().map(drop)
}

/// Starts so many threads: where the runtime cannot have one it panics.
fn has_threads(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // They are there at once: none ends before the last has begun.
        let _shut = gate.lock();
        for _ in 0..count {
            thread::Builder::new().spawn_scoped(scope, || drop(gate.lock()))?;
        }
        Ok(())
    })
}

/// Apps on their way to being served.
struct Service<'a> {
    args: &'a Up,
    apps: Vec<Served>,
    /// Who is told of requests that are for none of them.
    nobody: Services,
    telemetry: &'a Telemetry,
    environment: &'a Environment,
    /// The socket that whoever started us has opened.
    inherited: Option<TcpListener>,
    /// How many files and sockets may be open.
    descriptors: usize,
    metrics: Option<Metrics>,
    otel: Otel,
}

impl Service<'_> {
    async fn run(mut self, wishes: Vec<Receiver<()>>) -> Result<Exit, Failure> {
        let mut signals = Signals::listen()?;
        let admin = self.admin().await?;
        self.watch()?;
        // Its socket is ours too from now on, also if it ends before we can accept.
        let predecessor = self.predecessor().await;
        let apps = tokio::select! {
            apps = self.load() => apps?,
            exit = signals.stop() => return Ok(exit),
        };
        let running: Vec<_> = apps.iter().map(|app| Snapshot::of(app)).collect();
        for (served, app) in self.apps.iter().zip(&apps) {
            served.counts.iter().for_each(|counts| counts.follow(app));
        }
        let socket = self.socket(predecessor.as_ref())?;
        let (server, listening) = self.bind(&apps, socket).await?;
        let handle = server.handle();
        self.otel.serves(&apps, &handle);
        drop(apps);
        let retire = Arc::new(Notify::new());
        let controls = self.controls(&handle, &retire).await;
        let serving = tokio::spawn(server.serve());
        if let Some(admin) = &admin {
            admin.ready(&handle);
        }
        if let Some(predecessor) = predecessor {
            self.relieve(predecessor).await;
        }
        // The port and the control sockets are open when the line is read.
        self.telemetry.say(&listening);
        let mut tasks = self.reloading(running, wishes, &handle);
        tasks.push(tokio::spawn(trim::when_idle(handle.clone())));
        let exit = self
            .attend(serving, &handle, admin.as_ref(), &mut signals, &retire)
            .await;
        for control in controls {
            control.close().await;
        }
        if let Some(admin) = admin {
            admin.close().await;
        }
        for task in tasks {
            task.abort();
            // An app goes with it, and with the app the copies of its files.
            let _ = task.await;
        }
        self.otel.has_served();
        match exit {
            Ok(Exit::Done) => tokio::select! {
                () = self.otel.finish() => exit,
                exit = signals.stop() => Ok(exit),
            },
            // Whoever is in a hurry waits for no collector.
            _ => exit,
        }
    }

    /// Watches the files of every app, where that is wanted.
    fn watch(&mut self) -> Result<(), Failure> {
        if !self.args.watch {
            return Ok(());
        }
        let (network, operator) = (&self.args.network, &self.args.operator);
        let always = [&network.tls_cert, &network.tls_key, &operator.config];
        let always = always.into_iter().flatten().cloned().collect();
        let watch = Watch::start(always)?;
        for app in &mut self.apps {
            let followed = watch.of_app(app.wish.clone());
            followed.follow(&[app.reader.path().to_owned()]);
            app.followed = Some(followed);
        }
        Ok(())
    }

    /// Loads every app, as many at once as there are cores, once it is known that they can be served together. All that is
    /// wrong with any of them is told at once.
    async fn load(&self) -> Result<Vec<Arc<App>>, Failure> {
        let read: Vec<_> = self.apps.iter().map(Served::read).collect();
        tenants::check_clashes(read.iter().filter_map(|read| read.as_ref().ok()))?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let turns = Arc::new(Semaphore::new(cores));
        let start = |(app, read): (&Served, Result<Manifest, Failure>)| {
            let manifest = read?;
            app.warn(&manifest);
            Ok(app.start(manifest, FIRST, turns.clone()))
        };
        let loading: Vec<_> = self.apps.iter().zip(read).map(start).collect();
        let mut loaded = Vec::new();
        for loading in loading {
            loaded.push(match loading {
                Ok(task) => task
                    .await
                    .unwrap_or_else(|error| Err(Failure::of(Exit::App, &error))),
                Err(failure) => Err(failure),
            });
        }
        match self.args.keep_going {
            true => Ok(self.without_broken(loaded)),
            false => tenants::all(loaded),
        }
    }

    /// All of them, each that could not be loaded with what stands in for it.
    fn without_broken(&self, loaded: Vec<Result<Arc<App>, Failure>>) -> Vec<Arc<App>> {
        let mut apps: Vec<Arc<App>> = loaded.iter().flatten().cloned().collect();
        for (at, loaded) in loaded.into_iter().enumerate() {
            let Err(failure) = loaded else { continue };
            let served = &self.apps[at];
            served.telemetry.say(&not_loaded(&failure));
            let others: Vec<_> = apps.iter().map(|app| app.manifest()).collect();
            let app = served.stand_in(FIRST, &others);
            apps.insert(at, app);
        }
        apps
    }

    /// Reloads each app by itself, whatever the others do.
    fn reloading(
        &self,
        running: Vec<Snapshot>,
        wishes: Vec<Receiver<()>>,
        handle: &Handle,
    ) -> Vec<JoinHandle<()>> {
        let apps = self.apps.iter().zip(running).zip(wishes);
        let start = |((app, running), wishes): ((&Served, Snapshot), Receiver<()>)| {
            let reloads = Reloads {
                app: app.clone(),
                handle: handle.clone(),
                running,
                generation: FIRST,
            };
            tokio::spawn(reloads.run(wishes))
        };
        apps.map(start).collect()
    }

    /// Opens the sockets, one for each app, on which `runner inspect` and `runner suggest` ask, and on which another process
    /// takes over.
    async fn controls(&self, handle: &Handle, retire: &Arc<Notify>) -> Vec<Control> {
        let folders = self.control_folders();
        let mut controls = Vec::new();
        for app in &self.apps {
            let subject = Subject {
                handle: handle.clone(),
                at: app.at,
                account: app.account.clone(),
                retire: retire.clone(),
            };
            controls.extend(Control::open(&folders, app.reader.path(), subject).await);
        }
        controls
    }

    fn control_folders(&self) -> Vec<PathBuf> {
        let cache_dir = self.args.cache.cache_dir.as_deref();
        load::control_folders(cache_dir, self.environment)
    }

    /// The running process whose place this one is to take.
    async fn predecessor(&self) -> Option<Predecessor> {
        if !self.args.network.take_over {
            return None;
        }
        let folders = self.control_folders();
        let socket = self.inherited.as_ref();
        let address = socket.and_then(|socket| socket.local_addr().ok());
        let wanted = address.or(self.args.network.listen);
        let manifests: Vec<_> = self.apps.iter().map(|app| app.reader.path()).collect();
        let found = Predecessor::find(&folders, &manifests, wanted).await;
        let found = match found {
            None if wanted.is_none() => Predecessor::find(&folders, &manifests, Some(LISTEN)).await,
            found => found,
        };
        let notice = match &found {
            Some(found) => {
                let pid = found.pid;
                let text = format!("taking over from process {pid}");
                Notice::new("taking-over", text).with("from", pid)
            }
            None => {
                let text = "no running server to take over from; starting as usual";
                Notice::new("nothing-to-take-over", text).with("message", text)
            }
        };
        self.telemetry.say(&notice);
        found
    }

    /// The socket that is open already, if there is one.
    fn socket(
        &mut self,
        predecessor: Option<&Predecessor>,
    ) -> Result<Option<TcpListener>, Failure> {
        if let Some(socket) = self.inherited.take() {
            return Ok(Some(socket));
        }
        let socket = predecessor.map(|predecessor| predecessor.listener.try_clone());
        socket
            .transpose()
            .map_err(|error| Failure::of(Exit::Environment, &error))
    }

    /// Lets the predecessor go: from here on every connection is ours.
    async fn relieve(&self, predecessor: Predecessor) {
        let pid = predecessor.pid;
        if let Err(error) = predecessor.retire().await {
            let text = format!("process {pid} did not hear that its place is taken: {error}");
            self.telemetry.say(&Notice::warning(text));
        }
    }

    /// Opens the admin listener, before anything is loaded: that can take seconds, and is a state to be asked about.
    async fn admin(&self) -> Result<Option<Admin>, Failure> {
        let Some((address, metrics)) = self.args.operation.admin.as_ref().zip(self.metrics.clone())
        else {
            return Ok(None);
        };
        let (admin, notices) = Admin::open(address, metrics).await?;
        notices.iter().for_each(|notice| self.telemetry.say(notice));
        Ok(Some(admin))
    }

    /// Listens; and what to say of it.
    async fn bind(
        &self,
        apps: &[Arc<App>],
        socket: Option<TcpListener>,
    ) -> Result<(Server, Notice), Failure> {
        let network = &self.args.network;
        let tls = network.tls_cert.clone().zip(network.tls_key.clone());
        let tls = tls.map(|(certificate, key)| Tls { certificate, key });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let options = Options {
            listen: network.listen.unwrap_or(LISTEN),
            tls,
            drain_timeout: self.args.drain_timeout,
            limits: limits(&self.args.clients, self.descriptors),
            proxies: proxies(&self.args.clients),
        };
        let together = Apps::new(apps.to_vec(), self.nobody.clone());
        let together = together.map_err(|error| Failure::diagnosed(Exit::Usage, error))?;
        let server = match socket {
            Some(socket) => Server::on(socket, options, together),
            None => Server::bind(options, together).await,
        };
        let server = server.map_err(|error| not_listening(&error))?;
        let listening = banner::notice(apps, server.local_addr(), scheme);
        Ok((server, listening))
    }

    /// Obeys signals, and who takes over, until the server has drained or a second signal says not to wait for it.
    async fn attend(
        &self,
        mut serving: JoinHandle<Drained>,
        handle: &Handle,
        admin: Option<&Admin>,
        signals: &mut Signals,
        retire: &Notify,
    ) -> Result<Exit, Failure> {
        let (mut draining, mut delay) = (false, None);
        loop {
            let signal = tokio::select! {
                drained = &mut serving => return self.drained(drained.map_err(|error| Failure::of(Exit::App, &error))?),
                () = over(&mut delay) => {
                    delay = None;
                    handle.drain();
                    continue;
                }
                signal = signals.next() => signal,
                () = retire.notified(), if !draining => {
                    draining = true;
                    let goodbye = self.goodbye(handle).with("taken_over", true);
                    if let Some(admin) = admin {
                        admin.draining(handle);
                    }
                    handle.hand_over();
                    self.telemetry.say(&goodbye);
                    continue;
                }
            };
            match signal {
                Signal::Stop(exit) if draining => return Ok(exit),
                Signal::Stop(_) => {
                    draining = true;
                    let goodbye = self.goodbye(handle);
                    // Who asks whether it is ready knows before who connects.
                    if let Some(admin) = admin {
                        admin.draining(handle);
                    }
                    // Who reads that it drains may rely on it.
                    match self.args.operation.drain_delay {
                        Duration::ZERO => handle.drain(),
                        time => delay = Some(Box::pin(sleep(time))),
                    }
                    self.telemetry.say(&goodbye);
                }
                Signal::Reload if draining => {}
                Signal::Reload => {
                    for app in &self.apps {
                        // A full channel already holds a wish that has not been taken up.
                        let _ = app.wish.try_send(());
                    }
                }
            }
        }
    }

    fn goodbye(&self, handle: &Handle) -> Notice {
        let (requests, patience) = (handle.in_flight(), self.args.drain_timeout);
        let delay = self.args.operation.drain_delay;
        let after = match delay {
            Duration::ZERO => String::new(),
            time => format!(" after {time:?}"),
        };
        let text = format!(
            "draining{after}: {requests} requests in flight, at most {patience:?}; signal again to stop at once"
        );
        Notice::new("draining", text)
            .with("in_flight", requests)
            .with(
                "delay_ms",
                u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            )
    }

    fn drained(&self, drained: Drained) -> Result<Exit, Failure> {
        let text = match drained.cut {
            0 => "stopped, no request was cut".to_owned(),
            cut => format!("stopped, {cut} requests took too long and were cut"),
        };
        self.telemetry
            .say(&Notice::new("stopped", text).with("cut", drained.cut));
        Ok(Exit::Done)
    }
}

/// Why an app is not among those that are served.
fn not_loaded(failure: &Failure) -> Notice {
    const WAITS: &str = "it answers 503 until a reload can load it";
    Notice::new(
        "not-loaded",
        format!("{}\n\nnot loaded: {WAITS}", headed(&failure.text)),
    )
    .with("message", WAITS)
    .with("text", failure.text.clone())
    .with_diagnostics(failure)
    .important()
}

/// What clients may take, of a machine with so many descriptors.
fn limits(args: &ClientArgs, descriptors: usize) -> Limits {
    // The other half is for what the app opens, and for us.
    let usual = (descriptors / 2).max(1);
    Limits {
        connections: args.max_connections.map_or(usual, NonZeroUsize::get),
        connections_per_ip: args.max_connections_per_ip.map(NonZeroUsize::get),
        ..Limits::default()
    }
}

fn proxies(args: &ClientArgs) -> Proxies {
    Proxies {
        trusted: args.trusted_proxies.clone(),
        announced: if args.proxy_protocol {
            Announced::ByHeader
        } else {
            Announced::No
        },
    }
}

/// How to listen elsewhere.
fn another(why: io::ErrorKind) -> &'static str {
    match why {
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have the address: choose another with `--listen`, such as `127.0.0.1:3000`"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for the privileged: choose another with `--listen`; port 0 takes a free one"
        }
        _ => "free it, or choose another with `--listen`; port 0 takes a free one",
    }
}

/// Returns once a delay that was begun is over.
async fn over(delay: &mut Option<Pin<Box<Sleep>>>) {
    match delay {
        Some(delay) => delay.await,
        None => pending().await,
    }
}

fn not_listening(error: &Error) -> Failure {
    let mut failure = Failure::of(Exit::Environment, error);
    if let Error::Bind { source, .. } = error {
        let help = limit(source).unwrap_or_else(|| another(source.kind()));
        failure.text += &format!("\nhelp: {help}");
    }
    failure
}
