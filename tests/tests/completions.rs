//! What a shell offers next, asked of a real bash.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use runner_tests::{App, run};

const MANIFEST: &str = "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
    [variables]\ntoken = { required = true }\n\
    [[trigger.http]]\nroute = \"/...\"\ncomponent = \"cart\"\n\
    [component.cart]\nsource = \"cart.wasm\"\n\
    [component.catalogue]\nsource = \"catalogue.wasm\"\n\
    [component.search]\nsource = \"search.wasm\"\nvariables = { token = \"{{ token }}\" }\n";

/// What bash offers after these words, the last of which is being written.
fn offered(app: &App, words: &[&str]) -> Vec<String> {
    let script = r#"
        eval "$(runner completions bash)" || exit 9
        complete -p runner > /dev/null || exit 8
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        _clap_complete_runner runner "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        [ "${#COMPREPLY[@]}" -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash", "runner"])
        .args(words)
        .current_dir(app.path())
        .env_clear()
        .env("PATH", format!("{}/bin:{path}", app.path().display()))
        .stdin(Stdio::null())
        .output()
        .expect("bash is there");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    assert_eq!(
        (output.status.code(), text(output.stderr).as_str()),
        (Some(0), ""),
        "{words:?}"
    );
    text(output.stdout).lines().map(str::to_owned).collect()
}

/// The same without flags, which are offered wherever a word may begin.
fn names(app: &App, words: &[&str]) -> Vec<String> {
    let mut names = offered(app, words);
    names.retain(|name| !name.starts_with('-'));
    names
}

/// An app beside a `bin` that has `runner`.
fn app(manifest: &str) -> App {
    let app = App::new(manifest);
    app.file("bin/about", "for runner");
    let runner = std::env::var_os("CARGO_BIN_EXE_runner-under-test").expect("run by `cargo test`");
    symlink(runner, app.path().join("bin/runner")).expect("a link");
    app
}

#[test]
fn bash_offers_commands_flags_and_the_names_of_components() {
    let app = app(MANIFEST);
    app.file("old.wasm", "");
    let table: [(&[&str], &[&str]); 8] = [
        (&["ins"], &["inspect"]),
        (&["explain", ""], &["cart", "catalogue", "search"]),
        (&["explain", "ca"], &["cart", "catalogue"]),
        (&["allow", "s"], &["search"]),
        (&["inspect", "c"], &["cart", "catalogue"]),
        (&["inspect", "o"], &["old.wasm"]),
        (&["inspect", "--format", ""], &["text", "json"]),
        (&["completions", "z"], &["zsh"]),
    ];
    for (words, expected) in table {
        assert_eq!(names(&app, words), expected, "{words:?}");
    }
    assert_eq!(offered(&app, &["explain", "cart", "--ca"]), ["--ca-file"]);
}

#[test]
fn a_broken_manifest_or_none_offers_no_names_and_no_error() {
    for manifest in ["[component.cart\n", "component = 1\n", "\u{0}"] {
        assert_eq!(
            names(&app(manifest), &["explain", ""]),
            [""; 0],
            "{manifest}"
        );
    }
    let none = app(MANIFEST);
    std::fs::remove_file(none.manifest()).expect("it was there");
    assert_eq!(names(&none, &["allow", ""]), [""; 0]);
}

#[tokio::test]
async fn every_shell_has_a_script_and_no_other_has() {
    let app = App::probe("");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = run(app.path(), &["completions", shell]).await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{shell}");
        assert!(said.stdout.contains("RUNNER_COMPLETE"), "{shell}");
    }
    assert_eq!(run(app.path(), &["completions", "csh"]).await.code, 2);
}
