//! The report for people: aligned, short, and nothing in it that a terminal would obey.

use runner_host::{Extent, Form, List, Name};

use super::used::{Right, Running};
use super::{Granted, Report, world};
use crate::rights::short;
use crate::telemetry::{bytes, cut, escaped};

/// Longest text of a stranger's that fits beside its label.
const WIDTH: usize = 100;
/// As many lines of a kind as anybody reads; JSON has all of them.
const LINES: usize = 40;

/// Lines under labels.
#[derive(Default)]
struct Page {
    text: String,
}

pub(super) fn of(report: &Report) -> String {
    let mut page = Page::default();
    let found = &report.found;
    if let Some(granted) = &report.granted {
        page.line("component", granted.id.as_str());
    }
    page.line("file", &safe(&report.file.display().to_string()));
    page.line("sha256", &found.digest);
    page.line("size", &bytes(found.size));
    let made_by = found.producers.as_deref().unwrap_or("it does not say");
    page.line("made by", &safe(made_by));
    page.line("kind", &kind(report));
    page.list("imports", &found.imports, name);
    page.list("exports", &found.exports, name);
    page.list("memory", &found.memories, |memory| extent(memory, bytes));
    page.list("tables", &found.tables, |table| extent(table, elements));
    match &report.granted {
        Some(granted) => page.granted(granted, &found.digest),
        None => page.line(
            "granted",
            "nothing: it is a file, not a component of a manifest",
        ),
    }
    page.text
}

fn kind(report: &Report) -> String {
    let what = match report.found.form {
        Form::Component => "component",
        Form::CoreModule => "core module, componentized when it is loaded",
    };
    let worlds: Vec<_> = report.found.worlds.iter().copied().map(world).collect();
    match worlds.is_empty() {
        true => format!("{what}, serves no HTTP"),
        false => format!("{what}, serves {}", worlds.join(" and ")),
    }
}

fn name(name: &Name) -> String {
    let mut text = safe(&name.name);
    if let Some(version) = &name.version {
        text += &format!("@{}", safe(version));
    }
    if !name.provided {
        text += "  (not provided)";
    }
    text
}

fn extent(extent: &Extent, shown: fn(u64) -> String) -> String {
    let Extent {
        module, initial, ..
    } = *extent;
    let most = match extent.maximum {
        Some(maximum) => format!("at most {}", shown(maximum)),
        None => "no maximum of its own".to_owned(),
    };
    format!("{} at first, {most}  (module {module})", shown(initial))
}

fn elements(count: u64) -> String {
    match count {
        1 => "1 element".to_owned(),
        count => format!("{count} elements"),
    }
}

fn safe(text: &str) -> String {
    cut(&escaped(text), WIDTH).into_owned()
}

impl Page {
    fn line(&mut self, label: &str, text: &str) {
        self.text += &format!("{label:<10} {text}\n");
    }

    fn lines(&mut self, label: &str, lines: impl ExactSizeIterator<Item = String>, more: u64) {
        let more = more + lines.len().saturating_sub(LINES) as u64;
        if lines.len() == 0 {
            self.line(label, "none");
        }
        for (i, line) in lines.take(LINES).enumerate() {
            self.line(if i == 0 { label } else { "" }, &line);
        }
        if more > 0 {
            self.line("", &format!("and {more} more"));
        }
    }

    fn list<T>(&mut self, label: &str, list: &List<T>, shown: impl Fn(&T) -> String) {
        self.lines(label, list.shown.iter().map(shown), list.more);
    }

    fn granted(&mut self, granted: &Granted, digest: &str) {
        let rights = granted.rights.lines();
        self.lines("granted", rights.iter().map(|line| safe(line)), 0);
        let limits = granted.limits.words().into_iter();
        let limits = limits.filter_map(|(key, value)| Some(format!("{key} = {}", value?)));
        self.lines("limits", limits.collect::<Vec<_>>().into_iter(), 0);
        if granted.running.is_empty() {
            self.line("used", "unknown: no server of this manifest is running");
        }
        for running in &granted.running {
            self.running(running, digest);
        }
    }

    fn running(&mut self, running: &Running, digest: &str) {
        let Running {
            pid,
            generation,
            requests,
            denied,
            ..
        } = running;
        let since = safe(&running.since);
        let s = if *requests == 1 { "" } else { "s" };
        self.line(
            "used",
            &format!(
                "{requests} request{s} since {since}  (process {pid}, generation {generation})"
            ),
        );
        if running.digest != digest {
            let its = safe(short(&running.digest));
            self.line("", &format!("by another file than this one: sha256 {its}"));
        }
        if running.is_behind {
            self.line(
                "",
                "by an older manifest: it was written after that was loaded",
            );
        }
        let used: Vec<_> = running
            .rights
            .iter()
            .filter(|right| right.times != Some(0))
            .map(times)
            .collect();
        for line in used.iter().take(LINES) {
            self.line("", line);
        }
        if *denied > 0 {
            self.line("", &format!("net  {denied} denied"));
        }
        let never: Vec<_> = running.never().map(right).collect();
        self.lines("never used", never.into_iter(), 0);
    }
}

fn right(right: &Right) -> String {
    format!("{:<4} {}", right.kind, safe(&right.name))
}

fn times(of: &Right) -> String {
    match of.times {
        Some(1) => format!("{}  once", right(of)),
        Some(times) => format!("{}  {times} times", right(of)),
        None => format!("{}  perhaps: one of several was", right(of)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use runner_host::{Inspection, World};

    use super::*;

    fn list<T>(shown: Vec<T>) -> List<T> {
        List { shown, more: 2 }
    }

    fn named(name: &str) -> Name {
        Name {
            name: name.to_owned(),
            version: Some("1\u{202e}".to_owned()),
            provided: false,
        }
    }

    #[test]
    fn names_of_strangers_are_escaped_and_cut_and_lists_end() {
        let hostile = "\u{1b}]0;x\u{7}".repeat(100);
        let report = Report {
            file: PathBuf::from("a\u{1b}.wasm"),
            found: Inspection {
                digest: "d".to_owned(),
                size: 1,
                producers: Some(hostile.clone()),
                form: Form::Component,
                worlds: vec![World::Http02, World::Http03],
                imports: list(vec![named(&hostile); 45]),
                exports: List::default(),
                memories: list(vec![Extent {
                    module: 3,
                    initial: 4 << 30,
                    maximum: Some(65536),
                }]),
                tables: list(vec![Extent {
                    module: 0,
                    initial: 1,
                    maximum: None,
                }]),
            },
            granted: None,
        };
        let text = of(&report);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        assert!(!text.contains('\u{202e}'));
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest < Some(200), "{longest:?}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "file       a\\u{1b}.wasm");
        assert_eq!(
            lines[4],
            "kind       component, serves wasi:http@0.2 and wasi:http@0.3"
        );
        assert_eq!(lines.len(), 5 + LINES + 1 + 1 + 2 + 2 + 1);
        assert_eq!(
            lines[5 + LINES..],
            [
                "           and 7 more",
                "exports    none",
                "memory     4.0 GiB at first, at most 64.0 KiB  (module 3)",
                "           and 2 more",
                "tables     1 element at first, no maximum of its own  (module 0)",
                "           and 2 more",
                "granted    nothing: it is a file, not a component of a manifest",
            ]
        );
    }
}
