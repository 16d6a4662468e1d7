//! `runner` as a process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::trace::Trace;

/// What a `runner` that has ended said.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `runner` with `args` in `dir` to its end.
pub async fn run(dir: &Path, args: &[&str]) -> Finished {
    run_with(dir, args, &[]).await
}

/// The same, with these variables in its environment; one that is empty is not there.
pub async fn run_with(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Finished {
    let mut command = command(dir, args, Trace::next().as_ref());
    set(&mut command, environment);
    finished(command).await
}

async fn finished(mut command: Command) -> Finished {
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .expect("runner starts");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The same, by a shell that does this first, such as `ulimit -n 8`. Never traced.
pub async fn run_after(first: &str, dir: &Path, args: &[&str]) -> Finished {
    let runner = command(dir, args, None);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{first}; exec \"$@\""), "sh"])
        .arg(binary())
        .args(args)
        .current_dir(dir)
        .env_clear()
        .kill_on_drop(true);
    for (name, value) in runner.as_std().get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    finished(shell).await
}

/// `runner` with an environment of its own, and one compile cache for all stories.
pub(crate) fn command(dir: &Path, args: &[&str], trace: Option<&Trace>) -> Command {
    let wrap = trace.map(|trace| trace.command(args)).unwrap_or_default();
    let mut words = wrap.into_iter().chain([OsString::from(binary())]);
    let mut command = Command::new(words.next().expect("at least runner itself"));
    command
        .args(words)
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RUNNER_CACHE_DIR", cache())
        .kill_on_drop(true);
    command
}

/// The same, after a line of shell. Never traced.
pub(crate) fn command_after(dir: &Path, line: &str, args: &[&str]) -> Command {
    let command = command(dir, &[], None);
    // Others know descriptors of one digit only.
    let mut shell = Command::new("bash");
    shell
        .arg("-c")
        .arg(format!("{line}; exec \"$@\""))
        .arg("bash");
    shell.arg(binary()).args(args).current_dir(dir).env_clear();
    for (name, value) in command.as_std().get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.kill_on_drop(true);
    shell
}

/// Sets these variables; one that is empty is taken away.
pub(crate) fn set(command: &mut Command, environment: &[(&str, &str)]) {
    for (name, value) in environment {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
}

/// The `runner` of the stories. Cargo says where it is, to tests it runs.
pub fn binary() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_runner-under-test")
        .expect("run by `cargo test`")
        .into()
}

/// Not in the target folder: who builds there need not be who owns the folders above.
fn cache() -> PathBuf {
    let us = rustix::process::geteuid().as_raw();
    std::env::temp_dir().join(format!("runner-tests-cache-{us}"))
}
