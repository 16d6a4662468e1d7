//! `guests.lock`: which sources each committed `.wasm` was built from.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ring::digest::{self, SHA256};

const HEAD: &str = "\
# Written by `cargo xtask guests`: the SHA-256 of each guest's sources and of the .wasm built from them.
";

/// All guests, by name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lock(BTreeMap<String, Entry>);

/// One guest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) sources: String,
    pub(super) wasm: String,
    pub(super) bytes: usize,
}

impl Lock {
    pub(super) fn insert(&mut self, name: &str, entry: Entry) {
        self.0.insert(name.into(), entry);
    }

    /// Reads what [`Lock`]'s `Display` writes, which is TOML, and no more of TOML than that.
    pub(super) fn parse(text: &str) -> Result<Lock> {
        let mut lock = Lock::default();
        let mut entry = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                entry = Some(lock.0.entry(name.into()).or_default());
                continue;
            }
            match (entry.as_mut(), line.split_once(" = ")) {
                (Some(entry), Some(("sources", value))) => {
                    entry.sources = value.trim_matches('"').into()
                }
                (Some(entry), Some(("wasm", value))) => entry.wasm = value.trim_matches('"').into(),
                (Some(entry), Some(("bytes", value))) => {
                    entry.bytes = value.parse().unwrap_or_default()
                }
                _ => bail!("line {number}: `{line}` does not belong here"),
            }
        }
        Ok(lock)
    }

    /// How `now` differs from what was committed under `name`.
    pub(super) fn differences(&self, name: &str, now: &Entry) -> Vec<String> {
        let Some(committed) = self.0.get(name) else {
            return vec![format!("`{name}` is not in guests.lock")];
        };
        let mut differences = Vec::new();
        if committed.sources != now.sources {
            differences.push(format!(
                "`{name}`: the sources have changed since its .wasm was built"
            ));
        }
        if committed.wasm != now.wasm {
            differences.push(format!("`{name}`: the .wasm is not the one that was built"));
        }
        differences
    }

    /// A line for each entry that is no guest any more.
    pub(super) fn unknown(&self, known: impl Fn(&str) -> bool) -> Vec<String> {
        let unknown = self.0.keys().filter(|name| !known(name));
        unknown
            .map(|name| format!("`{name}` is in guests.lock, but is no guest"))
            .collect()
    }

    /// Names and sizes, for people.
    pub(super) fn summary(&self) -> String {
        let lines = self
            .0
            .iter()
            .map(|(name, entry)| format!("{:>8} {name} {}", entry.bytes, &entry.wasm[..12]));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        for (
            name,
            Entry {
                sources,
                wasm,
                bytes,
            },
        ) in &self.0
        {
            write!(
                f,
                "\n[{name}]\nsources = \"{sources}\"\nwasm = \"{wasm}\"\nbytes = {bytes}\n"
            )?;
        }
        Ok(())
    }
}

/// SHA-256, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&SHA256, bytes).as_ref())
}

/// One SHA-256 over names and contents of all files, sorted by name.
pub(super) fn digest_of_files(root: &Path, places: &[PathBuf]) -> Result<String> {
    let mut files = BTreeMap::new();
    for place in places {
        collect(root, place, &mut files)?;
    }
    let mut context = digest::Context::new(&SHA256);
    for (name, bytes) in &files {
        // The lengths keep a name from running into a content, or a content into the next name.
        context.update(format!("{name}\n{}\n", bytes.len()).as_bytes());
        context.update(bytes);
    }
    Ok(hexadecimal(context.finish().as_ref()))
}

fn collect(root: &Path, place: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let full = root.join(place);
    if !full.is_dir() {
        let name = place.to_string_lossy().replace('\\', "/");
        files.insert(
            name,
            fs::read(&full).with_context(|| format!("cannot read `{}`", full.display()))?,
        );
        return Ok(());
    }
    for entry in fs::read_dir(&full).with_context(|| format!("cannot read `{}`", full.display()))? {
        let place = place.join(entry?.file_name());
        if is_source(&place) {
            collect(root, &place, files)?;
        }
    }
    Ok(())
}

/// Not what was built, not what only people read.
fn is_source(place: &Path) -> bool {
    let built = place.file_name().is_some_and(|name| name == "target");
    let other = place
        .extension()
        .is_some_and(|extension| extension == "wasm" || extension == "md");
    !built && !other
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sources: &str, wasm: &str) -> Entry {
        Entry {
            sources: sources.into(),
            wasm: wasm.into(),
            bytes: 4,
        }
    }

    #[test]
    fn a_lock_reads_what_it_writes() {
        let mut lock = Lock::default();
        lock.insert("thief", entry("aa", "bb"));
        lock.insert("probe", entry("cc", "dd"));
        assert_eq!(Lock::parse(&lock.to_string()).unwrap(), lock);
    }

    #[test]
    fn a_line_that_does_not_belong_is_named() {
        let error = Lock::parse("[thief]\nsha = \"aa\"\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: `sha = \"aa\"` does not belong here"
        );
    }

    #[test]
    fn each_difference_is_a_line() {
        let mut lock = Lock::default();
        lock.insert("thief", entry("aa", "bb"));
        let sources = "`thief`: the sources have changed since its .wasm was built";
        let wasm = "`thief`: the .wasm is not the one that was built";
        for (name, now, lines) in [
            ("thief", entry("aa", "bb"), vec![]),
            ("thief", entry("xx", "bb"), vec![sources]),
            ("thief", entry("aa", "xx"), vec![wasm]),
            ("thief", entry("xx", "xx"), vec![sources, wasm]),
            (
                "probe",
                entry("aa", "bb"),
                vec!["`probe` is not in guests.lock"],
            ),
        ] {
            assert_eq!(lock.differences(name, &now), lines);
        }
        assert_eq!(
            lock.unknown(|_| false),
            ["`thief` is in guests.lock, but is no guest"]
        );
    }

    #[test]
    fn a_folder_is_digested_without_what_was_built_from_it() {
        let places = [PathBuf::from("src")];
        let digest = digest_of_files(&crate::root().join("xtask"), &places).unwrap();
        assert_eq!(digest.len(), 64);
        for (path, source) in [
            ("a/src/lib.rs", true),
            ("a/a.wasm", false),
            ("a/target", false),
            ("a/README.md", false),
        ] {
            assert_eq!(is_source(Path::new(path)), source, "{path}");
        }
    }
}
