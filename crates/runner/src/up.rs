//! `runner up`: load, listen, serve, reload, drain.

use std::sync::Arc;

use runner_host::App;
use runner_trigger_http::{Drained, Error, Handle, Limits, Options, Server, Tls};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinHandle;

use crate::account::Account;
use crate::banner;
use crate::cli::{Global, ListenArgs, Up};
use crate::control::Control;
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::load::{self, Loader, Reader};
use crate::reload::Reloads;
use crate::rights::Snapshot;
use crate::signals::{Signal, Signals};
use crate::telemetry::{Detail, Notice, Telemetry};
use crate::watch::Watch;

/// The generation of the app that is loaded first.
const FIRST: u64 = 1;

/// Runs until the app has drained.
pub(crate) fn run(args: &Up, global: &Global, environment: &Environment) -> Exit {
    let detail = if args.output.quiet {
        Detail::Quiet
    } else {
        Detail::All
    };
    let telemetry = Telemetry::start(args.output.log_format, global.color, detail);
    telemetry.log(environment.log.as_deref(), global.verbose);
    let exit = serve(args, global, environment, &telemetry).unwrap_or_else(|failure| {
        telemetry.say(&Notice::failure(&failure));
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
) -> Result<Exit, Failure> {
    let reader = Reader::new(&args.app, global.directory.as_deref(), environment)?;
    if let Some(warning) = load::no_cache_warning(&args.cache, environment) {
        telemetry.say(&warning);
    }
    let account = Account::open(&args.account, &reader, telemetry)?;
    let runtime = runtime()?;
    let exit = runtime.block_on(async {
        let engine = load::engine(load::cache_dir(&args.cache, environment))?;
        let events = account.listening(telemetry.events());
        let loader = Loader::new(engine, load::outbound(&args.door)?, events);
        Service {
            args,
            reader,
            loader,
            telemetry,
            environment,
            account: &account,
        }
        .run()
        .await
    });
    // What a second signal cut short may never end by itself.
    runtime.shutdown_background();
    account.finish(telemetry);
    exit
}

/// The runtime that everything runs on.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(Exit::Environment, &error))
}

/// An app on its way to being served.
struct Service<'a> {
    args: &'a Up,
    reader: Reader,
    loader: Loader,
    telemetry: &'a Telemetry,
    environment: &'a Environment,
    account: &'a Account,
}

impl Service<'_> {
    async fn run(self) -> Result<Exit, Failure> {
        let mut signals = Signals::listen()?;
        let (wish, wishes) = channel(1);
        let watch = if self.args.watch {
            Some(Watch::start(wish.clone())?)
        } else {
            None
        };
        let app = tokio::select! {
            app = self.load(watch.as_ref()) => app?,
            exit = signals.stop() => return Ok(exit),
        };
        let running = Snapshot::of(&app);
        let (server, listening) = self.bind(app).await?;
        let handle = server.handle();
        let control = self.control(&handle).await;
        // The port and the control socket are open when the line is read.
        self.telemetry.say(&listening);
        let reloads = Reloads {
            reader: self.reader.clone(),
            loader: self.loader.clone(),
            handle: handle.clone(),
            telemetry: self.telemetry.clone(),
            watch,
            running,
            generation: FIRST,
        };
        let reloading = tokio::spawn(reloads.run(wishes));
        let exit = self
            .attend(tokio::spawn(server.serve()), &handle, &mut signals, &wish)
            .await;
        if let Some(control) = control {
            control.close().await;
        }
        reloading.abort();
        // The app goes with it, and with the app the copies of its files.
        let _ = reloading.await;
        exit
    }

    async fn load(&self, watch: Option<&Watch>) -> Result<Arc<App>, Failure> {
        if let Some(watch) = watch {
            watch.follow(&[self.reader.path().to_owned()]);
        }
        let manifest = self.reader.read()?;
        if let Some(watch) = watch {
            watch.follow(&load::files(&manifest));
        }
        for warning in &manifest.warnings {
            self.telemetry.say(&Notice::diagnostic(warning));
        }
        self.loader
            .load_telling(manifest, FIRST, self.telemetry)
            .await
    }

    /// Opens the socket on which `runner inspect` and `runner suggest` ask.
    async fn control(&self, handle: &Handle) -> Option<Control> {
        let cache_dir = self.args.cache.cache_dir.as_deref();
        let folders = load::control_folders(cache_dir, self.environment);
        Control::open(&folders, self.reader.path(), handle.clone(), self.account).await
    }

    /// Listens; and what to say of it.
    async fn bind(&self, app: Arc<App>) -> Result<(Server, Notice), Failure> {
        let ListenArgs {
            listen,
            tls_cert,
            tls_key,
        } = self.args.network.clone();
        let tls = tls_cert
            .zip(tls_key)
            .map(|(certificate, key)| Tls { certificate, key });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let options = Options {
            listen,
            tls,
            drain_timeout: self.args.drain_timeout,
            limits: Limits::default(),
        };
        let server = Server::bind(options, app.clone())
            .await
            .map_err(|error| not_listening(&error))?;
        let listening = banner::notice(&app, server.local_addr(), scheme);
        Ok((server, listening))
    }

    /// Obeys signals until the server has drained or a second signal says not to wait for it.
    async fn attend(
        &self,
        mut serving: JoinHandle<Drained>,
        handle: &Handle,
        signals: &mut Signals,
        wish: &Sender<()>,
    ) -> Result<Exit, Failure> {
        let mut draining = false;
        loop {
            let signal = tokio::select! {
                drained = &mut serving => return self.drained(drained.map_err(|error| Failure::of(Exit::App, &error))?),
                signal = signals.next() => signal,
            };
            match signal {
                Signal::Stop(exit) if draining => return Ok(exit),
                Signal::Stop(_) => {
                    draining = true;
                    let goodbye = self.goodbye(handle);
                    // Who reads that it drains may rely on it.
                    handle.drain();
                    self.telemetry.say(&goodbye);
                }
                Signal::Reload if draining => {}
                // A full channel already holds a wish that has not been taken up.
                Signal::Reload => drop(wish.try_send(())),
            }
        }
    }

    fn goodbye(&self, handle: &Handle) -> Notice {
        let (requests, patience) = (handle.in_flight(), self.args.drain_timeout);
        let text = format!(
            "draining: {requests} requests in flight, at most {patience:?}; signal again to stop at once"
        );
        Notice::new("draining", text).with("in_flight", requests)
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

fn not_listening(error: &Error) -> Failure {
    let mut failure = Failure::of(Exit::Environment, error);
    if matches!(error, Error::Bind { .. }) {
        failure.text +=
            "\nhelp: free it, or choose another with `--listen`; port 0 takes a free one";
    }
    failure
}
