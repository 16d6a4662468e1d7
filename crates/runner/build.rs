//! Finds out which commit is built, for `runner --version`.
//!
//! A build script, because nothing else can know: cargo does not say, and a bug report without a commit says little. It
//! reads and never writes, needs nothing that a source tarball does not have, and is run again only when the commit is
//! another one. Where there is none to be found, the version says `unknown`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Longer than any hash.
const LONGEST: usize = 64;
/// As much of a hash as tells two commits apart.
const SHORT: usize = 9;

fn main() {
    say("cargo::rerun-if-changed=build.rs");
    say("cargo::rerun-if-env-changed=RUNNER_COMMIT");
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let found = given()
        .or_else(|| packaged(&folder))
        .or_else(|| from_git(&folder));
    let (commit, date) = found.unwrap_or_else(|| ("unknown".into(), String::new()));
    say(&format!("cargo::rustc-env=RUNNER_BUILD_COMMIT={commit}"));
    say(&format!("cargo::rustc-env=RUNNER_BUILD_DATE={date}"));
    let build = format!("{commit} {date}");
    say(&format!(
        "cargo::rustc-env=RUNNER_BUILD={}",
        build.trim_end()
    ));
}

fn say(line: &str) {
    println!("{line}");
}

/// Who builds from a tarball says it: `RUNNER_COMMIT="COMMIT DATE"`, or the commit alone.
fn given() -> Option<(String, String)> {
    two(&std::env::var("RUNNER_COMMIT").ok()?)
}

/// What `cargo package` notes: `{"git": {"sha1": "…"}}`.
fn packaged(folder: &Path) -> Option<(String, String)> {
    let path = folder.join(".cargo_vcs_info.json");
    let text = std::fs::read_to_string(&path).ok()?;
    watch(&path);
    let (_, rest) = text.split_once("\"sha1\"")?;
    let hash = rest.split('"').nth(1)?;
    two(hash.get(..SHORT)?)
}

fn from_git(folder: &Path) -> Option<(String, String)> {
    // A tarball may have been unpacked inside of somebody else's repository.
    let top = PathBuf::from(git(folder, &["rev-parse", "--show-toplevel"])?);
    let root = folder.ancestors().nth(2)?;
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    watch_head(folder);
    let abbreviated = format!("--abbrev={SHORT}");
    let show = [
        "-c",
        "log.showSignature=false",
        "log",
        "-1",
        &abbreviated,
        "--format=%h %cs",
    ];
    two(&git(folder, &show)?)
}

/// Runs the script again when there is another commit. In a worktree `.git` is a file, and git says what it stands for.
fn watch_head(folder: &Path) {
    let branch = git(folder, &["symbolic-ref", "--quiet", "HEAD"]);
    // The log is there where the branch has no file of its own yet, because it is packed.
    let names = ["HEAD", "logs/HEAD", "packed-refs"].map(str::to_owned);
    for name in names.into_iter().chain(branch) {
        if let Some(path) = git(folder, &["rev-parse", "--git-path", &name]) {
            watch(&folder.join(path));
        }
    }
}

/// What is not there would be looked for at every build.
fn watch(path: &Path) {
    if path.exists() {
        say(&format!("cargo::rerun-if-changed={}", path.display()));
    }
}

/// What git prints, without the line's end; none where there is no git, or it fails.
fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(args)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// A commit and a date. Anything else could not stand in a version.
fn two(text: &str) -> Option<(String, String)> {
    let plain = |word: &str| {
        word.len() <= LONGEST && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let mut words = text.split_whitespace();
    let (commit, date) = (words.next()?, words.next().unwrap_or_default());
    (plain(commit) && plain(date) && words.next().is_none())
        .then(|| (commit.to_owned(), date.to_owned()))
}
