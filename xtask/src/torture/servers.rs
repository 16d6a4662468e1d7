//! Who is tortured: `runner` with two apps, or `wasmtime serve` with one component that is both.

use std::fmt;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::guests;
use crate::siege::ground::Ground;
use crate::siege::runner::Runner;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Runner,
    Wasmtime,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Runner => "runner",
            Kind::Wasmtime => "wasmtime",
        })
    }
}

/// The apps, in folders of their own, and an upstream that never answers.
pub(super) struct Stage<'a> {
    ground: &'a Ground,
    folder: TempDir,
    probe: PathBuf,
    /// Connections are made to it, and never accepted.
    hole: TcpListener,
}

/// A server that listens.
pub(super) enum Server {
    Runner(Runner),
    Wasmtime(Wasmtime),
}

/// `wasmtime serve`.
pub(super) struct Wasmtime {
    child: Child,
    address: SocketAddr,
}

impl<'a> Stage<'a> {
    pub(super) fn new(root: &Path, ground: &'a Ground) -> Result<Stage<'a>> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let stage = Stage {
            ground,
            folder,
            probe: root.join("tests/guests/probe/probe.wasm"),
            hole: TcpListener::bind(("127.0.0.1", 0))?,
        };
        for (name, wasm) in [("bulk", guests::bulk()?), ("table", guests::table()?)] {
            fs::create_dir_all(stage.of_a())?;
            fs::write(stage.of_a().join(name).with_extension("wasm"), wasm)?;
        }
        stage.reset()?;
        Ok(stage)
    }

    /// Tenant `a`'s folder.
    pub(super) fn of_a(&self) -> PathBuf {
        self.folder.path().join("a")
    }

    fn of_b(&self) -> PathBuf {
        self.folder.path().join("b")
    }

    /// The file that tenant `a` serves most paths with.
    pub(super) fn probe_of_a(&self) -> PathBuf {
        self.of_a().join("probe.wasm")
    }

    /// Where nobody answers.
    pub(super) fn hole(&self) -> Result<SocketAddr> {
        Ok(self.hole.local_addr()?)
    }

    /// Both apps as they were at first.
    fn reset(&self) -> Result<()> {
        let hole = self.hole()?;
        fs::create_dir_all(self.of_b())?;
        fs::copy(&self.probe, self.probe_of_a())?;
        fs::copy(&self.probe, self.of_b().join("probe.wasm"))?;
        let head = |name: &str, host: &str| {
            format!(
                "spin_manifest_version = 2\n[application]\nname = \"{name}\"\n\
                 [application.trigger.http]\nhost = \"{host}\"\n\
                 [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
                 [component.probe]\nsource = \"probe.wasm\"\n"
            )
        };
        // The host that the client of all sieges names.
        fs::write(
            self.of_b().join("spin-like.toml"),
            head("b", "siege.example"),
        )?;
        let a = format!(
            "{}allowed_outbound_hosts = [\"http://self\", \"http://{hole}\"]\n\
             [[trigger.http]]\nroute = \"/bulk\"\ncomponent = \"bulk\"\n\
             [component.bulk]\nsource = \"bulk.wasm\"\n\
             [[trigger.http]]\nroute = \"/table\"\ncomponent = \"table\"\n\
             [component.table]\nsource = \"table.wasm\"\n",
            head("a", super::attack::HOST)
        );
        fs::write(self.of_a().join("spin-like.toml"), a)?;
        Ok(())
    }

    /// Starts one, with the apps as they were at first.
    pub(super) fn start(&self, kind: Kind, name: &str) -> Result<Server> {
        self.reset()?;
        let name = format!("torture-{name}");
        match kind {
            Kind::Runner => {
                let apps = [self.of_a(), self.of_b()];
                let apps: Vec<&Path> = apps.iter().map(PathBuf::as_path).collect();
                let runner = self.ground.start_apps(&name, &apps, &["--watch"])?;
                Ok(Server::Runner(runner))
            }
            Kind::Wasmtime => {
                let log = self.ground.logs().join(name).with_extension("wasmtime.log");
                Wasmtime::start(&self.probe, &log).map(Server::Wasmtime)
            }
        }
    }
}

impl Server {
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Server::Runner(runner) => runner.address(),
            Server::Wasmtime(wasmtime) => wasmtime.address,
        }
    }

    pub(super) fn is_alive(&mut self) -> bool {
        match self {
            Server::Runner(runner) => runner.is_alive(),
            Server::Wasmtime(wasmtime) => wasmtime.is_alive(),
        }
    }

    /// The file that its log is written to, where there is one that grows.
    pub(super) fn log(&self) -> Option<PathBuf> {
        match self {
            Server::Runner(runner) => Some(runner.log().to_owned()),
            Server::Wasmtime(_) => None,
        }
    }
}

impl Wasmtime {
    fn start(component: &Path, log: &Path) -> Result<Wasmtime> {
        let address = free_address()?;
        let child = Command::new("wasmtime")
            .args(["serve", "-S", "cli", "--addr", &address.to_string()])
            .env_remove("RUST_BACKTRACE")
            .arg(component)
            .stdin(Stdio::null())
            // What guests print goes there too, without end.
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()
            .context("cannot start `wasmtime serve`")?;
        let mut wasmtime = Wasmtime { child, address };
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if listens(address) {
                return Ok(wasmtime);
            }
            if !wasmtime.is_alive() {
                bail!("`wasmtime serve` did not start: see `{}`", log.display());
            }
            sleep(Duration::from_millis(20));
        }
        bail!("`wasmtime serve` did not listen within {START:?}")
    }

    fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }
}

/// It must not outlive its torture.
impl Drop for Wasmtime {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client of the server under torture, in a process of its own"
)]
fn listens(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}
