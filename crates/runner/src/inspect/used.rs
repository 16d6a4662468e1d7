//! What one running server says of one component. It is ours, but perhaps of another version: nothing is assumed.

use serde_json::{Value, json};

/// The most rules or variables that are taken up from an answer; a manifest has no more.
const MAX: usize = 20_000;

/// One server's word on the component.
pub(super) struct Running {
    pub(super) pid: u64,
    pub(super) generation: u64,
    pub(super) since: String,
    pub(super) digest: String,
    /// Whether the manifest was written after the server loaded it.
    pub(super) is_behind: bool,
    pub(super) requests: u64,
    pub(super) denied: u64,
    /// Each right, and how often it was used; none where that is not known.
    pub(super) rights: Vec<Right>,
}

/// A right that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Right {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) times: Option<u64>,
}

impl Running {
    /// From an answer to `status`; none where the server does not have the component.
    pub(super) fn of(answer: &Value, id: &str) -> Option<Running> {
        let components = answer["components"].as_array()?;
        let component = components.iter().find(|component| component["id"] == id)?;
        let used = &component["used"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(Running {
            pid: answer["pid"].as_u64()?,
            generation: answer["generation"].as_u64().unwrap_or_default(),
            since: text(&answer["since"]),
            digest: text(&component["digest"]),
            is_behind: answer["manifest_is_newer"].as_bool().unwrap_or_default(),
            requests: used["requests"].as_u64().unwrap_or_default(),
            denied: used["denied"].as_u64().unwrap_or_default(),
            rights: rights(&component["grants"], used),
        })
    }

    /// The rights that were never used, as far as that is known.
    pub(super) fn never(&self) -> impl Iterator<Item = &Right> {
        self.rights.iter().filter(|right| right.times == Some(0))
    }

    pub(super) fn json(&self, digest: &str) -> Value {
        let right =
            |right: &Right| json!({ "kind": right.kind, "name": right.name, "times": right.times });
        json!({
            "pid": self.pid,
            "generation": self.generation,
            "since": self.since,
            "digest": self.digest,
            "same_file": self.digest == digest,
            "manifest_is_newer": self.is_behind,
            "requests": self.requests,
            "denied": self.denied,
            "rights": self.rights.iter().map(right).collect::<Vec<_>>(),
            "never_used": self.never().map(right).collect::<Vec<_>>(),
        })
    }
}

fn rights(grants: &Value, used: &Value) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in list(&used["rules"]) {
        rights.extend(right("net", &rule["rule"], rule["calls"].as_u64()));
    }
    for mount in list(&grants["fs"]) {
        rights.extend(right("fs", mount, as_a_whole(grants, "fs", &used["files"])));
    }
    for name in list(&grants["env"]) {
        rights.extend(right(
            "env",
            name,
            as_a_whole(grants, "env", &used["environment"]),
        ));
    }
    for name in list(&grants["var"]) {
        let reads = name
            .as_str()
            .and_then(|name| used["variables"][name].as_u64());
        rights.extend(right("var", name, reads));
    }
    rights
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten().take(MAX)
}

fn right(kind: &'static str, name: &Value, times: Option<u64>) -> Option<Right> {
    let name = name.as_str()?.to_owned();
    Some(Right { kind, name, times })
}

/// Files and the environment are counted as a whole: zero is zero for each, and more is known of a single one alone.
fn as_a_whole(grants: &Value, kind: &str, times: &Value) -> Option<u64> {
    match (times.as_u64()?, list(&grants[kind]).count()) {
        (0, _) => Some(0),
        (times, 1) => Some(times),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(environment: u64, files: u64) -> Value {
        json!({
            "schema": 1, "pid": 7, "generation": 2, "since": "then",
            "components": [{
                "id": "shop", "digest": "d",
                "grants": { "net": ["http://a", "http://b"], "fs": ["x", "y"], "env": ["HOME"], "var": ["v", "w"] },
                "used": {
                    "requests": 3, "denied": 1, "environment": environment, "files": files,
                    "rules": [{ "rule": "http://a", "calls": 2 }, { "rule": "http://b", "calls": 0 }],
                    "variables": { "v": 5 },
                },
            }],
        })
    }

    #[test]
    fn what_is_not_known_is_neither_used_nor_unused() {
        let table = [
            (0, 0, [Some(0), Some(0), Some(0)]),
            (4, 0, [Some(0), Some(0), Some(4)]),
            (0, 9, [None, None, Some(0)]),
        ];
        for (environment, files, [x, y, home]) in table {
            let running = Running::of(&answer(environment, files), "shop").expect("it is there");
            let rights: Vec<_> = running
                .rights
                .iter()
                .map(|right| (right.name.as_str(), right.times))
                .collect();
            let expected = [
                ("http://a", Some(2)),
                ("http://b", Some(0)),
                ("x", x),
                ("y", y),
                ("HOME", home),
                ("v", Some(5)),
                ("w", None),
            ];
            assert_eq!(rights, expected);
        }
        let running = Running::of(&answer(1, 1), "shop").expect("it is there");
        let never: Vec<_> = running.never().map(|right| right.name.clone()).collect();
        assert_eq!(never, ["http://b"]);
    }

    #[test]
    fn an_answer_that_is_not_what_we_expect_is_no_answer() {
        for answer in [
            json!(null),
            json!({ "schema": 1 }),
            json!({ "pid": 1, "components": [{ "id": "other" }] }),
            json!({ "components": [{ "id": "shop" }] }),
        ] {
            assert!(Running::of(&answer, "shop").is_none(), "{answer}");
        }
        let bare = json!({ "pid": 1, "components": [{ "id": "shop", "grants": 1, "used": [] }] });
        let running = Running::of(&bare, "shop").expect("it is there");
        assert!(running.rights.is_empty());
    }
}
