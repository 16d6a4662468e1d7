//! What a component may do, as people read it: the banner's lines and a reload's difference.

use std::collections::{BTreeMap, BTreeSet};

use runner_host::{App, caps};
use runner_manifest::{Component, ComponentId, FileMount, Limits};
use serde_json::{Value, json};

use crate::telemetry::escaped;

/// As much of a digest as tells two builds apart on a screen.
pub(crate) const SHORT_DIGEST: usize = 8;

/// What one component may do. Values of variables and of the environment are nobody's business; their names are here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    net: BTreeSet<String>,
    fs: BTreeSet<String>,
    env: BTreeSet<String>,
    var: BTreeSet<String>,
}

impl Rights {
    /// What the manifest grants.
    pub(crate) fn of(component: &Component) -> Rights {
        Rights {
            net: component
                .allow
                .rules()
                .iter()
                .map(ToString::to_string)
                .collect(),
            fs: component.files.iter().map(mount).collect(),
            env: component.environment.keys().cloned().collect(),
            var: component.variables.keys().cloned().collect(),
        }
    }

    /// `net: none  fs: none  env: none`, or what is granted.
    pub(crate) fn line(&self) -> String {
        let shown = self
            .kinds()
            .into_iter()
            .filter(|(kind, granted)| *kind != "var" || !granted.is_empty());
        let parts: Vec<_> = shown
            .map(|(kind, granted)| format!("{kind}: {}", list(granted)))
            .collect();
        parts.join("  ")
    }

    /// A line for each right: `net  http://a`; one for each kind of which there is none.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = |(kind, granted): (&str, &BTreeSet<String>)| match granted.is_empty() {
            true => vec![format!("{kind:<4} none")],
            false => granted
                .iter()
                .map(|right| format!("{kind:<4} {right}"))
                .collect(),
        };
        self.kinds().into_iter().flat_map(lines).collect()
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        json!({ "net": self.net, "fs": self.fs, "env": self.env, "var": self.var })
    }

    /// `+net http://127.0.0.1:9100`, a part for each right that came or went.
    fn changes(&self, new: &Rights) -> Vec<String> {
        let mut changes = Vec::new();
        for ((kind, old), (_, new)) in self.kinds().into_iter().zip(new.kinds()) {
            changes.extend(
                new.difference(old)
                    .map(|right| format!("+{kind} {}", escaped(right))),
            );
            changes.extend(
                old.difference(new)
                    .map(|right| format!("-{kind} {}", escaped(right))),
            );
        }
        changes
    }

    fn kinds(&self) -> [(&'static str, &BTreeSet<String>); 4] {
        [
            ("net", &self.net),
            ("fs", &self.fs),
            ("env", &self.env),
            ("var", &self.var),
        ]
    }
}

fn mount(mount: &FileMount) -> String {
    match mount {
        FileMount::Glob(glob) => glob.clone(),
        FileMount::Directory {
            source,
            destination,
        } => format!("{} at {destination}", source.display()),
    }
}

fn list(granted: &BTreeSet<String>) -> String {
    if granted.is_empty() {
        return "none".to_owned();
    }
    let granted: Vec<_> = granted.iter().map(|right| escaped(right)).collect();
    granted.join(", ")
}

/// The rights, the limits and the code of every component at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot(BTreeMap<ComponentId, Part>);

/// What is remembered of one component.
#[derive(Clone, Debug, Default)]
struct Part {
    digest: String,
    rights: Rights,
    limits: Limits,
}

impl Snapshot {
    /// Of a loaded app.
    pub(crate) fn of(app: &App) -> Snapshot {
        let digest = |id| {
            app.components()
                .get(id)
                .map(|loaded| loaded.digest.clone())
                .unwrap_or_default()
        };
        let components = app.manifest().components.iter();
        Snapshot(
            components
                .map(|(id, component)| {
                    let part = Part {
                        digest: digest(id),
                        rights: Rights::of(component),
                        limits: component.limits.clone().or(&caps::limits()),
                    };
                    (id.clone(), part)
                })
                .collect(),
        )
    }

    /// What differs, a part for each component that does: `thief +net http://127.0.0.1:9100`.
    pub(crate) fn changes(&self, new: &Snapshot) -> Vec<String> {
        let gone = self
            .0
            .keys()
            .filter(|id| !new.0.contains_key(*id))
            .map(|id| format!("{id} removed"));
        let here = new.0.iter().filter_map(|(id, new)| match self.0.get(id) {
            None => Some(format!("{id} added: {}", new.rights.line())),
            Some(old) => {
                let mut changes = old.rights.changes(&new.rights);
                changes.extend(limit_changes(&old.limits, &new.limits));
                if old.digest != new.digest {
                    changes.push(format!("new code {}", short(&new.digest)));
                }
                (!changes.is_empty()).then(|| format!("{id} {}", changes.join(" ")))
            }
        });
        here.chain(gone).collect()
    }
}

/// `limits.memory 128 MiB -> 64 MiB`, for each that is another now.
fn limit_changes(old: &Limits, new: &Limits) -> Vec<String> {
    let both = old.words().into_iter().zip(new.words());
    let none = || "none".to_owned();
    both.filter(|((_, old), (_, new))| old != new)
        .map(|((key, old), (_, new))| {
            let [old, new] = [old, new].map(|words| words.unwrap_or_else(none));
            format!("limits.{key} {old} -> {new}")
        })
        .collect()
}

/// The start of a digest.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..SHORT_DIGEST).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(net: &[&str], fs: &[&str], env: &[&str], var: &[&str]) -> Rights {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Rights {
            net: set(net),
            fs: set(fs),
            env: set(env),
            var: set(var),
        }
    }

    #[test]
    fn a_line_says_what_is_granted_or_that_nothing_is() {
        let table = [
            (rights(&[], &[], &[], &[]), "net: none  fs: none  env: none"),
            (
                rights(&["http://a"], &[], &[], &[]),
                "net: http://a  fs: none  env: none",
            ),
            (
                rights(&["http://b", "http://a"], &["x/*"], &["HOME"], &["token"]),
                "net: http://a, http://b  fs: x/*  env: HOME  var: token",
            ),
            (
                rights(&[], &[], &["A\x1b[2J"], &[]),
                "net: none  fs: none  env: A\\u{1b}[2J",
            ),
        ];
        for (rights, line) in table {
            assert_eq!(rights.line(), line);
        }
    }

    /// A component's id, its digest and its rights.
    type Row = (&'static str, &'static str, Rights);

    #[test]
    fn a_difference_names_each_right_that_came_or_went() {
        let none = || rights(&[], &[], &[], &[]);
        let net = || rights(&["http://127.0.0.1:9100"], &[], &[], &[]);
        let table: [(&[Row], &[Row], &[&str]); 7] = [
            (&[("thief", "d", none())], &[("thief", "d", none())], &[]),
            (
                &[("thief", "d", none())],
                &[("thief", "d", net())],
                &["thief +net http://127.0.0.1:9100"],
            ),
            (
                &[("thief", "d", net())],
                &[("thief", "d", none())],
                &["thief -net http://127.0.0.1:9100"],
            ),
            (
                &[("thief", "0123456789", none())],
                &[("thief", "abcdef0123", none())],
                &["thief new code abcdef01"],
            ),
            (
                &[("thief", "d", net())],
                &[("thief", "e", rights(&["http://x"], &["f"], &[], &[]))],
                &["thief +net http://x -net http://127.0.0.1:9100 +fs f new code e"],
            ),
            (
                &[],
                &[("new", "d", none())],
                &["new added: net: none  fs: none  env: none"],
            ),
            (&[("old", "d", none())], &[], &["old removed"]),
        ];
        let snapshot = |rows: &[Row]| {
            let row = |(id, digest, rights): &Row| {
                let part = Part {
                    digest: (*digest).to_owned(),
                    rights: rights.clone(),
                    limits: Limits::default(),
                };
                (id.parse().expect("an id"), part)
            };
            Snapshot(rows.iter().map(row).collect())
        };
        for (old, new, changes) in table {
            assert_eq!(snapshot(old).changes(&snapshot(new)), changes);
        }
    }

    #[test]
    fn a_difference_names_each_limit_that_is_another() {
        let limits = |memory, queue| Limits {
            memory,
            queue,
            ..Limits::default()
        };
        for (old, new, changes) in [
            (
                limits(Some(1 << 20), None),
                limits(Some(1 << 20), None),
                &[][..],
            ),
            (
                limits(Some(1 << 20), None),
                limits(Some(1 << 19), Some(3)),
                &["limits.memory 1 MiB -> 512 KiB", "limits.queue none -> 3"],
            ),
        ] {
            assert_eq!(limit_changes(&old, &new), changes);
        }
    }
}
