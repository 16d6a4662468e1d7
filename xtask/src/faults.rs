//! `runner` where a disk is full or read-only, where there is no network to speak of, and where the machine gives no
//! more: it serves, or says why not, and ends as it is told.
//!
//! All of it happens in a mount and a network namespace of its own, so that nothing of the machine changes.

mod steps;
mod up;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use self::steps::STEPS;

/// The chore that is run within the namespaces.
pub const INSIDE: &str = "faults-inside";

/// Of the full disk: less than one compiled component.
const DISK: &str = "size=512k,mode=0700";

/// A folder with an app and a `runner`, and a small disk in it.
pub(crate) struct Scene {
    root: PathBuf,
}

/// Builds `runner` and takes every step.
///
/// # Errors
/// When it cannot be built, or a step finds something else than it expects.
pub fn run(root: &Path) -> Result<String> {
    if !has_namespaces() {
        let names: String = names().map(|name| format!("\n  {name}")).collect();
        return Ok(format!(
            "left out, for they need root, `unshare` and `ip`:{names}"
        ));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(root)
        // With the same features as for the tests: the engine is not built twice.
        .args([
            "build",
            "--quiet",
            "--package",
            "runner",
            "--package",
            "runner-tests",
        ])
        .status()?;
    if !built.success() {
        bail!("`runner` cannot be built");
    }
    let scene = Scene::new(root)?;
    let status = namespaces()
        .arg(std::env::current_exe()?)
        .arg(INSIDE)
        .arg(&scene.root)
        .status()?;
    fs::remove_dir_all(&scene.root)?;
    match status.success() {
        true => Ok(format!(
            "{} faults, and `runner` serves or says why not",
            STEPS.len()
        )),
        false => bail!("a fault is not met"),
    }
}

/// What each step is called.
pub fn names() -> impl Iterator<Item = &'static str> {
    STEPS.into_iter().map(|(name, _)| name)
}

/// Takes every step, within the namespaces.
///
/// # Errors
/// With the name of the step that finds something else than it expects.
pub fn inside(root: &Path) -> Result<String> {
    let scene = Scene { root: root.into() };
    tool("ip", &["link", "set", "lo", "up"])?;
    for (name, step) in STEPS {
        let found = scene.with_disk(step);
        found.with_context(|| name.to_owned())?;
        let _ = writeln!(io::stdout(), "ok  {name}");
    }
    Ok(String::new())
}

fn namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "--"]);
    command
}

fn has_namespaces() -> bool {
    let mut probe = namespaces();
    probe.args(["sh", "-c", "ip link set lo up && mount -t tmpfs none /mnt"]);
    let status = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

impl Scene {
    /// In a folder that every user can reach.
    fn new(root: &Path) -> Result<Scene> {
        let folder = format!("runner-faults-{}", std::process::id());
        let scene = Scene {
            root: std::env::temp_dir().join(folder),
        };
        fs::create_dir_all(scene.disk())?;
        fs::copy(root.join("target/debug/runner"), scene.runner())?;
        fs::copy(
            root.join("tests/guests/probe/probe.wasm"),
            scene.root.join("probe.wasm"),
        )?;
        fs::write(
            scene.root.join("spin-like.toml"),
            "spin_manifest_version = 2\n[application]\nname = \"faults\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
             [component.probe]\nsource = \"probe.wasm\"\nallowed_outbound_hosts = [\"http://a.test\"]\n",
        )?;
        Ok(scene)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn runner(&self) -> PathBuf {
        self.root.join("runner")
    }

    /// Where the small disk is.
    pub(crate) fn disk(&self) -> PathBuf {
        self.root.join("disk")
    }

    /// Fills the small disk to its last byte.
    pub(crate) fn fill_disk(&self) -> Result<()> {
        let mut file = fs::File::create(self.disk().join("fill"))?;
        io::copy(&mut io::repeat(0), &mut file)
            .map(|_| bail!("the disk takes all that there is"))
            .unwrap_or(Ok(()))
    }

    /// Makes room on it again.
    pub(crate) fn empty_disk(&self) -> Result<()> {
        Ok(fs::remove_file(self.disk().join("fill"))?)
    }

    /// Lets nobody write to it.
    pub(crate) fn protect_disk(&self) -> Result<()> {
        tool("mount", &["-o", "remount,ro", &self.disk_path()?])
    }

    fn disk_path(&self) -> Result<String> {
        let path = self.disk();
        Ok(path.to_str().context("a path that is text")?.to_owned())
    }

    /// Takes a step on a disk of its own.
    fn with_disk(&self, step: fn(&Scene) -> Result<()>) -> Result<()> {
        let disk = self.disk_path()?;
        tool("mount", &["-t", "tmpfs", "-o", DISK, "none", &disk])?;
        let found = step(self);
        tool("umount", &["--lazy", &disk])?;
        found
    }
}

/// Runs a tool of the system.
pub(crate) fn tool(name: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(name)
        .args(arguments)
        .status()
        .with_context(|| format!("`{name}` is not installed"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("`{name} {}` fails", arguments.join(" ")),
    }
}
