//! A component starts with nothing, and gets what the manifest says.

use std::os::unix::fs::symlink;

use runner_tests::{App, Server, run};
use serde_json::{Value, json};

async fn json(server: &Server, path: &str) -> Value {
    server.get(path).await.json()
}

#[tokio::test]
async fn a_component_that_was_granted_nothing_has_nothing() {
    let app = App::probe("");
    app.file("beside.txt", "not granted");
    let environment = [
        ("SECRET_OF_THE_HOST", "6.6.6.6"),
        ("RUNNER_VARIABLE_TOKEN", "6.6.6.6"),
    ];
    let server = Server::try_start_with(&app, &[], &environment)
        .await
        .expect("it starts");
    assert_eq!(json(&server, "/env").await, json!({}));
    assert_eq!(json(&server, "/args").await, json!([]));
    assert_eq!(json(&server, "/files").await, json!({ "preopens": [] }));
    for path in [
        "/",
        ".",
        "/etc/passwd",
        "beside.txt",
        "spin-like.toml",
        "/proc/self/environ",
        "/dev/stdin",
    ] {
        let report = json(&server, &format!("/files?path={path}")).await;
        assert_eq!(report["error"], "not-found", "{path}: {report}");
    }
    let report = json(&server, "/write?path=/tmp/probe").await;
    assert_eq!(report["error"], "not-found", "{report}");
}

#[tokio::test]
async fn a_component_has_no_sockets_and_looks_no_names_up() {
    let app = App::probe(
        "allowed_outbound_hosts = [\"*://*:*\", \"http://127.0.0.0/8:*\", \"http://localhost:*\"]",
    );
    let server = Server::start(&app, &[]).await;
    let port = server.address().port();
    for host in ["127.0.0.1", "::1", "0.0.0.0"] {
        let report = json(
            &server,
            &format!("/sockets?host={host}&port={port}&name=localhost"),
        )
        .await;
        for way in [
            "tcp-connect",
            "tcp-listen",
            "udp-bind",
            "udp-connect",
            "udp-send",
        ] {
            let outcome = report[way].as_str().expect("text");
            assert!(
                outcome.starts_with("permission-denied: "),
                "{host} {way}: {outcome}"
            );
        }
        let outcome = report["lookup"].as_str().expect("text");
        assert!(
            outcome.contains("failed to lookup address information"),
            "{host}: {outcome}"
        );
    }
}

#[tokio::test]
async fn the_environment_is_what_the_manifest_says_and_nothing_else() {
    let app = App::probe("environment = { LANGUAGE = \"en\", EMPTY = \"\", PATH = \"mine\" }");
    let server = Server::start(&app, &[]).await;
    assert_eq!(
        json(&server, "/env").await,
        json!({ "LANGUAGE": "en", "EMPTY": "", "PATH": "mine" })
    );
}

/// An app with files, of which some are granted.
fn with_files(lines: &str) -> App {
    let app = App::probe(lines);
    for name in [
        "images/a.png",
        "images/deep/b.png",
        "images/drafts/c.png",
        "images/notes.txt",
        "templates/t.html",
        "other.txt",
    ] {
        app.file(name, name);
    }
    app
}

#[tokio::test]
async fn files_are_there_where_they_were_granted() {
    let app = with_files(
        "files = [\"images/**/*.png\", { source = \"templates\", destination = \"/templates\" }]\n\
         exclude_files = [\"images/drafts/*\"]",
    );
    let server = Server::start(&app, &[]).await;
    assert_eq!(
        json(&server, "/files").await,
        json!({ "preopens": ["/", "/templates"] })
    );
    for (path, report) in [
        ("/", json!({ "entries": ["images"] })),
        ("/images", json!({ "entries": ["a.png", "deep"] })),
        ("/images/a.png", json!({ "text": "images/a.png" })),
        ("/images/deep/b.png", json!({ "text": "images/deep/b.png" })),
        ("/templates", json!({ "entries": ["t.html"] })),
        ("/templates/t.html", json!({ "text": "templates/t.html" })),
    ] {
        assert_eq!(
            json(&server, &format!("/files?path={path}")).await,
            report,
            "{path}"
        );
    }
    for path in [
        "/images/drafts/c.png",
        "/images/notes.txt",
        "/other.txt",
        "/spin-like.toml",
    ] {
        assert_eq!(
            json(&server, &format!("/files?path={path}")).await["error"],
            "not-found",
            "{path}"
        );
    }
    for path in [
        "/templates/../../other.txt",
        "/../spin-like.toml",
        "../spin-like.toml",
        "/images/../../../etc/passwd",
    ] {
        let report = json(&server, &format!("/files?path={path}")).await;
        assert!(report["error"].is_string(), "{path}: {report}");
    }
}

#[tokio::test]
async fn files_are_read_only() {
    let app = with_files("files = [{ source = \"templates\", destination = \"/\" }]");
    let server = Server::start(&app, &[]).await;
    for attempt in [
        "/write?path=/t.html&text=mine",
        "/write?path=/new.html",
        "/remove?path=/t.html",
        "/rename?path=/t.html&to=/u.html",
        "/link?path=/t.html&to=/u.html",
    ] {
        let report = json(&server, attempt).await;
        assert!(report["error"].is_string(), "{attempt}: {report}");
    }
    assert_eq!(
        json(&server, "/files?path=/").await,
        json!({ "entries": ["t.html"] })
    );
    assert_eq!(
        json(&server, "/files?path=/t.html").await,
        json!({ "text": "templates/t.html" })
    );
    let source = std::fs::read_to_string(app.path().join("templates/t.html")).expect("still there");
    assert_eq!(source, "templates/t.html");
}

#[tokio::test]
async fn what_lies_behind_a_link_is_not_granted() {
    for (lines, message) in [
        (
            "files = [\"links/*\"]",
            "component `probe` cannot be given its `files`: `links/out` is a link; links are not followed, name what it leads to",
        ),
        (
            "files = [{ source = \"links\", destination = \"/\" }]",
            "component `probe` cannot be given its `files`: `links/out` is a link; links are not followed, name what it leads to",
        ),
        (
            "files = [\"none/*\"]",
            "component `probe` cannot be given its `files`: `none/*` matches no file",
        ),
    ] {
        let app = with_files(lines);
        app.file("links/in.txt", "in");
        symlink("/etc/passwd", app.path().join("links/out")).expect("writable");
        let finished = run(
            app.path(),
            &["up", "--listen", "127.0.0.1:0", "--log-format", "text"],
        )
        .await;
        assert_eq!(finished.code, 1, "{lines}");
        assert_eq!(
            finished.stderr.lines().next(),
            Some(&*format!("error: {message}")),
            "{lines}"
        );
    }
}

/// Names with their values.
type Environment = &'static [(&'static str, &'static str)];

/// The guest `variables`, whose `value` is made of `word`.
fn with_variables(default: &str) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [variables]\nword = {{ {default} }}\nother = {{ default = \"never asked for\" }}\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"variables\"\n\
         [component.variables]\nsource = \"guest:variables\"\n\
         [component.variables.variables]\nvalue = \"a {{{{ word }}}}!\"\nfixed = \"as it is\"\n"
    ))
}

#[tokio::test]
async fn variables_reach_a_guest_from_the_flag_before_the_environment_before_the_default() {
    let rows: [(&[&str], Environment, &str); 6] = [
        (&[], &[], "default"),
        (&[], &[("SPIN_VARIABLE_WORD", "spin")], "spin"),
        (&[], &[("RUNNER_VARIABLE_WORD", "runner")], "runner"),
        (
            &[],
            &[
                ("SPIN_VARIABLE_WORD", "spin"),
                ("RUNNER_VARIABLE_WORD", "runner"),
            ],
            "runner",
        ),
        (
            &["--variable", "word=flag"],
            &[("RUNNER_VARIABLE_WORD", "runner")],
            "flag",
        ),
        (
            &["--variable", "word=a=b {{ other }}"],
            &[],
            "a=b {{ other }}",
        ),
    ];
    let app = with_variables("default = \"default\"");
    for (args, environment, word) in rows {
        let server = Server::try_start_with(&app, args, environment)
            .await
            .expect("it starts");
        let value = format!("a {word}!");
        let got = json!({ "value": value });
        let expected = json!({
            "spin-2": got, "spin-3": got, "config": got,
            "all": { "fixed": "as it is", "value": value },
        });
        assert_eq!(
            json(&server, "/variables?key=value").await,
            expected,
            "{args:?} {environment:?}"
        );
    }
}

#[tokio::test]
async fn a_guest_knows_its_own_variables_only() {
    let app = with_variables("default = \"default\"");
    let server = Server::start(&app, &[]).await;
    for key in ["word", "other", "none"] {
        let report = json(&server, &format!("/variables?key={key}")).await;
        assert_eq!(report["spin-2"]["error"], "undefined", "{key}: {report}");
        assert_eq!(report["spin-3"]["error"], "undefined", "{key}: {report}");
        assert_eq!(
            report["config"],
            json!({ "value": null }),
            "{key}: {report}"
        );
    }
}

#[tokio::test]
async fn a_variable_that_must_be_given_and_was_not_stops_the_start() {
    let app = with_variables("required = true, secret = true");
    let finished = run(
        app.path(),
        &["up", "--listen", "127.0.0.1:0", "--log-format", "text"],
    )
    .await;
    assert_eq!(finished.code, 2, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("word") && finished.stderr.contains("--variable"),
        "{}",
        finished.stderr
    );
}

#[tokio::test]
async fn a_secret_is_in_no_line_of_the_log() {
    let app = with_variables("required = true, secret = true");
    let args = ["-vvv", "--variable", "word=6.6.6.6"];
    let server = Server::start(&app, &args).await;
    assert!(
        server
            .get("/variables?key=value")
            .await
            .body
            .contains("6.6.6.6")
    );
    let stopped = server.stop().await;
    assert!(!format!("{:?}", stopped.log).contains("6.6.6.6"));
}

#[tokio::test]
async fn what_a_guest_prints_is_in_the_log_with_its_name_and_request() {
    let app = App::probe("");
    for (path, stream, lines) in [
        (
            "/stdout?text=one%0atwo%0a&newline=0",
            "stdout",
            &["one", "two"][..],
        ),
        ("/stderr?text=a%20line", "stderr", &["a line"]),
        ("/stdout?text=no%20end&newline=0", "stdout", &["no end"]),
        (
            "/stderr?text=again&n=3",
            "stderr",
            &["again", "again", "again"],
        ),
        (
            "/stdout?text=%7b%22event%22:%22denied%22%7d",
            "stdout",
            &["{\"event\":\"denied\"}"],
        ),
    ] {
        // A server of its own for each row, so that its only request is the one that is meant.
        let server = Server::start(&app, &[]).await;
        assert_eq!(server.get(path).await.body, "printed\n");
        let stopped = server.stop().await;

        let of = |event: &'static str| {
            stopped
                .log
                .iter()
                .filter(move |line| line["event"] == event)
        };
        let request = &of("request").next().expect("one")["request"];
        let told: Vec<_> = of("line")
            .map(|line| {
                (
                    &line["component"],
                    &line["request"],
                    &line["stream"],
                    &line["line"],
                )
            })
            .collect();
        let (component, stream) = ("probe".into(), stream.into());
        let lines: Vec<Value> = lines.iter().map(|line| (*line).into()).collect();
        let expected: Vec<_> = lines
            .iter()
            .map(|line| (&component, request, &stream, line))
            .collect();
        assert_eq!(told, expected, "{path}");
    }
}

#[tokio::test]
async fn a_terminal_never_gets_what_a_guest_or_a_client_would_send_it() {
    let app = App::probe("");
    let server = Server::start_text(&app, &["--color", "never"]).await;
    // Colour, a title, a line written over, a second line that looks like ours, text that runs backwards, C1.
    let evil = "%1b%5b31mred%1b%5d0;title%07%0dover%e2%80%aegpj%c2%9b2J";
    for stream in ["stdout", "stderr"] {
        assert_eq!(
            server.get(&format!("/{stream}?text={evil}")).await.body,
            "printed\n"
        );
    }
    server.get(&format!("/panic?text={evil}")).await;
    server.get("/hello/%1b%5b2J").await;
    server.get("/fetch?url=http://a%1b%5b2J.test/").await;
    let shown = "\\u{1b}[31mred\\u{1b}]0;title\\u{7}\\u{d}over\\u{202e}gpj\\u{9b}2J";
    for stream in ["stdout", "stderr"] {
        let is_it = |line: &Value| {
            line.as_str().is_some_and(|line| {
                line.starts_with(&format!("probe {stream} (request "))
                    && line.ends_with(&format!(") | {shown}"))
            })
        };
        server.logged(is_it).await;
    }
    let log = server.stop().await.log;
    for line in &log {
        let line = line.as_str().expect("a line for people");
        let obeyed = line
            .chars()
            .find(|c| c.is_control() && *c != '\t' || *c == '\u{202e}');
        assert_eq!(obeyed, None, "{line:?}");
    }
}

#[tokio::test]
async fn a_line_that_is_too_long_is_cut() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    server
        .get("/stdout?text=0123456789&n=100000&newline=0")
        .await;
    let line = server.logged(|line| line["event"] == "line").await;
    assert_eq!(line["line"].as_str().map(str::len), Some(8 * 1024));
}
