//! `runner allow`: one more rule in the manifest, and the difference on stdout.

mod edit;
mod write;

use std::fs;
use std::path::Path;

use runner_manifest::{AllowedHost, Component, Destination, Manifest, Verdict};
use similar::TextDiff;

use self::edit::{KEY, NoPlace};
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
    AllowedHost::parse(&args.rule)
        .map_err(|error| Failure::new(Exit::Usage, &error, error.help()))?;
    let reader = Reader::new(&args.app, global.directory.as_deref(), environment)?;
    let path = reader.path();
    // Parsed first, which has a cap on what it reads.
    let manifest = reader.read()?;
    let text = fs::read_to_string(path).map_err(|error| Failure::of(Exit::Environment, &error))?;
    let component = component(&manifest, &args.component)?;
    if let Some(already) = already(component, &text, &args.rule) {
        print.talk(&format!(
            "{} may already do that: {}:{already}",
            component.id,
            path.display()
        ));
        return Ok(Exit::Done);
    }
    let edited = edit::add(&text, component.id.as_str(), &args.rule)
        .map_err(|why| no_place(&why, args, path))?;
    Manifest::parse(&edited, path, reader.variables())
        .map_err(|error| Failure::rendered(Exit::Usage, error))?;
    write::replace(path, &edited)?;
    print.data(&difference(path, &text, &edited));
    Ok(Exit::Done)
}

/// The line that allows it already, and what it says.
fn already(component: &Component, text: &str, rule: &str) -> Option<String> {
    let written = edit::written(text, component.id.as_str())
        .into_iter()
        .find(|(own, _)| own.trim() == rule.trim());
    if let Some((own, at)) = written {
        let line = text[..at].matches('\n').count() + 1;
        return Some(format!("{line}: {}", escaped(&own)));
    }
    let to = Destination::from_url(rule).ok()?;
    match component.allow.check(&to) {
        Verdict::Allow { rule, .. } => Some(format!(
            "{}: {}",
            rule.place()?.line(),
            escaped(&rule.to_string())
        )),
        Verdict::Deny { .. } => None,
    }
}

fn no_place(why: &NoPlace, args: &Allow, path: &Path) -> Failure {
    let (component, rule) = (escaped(&args.component), escaped(&args.rule));
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
        format!("add it by hand: {KEY} = [\"{rule}\"]"),
    )
}

fn difference(path: &Path, old: &str, new: &str) -> String {
    let name = path.display().to_string();
    let diff = TextDiff::from_lines(old, new);
    // Stage and terminal are narrow: the lines around it are enough to see where.
    diff.unified_diff()
        .context_radius(2)
        .header(&format!("a/{name}"), &format!("b/{name}"))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_the_one_line() {
        let old = "a = 1\nb = 2\n[component.thief]\nsource = \"thief.wasm\"\n\n[x]\n";
        let new = edit::add(old, "thief", "http://127.0.0.1:9100").expect("there is a place");
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
