//! The tests of a target, as its test binaries list them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use crate::sources::Tests;

/// The test binaries beside this one that were built from this file and its modules as they are now, and what each says.
pub(crate) fn of(first: &Path, root: &Path) -> Vec<(PathBuf, Tests)> {
    let this = std::env::current_exe().expect("it runs");
    let folder = fs::read_dir(this.parent().expect("in a folder")).expect("a folder");
    let paths = folder.flatten().map(|entry| entry.path());
    let built = paths.filter_map(|path| binary(&path, first, root));
    built
        .filter_map(|binary| Some((binary.clone(), list(&binary)?)))
        .collect()
}

/// The binary that a `.d` file is about, if it is one of that target, and not older than any of its sources.
fn binary(path: &Path, first: &Path, root: &Path) -> Option<PathBuf> {
    if path.extension()? != "d" {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let binary = path.with_extension("");
    let about = format!("{}: ", binary.to_str()?);
    let sources = text.lines().find_map(|line| line.strip_prefix(&about))?;
    let sources: Vec<_> = sources.split(' ').collect();
    if root.join(sources.first()?) != first {
        return None;
    }
    let built = changed(&binary)?;
    let is_older = |source: &&str| changed(&root.join(source)).is_none_or(|at| at > built);
    (!sources.iter().any(is_older)).then_some(binary)
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Nothing for a binary that knows no such option: it is no test.
fn list(binary: &Path) -> Option<Tests> {
    let ask = |more: &[&str]| {
        let mut command = Command::new(binary);
        let output = command
            .args(["--list", "--format", "terse"])
            .args(more)
            .output();
        names(output.expect("it runs"))
    };
    let (all, ignored) = (ask(&[])?, ask(&["--ignored"])?);
    Some(Tests {
        runs: all.difference(&ignored).cloned().collect(),
        ignored,
    })
}

fn names(output: Output) -> Option<BTreeSet<String>> {
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).expect("names");
    let names = text.lines().map(|line| line.strip_suffix(": test"));
    names.map(|name| name.map(str::to_owned)).collect()
}
