//! Several apps in one process: each answers its own requests, has its own things, and notices no other.

use std::fs;

use std::time::{Duration, Instant};

use runner_tests::{App, Reply, Server, get, run};
use rustix::process::Signal;
use serde_json::{Value, json};

/// An app named `name` with the guest `probe` as component `probe` on every path: with these lines under
/// `[application.trigger.http]`, and these in its component.
fn text(name: &str, http: &str, component: &str) -> String {
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"{name}\"\n\
         [application.trigger.http]\n{http}\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"guest:probe\"\nenvironment = {{ WHO = \"{name}\" }}\n{component}\n"
    )
}

fn app(name: &str, http: &str, component: &str) -> App {
    App::new(&text(name, http, component))
}

/// Starts them all, in the first one's folder.
async fn start(apps: &[&App], args: &[&str]) -> Server {
    let named: Vec<String> = apps.iter().map(|app| path(app)).collect();
    let named = named.iter().map(String::as_str);
    let all: Vec<&str> = named.chain(args.iter().copied()).collect();
    Server::start(apps[0], &all).await
}

fn path(app: &App) -> String {
    app.path().display().to_string()
}

async fn ask(server: &Server, host: &str, path: &str) -> Reply {
    let request = http::Request::get(path).header("host", host);
    let request = request.body(Default::default()).expect("a request");
    server.connect().await.send(request).await
}

/// Whose environment a guest has that answers there.
async fn who(server: &Server, host: &str, path: &str) -> Value {
    let reply = ask(server, host, path).await;
    match reply.status.as_u16() {
        200 if reply.body == "OK" => "health".into(),
        200 => reply.json()["WHO"].clone(),
        status => status.into(),
    }
}

/// How long a count may take to be there. Only a story that fails ever waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the metrics have each of these lines.
async fn counts(server: &Server, lines: &[&str]) {
    let url = format!("{}/metrics", server.admin().await);
    let started = Instant::now();
    loop {
        let page = get(&url).await.body;
        let missing = lines
            .iter()
            .find(|line| !page.lines().any(|found| found == **line));
        let Some(missing) = missing else { return };
        assert!(started.elapsed() < PATIENCE, "no {missing} in {page}");
    }
}

#[tokio::test]
async fn each_app_answers_its_own_hosts_and_paths() {
    let hosts = app("hosts", "host = [\"a.test\", \"B.test\"]", "");
    let below = app("below", "host = \"a.test\"\nbase = \"/env\"", "");
    let rest = app("rest", "", "");
    let server = start(&[&hosts, &below, &rest], &[]).await;
    for (host, path, expected) in [
        ("b.test", "/env", json!("hosts")),
        ("b.test:8080", "/env", json!("hosts")),
        ("B.TEST.", "/env", json!("hosts")),
        ("a.test", "/env", json!("below")),
        ("a.test", "/x/../env", json!("below")),
        ("a.test", "/%65nv", json!("below")),
        ("c.test", "/env", json!("rest")),
        ("127.0.0.1", "/env", json!("rest")),
        ("probe.spin.internal", "/env", json!(404)),
        ("a.test", "/%00", json!(400)),
    ] {
        assert_eq!(who(&server, host, path).await, expected, "{host} {path}");
    }
}

#[tokio::test]
async fn what_is_for_no_app_is_answered_by_none() {
    let (a, b) = (
        app("a", "host = \"a.test\"", ""),
        app("b", "base = \"/env\"", ""),
    );
    let server = start(&[&a, &b], &["--admin", "127.0.0.1:0"]).await;
    for (host, path, expected) in [
        ("b.test", "/env", json!("b")),
        ("b.test", "/environment", json!(404)),
        ("b.test", "/", json!(404)),
        ("b.test", "/.well-known/spin/health", json!("health")),
        ("b.test", "/%", json!(400)),
    ] {
        assert_eq!(who(&server, host, path).await, expected, "{host} {path}");
    }
    let line = server
        .logged(|line| line["event"] == "request" && line["path"] == "/environment")
        .await;
    assert_eq!((&line["app"], &line["status"]), (&Value::Null, &json!(404)));
    let nobody = "http_server_request_duration_seconds_count{app=\"\",component=\"\",http_request_method=\"GET\",status_class=\"4xx\"} 3";
    counts(&server, &[nobody]).await;
}

#[tokio::test]
async fn one_app_alone_answers_only_what_it_says_that_it_is_for() {
    let only = app("only", "host = \"a.test\"\nbase = \"/headers\"", "");
    let server = start(&[&only], &[]).await;
    let seen = ask(&server, "a.test", "/headers").await.json();
    let header = |name: &str| {
        let headers = seen["headers"].as_array().expect("a list");
        let found = headers.iter().find(|pair| pair[0] == name);
        found.map(|pair| pair[1].clone())
    };
    for (name, value) in [
        ("spin-base-path", "/headers"),
        ("spin-matched-route", "/headers/..."),
        ("spin-raw-component-route", "/..."),
        ("spin-component-route", "/"),
        ("spin-path-info", ""),
        ("spin-full-url", "http://a.test/headers"),
    ] {
        assert_eq!(header(name), Some(value.into()), "{name}");
    }
    assert_eq!(seen["path"], "/headers");
    assert_eq!(ask(&server, "b.test", "/headers").await.status, 404);
    assert_eq!(ask(&server, "a.test", "/env").await.status, 404);
    let line = server.logged(|line| line["event"] == "request").await;
    assert_eq!(
        line["app"],
        Value::Null,
        "there is no other to tell it from"
    );
}

#[tokio::test]
async fn two_apps_for_the_same_requests_do_not_start() {
    let (a, b) = (
        app("a", "base = \"/x\"", ""),
        app("b", "base = \"/x/y\"", ""),
    );
    let args = [path(&a), path(&b)];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Err(stopped) = Server::try_start(&a, &args).await else {
        panic!("it started")
    };
    assert_eq!(stopped.code, 2);
    let error = stopped.log.iter().find(|line| line["event"] == "error");
    let expected = format!(
        "error: the apps `a` and `b` are for the same requests
 --> {b}:5:8
  |
5 | base = \"/x/y\"
  |        ^^^^^^ `b` is for `/x/y` and below
  |
 ::: {a}:5:8
  |
5 | base = \"/x\"
  |        ---- `a` is for `/x` and below
  |
help: give one of them a host or a path of its own:
      [application.trigger.http]
      host = \"shop.example.com\" or base = \"/shop\"",
        a = a.manifest().display(),
        b = b.manifest().display(),
    );
    assert_eq!(error.expect("it says why")["text"], expected);
}

#[tokio::test]
async fn what_is_wrong_with_each_app_is_told_at_once() {
    let (a, b) = (app("a", "hst = \"x\"", ""), app("b", "bse = \"/x\"", ""));
    let args = [path(&a), path(&b)];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Err(stopped) = Server::try_start(&a, &args).await else {
        panic!("it started")
    };
    let error = stopped.log.iter().find(|line| line["event"] == "error");
    let found = error.expect("it says why")["diagnostics"].as_array();
    let files: Vec<_> = found
        .expect("a list")
        .iter()
        .map(|found| found["file"].clone())
        .collect();
    let expected = [&a, &b].map(|app| Value::from(app.manifest().display().to_string()));
    assert_eq!((stopped.code, &files[..]), (2, &expected[..]));
}

#[tokio::test]
async fn each_app_has_its_own_log_lines_numbers_and_status() {
    let (a, b) = (app("a", "", ""), app("b", "host = \"b.test\"", ""));
    let server = start(&[&a, &b], &["--admin", "127.0.0.1:0"]).await;
    ask(&server, "b.test", "/stdout?text=hello&n=1").await;
    ask(&server, "b.test", "/fetch?url=http://denied.test").await;
    ask(&server, "a.test", "/hello").await;
    for event in ["line", "denied"] {
        let line = server.logged(|line| line["event"] == event).await;
        assert_eq!(line["app"], "b", "{line}");
    }
    let line = server
        .logged(|line| line["event"] == "request" && line["path"] == "/hello")
        .await;
    assert_eq!(line["app"], "a");
    let answered = |app: &str, count: u8| {
        format!(
            "http_server_request_duration_seconds_count{{app=\"{app}\",component=\"probe\",http_request_method=\"GET\",status_class=\"2xx\"}} {count}"
        )
    };
    let denied = "runner_denials_total{app=\"b\",component=\"probe\",rule=\"\"} 1";
    counts(&server, &[&answered("a", 1), &answered("b", 2), denied]).await;
    for (app, requests, denied) in [(&a, 1, 0), (&b, 2, 1)] {
        let said = run(app.path(), &["inspect", "probe", "--format", "json"]).await;
        let report: Value = serde_json::from_str(&said.stdout).expect("one document");
        let running = &report["running"][0];
        assert_eq!(running["pid"], server.pid());
        assert_eq!(
            (&running["requests"], &running["denied"]),
            (&json!(requests), &json!(denied))
        );
    }
    let listening = server.logged(|line| line["event"] == "listening").await;
    let apps = listening["apps"].as_array().expect("a list");
    let names: Vec<_> = apps
        .iter()
        .map(|app| (&app["app"], &app["hosts"], &app["base"]))
        .collect();
    assert_eq!(
        names,
        [
            (&json!("a"), &json!([]), &Value::Null),
            (&json!("b"), &json!(["b.test"]), &Value::Null)
        ]
    );
}

#[tokio::test]
async fn people_see_which_app_a_line_is_of() {
    let (a, b) = (app("a", "", ""), app("b b", "host = \"b.test\"", ""));
    let args = [path(&a), path(&b)];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let server = Server::start_text(&a, &args).await;
    ask(&server, "b.test", "/hello").await;
    let line = server
        .logged(|line| {
            line.as_str()
                .is_some_and(|line| line.contains("GET /hello"))
        })
        .await;
    let line = line.as_str().expect("text");
    assert!(
        line.starts_with("app=b b 200  GET /hello  probe  "),
        "{line}"
    );
    let log = server.log();
    let says = |text: &str| log.iter().any(|line| line == text);
    assert!(
        says("a: for every host and path that no other app is for"),
        "{log:#?}"
    );
    assert!(says("b b: for b.test"), "{log:#?}");
}

/// The ports that its clients had, in the order of their requests.
fn ports(upstream: &Server) -> Vec<Value> {
    let log = upstream.log();
    let requests = log.iter().filter(|line| line["event"] == "request");
    requests.map(|line| line["client"].clone()).collect()
}

/// Fetches `/hello` from `upstream`, until that has told of `n` requests in all.
async fn fetch(server: &Server, host: &str, upstream: &Server, n: usize) {
    let path = format!("/fetch?url={}/hello", upstream.url());
    let reply = ask(server, host, &path).await.json();
    assert_eq!(reply["status"], 200, "{reply}");
    while ports(upstream).len() < n {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reload_of_one_app_is_no_concern_of_another() {
    let story = App::probe("");
    let upstream = Server::start(&story, &[]).await;
    let allowed = format!("allowed_outbound_hosts = [\"{}\"]", upstream.url());
    let (a, b) = (
        app("a", "", &allowed),
        app("b", "host = \"b.test\"", &allowed),
    );
    let server = start(&[&a, &b], &["--watch", "--admin", "127.0.0.1:0"]).await;
    fetch(&server, "b.test", &upstream, 1).await;
    fetch(&server, "a.test", &upstream, 2).await;
    let slow = {
        let mut connection = server.connect().await;
        tokio::spawn(async move {
            let request = http::Request::get("/sleep?ms=1500").header("host", "b.test");
            let request = request.body(Default::default()).expect("a request");
            connection.send(request).await
        })
    };

    a.write(&text("a", "", &format!("{allowed}\nfiles = []")));
    let reloaded = server.logged(|line| line["event"] == "reloaded").await;
    assert_eq!(
        (&reloaded["app"], &reloaded["generation"]),
        (&json!("a"), &json!(2))
    );
    fetch(&server, "a.test", &upstream, 3).await;
    fetch(&server, "b.test", &upstream, 4).await;
    let ports = ports(&upstream);
    assert_eq!(ports[0], ports[3], "its connection was kept");
    assert_eq!(
        [&ports[1], &ports[2]].map(|port| *port == ports[0]),
        [false, false],
        "components of the same name and rules"
    );
    assert_ne!(ports[1], ports[2], "one of the old policy");

    a.write("nonsense");
    let failed = server.logged(|line| line["event"] == "reload-failed").await;
    assert_eq!(failed["app"], "a");
    assert_eq!(who(&server, "a.test", "/env").await, "a");
    a.write(&text("a", "host = \"b.test\"", ""));
    let clash = server
        .logged(|line| {
            line["event"] == "reload-failed" && line["diagnostics"][0]["code"] == "same-requests"
        })
        .await;
    assert_eq!(clash["app"], "a");
    assert_eq!(who(&server, "a.test", "/env").await, "a");

    assert_eq!(slow.await.expect("no panic").body, "slept\n");
    let reloads = [("a", "done", 1), ("b", "done", 0), ("b", "failed", 0)];
    for (app, result, count) in reloads {
        let line = format!("runner_reloads_total{{app=\"{app}\",result=\"{result}\"}} {count}");
        counts(&server, &[&line]).await;
    }
}

#[tokio::test]
async fn a_signal_reloads_each_app_and_one_that_is_broken_is_refused_alone() {
    let (a, b) = (app("a", "", ""), app("b", "host = \"b.test\"", ""));
    let server = start(&[&a, &b], &[]).await;
    a.write("nonsense");
    b.write(&text("b", "host = [\"b.test\", \"new.test\"]", ""));
    server.signal(Signal::HUP);
    let failed = server.logged(|line| line["event"] == "reload-failed").await;
    let done = server.logged(|line| line["event"] == "reloaded").await;
    assert_eq!((&failed["app"], &done["app"]), (&json!("a"), &json!("b")));
    assert_eq!(who(&server, "new.test", "/env").await, "b");
    assert_eq!(who(&server, "other.test", "/env").await, "a");
}

#[tokio::test]
async fn from_inside_an_app_only_that_app_is_reached() {
    let rules = "allowed_outbound_hosts = [\"http://self\", \"http://*.spin.internal\"]";
    let (a, b) = (app("a", "", rules), app("b", "host = \"b.test\"", rules));
    let server = start(&[&a, &b], &[]).await;
    for (host, own) in [("a.test", "a"), ("b.test", "b")] {
        for url in ["/env", "http://self/env", "http://probe.spin.internal/env"] {
            let reply = ask(&server, host, &format!("/fetch?url={url}"))
                .await
                .json();
            let body: Value =
                serde_json::from_str(reply["body"].as_str().expect("a body")).expect("JSON");
            assert_eq!(body["WHO"], own, "{host} {url}");
        }
        let denied = ask(&server, host, "/fetch?url=http://b.test/env")
            .await
            .json();
        assert_eq!(denied["error"], "HTTP-request-denied");
    }
}

#[tokio::test]
async fn no_app_gets_the_variables_of_another() {
    let lines = "[component.probe.variables]\ntoken = \"{{ token }}\"\n[variables.token]\ndefault = \"none\"";
    let manifest =
        |name: &str, http: &str| text(name, http, lines).replace("guest:probe", "guest:variables");
    let (a, b) = (
        App::new(&manifest("a", "")),
        App::new(&manifest("b", "host = \"b.test\"")),
    );
    let apps = [path(&a), path(&b)];
    let args = [
        apps[0].as_str(),
        apps[1].as_str(),
        "--variable",
        "b:token=of b",
    ];
    let environment = [
        ("RUNNER_VARIABLE_TOKEN", "of nobody"),
        ("RUNNER_VARIABLE_A__TOKEN", "of a"),
    ];
    let server = Server::try_start_with(&a, &args, &environment).await;
    let server = server.unwrap_or_else(|log| panic!("{log:#?}"));
    for (host, value) in [("a.test", "of a"), ("b.test", "of b")] {
        let reply = ask(&server, host, "/variables?key=token").await;
        assert!(reply.body.contains(&format!("\"{value}\"")), "{reply:?}");
        assert!(!reply.body.contains("nobody"), "{reply:?}");
    }
    for (flag, why) in [
        (
            "token=x",
            "`--variable token=…` does not say which app it is for",
        ),
        ("c:token=x", "`--variable c:token=…`: there is no app `c`"),
    ] {
        let args = [apps[0].as_str(), apps[1].as_str(), "--variable", flag];
        let Err(stopped) = Server::try_start(&a, &args).await else {
            panic!("it started")
        };
        let expected =
            format!("error: {why}\nhelp: with several apps, write `--variable APP:NAME=VALUE`");
        let error = stopped.log.iter().find(|line| line["event"] == "error");
        assert_eq!(
            (stopped.code, &error.expect("it says why")["text"]),
            (2, &json!(expected))
        );
    }
}

#[tokio::test]
async fn decisions_of_each_app_are_told_apart_and_each_has_its_own_patch() {
    let (a, b) = (app("a", "", ""), app("b", "host = \"b.test\"", ""));
    let server = start(
        &[&a, &b],
        &["--audit-log", "audit.log", "--observe", "grants.patch"],
    )
    .await;
    ask(&server, "a.test", "/fetch?url=http://from-a.test").await;
    ask(&server, "b.test", "/fetch?url=http://from-b.test").await;
    for (app, own, other) in [(&a, "from-a", "from-b"), (&b, "from-b", "from-a")] {
        let said = run(app.path(), &["suggest"]).await;
        assert!(
            said.stdout.contains(own) && !said.stdout.contains(other),
            "{said:?}"
        );
    }
    server.stop().await;
    let audit = fs::read_to_string(a.path().join("audit.log")).expect("written");
    let told = audit.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let to = line["destination"].as_str().expect("a destination");
        let own = to.strip_prefix("http://from-").expect("one of ours");
        assert_eq!(line["app"], own[..1], "{to}");
    });
    assert_eq!(told.count(), 2, "{audit}");
    for (at, own, other) in [(1, "from-a", "from-b"), (2, "from-b", "from-a")] {
        let patch = fs::read_to_string(a.path().join(format!("grants.patch.{at}")));
        let patch = patch.expect("written");
        assert!(patch.contains(own) && !patch.contains(other), "{patch}");
    }
}

#[tokio::test]
async fn who_takes_over_takes_all_apps_over() {
    let (a, b) = (app("a", "", ""), app("b", "host = \"b.test\"", ""));
    let old = start(&[&a, &b], &[]).await;
    let address = old.address();
    let new = start(&[&b, &a], &["--take-over"]).await;
    let taking = new.logged(|line| line["event"] == "taking-over").await;
    assert_eq!(taking["from"], old.pid());
    assert_eq!(old.ended().await.code, 0);
    assert_eq!(new.address(), address);
    assert_eq!(who(&new, "b.test", "/env").await, "b");
    assert_eq!(who(&new, "a.test", "/env").await, "a");
}

/// What a start that failed had to say: its exit code, the text, and which files its diagnostics are of.
fn refusal(stopped: &runner_tests::Stopped) -> (i32, &str, Vec<&Value>) {
    let error = stopped.log.iter().find(|line| line["event"] == "error");
    let error = error.expect("it says why");
    let found = error["diagnostics"].as_array().expect("a list");
    let files = found.iter().map(|found| &found["file"]).collect();
    (stopped.code, error["text"].as_str().expect("text"), files)
}

#[tokio::test]
async fn an_app_that_is_named_twice_is_told_so_first() {
    let app = app("a", "hst = \"a mistake\"", "");
    let (folder, manifest) = (path(&app), app.manifest().display().to_string());
    for (args, sentence) in [
        (
            [&*folder, &*folder],
            format!("the app `{folder}` is named twice"),
        ),
        (
            [&*folder, &*manifest],
            format!("`{folder}` and `{manifest}` are the same app"),
        ),
    ] {
        let Err(stopped) = Server::try_start(&app, &args).await else {
            panic!("it started")
        };
        let text = format!("error: {sentence}\nhelp: name each app once");
        assert_eq!(refusal(&stopped), (2, &*text, vec![]));
    }
}

#[tokio::test]
async fn a_start_tells_what_is_wrong_with_every_app() {
    let (a, b) = (app("a", "", ""), app("b", "hst = \"x\"", ""));
    let c = App::new(&text("c", "base = \"/c\"", "").replace("guest:probe", "nothing.wasm"));
    let args = [path(&a), path(&b), path(&c)];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Err(stopped) = Server::try_start(&a, &args).await else {
        panic!("it started")
    };
    let files = [&b, &c].map(|app| Value::from(app.manifest().display().to_string()));
    let (code, _, told) = refusal(&stopped);
    assert_eq!((code, told), (2, files.iter().collect()));
}

#[tokio::test]
async fn those_that_can_be_loaded_serve_where_that_is_wanted_and_the_others_wait_for_a_reload() {
    let (a, b) = (
        app("a", "host = \"a.test\"", ""),
        app("b", "host = \"b.test\"", "hst = 1"),
    );
    let c = App::new(&text("c", "host = \"c.test\"", "").replace("guest:probe", "c.wasm"));
    let server = start(&[&a, &b, &c], &["--keep-going"]).await;
    for (app, code) in [("b", "unknown-key"), ("c", "component-missing")] {
        let told = server
            .logged(|line| line["event"] == "not-loaded" && line["app"] == app)
            .await;
        assert_eq!(told["diagnostics"][0]["code"], code, "{told}");
    }
    for (host, answer) in [
        ("a.test", json!("a")),
        ("b.test", json!(503)),
        ("c.test", json!(503)),
        ("d.test", json!(404)),
    ] {
        assert_eq!(who(&server, host, "/env").await, answer, "{host}");
    }
    let line = server.logged(|line| line["status"] == 503).await;
    assert_eq!(line["app"], "b");

    b.write(&text("b", "host = \"b.test\"", ""));
    server.signal(Signal::HUP);
    let failed = server.logged(|line| line["event"] == "reload-failed").await;
    assert_eq!(
        (&failed["app"], &failed["message"]),
        (
            &json!("c"),
            &json!("it answers 503 until a reload can load it")
        )
    );
    server
        .logged(|line| line["event"] == "reloaded" && line["app"] == "b")
        .await;
    assert_eq!(who(&server, "b.test", "/env").await, "b");
    assert_eq!(who(&server, "c.test", "/env").await, json!(503));
}

#[tokio::test]
async fn an_app_of_which_nothing_can_be_read_is_for_nothing_until_it_can() {
    let (a, b) = (app("a", "host = \"a.test\"", ""), app("b", "", ""));
    b.write("nonsense");
    let server = start(&[&a, &b], &["--keep-going", "--watch"]).await;
    assert_eq!(who(&server, "a.test", "/env").await, "a");
    assert_eq!(who(&server, "b.test", "/env").await, json!(404));
    b.write(&text("b", "host = \"b.test\"", ""));
    server.logged(|line| line["event"] == "reloaded").await;
    assert_eq!(who(&server, "b.test", "/env").await, "b");
}

#[tokio::test]
async fn people_see_which_app_was_not_reloaded_and_which_was_observed() {
    let (a, b) = (app("a", "", ""), app("b", "host = \"b.test\"", ""));
    let args = [path(&a), path(&b)];
    let args = [&*args[0], &*args[1], "--observe", "grants.patch"];
    let server = Server::start_text(&a, &args).await;
    b.write("nonsense");
    server.signal(Signal::HUP);
    let is = |line: &Value, text: &str| line.as_str().is_some_and(|line| line.starts_with(text));
    let kept = "app=b not reloaded: the old version goes on serving";
    server.logged(|line| is(line, kept)).await;
    b.write(&text("b", "host = \"b.test\"", ""));
    let stopped = server.stop().await;
    for app in ["a", "b"] {
        let start = format!("app={app} ");
        let told = stopped.log.iter().filter(|line| is(line, &start));
        let patch = |line: &&Value| {
            line.as_str()
                .is_some_and(|line| line.contains("grants.patch"))
        };
        assert!(told.clone().any(|line| patch(&line)), "{:#?}", stopped.log);
    }
}

#[tokio::test]
async fn check_takes_several_apps_and_tells_what_is_wrong_with_all() {
    let (a, b) = (app("a", "", ""), app("b", "host = \"b.test\"", ""));
    let lacking = "files = [\"none/*\"]\nkey_value_stores = [\"default\"]";
    let c = App::new(&text("c", "base = \"/c\"", lacking).replace("guest:probe", "c.wasm"));
    let d = app("d", "", "");
    let [pa, pb, pc, pd] = [&a, &b, &c, &d].map(path);
    let said = run(a.path(), &["check", &pa, &pb]).await;
    let fine = "ok: 1 component, 1 route, 0 warnings\n".repeat(2);
    assert_eq!(
        (said.code, said.stdout, said.stderr),
        (0, fine, String::new())
    );
    for (apps, exit, expected) in [
        (
            &[&*pa, &*pc][..],
            1,
            &["component-missing", "files-nothing", "not-provided"][..],
        ),
        (&[&*pa, &*pd], 2, &["same-requests"]),
    ] {
        let args = [&["check", "--format", "json"], apps].concat();
        let said = run(a.path(), &args).await;
        let document: Value = serde_json::from_str(&said.stdout).expect("one document");
        let of_apps = document["apps"].as_array().expect("a list").iter();
        let lists = of_apps.chain([&document]);
        let found = lists.flat_map(|of| of["diagnostics"].as_array().expect("a list"));
        let mut codes: Vec<_> = found
            .map(|found| found["code"].as_str().expect("a code"))
            .collect();
        codes.sort_unstable();
        assert_eq!((said.code, &codes[..]), (exit, expected));
        assert_eq!(document["exit"], exit);
    }
}
