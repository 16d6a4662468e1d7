//! `runner inspect`: what a file says of itself, what is granted, and what a running server saw of that.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use runner_tests::{App, Canary, Server, guest, guests, run, run_with};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What `inspect` says for programs.
async fn inspected(app: &App, args: &[&str]) -> Value {
    let args: Vec<&str> = ["inspect", "--format", "json"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    let said = run(app.path(), &args).await;
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{args:?}");
    serde_json::from_str(&said.stdout).expect("one document")
}

/// The control sockets below a cache of the story's own.
fn sockets(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("run")).expect("a folder").flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Kind, name and how often, of each right of the first server that runs.
fn rights(report: &Value, list: &str) -> Vec<(String, String, Option<u64>)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let rights = report["running"][0][list]
        .as_array()
        .expect("a server runs");
    rights
        .iter()
        .map(|right| {
            (
                text(&right["kind"]),
                text(&right["name"]),
                right["times"].as_u64(),
            )
        })
        .collect()
}

fn right(kind: &str, name: &str, times: Option<u64>) -> (String, String, Option<u64>) {
    (kind.to_owned(), name.to_owned(), times)
}

#[tokio::test]
async fn a_file_is_inspected_without_a_manifest() {
    let broken = guests().join("broken");
    let said = run(&broken, &["inspect", "unknown-interface.wasm"]).await;
    let stdout = "\
file       unknown-interface.wasm
sha256     cca85a8e88fe7922e6049f3688e1c7a7ea431088199eb8fff39f9f25f3dfed93
size       445 B
made by    it does not say
kind       component, serves wasi:http@0.2
imports    acme:secret/vault@1.0.0  (not provided)
           wasi:http/types@0.2.0
exports    wasi:http/incoming-handler@0.2.0
memory     none
tables     none
granted    nothing: it is a file, not a component of a manifest
";
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (0, stdout, "")
    );
}

#[tokio::test]
async fn what_is_no_component_is_told_and_never_more() {
    let app = App::probe("");
    fs::write(
        app.path().join("cut.wasm"),
        &fs::read(guest("probe")).expect("there")[..5000],
    )
    .expect("writable");
    app.file("text.wasm", "\u{1b}[2J");
    let long = "a\u{202e}".repeat(3000);
    let named = [&b"\0asm\x0d\0\x01\0"[..], &import(&long)].concat();
    fs::write(app.path().join("named.wasm"), named).expect("writable");
    for (file, error) in [
        (
            "none.wasm",
            "error: cannot inspect `none.wasm`: there is no such file\n",
        ),
        (
            "./text.wasm",
            "error: cannot inspect `./text.wasm`: it is text, not WebAssembly\n",
        ),
        (
            "cut.wasm",
            "error: cannot inspect `cut.wasm`: it is cut short: ",
        ),
        (
            "named.wasm",
            "error: cannot inspect `named.wasm`: it is damaged: ",
        ),
        (
            "/dev/zero",
            "error: cannot inspect `/dev/zero`: it is not a regular file\n",
        ),
        (
            "no\u{1b}.wasm",
            "error: cannot inspect `no\\u{1b}.wasm`: there is no such file\n",
        ),
        (
            "other",
            "error: there is no component `other` in `spin-like.toml`\n",
        ),
    ] {
        let said = run(app.path(), &["inspect", file]).await;
        let code = if file == "other" { 2 } else { 1 };
        assert_eq!((said.code, said.stdout.as_str()), (code, ""), "{file}");
        assert!(said.stderr.starts_with(error), "{file}: {}", said.stderr);
        assert!(said.stderr.len() < 600, "{file}: {}", said.stderr.len());
        assert!(!said.stderr.contains(['\u{1b}', '\u{202e}']), "{file}");
    }
}

/// An import section with one instance of this name, whose type is there.
fn import(name: &str) -> Vec<u8> {
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        while number > 127 {
            bytes.push(number as u8 & 127 | 128);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let content = [&[1, 0][..], &leb(name.len()), name.as_bytes(), &[5, 0]].concat();
    let types = [7, 3, 1, 0x42, 0];
    [&types[..], &[10], &leb(content.len()), &content].concat()
}

#[tokio::test]
async fn a_component_shows_its_grants_and_that_nobody_saw_it_run() {
    let app = App::probe(
        "allowed_outbound_hosts = [\"https://a.test\"]\nenvironment = { HOME = \"/\" }\nlimits = { memory = \"64 MiB\" }",
    );
    let report = inspected(&app, &["probe"]).await;
    assert_eq!(
        report["grants"],
        json!({ "net": ["https://a.test"], "fs": [], "env": ["HOME"], "var": [] })
    );
    assert_eq!(report["running"], json!([]));
    assert_eq!(report["limits"]["memory"], "64 MiB");
    assert_eq!(report["limits"]["request_body"], Value::Null);
    assert_eq!(
        (
            &report["schema"],
            &report["component"],
            &report["kind"],
            &report["worlds"]
        ),
        (
            &json!(1),
            &json!("probe"),
            &json!("component"),
            &json!(["wasi:http@0.2"])
        )
    );
    assert_eq!(
        report["size"],
        fs::metadata(guest("probe")).expect("there").len()
    );
    let said = run(app.path(), &["inspect", "probe"]).await;
    let end = "\
granted    net  https://a.test
           fs   none
           env  HOME
           var  none
limits     memory = 64 MiB
           cpu = 1 s
           request_timeout = 30 s
           response_timeout = 5 min
           concurrency = 256
           queue = 256
           log_rate = 16 KiB/s
           outbound_concurrency = 16
           instance_reuse = never
used       unknown: no server of this manifest is running
";
    assert!(said.stdout.ends_with(end), "{}", said.stdout);
}

#[tokio::test]
async fn what_was_used_is_counted_and_what_never_was_is_named() {
    let canary = Canary::start().await;
    let manifest = format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [[trigger.http]]\nroute = \"/variables\"\ncomponent = \"variables\"\n\
         [component.probe]\nsource = \"guest:probe\"\n\
         allowed_outbound_hosts = [\"{}\", \"https://never.test\", \"http://self\"]\n\
         environment = {{ HOME = \"/\" }}\nfiles = [\"data/*\"]\n\
         [component.variables]\nsource = \"guest:variables\"\n\
         [component.variables.variables]\nread = \"1\"\nunread = \"2\"\n",
        canary.url()
    );
    let app = App::new(&manifest);
    app.file("data/a.txt", "a");
    let server = Server::start(&app, &[]).await;

    let report = inspected(&app, &["probe"]).await;
    let never = [
        right("net", &canary.url(), Some(0)),
        right("net", "https://never.test", Some(0)),
        right("net", "http://self", Some(0)),
        right("fs", "data/*", Some(0)),
        right("env", "HOME", Some(0)),
    ];
    assert_eq!(
        rights(&report, "never_used"),
        never,
        "nothing was asked of it"
    );

    for path in [
        &format!("/fetch?url={}/a", canary.url()),
        &format!("/fetch?url={}/b", canary.url()),
        "/fetch?url=/hello",
        "/fetch?url=https://denied.test",
        "/files?path=/data/a.txt",
        "/env",
        "/variables?key=read",
    ] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    let report = inspected(&app, &["probe"]).await;
    let used = &report["running"][0];
    assert_eq!(
        (
            &used["requests"],
            &used["denied"],
            &used["generation"],
            &used["same_file"]
        ),
        (&json!(7), &json!(1), &json!(1), &json!(true)),
        "a call to itself is a request too"
    );
    assert_eq!(used["pid"], server.pid());
    let times = rights(&report, "rights");
    assert_eq!(
        times,
        [
            right("net", &canary.url(), Some(2)),
            right("net", "https://never.test", Some(0)),
            right("net", "http://self", Some(1)),
            right("fs", "data/*", Some(1)),
            right("env", "HOME", Some(1)),
        ]
    );
    assert_eq!(
        rights(&report, "never_used"),
        [right("net", "https://never.test", Some(0))]
    );
    let report = inspected(&app, &["variables"]).await;
    assert_eq!(
        rights(&report, "rights"),
        [
            right("var", "read", Some(4)),
            right("var", "unread", Some(1))
        ],
        "three that ask for it, and one that asks for all"
    );

    let said = run(app.path(), &["inspect", "probe"]).await;
    let end = format!(
        "           net  {}  2 times\n           net  http://self  once\n           fs   data/*  once\n           \
         env  HOME  once\n           net  1 denied\nnever used net  https://never.test\n",
        canary.url()
    );
    assert!(said.stdout.ends_with(&end), "{}", said.stdout);

    app.write(&manifest.replace("https://never.test", "https://other.test"));
    server.signal(Signal::HUP);
    server.logged(|line| line["event"] == "reloaded").await;
    let report = inspected(&app, &["probe"]).await;
    let used = &report["running"][0];
    assert_eq!(
        (&used["requests"], &used["generation"]),
        (&json!(0), &json!(2)),
        "each load counts for itself"
    );
}

#[tokio::test]
async fn what_a_component_of_0_3_used_is_counted_too() {
    let manifest = "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe3\"\n\
         [component.probe3]\nsource = \"guest:probe3\"\n\
         environment = { HOME = \"/\" }\nfiles = [\"data/*\"]\n";
    let app = App::new(manifest);
    app.file("data/a.txt", "a");
    let server = Server::start(&app, &[]).await;
    let times = |report: &Value| rights(report, "rights").into_iter().map(|right| right.2);
    let counted = |report: &Value| times(report).collect::<Vec<_>>();
    let report = inspected(&app, &["probe3"]).await;
    assert_eq!(counted(&report), [Some(0), Some(0)]);

    let environment = server.get("/env").await.json();
    assert_eq!(environment, json!([["HOME", "/"]]));
    for (path, answer) in [
        ("/files?path=/data/a.txt", json!({ "opened": true })),
        (
            "/files?path=/data/none",
            json!({ "error": "ErrorCode::NoEntry" }),
        ),
    ] {
        assert_eq!(server.get(path).await.json(), answer, "{path}");
    }
    let report = inspected(&app, &["probe3"]).await;
    assert_eq!(
        rights(&report, "rights"),
        [
            right("fs", "data/*", Some(2)),
            right("env", "HOME", Some(1)),
        ],
        "also what was not there was asked for"
    );
    assert_eq!(rights(&report, "never_used"), []);
}

#[tokio::test]
async fn the_control_socket_is_private_is_removed_at_the_end_and_replaced_when_left_behind() {
    let app = App::probe("");
    let cache = tempfile::tempdir().expect("a folder");
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    let flag = ["--cache-dir", cache.path().to_str().expect("a text")];

    let server = Server::start(&app, &flag).await;
    let [socket] = &sockets(cache.path())[..] else {
        panic!("one socket")
    };
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(
        (mode(socket), mode(&cache.path().join("run"))),
        (0o600, 0o700)
    );
    assert_eq!(server.stop().await.code, 0);
    assert_eq!(sockets(cache.path()), [""; 0].map(PathBuf::from));

    let killed = Server::start(&app, &flag).await;
    killed.signal(Signal::KILL);
    killed.ended().await;
    let left = sockets(cache.path());
    assert_eq!(left.len(), 1, "nobody was there to remove it");
    let report = inspected(&app, &[&["probe"], &flag[..]].concat()).await;
    assert_eq!(report["running"], json!([]));
    let server = Server::start(&app, &flag).await;
    let now = sockets(cache.path());
    assert!(now.len() == 1 && now != left, "{now:?}");
    let report = inspected(&app, &[&["probe"], &flag[..]].concat()).await;
    assert_eq!(report["running"][0]["pid"], server.pid());
}

#[tokio::test]
async fn where_there_can_be_no_control_socket_the_app_is_served_without_a_word() {
    let app = App::probe("");
    let cache = tempfile::tempdir().expect("a folder");
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    fs::write(cache.path().join("run"), "in the way").expect("writable");
    let flag = ["--cache-dir", cache.path().to_str().expect("a text")];
    let server = Server::start(&app, &flag).await;
    assert_eq!(server.get("/hello").await.status, 200);
    let report = inspected(&app, &[&["probe"], &flag[..]].concat()).await;
    assert_eq!(report["running"], json!([]));
    let stopped = server.stop().await;
    let words: Vec<_> = stopped
        .log
        .iter()
        .filter(|line| line["event"] == "log" || line["event"] == "warning")
        .collect();
    assert_eq!(words, [&json!(null); 0]);

    let server = Server::start_text(&app, &[&flag[..], &["-v"]].concat()).await;
    let told = "there is no control socket: `runner inspect` will not see what is used";
    server
        .logged(|line| line.as_str().is_some_and(|line| line.contains(told)))
        .await;
}

/// Asks a control socket by hand.
#[expect(
    clippy::disallowed_methods,
    reason = "a client of the story, beside the server"
)]
async fn connect(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).await.expect("it listens")
}

async fn answer(mut stream: UnixStream) -> String {
    let mut answer = String::new();
    // One that is turned away is closed, also with what it wrote unread.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn who_asks_what_is_no_question_or_too_often_is_turned_away_and_the_app_is_served() {
    let app = App::probe("");
    let cache = tempfile::tempdir().expect("a folder");
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    let flag = ["--cache-dir", cache.path().to_str().expect("a text")];
    let server = Server::start(&app, &flag).await;
    let sockets = sockets(cache.path());
    for question in ["reload\n", "\n", "\u{0}\n", &"status".repeat(1000)] {
        let mut stream = connect(&sockets[0]).await;
        stream
            .write_all(question.as_bytes())
            .await
            .expect("it reads");
        let text = answer(stream).await;
        assert!(
            text.is_empty()
                || text
                    == "{\"error\":\"the questions are `status` and `suggest`\",\"schema\":1}\n",
            "{question}: {text}"
        );
    }
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(connect(&sockets[0]).await);
    }
    assert_eq!(answer(connect(&sockets[0]).await).await, "", "a ninth");
    let report = inspected(&app, &[&["probe"], &flag[..]].concat()).await;
    assert_eq!(report["running"], json!([]));
    assert_eq!(server.get("/hello").await.status, 200);
    drop(silent);
    loop {
        let report = inspected(&app, &[&["probe"], &flag[..]].concat()).await;
        if report["running"][0]["requests"] == 1 {
            break;
        }
    }
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn every_server_of_a_manifest_is_asked_and_no_other() {
    let runtime = tempfile::tempdir().expect("a folder");
    let environment = [("XDG_RUNTIME_DIR", runtime.path().to_str().expect("a text"))];
    let (app, other) = (App::probe(""), App::probe(""));
    let start = |app| async move { Server::try_start_with(app, &[], &environment).await };
    let servers = [
        start(&app).await.expect("it starts"),
        start(&app).await.expect("it starts"),
        start(&other).await.expect("it starts"),
    ];
    let args = ["inspect", "probe", "--format", "json"];
    let said = run_with(app.path(), &args, &environment).await;
    let report: Value = serde_json::from_str(&said.stdout).expect("one document");
    let running = report["running"].as_array().expect("a list");
    let mut pids: Vec<_> = running.iter().map(|one| one["pid"].clone()).collect();
    pids.sort_by_key(Value::as_i64);
    let mut expected = [servers[0].pid(), servers[1].pid()];
    expected.sort_unstable();
    assert_eq!(pids, expected);
}

#[tokio::test]
async fn what_is_no_component_is_helped_in_words_of_who_named_it() {
    let app = App::probe("");
    app.file("folder/file", "");
    let manifest = fs::read_to_string(app.manifest()).expect("there");
    app.file("other.toml", &manifest);
    let named = "name a `.wasm` file, or a component of the manifest by its id";
    for (what, why, help) in [
        ("other.toml", "it is text, not WebAssembly", named),
        ("./folder", "it is a directory", named),
        ("/dev/null", "it is not a regular file", named),
        ("./none", "there is no such file", "check the path"),
        ("./folder/file", "it is empty", "build the component again"),
    ] {
        let said = run(app.path(), &["inspect", what]).await;
        let expected = format!("error: cannot inspect `{what}`: {why}\nhelp: {help}\n");
        assert_eq!((said.code, said.stderr), (1, expected));
    }
}

#[tokio::test]
async fn a_server_that_has_an_older_manifest_than_the_file_is_told() {
    let app = App::probe("");
    let _server = Server::start(&app, &[]).await;
    let manifest = fs::read_to_string(app.manifest()).expect("there");
    let older = "by an older manifest: it was written after that was loaded\n";
    for is_behind in [false, true] {
        let report = inspected(&app, &["probe"]).await;
        assert_eq!(report["running"][0]["manifest_is_newer"], is_behind);
        let said = run(app.path(), &["inspect", "probe"]).await;
        assert_eq!(said.stdout.contains(older), is_behind, "{}", said.stdout);
        app.write(&format!("{manifest}# changed\n"));
    }
}
