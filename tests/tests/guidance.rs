//! What a command tells its user to do can be done, and nobody has to know a secret to ask a question.

use std::fs;
use std::path::Path;

use runner_tests::{App, Finished, run, run_with};
use serde_json::{Value, json};

/// The whole outcome of a command.
fn said(said: &Finished) -> (i32, &str, &str) {
    (said.code, &said.stdout, &said.stderr)
}

/// The words of a command that was printed, without `runner`.
fn words(command: &str) -> Vec<&str> {
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("runner"), "{command}");
    words.collect()
}

#[tokio::test]
async fn the_suggested_command_works_where_the_user_stands() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let shop = elsewhere.path().join("shop");
    fs::create_dir(&shop).expect("writable");
    let app = App::probe("");
    for name in ["spin-like.toml", "other.toml"] {
        fs::write(shop.join(name), app.text()).expect("writable");
    }
    let absolute = shop.join("other.toml").display().to_string();
    for (flag, named, expected) in [
        ("-f", "shop", "shop/spin-like.toml"),
        ("-f", "shop/other.toml", "shop/other.toml"),
        ("-f", &absolute, &absolute),
        ("--directory", "shop", "shop/spin-like.toml"),
    ] {
        let before = fs::read_to_string(shop.join("other.toml")).expect("there");
        let explain = ["explain", "probe", "http://127.0.0.1:9", flag, named];
        let denied = run(elsewhere.path(), &explain).await;
        let command = denied.stdout.lines().last().unwrap_or_default().trim();
        let whole = format!("runner allow probe http://127.0.0.1:9 -f {expected}");
        assert_eq!((denied.code, command), (1, &*whole));
        let json = run(
            elsewhere.path(),
            &[&explain[..], &["--format", "json"]].concat(),
        )
        .await;
        let json: Value = serde_json::from_str(&json.stdout).expect("one document");
        assert_eq!(json["fix"], whole);

        let allowed = run(elsewhere.path(), &words(command)).await;
        assert_eq!(allowed.code, 0, "{allowed:?}");
        assert_eq!(run(elsewhere.path(), &explain).await.code, 0);
        fs::write(shop.join("other.toml"), before).expect("writable");
        fs::write(shop.join("spin-like.toml"), app.text()).expect("writable");
    }
}

/// `probe` with a rule, a header and a variable of its own that all need a value.
const NEEDS: &str = "\
environment = { TOKEN = \"hunter2\" }
allowed_outbound_hosts = [\"https://{{ host }}\", { url = \"http://127.0.0.1:9\", inject = { header = \"x-key\", value = \"{{ token }}\" } }]
variables = { own = \"{{ token }}\" }
[variables]
host = { required = true }
token = { required = true, secret = true }
";

const HOST: &str = "\
warning: `https://{{ host }}` uses the variable `host`, which has no value
  --> spin-like.toml:10:27
   |
10 | allowed_outbound_hosts = [\"https://{{ host }}\", { url = \"http://127.0.0.1:9\", inject = { header = \"x…
   |                           ^^^^^^^^^^^^^^^^^^^^ used here
   |
  ::: spin-like.toml:13:1
   |
13 | host = { required = true }
   | ---- `host` is declared here
   |
   = it is left out here; `runner up` does not start without it
help: set `RUNNER_VARIABLE_HOST` in the environment, run with `--variable host=VALUE`, or give it a `default`
";

#[tokio::test]
async fn who_only_asks_needs_no_values() {
    let app = App::probe(NEEDS);
    let args = ["explain", "probe", "http://127.0.0.1:9/x"];
    let answer = "\
allowed: probe may connect to http://127.0.0.1:9
  --> spin-like.toml:10:49
   = rule: http://127.0.0.1:9 + x-key
   = adds the header `x-key`
   = address: 127.0.0.1:9
";
    assert_eq!(said(&run(app.path(), &args).await), (0, answer, HOST));
    let args = ["explain", "probe", "https://a.com", "--format", "json"];
    let explained = run(app.path(), &args).await;
    let json: Value = serde_json::from_str(&explained.stdout).expect("one document");
    assert_eq!((explained.code, &*explained.stderr), (1, ""));
    assert_eq!(
        (&json["allowed"], &json["left_out"][0]["text"]),
        (&false.into(), &HOST.trim_end().into())
    );

    let checked = run(app.path(), &["check"]).await;
    let end = "ok: 1 component, 1 route, 3 warnings\n";
    assert_eq!((checked.code, &*checked.stdout), (0, end), "{checked:?}");
    assert!(checked.stderr.contains(HOST), "{}", checked.stderr);
    let inspected = run(app.path(), &["inspect", "probe"]).await;
    assert_eq!((inspected.code, &*inspected.stderr), (0, ""));

    let difference = "\
--- a/spin-like.toml
+++ b/spin-like.toml
@@ -8,5 +8,5 @@
 source = \"SOURCE\"
 environment = { TOKEN = \"*******\" }
-allowed_outbound_hosts = [\"https://{{ host }}\", { url = \"http://127.0.0.1:9\", inject = { header = \"x-key\", value = \"{{ token }}\" } }]
+allowed_outbound_hosts = [\"https://{{ host }}\", { url = \"http://127.0.0.1:9\", inject = { header = \"x-key\", value = \"{{ token }}\" } }, \"https://b.com\"]
 variables = { own = \"***********\" }
 [variables]
";
    let source = runner_tests::guest("probe").display().to_string();
    let allowed = run(app.path(), &["allow", "probe", "https://b.com"]).await;
    let difference = difference.replace("SOURCE", &source);
    assert_eq!(said(&allowed), (0, &*difference, ""));
    assert!(app.text().contains("TOKEN = \"hunter2\""));
}

#[tokio::test]
async fn a_start_needs_every_value_and_says_how_to_give_it() {
    let app = App::probe(NEEDS);
    let up = ["up", "--listen", "127.0.0.1:0", "--log-format", "text"];
    let stopped = run(app.path(), &up).await;
    assert_eq!(stopped.code, 2, "{stopped:?}");
    for help in [
        "help: set `RUNNER_VARIABLE_HOST` in the environment, run with `--variable host=VALUE`, or give it a `default`\n",
        "help: set `RUNNER_VARIABLE_TOKEN` in the environment; others can see a command line with `--variable token=VALUE`\n",
    ] {
        assert!(stopped.stderr.contains(help), "{}", stopped.stderr);
    }
    let values = [
        ("RUNNER_VARIABLE_HOST", "a.com"),
        ("RUNNER_VARIABLE_TOKEN", "t"),
    ];
    let checked = run_with(app.path(), &["check"], &values).await;
    assert_eq!(
        checked.stdout, "ok: 1 component, 1 route, 1 warning\n",
        "{checked:?}"
    );
}

/// What a document says of one mistake, which has neither a code nor a place.
fn document(exit: i32, message: &str, help: &[&str], text: &str) -> Value {
    json!({
        "schema": 1, "ok": false, "exit": exit,
        "diagnostics": [{ "level": "error", "message": message, "help": help, "text": text }],
    })
}

async fn answers(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Value {
    let finished = run_with(dir, args, environment).await;
    let json: Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"));
    assert_eq!(
        (finished.stderr.as_str(), &json["exit"]),
        ("", &finished.code.into()),
        "{args:?}"
    );
    json
}

#[tokio::test]
async fn a_mistake_in_a_command_is_a_document_for_programs_too() {
    let app = App::probe("");
    let by_environment = [("RUNNER_FORMAT", "json")];
    for (args, environment) in [
        (
            &["check", "--format", "json", "--colour", "never"][..],
            &[][..],
        ),
        (&["check", "--colour", "never"], &by_environment),
    ] {
        let in_words = args
            .iter()
            .map(|&arg| if arg == "json" { "text" } else { arg });
        let in_words = run(app.path(), &in_words.collect::<Vec<_>>()).await;
        assert_eq!((in_words.code, &*in_words.stdout), (2, ""));
        let expected = document(
            2,
            "unexpected argument '--colour' found",
            &["a similar argument exists: '--color'"],
            in_words.stderr.trim_end(),
        );
        assert_eq!(answers(app.path(), args, environment).await, expected);
    }

    let nobody = "error: there is no component `other` in `spin-like.toml`\nhelp: it has `probe`";
    let expected = document(
        2,
        "there is no component `other` in `spin-like.toml`",
        &["it has `probe`"],
        nobody,
    );
    for args in [
        &["explain", "other", "https://a.com", "--format", "json"][..],
        &["inspect", "other", "--format=json"],
    ] {
        assert_eq!(answers(app.path(), args, &[]).await, expected);
    }

    app.write(&app.text().replace("source =", "sorce ="));
    let args = ["explain", "probe", "https://a.com", "--format", "json"];
    let json = answers(app.path(), &args, &[]).await;
    let codes: Vec<_> = ["/diagnostics/0/code", "/diagnostics/1/code", "/exit"]
        .map(|path| json.pointer(path).cloned().unwrap_or_default())
        .into();
    assert_eq!(
        Value::Array(codes),
        json!(["missing-key", "unknown-key", 2])
    );
}

#[tokio::test]
async fn half_an_address_to_listen_on_is_answered_with_a_whole_one() {
    let text = "\
error: invalid value '3208' for '--listen <ADDR:PORT>': expected an address and a port such as `127.0.0.1:3208`

For more information, try '--help'.
";
    let finished = run(App::probe("").path(), &["up", "--listen", "3208"]).await;
    assert_eq!(said(&finished), (2, "", text));
}

#[tokio::test]
async fn allow_does_not_allow_what_the_manifest_expects_to_be_denied() {
    let app = App::probe("[[expect]]\ncomponent = \"probe\"\ndeny = [\"POST https://a.com/x\"]");
    let before = app.text();
    let refused = "\
error: component `probe` may make a call that is expected to be denied
  --> spin-like.toml:11:9
   |
11 | deny = [\"POST https://a.com/x\"]
   |         ^^^^^^^^^^^^^^^^^^^^^^ allowed
   |
  ::: spin-like.toml:9:27
   |
 9 | allowed_outbound_hosts = [\"https://a.com\"]
   |                           --------------- this rule allows it
   |
   = `spin-like.toml` was not changed
help: make the rule narrower, or leave the call out here
";
    let finished = run(app.path(), &["allow", "probe", "https://a.com"]).await;
    assert_eq!(said(&finished), (1, "", refused));
    assert_eq!(app.text(), before);
    let narrow = ["allow", "probe", "https://a.com/x", "--method", "GET"];
    assert_eq!(run(app.path(), &narrow).await.code, 0);
}

#[tokio::test]
async fn allow_asks_about_a_method_that_is_nearly_a_usual_one() {
    let app = App::probe("");
    let warning = "\
warning: `GE` is not a usual method of HTTP
 --> spin-like.toml:9:65
  |
9 | allowed_outbound_hosts = [{ url = \"https://a.com/x\", methods = [\"GE\"] }]
  |                                                                 ^^^^ sent as it is written, by nobody perhaps
  |
help: did you mean `GET`?
";
    let args = ["allow", "probe", "https://a.com/x", "--method", "GE"];
    let finished = run(app.path(), &args).await;
    assert_eq!((finished.code, &*finished.stderr), (0, warning));
}
