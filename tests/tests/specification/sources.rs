//! The tests of a target, read from its sources as `rustfmt` leaves them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The tests of one target, by their paths in it.
#[derive(Default)]
pub(crate) struct Tests {
    pub(crate) runs: BTreeSet<String>,
    pub(crate) ignored: BTreeSet<String>,
}

/// The first source file of every target that `cargo test --workspace` builds and runs.
pub(crate) fn targets(root: &Path) -> Vec<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let targets = list(&metadata["packages"])
        .into_iter()
        .flat_map(|package| list(&package["targets"]));
    targets
        .filter(|target| target["test"] == true)
        .map(|target| target["src_path"].as_str().expect("a path").into())
        .collect()
}

impl Tests {
    /// Reads a target from its first file on.
    pub(crate) fn of(first: &Path) -> Tests {
        let mut tests = Tests::default();
        let folder = first.parent().expect("in a folder");
        tests.read(first, folder, "");
        tests
    }

    /// The names of those that run, without their paths.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let name = |path| str::rsplit(path, "::").next();
        self.runs.iter().filter_map(move |path| name(path))
    }

    /// A file, its inline modules, and the files that it names; those lie in `folder`.
    fn read(&mut self, file: &Path, folder: &Path, prefix: &str) {
        let source = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let mut inside: Vec<(&str, &str)> = Vec::new();
        let mut marks = Marks::default();
        for line in source.lines() {
            let (indent, text) = line.split_at(line.len() - line.trim_start().len());
            if marks.take(text) {
                continue;
            }
            if text == "}" && inside.last().is_some_and(|(of, _)| *of == indent) {
                inside.pop();
            }
            let modules = inside.iter().map(|(_, module)| format!("{module}::"));
            let here = format!("{prefix}{}", modules.collect::<String>());
            let item = text.trim_start_matches("pub(crate) ");
            let item = item.trim_start_matches("pub ");
            if let Some(name) = function(item) {
                marks.file(self, format!("{here}{name}"));
            } else if let Some(name) = item.strip_prefix("mod ") {
                assert!(!marks.ignored, "{}: {line} is conditional", file.display());
                match name.strip_suffix(';') {
                    Some(name) => self.read(
                        &folder.join(format!("{name}.rs")),
                        &folder.join(name),
                        &format!("{here}{name}::"),
                    ),
                    None => inside.extend(name.strip_suffix(" {").map(|name| (indent, name))),
                }
            }
            marks = Marks::default();
        }
    }
}

/// The name of the function that begins on this line.
fn function(item: &str) -> Option<&str> {
    let name = item
        .strip_prefix("async fn ")
        .or(item.strip_prefix("fn "))?;
    name.split(['(', '<']).next()
}

/// What the attributes of an item say.
#[derive(Default)]
struct Marks {
    test: bool,
    ignored: bool,
    /// An attribute goes on on the next line.
    open: bool,
}

impl Marks {
    /// Whether the line is still before the item.
    fn take(&mut self, line: &str) -> bool {
        if line.starts_with("#[") {
            self.test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            self.ignored |= line.starts_with("#[ignore") || is_conditional(line);
            self.open = !line.ends_with(']');
            return true;
        }
        if self.open {
            self.open = !line.ends_with(")]");
            return true;
        }
        line.is_empty() || line.starts_with("//")
    }

    fn file(&self, tests: &mut Tests, path: String) {
        match (self.test, self.ignored) {
            (true, true) => tests.ignored.insert(path),
            (true, false) => tests.runs.insert(path),
            (false, _) => false,
        };
    }
}

/// What is there under a condition, other than that of being a test, may as well not be there.
fn is_conditional(attribute: &str) -> bool {
    attribute.starts_with("#[cfg") && attribute != "#[cfg(test)]"
}
