//! The compiler for guests, and what it is told.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Beside the repository's own builds, so that neither waits for the other.
const TARGET_FOLDER: &str = "target/guests";

/// A `rustc` that can be run.
pub(super) struct Compiler {
    rustc: OsString,
}

impl Compiler {
    /// The one that `RUSTC_FOR_GUESTS` names, else `RUSTC`, else the path. The first is there because cargo takes
    /// `RUSTC` for itself too, and would build this very program with it.
    pub(super) fn find() -> Result<Compiler> {
        let named = env::var_os("RUSTC_FOR_GUESTS").or_else(|| env::var_os("RUSTC"));
        let rustc = named
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "rustc".into());
        let compiler = Compiler { rustc };
        compiler.ask(&["--version"])?;
        Ok(compiler)
    }

    /// Builds `packages` of the workspace in `folder`, or the one package there.
    pub(super) fn build(
        &self,
        root: &Path,
        folder: &str,
        target: &str,
        packages: &[&str],
    ) -> Result<()> {
        self.require(target)?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(&cargo)
            .args([
                "build",
                "--release",
                "--locked",
                "--target",
                target,
                "--target-dir",
            ])
            .arg(root.join(TARGET_FOLDER))
            .args(
                packages
                    .iter()
                    .map(|package| format!("--package={package}")),
            )
            .current_dir(root.join(folder))
            .env("RUSTC", &self.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", flags(root)?)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS")
            .status()
            .with_context(|| {
                format!(
                    "cannot run `{}`: is Rust installed?",
                    cargo.to_string_lossy()
                )
            })?;
        if !status.success() {
            bail!("`{folder}` does not build for `{target}`: cargo says why above");
        }
        Ok(())
    }

    fn require(&self, target: &str) -> Result<()> {
        let library = self.ask(&["--print", "target-libdir", "--target", target])?;
        if Path::new(library.trim()).is_dir() {
            return Ok(());
        }
        let rustc = self.rustc.to_string_lossy();
        bail!("`{rustc}` has no standard library for `{target}`\nhelp: rustup target add {target}")
    }

    fn ask(&self, question: &[&str]) -> Result<String> {
        let rustc = self.rustc.to_string_lossy();
        let answer = Command::new(&self.rustc).args(question).output();
        let answer = answer.with_context(|| {
            format!("cannot run `{rustc}`\nhelp: install Rust, or name a compiler in RUSTC_FOR_GUESTS\ncause")
        })?;
        if !answer.status.success() {
            bail!(
                "`{rustc} {}` fails: {}",
                question.join(" "),
                String::from_utf8_lossy(&answer.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
    }
}

/// What `rustc` made of the package `name`.
pub(super) fn artifact(root: &Path, target: &str, name: &str) -> Result<Vec<u8>> {
    super::read(
        &root
            .join(TARGET_FOLDER)
            .join(target)
            .join("release")
            .join(name)
            .with_extension("wasm"),
    )
}

/// No path of the machine that built a guest stays in it.
fn flags(root: &Path) -> Result<String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let cargo_home = cargo_home.context("there is no home folder: set CARGO_HOME")?;
    let map = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok([map(&cargo_home, "/cargo"), map(root, "/runner")].join("\x1f"))
}
