//! The apps, and how each contender is started with them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::bare;
use super::contender::Contender;
use super::process::Process;
use crate::siege::ground::has;

/// Flags of `wasmtime serve` with which it is fastest: a pool whose slots stay resident.
const TUNED: &[&str] = &[
    "-O",
    "pooling-allocator=y,pooling-memory-keep-resident=2097152,pooling-table-keep-resident=524288",
];

/// Requests of an instance of 0.2 that serves again.
const REUSE: &[&str] = &["--max-instance-reuse-count", "1000"];

/// Routes of the app that has many, and components of the other one.
const ROUTES: usize = 10_000;
const COMPONENTS: usize = 100;

/// What all rounds stand on.
pub(super) struct Stage {
    runner: PathBuf,
    bare: PathBuf,
    other: Option<String>,
    folder: TempDir,
    probe: PathBuf,
    probe3: PathBuf,
    greeter: PathBuf,
    /// Answers calls out.
    upstream: Process,
}

impl Stage {
    pub(super) fn new(
        root: &Path,
        runner: PathBuf,
        bare: PathBuf,
        other: Option<String>,
    ) -> Result<Stage> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let upstream = start_bare(&bare, folder.path(), "upstream")?;
        let stage = Stage {
            runner,
            bare,
            other,
            folder,
            probe: root.join("tests/guests/probe/probe.wasm"),
            probe3: root.join("tests/guests/probe3/probe3.wasm"),
            greeter: root.join("demo/guests/greeter/greeter.wasm"),
            upstream,
        };
        stage.write_apps()?;
        Ok(stage)
    }

    /// The first line of the output.
    pub(super) fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let version = |program: &Path| {
            let said = Command::new(program).arg("--version").output();
            let said = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
            said.unwrap_or_default()
        };
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("a processor without a name", |(_, name)| name);
        format!(
            "{}, {}; {processor}, {cores} cores",
            version(&self.runner),
            version(Path::new("wasmtime"))
        )
    }

    /// The address that `/fetch` asks.
    pub(super) fn upstream(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// A file of its own for whoever needs one.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether it can be started here.
    pub(super) fn has(&self, contender: &Contender) -> bool {
        match contender {
            Contender::Runner
            | Contender::RunnerSerial
            | Contender::RunnerConcurrent
            | Contender::RunnerOne
            | Contender::RunnerRoutes
            | Contender::RunnerMany
            | Contender::Bare => true,
            Contender::Nginx => has("nginx"),
            Contender::Wasmtime
            | Contender::WasmtimeTuned
            | Contender::WasmtimeReuse
            | Contender::WasmtimeConcurrent => has("wasmtime"),
            Contender::Other => self.other.is_some(),
        }
    }

    /// Starts it, and waits until it listens.
    pub(super) fn start(&self, contender: &Contender) -> Result<Process> {
        let tuned_reuse = [TUNED, REUSE].concat();
        match contender {
            Contender::Runner => self.start_runner(&self.app("fresh")),
            Contender::RunnerSerial => self.start_runner(&self.app("serial")),
            Contender::RunnerConcurrent => self.start_runner(&self.app("concurrent")),
            Contender::RunnerOne => self.start_runner(&self.app("one")),
            Contender::RunnerRoutes => self.start_runner(&self.app("routes")),
            Contender::RunnerMany => self.start_runner(&self.app("many")),
            Contender::Bare => start_bare(&self.bare, self.folder.path(), "bare"),
            Contender::Nginx => self.start_nginx(),
            Contender::Wasmtime => self.start_wasmtime(&self.probe, &[]),
            Contender::WasmtimeTuned => self.start_wasmtime(&self.probe, TUNED),
            Contender::WasmtimeReuse => self.start_wasmtime(&self.probe, &tuned_reuse),
            Contender::WasmtimeConcurrent => self.start_wasmtime(&self.probe3, TUNED),
            Contender::Other => self.start_other(),
        }
    }

    /// `runner up` with default flags; its log goes to a file.
    pub(super) fn start_runner(&self, app: &Path) -> Result<Process> {
        let address = free_address()?;
        Process::start(self.runner_up(app, address)?, address)
    }

    /// The same as a command, for this address.
    pub(super) fn runner_up(&self, app: &Path, address: SocketAddr) -> Result<Command> {
        let mut command = Command::new(&self.runner);
        command
            .arg("up")
            .arg(app)
            .args(["--listen", &address.to_string()])
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .env("RUNNER_CACHE_DIR", self.file("cache"));
        self.quietly(&mut command, "runner")?;
        Ok(command)
    }

    pub(super) fn start_wasmtime(&self, component: &Path, flags: &[&str]) -> Result<Process> {
        let address = free_address()?;
        Process::start(self.wasmtime_serve(component, flags, address)?, address)
    }

    pub(super) fn wasmtime_serve(
        &self,
        component: &Path,
        flags: &[&str],
        address: SocketAddr,
    ) -> Result<Command> {
        let mut command = Command::new("wasmtime");
        command
            .args(["serve", "-C", "cache=y", "-S", "cli"])
            .args(["--addr", &address.to_string()])
            .args(flags)
            .arg(component);
        self.quietly(&mut command, "wasmtime")?;
        Ok(command)
    }

    fn start_nginx(&self) -> Result<Process> {
        let address = free_address()?;
        let site = self.file("nginx");
        fs::create_dir_all(&site)?;
        fs::write(site.join("hello"), "hello from probe\n")?;
        // It leaves root behind, and then has to reach the file.
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let site = site.display();
        let configuration = format!(
            "daemon off; worker_processes {cores}; pid {site}/pid; error_log {site}/errors;\n\
             events {{ worker_connections 2048; }}\n\
             http {{ access_log {site}/access; keepalive_requests 1000000000; server {{\n\
             listen {address} reuseport; root {site}; default_type text/plain; }} }}\n"
        );
        let file = self.file("nginx.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file);
        self.quietly(&mut command, "nginx")?;
        Process::start(command, address)
    }

    fn start_other(&self) -> Result<Process> {
        let Some(other) = &self.other else {
            bail!("no other server was named");
        };
        let address = free_address()?;
        let mut command = Command::new("sh");
        let port = address.port().to_string();
        command
            .arg("-c")
            .arg(format!("exec {}", other.replace("{port}", &port)));
        self.quietly(&mut command, "other")?;
        Process::start(command, address)
    }

    fn quietly(&self, command: &mut Command, name: &str) -> Result<()> {
        quietly(command, self.folder.path(), name)
    }

    fn app(&self, name: &str) -> PathBuf {
        self.file(name)
    }

    fn write_apps(&self) -> Result<()> {
        let upstream = self.upstream();
        let grant = format!("allowed_outbound_hosts = [\"http://{upstream}\"]\n");
        let serial = "[component.c.limits]\ninstance_reuse = \"serial\"\n";
        let concurrent = "[component.c.limits]\ninstance_reuse = \"concurrent\"\n";
        let one = || [("/...".to_owned(), "c".to_owned())];
        self.write_app("fresh", &one(), &self.probe, &grant)?;
        self.write_app("serial", &one(), &self.probe, serial)?;
        self.write_app("concurrent", &one(), &self.probe3, concurrent)?;
        self.write_app("one", &one(), &self.greeter, "")?;
        let routes = (0..ROUTES).map(|at| (format!("/r{at}"), "c".to_owned()));
        self.write_app("routes", &routes.collect::<Vec<_>>(), &self.greeter, "")?;
        self.write_components("many", COMPONENTS)?;
        Ok(())
    }

    fn write_app(
        &self,
        name: &str,
        routes: &[(String, String)],
        component: &Path,
        more: &str,
    ) -> Result<()> {
        let folder = self.app(name);
        fs::create_dir_all(&folder)?;
        let mut manifest = head(name);
        for (route, component) in routes {
            let _ = writeln!(
                manifest,
                "[[trigger.http]]\nroute = \"{route}\"\ncomponent = \"{component}\""
            );
        }
        fs::copy(component, folder.join("c.wasm"))
            .with_context(|| format!("there is no `{}`", component.display()))?;
        let _ = write!(manifest, "[component.c]\nsource = \"c.wasm\"\n{more}");
        fs::write(folder.join("spin-like.toml"), manifest)?;
        Ok(())
    }

    /// An app of so many different components, each with a route `/rN` of its own.
    pub(super) fn write_components(&self, name: &str, count: usize) -> Result<PathBuf> {
        let folder = self.app(name);
        fs::create_dir_all(&folder)?;
        let wasm = fs::read(&self.greeter)?;
        let mut manifest = head(name);
        for at in 0..count {
            let _ = writeln!(
                manifest,
                "[[trigger.http]]\nroute = \"/r{at}\"\ncomponent = \"c{at}\"\n\
                 [component.c{at}]\nsource = \"c{at}.wasm\""
            );
            fs::write(folder.join(format!("c{at}.wasm")), marked(&wasm, at))?;
        }
        fs::write(folder.join("spin-like.toml"), manifest)?;
        Ok(folder)
    }
}

fn head(name: &str) -> String {
    format!("spin_manifest_version = 2\n[application]\nname = \"{name}\"\n")
}

/// The same component with a mark, so that it is another one.
fn marked(wasm: &[u8], mark: usize) -> Vec<u8> {
    // A custom section: its id, its size, the size of its name, its name, and what it holds.
    const NAME: &[u8] = b"mark";
    let mark = format!("{mark:08}");
    let size = 1 + NAME.len() + mark.len();
    let section = [&[0, size as u8, NAME.len() as u8], NAME, mark.as_bytes()].concat();
    [wasm, &section].concat()
}

fn start_bare(program: &Path, folder: &Path, name: &str) -> Result<Process> {
    let address = free_address()?;
    let mut command = Command::new(program);
    command.args([bare::NAME, &address.to_string()]);
    quietly(&mut command, folder, name)?;
    Process::start(command, address)
}

/// What it says goes to a file, and it is asked for no backtraces.
fn quietly(command: &mut Command, folder: &Path, name: &str) -> Result<()> {
    let log = folder.join(name).with_extension("log");
    command
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(File::create(log.with_extension("out"))?)
        .stderr(File::create(log)?);
    Ok(())
}

pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_makes_another_component_that_is_valid() {
        let wasm = b"\0asm\x0d\0\x01\0";
        let section = b"\0\x0d\x04mark00000007";
        assert_eq!(marked(wasm, 7), [&wasm[..], section].concat());
        assert_ne!(marked(wasm, 7), marked(wasm, 8));
    }
}
