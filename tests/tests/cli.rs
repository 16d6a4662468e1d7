//! The commands that end by themselves: what they print, where, and how they end.

use std::fs;

use runner_tests::{App, Finished, guest, guests, run, run_with};
use serde_json::{Value, json};

/// The whole outcome of a command in the app's folder.
async fn says(app: &App, args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let said = run(app.path(), args).await;
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (code, stdout, stderr),
        "{args:?}"
    );
}

/// A manifest with comments and a layout of its own.
const RULES: &str = "\
spin_manifest_version = 2 # of Spin

[application]
name = \"story\"

[[trigger.http]]
route = \"/...\"
component = 'probe'

[component.probe]
source = \"SOURCE\"
# What it may call:
allowed_outbound_hosts = [
    \"http://127.0.0.1:9001\", # the shop
]
";

fn app() -> App {
    App::new(&RULES.replace("SOURCE", "guest:probe"))
}

/// Component `probe` from this file, with one rule.
fn app_of(source: &std::path::Path) -> App {
    App::new(&RULES.replace("SOURCE", &source.display().to_string()))
}

#[tokio::test]
async fn allow_adds_the_line_prints_the_difference_and_is_idempotent() {
    let app = app();
    let before = app.text();
    let difference = "\
--- a/spin-like.toml
+++ b/spin-like.toml
@@ -13,3 +13,4 @@
 allowed_outbound_hosts = [
     \"http://127.0.0.1:9001\", # the shop
+    \"https://*.example.com\",
 ]
";
    let args = ["allow", "probe", "https://*.example.com"];
    says(&app, &args, 0, difference, "").await;
    let after = before.replace(
        "# the shop\n",
        "# the shop\n    \"https://*.example.com\",\n",
    );
    assert_eq!(app.text(), after);

    let already = "probe may already do that: spin-like.toml:15: https://*.example.com\n";
    says(&app, &args, 0, "", already).await;
    assert_eq!(app.text(), after);
}

#[tokio::test]
async fn allow_takes_the_rule_that_a_denial_suggests() {
    let app = app();
    let denied = run(app.path(), &["explain", "probe", "http://[::1]:9001"]).await;
    assert_eq!(denied.code, 1);
    let suggested = denied.stdout.lines().last().unwrap_or_default().trim();
    assert_eq!(suggested, "runner allow probe 'http://[::1]:9001'");
    assert_eq!(
        run(app.path(), &["allow", "probe", "http://[::1]:9001"])
            .await
            .code,
        0
    );
    assert_eq!(
        run(app.path(), &["explain", "probe", "http://[::1]:9001"])
            .await
            .code,
        0
    );
}

#[tokio::test]
async fn allow_refuses_what_is_no_rule_and_leaves_the_file_alone() {
    let app = app();
    let before = app.text();
    for (args, stderr) in [
        (
            ["allow", "probe", "api.example.com"],
            "error: `api.example.com` has no scheme\nhelp: write `https://api.example.com`\n",
        ),
        (
            ["allow", "probe", "https://user:hunter2@example.com"],
            "error: `https://***@example.com` has a user name or a password\n\
             help: write the host alone; a component sends its credentials in a header\n",
        ),
        (
            ["allow", "prob", "https://example.com"],
            "error: there is no component `prob` in `spin-like.toml`\nhelp: it has `probe`\n",
        ),
    ] {
        says(&app, &args, 2, "", stderr).await;
        assert_eq!(app.text(), before);
    }
}

#[tokio::test]
async fn explain_names_the_rule_that_allows() {
    let app = app();
    let stdout = "\
allowed: probe may connect to http://127.0.0.1:9001
  --> spin-like.toml:14:5
   = rule: http://127.0.0.1:9001
   = address: 127.0.0.1:9001
";
    says(
        &app,
        &["explain", "probe", "http://127.0.0.1:9001/a?b"],
        0,
        stdout,
        "",
    )
    .await;
}

#[tokio::test]
async fn explain_names_the_rule_that_comes_nearest() {
    let app = app();
    let stdout = "\
denied: probe may not connect to http://127.0.0.1:9002
  --> spin-like.toml:14:5
   |
14 |     \"http://127.0.0.1:9001\", # the shop
   |     ^^^^^^^^^^^^^^^^^^^^^^^ the port is 9002, this rule allows 9001
   |
help: to allow exactly this, run
      runner allow probe http://127.0.0.1:9002
";
    says(
        &app,
        &["explain", "probe", "http://127.0.0.1:9002"],
        1,
        stdout,
        "",
    )
    .await;
}

#[tokio::test]
async fn explain_for_programs_is_one_document() {
    let app = app();
    let args = [
        "explain",
        "probe",
        "http://127.0.0.1:9001",
        "--format",
        "json",
    ];
    let said = run(app.path(), &args).await;
    let json: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!((said.code, &json["allowed"]), (0, &true.into()));
    assert_eq!(json["place"], "spin-like.toml:14:5");

    let args = [
        "explain",
        "probe",
        "http://127.0.0.1:9002",
        "--format",
        "json",
    ];
    let said = run(app.path(), &args).await;
    let json: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!((said.code, &json["allowed"]), (1, &false.into()));
    assert_eq!(json["fix"], "runner allow probe http://127.0.0.1:9002");
}

#[tokio::test]
async fn check_of_an_app_that_is_fine() {
    let said = run(app().path(), &["check"]).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    assert!(said.stdout.starts_with("ok: "), "{said:?}");
}

#[tokio::test]
async fn check_finds_a_missing_import() {
    let source = guests().join("broken/unknown-interface.wasm");
    let app = app_of(&source);
    let quoted = format!("\"{}\"", source.display());
    let stderr = format!(
        "error: component `probe` imports `acme:secret/vault@1.0.0`, which is not provided\n  \
         --> spin-like.toml:11:10\n   |\n11 | source = {quoted}\n   |          {}\n   |\n\
         help: remove the import, or the dependency that brings it\n",
        "^".repeat(quoted.len())
    );
    says(&app, &["check"], 1, "", &stderr).await;
}

#[tokio::test]
async fn check_finds_what_is_wrong_with_the_manifest() {
    let app = App::new(&app().text().replace("source =", "sourc ="));
    let said = run(app.path(), &["check"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{said:?}");
    let block = said.stderr.contains("error: `sourc` is not a key of ")
        && said.stderr.contains("help: did you mean `source`?");
    assert!(
        block && said.stderr.contains("--> spin-like.toml:11:1"),
        "{said:?}"
    );
}

#[tokio::test]
async fn check_warns_of_a_grant_that_nothing_uses() {
    let said = run(app_of(&guest("preview1")).path(), &["check"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let head = "warning: component `probe` is granted `allowed_outbound_hosts` and imports nothing that could use it\n  --> spin-like.toml:13:26\n";
    assert!(said.stderr.starts_with(head), "{said:?}");
    assert!(
        said.stdout == "ok: 1 component, 1 route, 1 warning\n",
        "{said:?}"
    );
}

#[tokio::test]
async fn check_for_programs_is_one_document_whatever_is_found() {
    let broken = app_of(&guests().join("broken/unknown-interface.wasm"));
    let wrong = App::new(&app().text().replace("source =", "sourc ="));
    let unused = app_of(&guest("preview1"));
    for (app, code, level) in [
        (app(), 0, None),
        (unused, 0, Some("warning")),
        (broken, 1, Some("error")),
        (wrong, 2, Some("error")),
    ] {
        let said = run(app.path(), &["check", "--format", "json"]).await;
        let json: Value = serde_json::from_str(&said.stdout).expect("one document");
        assert_eq!((said.code, said.stderr.as_str()), (code, ""), "{said:?}");
        assert_eq!(
            (&json["exit"], &json["ok"]),
            (&code.into(), &(code == 0).into())
        );
        assert_eq!(json["diagnostics"][0]["level"].as_str(), level, "{json}");
    }
}

/// The commit that is checked out and its date; `unknown` where this is no repository of its own.
fn built_from() -> Vec<String> {
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    if let Ok(given) = std::env::var("RUNNER_COMMIT") {
        return words(given);
    }
    match git(&["rev-parse", "--show-prefix"]).trim() {
        "tests/" => words(git(&["log", "-1", "--abbrev=9", "--format=%h %cs"])),
        _ => vec!["unknown".to_owned()],
    }
}

fn git(args: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8(text).expect("letters and digits")
}

#[tokio::test]
async fn the_version_and_the_exit_codes_are_data() {
    let app = app();
    let said = run(app.path(), &["--version"]).await;
    let build = built_from();
    let text = format!("runner 0.1.0 ({}) wasmtime 48.0.8\n", build.join(" "));
    assert_eq!((said.stdout, said.stderr.as_str()), (text, ""));
    for args in [
        ["--version", "--format", "json"],
        ["-V", "--format=json", "-v"],
    ] {
        let said = run(app.path(), &args).await;
        let document: Value = serde_json::from_str(&said.stdout).expect("one document");
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        let known = build.len() == 2;
        let expected = json!({
            "schema": 1, "version": "0.1.0", "wasmtime": "48.0.8",
            "commit": known.then(|| &build[0]), "date": known.then(|| &build[1]),
        });
        assert_eq!(document, expected);
    }

    let said = run(app.path(), &["help", "exit-codes"]).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    for number in ["0", "1", "2", "3", "130", "143"] {
        let line = format!("{number:>5}    ");
        assert!(
            said.stdout.lines().any(|said| said.starts_with(&line)),
            "{number}: {said:?}"
        );
    }
}

#[tokio::test]
async fn a_command_that_is_none_gets_a_tip() {
    let said = run(app().path(), &["chek"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (2, ""));
    assert!(
        said.stderr
            .starts_with("error: unrecognized subcommand 'chek'\n"),
        "{said:?}"
    );
    assert!(
        said.stderr
            .contains("tip: some similar subcommands exist: 'schema', 'check'"),
        "{said:?}"
    );
}

#[tokio::test]
async fn no_failure_shows_a_backtrace() {
    let app = app();
    let variables = [("RUST_BACKTRACE", "full"), ("RUST_LIB_BACKTRACE", "1")];
    for (args, code) in [
        (&["check", "-f", "nowhere"][..], 2),
        (
            &["up", "--listen", "127.0.0.1:0", "--ca-file", "nowhere.pem"],
            3,
        ),
        (
            &[
                "explain",
                "probe",
                "http://127.0.0.1:9001",
                "--ca-file",
                "nowhere.pem",
            ],
            3,
        ),
        (&["allow", "probe", "*"], 2),
        (&["explain", "nobody", "http://127.0.0.1"], 2),
    ] {
        let Finished {
            code: ended,
            stdout,
            stderr,
        } = run_with(app.path(), args, &variables).await;
        assert_eq!((ended, stdout.as_str()), (code, ""), "{args:?}: {stderr}");
        let alarming = ["backtrace", "panicked", "stack", "   0: "];
        assert!(
            !alarming.iter().any(|word| stderr.contains(word)),
            "{args:?}: {stderr}"
        );
    }
}

#[tokio::test]
async fn the_manifest_is_found_by_its_usual_names_or_its_folder() {
    let app = app();
    fs::rename(app.manifest(), app.path().join("spin.toml")).expect("in the same folder");
    let args = ["explain", "probe", "http://127.0.0.1:9001"];
    let found = |said: &Finished, path: &str| {
        said.code == 0 && said.stdout.contains(&format!("\n  --> {path}:14:5\n"))
    };

    let said = run(app.path(), &args).await;
    assert!(found(&said, "spin.toml"), "{said:?}");

    app.write(&RULES.replace("SOURCE", "guest:probe"));
    let said = run(app.path(), &args).await;
    assert!(found(&said, "spin-like.toml"), "ours goes first: {said:?}");

    let elsewhere = tempfile::tempdir().expect("a folder");
    let folder = app.path().display().to_string();
    for from in [folder.clone(), format!("{folder}/spin.toml")] {
        let args = [&args[..], &["-f", &from]].concat();
        let said = run(elsewhere.path(), &args).await;
        let path = if from == folder {
            format!("{folder}/spin-like.toml")
        } else {
            from
        };
        assert!(found(&said, &path), "{said:?}");
    }
    let said = run(elsewhere.path(), &args).await;
    let nothing = "error: there is no `spin-like.toml` and no `spin.toml` in `.`\nhelp: name the manifest or its folder with `--from`\n";
    assert_eq!((said.code, said.stderr.as_str()), (2, nothing));
}

#[tokio::test]
async fn edits_at_the_same_time_are_all_kept() {
    let app = app();
    let path = app.path().to_owned();
    let edits = (0..12).map(|n| {
        let (path, rule) = (path.clone(), format!("https://host{n}.example.com"));
        tokio::spawn(async move { run(&path, &["allow", "probe", &rule]).await })
    });
    for edit in edits.collect::<Vec<_>>() {
        let said = edit.await.expect("no panic");
        assert_eq!(said.code, 0, "{said:?}");
    }
    let text = app.text();
    for n in 0..12 {
        assert!(
            text.contains(&format!("\"https://host{n}.example.com\"")),
            "{text}"
        );
    }
    assert_eq!(
        fs::read_dir(&path).expect("a folder").count(),
        1,
        "nothing is left beside it"
    );
}

#[tokio::test]
async fn listeners_that_would_have_one_port_are_told_apart() {
    let app = App::probe("");
    for (args, listen, admin) in [
        (
            &["--listen", "127.0.0.1:4000", "--admin", "127.0.0.1:4000"][..],
            "127.0.0.1:4000",
            "127.0.0.1:4000",
        ),
        (
            &["--listen", "0.0.0.0:4000", "--admin", "127.0.0.1:4000"],
            "0.0.0.0:4000",
            "127.0.0.1:4000",
        ),
        (
            &["--admin", "127.0.0.1:3000"],
            "127.0.0.1:3000",
            "127.0.0.1:3000",
        ),
    ] {
        let said = run(
            app.path(),
            &[&["up", "--log-format", "text"], args].concat(),
        )
        .await;
        let expected = format!(
            "error: `--listen {listen}` and `--admin {admin}` are on the same port\n\
             help: give one of them another; port 0 takes a free one\n"
        );
        assert_eq!((said.code, said.stderr), (2, expected));
    }
}

#[tokio::test]
async fn an_app_that_is_not_there_is_helped_in_words_of_who_named_it() {
    let app = App::probe("");
    for (args, help) in [
        (
            &["up", "nothere"][..],
            "name a manifest, or the folder of one",
        ),
        (
            &["up", "--from", "nothere"],
            "name the manifest or its folder with `--from`",
        ),
    ] {
        let said = run(app.path(), &[args, &["--log-format", "text"]].concat()).await;
        let expected = format!("error: the manifest `nothere` does not exist\nhelp: {help}\n");
        assert_eq!((said.code, said.stderr), (2, expected));
    }
}
