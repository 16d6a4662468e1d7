//! What every siege stands on: the binary, its app, room for files and sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::siege::runner::Runner;

/// Files and sockets that the sieges need besides those of an attack.
const RESERVE: u64 = 500;

/// What all sieges share.
pub(crate) struct Ground {
    runner: PathBuf,
    /// Logs of the servers are kept here, to be read when something did not hold.
    logs: PathBuf,
    app: TempDir,
    quick: bool,
    descriptors: u64,
}

impl Ground {
    pub(crate) fn new(root: &Path, runner: Option<&Path>, quick: bool) -> Result<Ground> {
        let logs = root.join("target").join("siege");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create `{}`", logs.display()))?;
        let runner = match runner {
            Some(path) => path.to_owned(),
            None => built(root)?,
        };
        let runner = runner
            .canonicalize()
            .with_context(|| format!("there is no `{}`", runner.display()))?;
        Ok(Ground {
            runner,
            logs,
            app: app(root)?,
            quick,
            descriptors: raise_limit()?,
        })
    }

    /// The first line of the output.
    pub(crate) fn describe(&self) -> String {
        let version = self.output(&["--version"]).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let quick = if self.quick { ", quick" } else { "" };
        format!(
            "{} ({}), {cores} cores, {} file descriptors{quick}",
            self.runner.display(),
            version.trim(),
            self.descriptors
        )
    }

    /// One number for a siege, another for a quick one.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// As many connections as wanted, or as many as this process may have.
    pub(crate) fn connections(&self, wanted: u64) -> u64 {
        wanted.min(self.descriptors.saturating_sub(RESERVE))
    }

    /// Where a siege may leave files.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    /// Starts a server that listens on a free port.
    pub(crate) fn start(&self, name: &str, args: &[&str]) -> Result<Runner> {
        let command = self.command(&self.runner);
        Runner::start(command, &self.logs.join(name), "127.0.0.1:0", args)
    }

    /// The same, on this address.
    pub(crate) fn start_on(&self, name: &str, listen: &str, args: &[&str]) -> Result<Runner> {
        let command = self.command(&self.runner);
        Runner::start(command, &self.logs.join(name), listen, args)
    }

    /// The same, with no more than this many file descriptors.
    pub(crate) fn start_with_descriptors(&self, name: &str, descriptors: u64) -> Result<Runner> {
        let mut command = self.command(Path::new("sh"));
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(&self.runner);
        Runner::start(command, &self.logs.join(name), "127.0.0.1:0", &[])
    }

    /// What the binary says to these arguments.
    pub(crate) fn output(&self, args: &[&str]) -> Result<String> {
        let output = self.command(&self.runner).args(args).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a server of these apps, in their order, on a free port.
    pub(crate) fn start_apps(&self, name: &str, apps: &[&Path], args: &[&str]) -> Result<Runner> {
        let mut command = self.command(&self.runner);
        command
            .arg("up")
            .args(apps)
            .args(["--listen", "127.0.0.1:0"]);
        command.args(["--log-format", "json"]).args(args);
        Runner::spawn(command, &self.logs.join(name))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("XDG_RUNTIME_DIR", self.app.path())
            .env("RUNNER_CACHE_DIR", self.app.path().join("cache"))
            .current_dir(self.app.path())
            .stdin(Stdio::null());
        command
    }
}

/// A runtime for one attack: all of it on this thread, so that most of the machine is left to the server.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Whether a program is on the path.
pub(crate) fn has(program: &str) -> bool {
    let looked = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .output();
    looked.is_ok_and(|output| output.status.success())
}

fn built(root: &Path) -> Result<PathBuf> {
    let places =
        ["release", "debug"].map(|profile| root.join("target").join(profile).join("runner"));
    let built = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let newest = places.into_iter().filter(|path| path.exists());
    let Some(found) = newest.max_by_key(built) else {
        bail!("there is no built `runner`\nhelp: cargo build --release, or --runner PATH");
    };
    Ok(found)
}

/// The probe on every path.
fn app(root: &Path) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
    let probe = root.join("tests/guests/probe/probe.wasm");
    let manifest = format!(
        "spin_manifest_version = 2\n\
         [application]\nname = \"siege\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"{}\"\n",
        probe.display()
    );
    fs::write(folder.path().join("spin-like.toml"), manifest)?;
    Ok(folder)
}

/// Raises the soft limit of file descriptors to the hard one, here and in every server that is started from here.
fn raise_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum.unwrap_or(1 << 20))
}
