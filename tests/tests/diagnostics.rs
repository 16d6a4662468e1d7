//! Every message about a manifest or a component, whole: `tests/diagnostics/NAME.toml` is what somebody wrote, and
//! `NAME.err` what `runner check` says of it. `UPDATE_EXPECT=1` writes the `.err` files anew; read what changed.
//!
//! A manifest's first lines may be `# args: ARGUMENTS`, for `check`, and `# exit: CODE` where that is not 2.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runner_manifest::Code;
use runner_tests::{App, Finished, Server, run, run_with, test_names};
use serde_json::Value;
use tokio::sync::Semaphore;

/// Codes of messages that no committed file can bring about, and the test that holds each.
const ELSEWHERE: [(Code, &str); 23] = [
    (
        Code::ManifestUnreadable,
        "a_file_is_read_only_when_it_is_one_and_fits",
    ),
    (
        Code::ManifestNotAFile,
        "a_file_is_read_only_when_it_is_one_and_fits",
    ),
    (
        Code::ManifestTooLarge,
        "e52_a_file_that_is_deep_or_huge_is_an_error",
    ),
    (
        Code::TooManyValues,
        "e52_a_file_that_is_deep_or_huge_is_an_error",
    ),
    (Code::TooManyComponents, "e52_there_is_a_most_of_everything"),
    (Code::TooManyTriggers, "e52_there_is_a_most_of_everything"),
    (Code::TooManyRules, "e52_there_is_a_most_of_everything"),
    (
        Code::ComponentTooLarge,
        "a_file_that_is_too_large_is_not_read",
    ),
    (
        Code::ComponentTypesTooLarge,
        "e43_types_and_components_that_nest_without_end_are_refused",
    ),
    (
        Code::CompilingTakesMemory,
        "e43_beyond_its_limits_a_compile_is_ended_and_told",
    ),
    (
        Code::CompilingTakesTime,
        "e43_beyond_its_limits_a_compile_is_ended_and_told",
    ),
    (
        Code::CompiledTooLarge,
        "a_process_that_does_not_answer_is_told_for_what_it_did",
    ),
    (
        Code::CompilerFailed,
        "a_process_that_does_not_answer_is_told_for_what_it_did",
    ),
    (
        Code::CompilerKilled,
        "a_process_that_does_not_answer_is_told_for_what_it_did",
    ),
    (
        Code::CompilerNotStarted,
        "a_process_that_does_not_answer_is_told_for_what_it_did",
    ),
    (
        Code::ComponentNeedsTooMuch,
        "e06_a_table_beyond_what_one_may_have_is_refused_at_load",
    ),
    (
        Code::LoadingInterrupted,
        "a_loader_that_ends_without_an_answer_is_told",
    ),
    (Code::FilesOutside, "nothing_leads_out_of_the_app"),
    (
        Code::FilesTooLarge,
        "files_that_are_too_large_together_are_not_copied",
    ),
    (
        Code::FileAboveCeiling,
        "an_app_that_is_held_to_its_folder_reads_no_other_file",
    ),
    (
        Code::SameName,
        "a_clash_names_both_apps_and_says_what_to_write",
    ),
    (
        Code::SameRequests,
        "two_apps_for_the_same_requests_do_not_start",
    ),
    (
        Code::Denied,
        "a_denial_says_who_where_to_and_what_would_allow_it",
    ),
];

/// A manifest, and how `check` is run on it.
struct Pair {
    name: String,
    args: Vec<String>,
    exit: i32,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("diagnostics")
}

fn pairs() -> Vec<Pair> {
    let entries = fs::read_dir(folder()).expect("a folder");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut pairs: Vec<Pair> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .map(|path| Pair::read(&path))
        .collect();
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    pairs
}

impl Pair {
    fn read(path: &Path) -> Pair {
        let bytes = fs::read(path).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        let head = text.lines().map_while(|line| line.strip_prefix("# "));
        let said: BTreeMap<&str, &str> = head.filter_map(|line| line.split_once(": ")).collect();
        let args = said.get("args").copied().unwrap_or_default();
        let exit = said.get("exit").copied().unwrap_or("2");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        Pair {
            name: stem.expect("a name").to_owned(),
            args: args.split_whitespace().map(str::to_owned).collect(),
            exit: exit.parse().expect("a number"),
        }
    }

    async fn check(&self, more: &[&str], environment: &[(&str, &str)]) -> Finished {
        let manifest = format!("{}.toml", self.name);
        let mut args = vec!["check", "-f", &manifest];
        args.extend(self.args.iter().map(String::as_str));
        args.extend(more);
        run_with(&folder(), &args, environment).await
    }

    /// The document for programs.
    async fn json(&self) -> Value {
        let said = self.check(&["--format", "json"], &[]).await;
        assert_eq!((said.code, &*said.stderr), (self.exit, ""), "{}", self.name);
        serde_json::from_str(&said.stdout).expect("one document")
    }
}

/// What `ask` answers for each pair, in order; as many are asked at once as there are cores.
async fn of_all<T, F>(ask: impl Fn(Arc<Pair>) -> F) -> Vec<(Arc<Pair>, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = Arc::new(Semaphore::new(cores));
    let start = |pair: Pair| {
        let (pair, slots) = (Arc::new(pair), slots.clone());
        let asked = ask(pair.clone());
        let task = async move {
            let _slot = slots.acquire_owned().await;
            asked.await
        };
        (pair, tokio::spawn(task))
    };
    let asked: Vec<_> = pairs().into_iter().map(start).collect();
    let mut answers = Vec::new();
    for (pair, answer) in asked {
        answers.push((pair, answer.await.expect("it does not panic")));
    }
    answers
}

#[tokio::test]
async fn every_manifest_gets_its_message_whole_and_its_exit_code() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let said = of_all(|pair| async move { pair.check(&[], &[]).await }).await;
    assert!(said.len() >= 70, "{}", said.len());
    let mut wrong = Vec::new();
    for (pair, Finished { code, stderr, .. }) in said {
        let expected = folder().join(&pair.name).with_extension("err");
        if update {
            fs::write(&expected, &stderr).expect("writable");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if (code, &stderr) != (pair.exit, &expected) {
            let name = &pair.name;
            wrong.push(format!("{name}: exit {code}, not {}\n{stderr}", pair.exit));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn no_message_is_without_its_manifest() {
    let said = of_all(|pair| async move { pair.json().await }).await;
    let mut seen = BTreeSet::new();
    for (_, json) in &said {
        let found = json["diagnostics"].as_array().expect("a list");
        seen.extend(found.iter().filter_map(|found| found["code"].as_str()));
    }
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(code, _)| code.as_str()).collect();
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let unseen: Vec<_> = all
        .difference(&seen)
        .filter(|c| !elsewhere.contains(*c))
        .collect();
    assert_eq!(unseen, [&""; 0], "codes without a manifest that shows them");
    let needless: Vec<_> = elsewhere.intersection(&seen).collect();
    assert_eq!(needless, [&""; 0], "codes that a manifest does show");
    let unknown: Vec<_> = seen.difference(&all).collect();
    assert_eq!(unknown, [&""; 0], "codes that are none");
    let tests = test_names();
    let missing: Vec<_> = ELSEWHERE
        .iter()
        .filter(|(_, test)| !tests.contains(*test))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn what_programs_read_is_what_people_read() {
    let said = of_all(|pair| async move { pair.json().await }).await;
    for (pair, json) in said {
        assert_eq!(
            (&json["schema"], &json["exit"]),
            (&1.into(), &pair.exit.into())
        );
        let found = json["diagnostics"].as_array().expect("a list");
        assert!(!found.is_empty(), "{}", pair.name);
        let texts: Vec<_> = found
            .iter()
            .map(|found| found["text"].as_str().expect("text"))
            .collect();
        let expected = fs::read_to_string(folder().join(&pair.name).with_extension("err"));
        assert_eq!(texts.join("\n\n"), expected.expect("readable").trim_end());
        for found in found {
            let text = found["text"].as_str().expect("text");
            let help = found["help"].as_array().expect("a list");
            assert!(!help.is_empty(), "it says what to do: {text}");
            place_is_in(found, "--> ", text);
            for also in found["also"].as_array().expect("a list") {
                place_is_in(also, "::: ", text);
            }
        }
    }
}

/// The parts of a place are those of the text, and its end comes after its beginning.
fn place_is_in(mark: &Value, arrow: &str, text: &str) {
    let Some(place) = mark["place"].as_str() else {
        let parts = ["file", "line", "column", "end_line", "end_column"];
        assert!(parts.iter().all(|part| mark[part].is_null()), "{mark}");
        return;
    };
    let file = mark["file"].as_str().expect("text");
    let number = |part: &str| mark[part].as_u64().expect("a number");
    let (start, end) = (
        (number("line"), number("column")),
        (number("end_line"), number("end_column")),
    );
    assert_eq!(place, format!("{file}:{}:{}", start.0, start.1));
    assert!(start <= end && start.1 >= 1, "{mark}");
    // What stands on the line of the main place is marked there.
    let is_shown = text.contains(&format!("{arrow}{place}\n"));
    let line = format!("{file}:{}:", start.0);
    assert!(
        is_shown || (arrow == "::: " && text.contains(&format!("--> {line}"))),
        "{text}"
    );
}

#[tokio::test]
async fn the_log_for_programs_says_the_same_as_check() {
    let rows = [
        ("no-such-component", "no-such-component"),
        ("component-missing", "component-missing"),
    ];
    for (name, code) in rows {
        let text = fs::read_to_string(folder().join(name).with_extension("toml"));
        let app = App::new(&text.expect("readable"));
        let checked = run(app.path(), &["check", "--format", "json"]).await;
        let checked: Value = serde_json::from_str(&checked.stdout).expect("one document");
        let Err(stopped) = Server::try_start(&app, &[]).await else {
            panic!("{name} started")
        };
        let error = stopped.log.iter().find(|line| line["event"] == "error");
        let told = &error.expect("it says why")["diagnostics"];
        assert_eq!(
            (told, &told[0]["code"]),
            (&checked["diagnostics"], &code.into())
        );
    }
}

#[tokio::test]
async fn a_warning_in_the_log_for_programs_has_its_code() {
    let app = App::probe("allowed_http_hosts = [\"a.test\"]");
    let server = Server::start(&app, &[]).await;
    let warning = server.logged(|line| line["event"] == "warning").await;
    let place =
        ["code", "file", "line", "column", "end_line", "end_column"].map(|part| &warning[part]);
    let expected: [Value; 6] = [
        "old-rule-key".into(),
        "spin-like.toml".into(),
        9.into(),
        22.into(),
        9.into(),
        32.into(),
    ];
    assert_eq!(place, expected.each_ref());
}

#[tokio::test]
async fn no_message_has_a_backtrace_whatever_the_environment_says() {
    let variables = [("RUST_BACKTRACE", "1"), ("RUST_LIB_BACKTRACE", "full")];
    let said = of_all(move |pair| async move { pair.check(&[], &variables).await }).await;
    for (pair, Finished { code, stderr, .. }) in said {
        let expected = fs::read_to_string(folder().join(&pair.name).with_extension("err"));
        assert_eq!((code, &stderr), (pair.exit, &expected.expect("readable")));
        let alarming = ["backtrace", "panicked", "   0: ", ".rs:"];
        let found = alarming.iter().find(|word| stderr.contains(*word));
        assert_eq!(found, None, "{stderr}");
    }
}
