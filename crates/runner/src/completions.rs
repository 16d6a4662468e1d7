//! `runner completions SHELL`: a script that asks this very `runner` what could come next.
//!
//! Asked, because names of components are in a manifest and not in a script. A script sets `RUNNER_COMPLETE` and passes
//! the words so far; that is answered before anything else is read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::{CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::Shells;
use runner_manifest::ComponentId;
use toml_edit::DocumentMut;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};
use crate::find;

/// What a script sets to ask.
const VARIABLE: &str = "RUNNER_COMPLETE";
/// The most of a manifest that is read, as everywhere.
const LARGEST: u64 = 1024 * 1024;

/// Answers a script's question, if this is one.
pub(crate) fn answered() -> Result<bool, clap::Error> {
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), here.as_deref())
}

/// The script for a shell.
pub(crate) fn script(shell: Shell) -> Result<String, Failure> {
    let name = shell
        .to_possible_value()
        .map(|value| value.get_name().to_owned());
    let mut script = Vec::new();
    let written = Shells::builtins()
        .completer(&name.unwrap_or_default())
        .map(|completer| {
            completer.write_registration(VARIABLE, "runner", "runner", "runner", &mut script)
        });
    match written {
        Some(Ok(())) => Ok(String::from_utf8_lossy(&script).trim().to_owned()),
        Some(Err(error)) => Err(Failure::of(Exit::Environment, &error)),
        None => Err(Failure::new(
            Exit::Usage,
            "there is no script for this shell",
            "see `runner completions --help`",
        )),
    }
}

/// A shell that has a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

/// The components of the app in this folder. A manifest that cannot be read has none: who completes wants no errors.
pub(crate) fn components() -> Vec<CompletionCandidate> {
    let names = find::manifest(None, None)
        .ok()
        .and_then(|path| names(&path))
        .unwrap_or_default();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The components, and files that can be inspected.
pub(crate) fn components_and_files(start: &OsStr) -> Vec<CompletionCandidate> {
    let is_wasm = |path: &Path| path.is_dir() || path.extension().is_some_and(|end| end == "wasm");
    let is_meant = |candidate: &CompletionCandidate| {
        let value = candidate.get_value().as_encoded_bytes();
        value.starts_with(start.as_encoded_bytes())
    };
    let files = PathCompleter::any().filter(is_wasm).complete(start);
    components()
        .into_iter()
        .filter(is_meant)
        .chain(files)
        .collect()
}

/// Read loosely: a variable without a value, or a mistake elsewhere, hides no names.
fn names(manifest: &Path) -> Option<Vec<String>> {
    let mut text = String::new();
    let file = File::open(manifest).ok()?;
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    let document: DocumentMut = text.parse().ok()?;
    let components = document.get("component")?.as_table_like()?;
    // A name that is none would be the terminal's to obey.
    let is_name = |name: &str| name.parse::<ComponentId>().is_ok();
    let names = components.iter().map(|(name, _)| name);
    Some(
        names
            .filter(|name| is_name(name))
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script_that_asks_runner() {
        for shell in Shell::value_variants() {
            let script = script(*shell).expect("there is one");
            assert!(
                script.contains(VARIABLE) && script.contains("runner"),
                "{shell:?}"
            );
        }
    }

    #[test]
    fn names_are_those_that_can_be_read() {
        let table: [(&str, &[&str]); 6] = [
            ("[component.b]\n[component.a]", &["b", "a"]),
            ("component = { a = 1, \"\\u001b[2J\" = 2 }", &["a"]),
            (
                "[variables]\nx = { required = true }\n[component.a]\nvariables = { y = \"{{ x }}\" }",
                &["a"],
            ),
            ("[component.a]\n[component.a]", &[]),
            ("component = 1", &[]),
            ("", &[]),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spin.toml");
        for (text, expected) in table {
            std::fs::write(&path, text).expect("a file");
            assert_eq!(names(&path).unwrap_or_default(), expected, "{text}");
        }
        assert_eq!(names(Path::new("/none")), None);
    }
}
