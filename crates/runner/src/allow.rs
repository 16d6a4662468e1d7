//! `runner allow`: one more rule in the manifest, and the difference on stdout.

mod edit;
mod entry;
mod write;

use std::fs;
use std::path::Path;

use runner_manifest::{
    AllowedHost, Component, Diagnostic, Error, Expectation, Manifest, RuleError, WrittenCall,
    veiled,
};
use similar::TextDiff;

use self::edit::{KEY, NoPlace};
pub(crate) use self::entry::Entry;
use crate::cli::{Allow, Global};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::explain::component;
use crate::load::Reader;
use crate::print::Print;
use crate::telemetry::escaped;

/// Edits the manifest, unless it already says so.
pub(crate) fn run(
    args: &Allow,
    global: &Global,
    environment: &Environment,
    print: &Print,
) -> Result<Exit, Failure> {
    let entry = entry(args).map_err(|error| Failure::new(Exit::Usage, &error, error.help()))?;
    let reader = Reader::new(&args.app, global.directory.as_deref(), environment)?;
    let reader = reader.without_values();
    let path = reader.path();
    let _held = write::hold(path)?;
    // Parsed first, which has a cap on what it reads.
    let manifest = reader.read()?;
    let text = fs::read_to_string(path).map_err(|error| Failure::of(Exit::Environment, &error))?;
    let component = component(&manifest, &args.component)?;
    if let Some(already) = already(component, &text, &entry) {
        print.talk(&format!(
            "{} may already do that: {}:{already}",
            component.id,
            path.display()
        ));
        return Ok(Exit::Done);
    }
    let edited = edit::add(&text, component.id.as_str(), &entry)
        .map_err(|why| no_place(&why, args, &entry, path))?;
    let changed = Manifest::parse(&edited, path, reader.variables())
        .map_err(|error| Failure::diagnosed(Exit::Usage, error))?;
    check_expectations(&manifest, &changed)?;
    write::replace(path, &edited)?;
    print.data(&difference(path, &veiled(&text), &veiled(&edited)));
    let diagnostics = new_warnings(&manifest, changed);
    if !diagnostics.is_empty() {
        print.talk(&Error { diagnostics }.to_string());
    }
    Ok(Exit::Done)
}

/// Refuses what the manifest itself expects to be denied, where it is denied now.
fn check_expectations(old: &Manifest, new: &Manifest) -> Result<(), Failure> {
    let failure = |manifest: &Manifest, expectation: &Expectation| {
        let component = manifest.components.get(expectation.component())?;
        expectation.failure(&component.allow)
    };
    let broken = |expectation: &Expectation| match failure(old, expectation) {
        None => failure(new, expectation),
        Some(_) => None,
    };
    let unchanged = format!("`{}` was not changed", old.path.display());
    let broken = old.expectations.iter().filter_map(broken);
    let diagnostics: Vec<_> = broken.map(|broken| broken.note(&unchanged)).collect();
    match diagnostics.is_empty() {
        true => Ok(()),
        false => Err(Failure::diagnosed(Exit::App, Error { diagnostics })),
    }
}

/// What is probably not meant, of what was added.
fn new_warnings(old: &Manifest, new: Manifest) -> Vec<Diagnostic> {
    let is_new = |warning: &Diagnostic| {
        let mut before = old.warnings.iter();
        !before.any(|old| old.message == warning.message)
    };
    new.warnings.into_iter().filter(is_new).collect()
}

/// What is to be added: a string for a whole server, else a table.
fn entry(args: &Allow) -> Result<Entry, RuleError> {
    let methods: Vec<_> = args.methods.iter().map(String::as_str).collect();
    let rule = AllowedHost::parse_url(&args.rule, &methods)?;
    if rule.is_narrow() {
        return Ok(Entry::table(&args.rule, &methods));
    }
    AllowedHost::parse(&args.rule)?;
    Ok(Entry::text(&args.rule))
}

/// The line that allows it already, and what it says.
fn already(component: &Component, text: &str, entry: &Entry) -> Option<String> {
    let written = edit::written(text, component.id.as_str())
        .into_iter()
        .find(|(own, _)| own == entry);
    if let Some((own, at)) = written {
        let line = text[..at].matches('\n').count() + 1;
        return Some(format!("{line}: {}", escaped(&own.words())));
    }
    let rule = covering(component, entry)?;
    let line = rule.place()?.line();
    Some(format!("{line}: {}", escaped(&rule.to_string())))
}

/// A rule that covers every call of the entry.
fn covering<'a>(component: &'a Component, entry: &Entry) -> Option<&'a AllowedHost> {
    let list = &component.allow;
    let covers = |call: &WrittenCall| {
        let rule = &list.rules()[list.covering(&call.as_call())?];
        // A whole server is covered by a rule for a whole server.
        let server = entry.is_narrow() || !rule.is_narrow();
        // And every method by a rule for every method.
        let methods = !entry.has_all_methods() || rule.methods().is_empty();
        (server && methods).then_some(rule)
    };
    let calls = entry.calls().ok()?;
    let rules: Option<Vec<_>> = calls.iter().map(covers).collect();
    rules?.first().copied()
}

fn no_place(why: &NoPlace, args: &Allow, entry: &Entry, path: &Path) -> Failure {
    let (component, entry) = (escaped(&args.component), entry.to_string());
    let why = match why {
        NoPlace::NoTable => format!("component `{component}` has no table of its own"),
        NoPlace::NotAList => format!("`{KEY}` of component `{component}` is not a list"),
        NoPlace::Unreadable => {
            format!("component `{component}` is written in a way that cannot be extended safely")
        }
    };
    let sentence = format!("`{}` was not changed: {why}", path.display());
    Failure::new(
        Exit::Usage,
        sentence,
        format!("add it by hand: {KEY} = [{}]", escaped(&entry)),
    )
}

/// The text with one more entry, where there is a place for it.
pub(crate) fn with(text: &str, component: &str, entry: &Entry) -> Option<String> {
    edit::add(text, component, entry).ok()
}

/// What changed, for `patch`: without the lines around it where one of them has a value that might be a secret.
pub(crate) fn patch(path: &Path, old: &str, new: &str) -> String {
    let patch = difference(path, old, new);
    match patch == difference(path, &veiled(old), &veiled(new)) {
        true => patch,
        false => around(0, path, old, new),
    }
}

/// What changed, as `diff -u` prints it.
fn difference(path: &Path, old: &str, new: &str) -> String {
    // Stage and terminal are narrow: the lines around it are enough to see where.
    around(2, path, old, new)
}

fn around(radius: usize, path: &Path, old: &str, new: &str) -> String {
    let name = path.display().to_string();
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff()
        .context_radius(radius)
        .header(&format!("a/{name}"), &format!("b/{name}"))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_the_one_line() {
        let old = "a = 1\nb = 2\n[component.thief]\nsource = \"thief.wasm\"\n\n[x]\n";
        let entry = Entry::text("http://127.0.0.1:9100");
        let new = edit::add(old, "thief", &entry).expect("there is a place");
        assert_eq!(
            difference(Path::new("spin-like.toml"), old, &new),
            "\
--- a/spin-like.toml
+++ b/spin-like.toml
@@ -3,4 +3,5 @@
 [component.thief]
 source = \"thief.wasm\"
+allowed_outbound_hosts = [\"http://127.0.0.1:9100\"]
 
 [x]
"
        );
    }
}
