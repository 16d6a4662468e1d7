//! What a component may use, and what the operator allows: each limit over real sockets, with real guests.

use std::fs;
use std::os::unix::fs::symlink;

use runner_tests::{App, Canary, Server, Wire, get, guest, raw, run};
use rustix::process::Signal;
use serde_json::{Value, json};

/// With counters that can be read.
const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// The bytes of log of `probe` that nobody will read.
const DROPPED: &str = "runner_log_dropped_bytes_total{component=\"probe\"}";

/// `probe` on every path, with these lines as its limits.
fn limited(lines: &str) -> App {
    App::probe(&format!("[component.probe.limits]\n{lines}"))
}

#[tokio::test]
async fn the_operators_file_lowers_what_a_component_has_and_is_read_again_with_a_reload() {
    let app = limited("queue = 4");
    let config = app.path().join("runner.toml");
    let config = config.to_str().expect("text");
    app.file("runner.toml", "[limits]\nmemory = \"64 MiB\"\n");
    let server = Server::start(&app, &["--config", config]).await;
    let forty = "/memory?bytes=40000000";
    assert_eq!(server.get(forty).await.body, "{\"got\":40000000}");

    app.file("runner.toml", "[ceilings]\nmemory = \"16 MiB\"\n");
    server.signal(Signal::HUP);
    server.logged(|line| line["event"] == "reloaded").await;
    assert_eq!(server.get(forty).await.body, "{\"refused\":40000000}");

    app.file("runner.toml", "[ceilings]\nqueue = 3\n");
    server.signal(Signal::HUP);
    let failed = server.logged(|line| line["event"] == "reload-failed").await;
    assert_eq!(failed["diagnostics"][0]["code"], "limit-above-ceiling");
    assert_eq!(
        server.get(forty).await.body,
        "{\"refused\":40000000}",
        "the old version goes on serving"
    );

    fs::remove_file(config).expect("there");
    app.file("runner.toml", "[ceilings]\nmemory = \"64 MiB\"\n");
    server.signal(Signal::HUP);
    server
        .logged(|line| line["event"] == "reloaded" && line["generation"] == 4)
        .await;
    assert_eq!(server.get(forty).await.body, "{\"got\":40000000}");
}

#[tokio::test]
async fn a_change_of_the_operators_file_is_seen_by_watch() {
    let app = limited("");
    let config = app.path().join("runner.toml");
    app.file("runner.toml", "");
    let config = config.to_str().expect("text");
    let server = Server::start(&app, &["--watch", "--config", config]).await;

    app.file("runner.toml", "[ceilings]\nmemory = \"16 MiB\"\n");

    server.logged(|line| line["event"] == "reloaded").await;
    let forty = server.get("/memory?bytes=40000000").await;
    assert_eq!(forty.body, "{\"refused\":40000000}");
}

#[tokio::test]
async fn an_app_that_is_held_to_its_folder_reads_no_other_file() {
    let files =
        |source: &str| format!("files = [{{ source = \"{source}\", destination = \"/d\" }}]");
    let app = App::probe("");
    let outside = App::probe("");
    outside.file("folder/secret.txt", "secret");
    let secret = fs::canonicalize(outside.path().join("folder")).expect("there");
    let secret = secret.to_str().expect("text");
    symlink(outside.path(), app.path().join("link")).expect("made");
    fs::copy(guest("probe"), app.path().join("own.wasm")).expect("copied");
    app.file("own/a.txt", "a");
    app.file("runner.toml", "[ceilings]\nfiles = \"app\"\n");
    let manifest = |source: &str, lines: &str| {
        format!(
            "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
             [component.probe]\nsource = \"{source}\"\n{lines}\n"
        )
    };
    let said = async |args: &[&str]| run(app.path(), &[&["check"], args].concat()).await;
    let held = ["--config", "runner.toml"];

    app.write(&manifest("own.wasm", &files(secret)));
    assert_eq!(said(&[]).await.code, 0, "as Spin has it");
    let refused = said(&held).await;
    let line = files(secret);
    let marks = "^".repeat(line.len() - "files = []".len());
    let expected = format!(
        "error: component `probe` cannot be given its `files`: `{secret}` leads to `{secret}`, which is not in the app's own folder
 --> spin-like.toml:9:10
  |
9 | {line}
  |          {marks}
  |
 ::: runner.toml:2:9
  |
2 | files = \"app\"
  |         ----- the ceiling
  |
help: name files below the manifest's folder, or have the ceiling raised in `runner.toml`
"
    );
    assert_eq!((refused.code, refused.stderr), (1, expected));

    let probe = guest("probe");
    let probe = fs::canonicalize(probe).expect("there");
    let up = "../".repeat(32);
    let upwards = format!("{up}{}", probe.display());
    for (source, lines, refused) in [
        ("own.wasm", files("own"), None),
        ("./own/../own.wasm", files("./own"), None),
        (
            "own.wasm",
            files("link/folder"),
            Some(format!("`link/folder` leads to `{secret}`")),
        ),
        (
            upwards.as_str(),
            String::new(),
            Some(format!("it leads to `{}`", probe.display())),
        ),
        (
            "link/none.wasm",
            String::new(),
            Some("there is no such file".to_owned()),
        ),
    ] {
        app.write(&manifest(source, &lines));
        let said = said(&held).await;
        assert_eq!(said.code, i32::from(refused.is_some()), "{}", said.stderr);
        let told = refused.unwrap_or_default();
        assert!(said.stderr.contains(&told), "{told}: {}", said.stderr);
    }
}

#[tokio::test]
async fn copies_that_a_killed_process_left_are_removed_at_the_next_start() {
    let app = App::probe("files = [\"runner.toml\"]");
    app.file("runner.toml", "");
    app.file("tmp/other", "");
    let folder = app.path().join("tmp");
    let environment = [("TMPDIR", folder.to_str().expect("text"))];
    let copies = || {
        let entries = fs::read_dir(&folder).expect("there");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("readable").path())
            .collect();
        names.retain(|path| path.is_dir());
        names
    };
    let start = async || {
        let server = Server::try_start_with(&app, &[], &environment).await;
        server.unwrap_or_else(|stopped| panic!("{:#?}", stopped.log))
    };
    let killed = start().await;
    let first = copies();
    assert_eq!(first.len(), 1, "{first:?}");
    let second = start().await;
    assert_eq!(copies().len(), 2, "one that runs keeps its own");
    killed.signal(Signal::KILL);
    killed.ended().await;
    assert_eq!(copies().len(), 2, "nothing tidies up after it");

    let _third = start().await;

    while first[0].exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(copies().len(), 2);
    drop(second);
}

/// Both worlds, each on every path, with these lines as its limits.
fn both(lines: &str) -> [App; 2] {
    ["probe", "probe3"].map(|guest| {
        App::new(&format!(
            "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
             [component.probe]\nsource = \"guest:{guest}\"\n{lines}\n"
        ))
    })
}

/// What `/metrics` says of a series.
async fn counted(server: &Server, series: &str) -> u64 {
    let page = get(&format!("{}/metrics", server.admin().await)).await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |number| number.trim().parse().expect("a whole number"))
}

/// How often a limit of `probe` was hit.
async fn hits(server: &Server, limit: &str) -> u64 {
    let series = format!("runner_limit_hits_total{{component=\"probe\",limit=\"{limit}\"}}");
    counted(server, &series).await
}

/// All that was printed before a request that is made now.
async fn printed(server: &Server) -> Vec<Value> {
    assert_eq!(server.get("/hello?last").await.status, 200);
    server
        .logged(|line| line["event"] == "request" && line["path"] == "/hello")
        .await;
    let log = server.log();
    log.into_iter()
        .filter(|line| line["event"] == "line")
        .collect()
}

#[tokio::test]
async fn e18_a_guest_that_floods_its_log_is_answered_and_what_is_dropped_is_counted() {
    let app = App::probe("");
    let server = Server::start(&app, &ADMIN).await;
    let (text, times) = ("x".repeat(999), 20_000);

    let reply = server.get(&format!("/stdout?text={text}&n={times}")).await;

    assert_eq!(reply.body, "printed\n");
    let told = server.logged(|line| line["event"] == "log-dropped").await;
    let lines = printed(&server).await;
    assert!(lines.iter().all(|line| line["line"] == text.as_str()));
    let dropped = counted(&server, DROPPED).await;
    assert_eq!(dropped + 1000 * lines.len() as u64, 1000 * times);
    // 64 KiB are told at once, and the rest at 16 KiB a second.
    assert!(lines.len() >= 65, "{}", lines.len());
    assert!(hits(&server, "log_rate").await > 0);
    let message = told["message"].as_str().expect("text");
    let expected = format!(
        "{} bytes of log of `probe` were dropped (limits.log_rate)",
        told["bytes"]
    );
    assert_eq!(
        (message, &told["limit"], &told["component"]),
        (&*expected, &"log_rate".into(), &"probe".into())
    );
}

#[tokio::test]
async fn e18_a_line_without_an_end_is_told_as_far_as_a_line_may_be() {
    let app = App::probe("");
    let server = Server::start(&app, &ADMIN).await;

    let reply = server
        .get("/stdout?text=0123456789&n=1000000&newline=0")
        .await;

    assert_eq!(reply.body, "printed\n");
    let told = server.logged(|line| line["event"] == "log-dropped").await;
    assert_eq!(told["limit"], "log_line");
    let lines = printed(&server).await;
    let length = lines[0]["line"].as_str().expect("text").len();
    assert_eq!((lines.len(), length), (1, 8192));
    assert_eq!(counted(&server, DROPPED).await, 10_000_000 - 8192);
}

#[tokio::test]
async fn the_log_of_a_component_is_as_much_as_its_manifest_says() {
    let app = limited("log_rate = \"1 B/h\"");
    let server = Server::start(&app, &ADMIN).await;
    let text = "x".repeat(999);
    for _ in 0..70 {
        let reply = server.get(&format!("/stderr?text={text}")).await;
        assert_eq!(reply.body, "printed\n");
    }
    assert_eq!(
        printed(&server).await.len(),
        65,
        "of all instances together"
    );
    assert_eq!(counted(&server, DROPPED).await, 5000);
}

#[tokio::test]
async fn a_request_that_announces_too_much_is_a_413_and_no_guest() {
    for app in both("[component.probe.limits]\nrequest_body = \"1 KiB\"") {
        let server = Server::start(&app, &ADMIN).await;
        let mut connection = server.connect().await;
        let reply = connection.post("/echo", vec![b'x'; 1024]).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 1024));

        let reply = connection.post("/echo", vec![b'x'; 1025]).await;

        assert_eq!(
            (reply.status.as_u16(), &*reply.reason()),
            (413, "Payload Too Large")
        );
        let failed = server.logged(|line| line["event"] == "failed").await;
        assert_eq!(
            (&failed["reason"], &failed["message"]),
            (
                &"request_body".into(),
                &"the request's body is longer than 1 KiB".into()
            )
        );
        assert_eq!(hits(&server, "request_body").await, 1);
        assert_eq!(server.get("/hello").await.status, 200);
    }
}

#[tokio::test]
async fn a_request_that_does_not_say_how_long_it_is_ends_in_an_error_for_its_guest() {
    for app in both("[component.probe.limits]\nrequest_body = \"1 KiB\"") {
        let server = Server::start(&app, &ADMIN).await;
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let (fits, more) = ("x".repeat(1024), "x");
        let whole = format!("{head}400\r\n{fits}\r\n0\r\n\r\n");
        let mut wire = Wire::open(server.address()).await;
        wire.send(whole.as_bytes()).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
        let body = wire.until("0\r\n\r\n").await;
        assert_eq!(body.matches('x').count(), 1024);

        let long = format!("{head}400\r\n{fits}\r\n1\r\n{more}\r\n0\r\n\r\n");
        let answer = raw(server.address(), long.as_bytes()).await;

        // The probe passes on what it reads; what it cannot read it cannot finish.
        assert!(!answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
        let told = server.logged(|line| line["event"] == "limit").await;
        let names = [&told["component"], &told["limit"], &told["folded"]];
        assert_eq!(names, [&json!("probe"), &json!("request_body"), &json!(0)]);
        assert_eq!(hits(&server, "request_body").await, 1);
    }
}

#[tokio::test]
async fn a_response_that_is_too_long_is_cut_and_one_that_announces_it_is_a_500() {
    for app in both("[component.probe.limits]\nresponse_body = 100_000") {
        let server = Server::start(&app, &ADMIN).await;
        let reply = server.get("/big?bytes=100000&chunk=1000").await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 100_000));

        let request = b"GET /big?bytes=1000000&chunk=1000 HTTP/1.1\r\nhost: a\r\n\r\n";
        let answer = raw(server.address(), request).await;

        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(!answer.ends_with("\r\n0\r\n\r\n"), "it never ends cleanly");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!((1..=100_000).contains(&body.matches('x').count()));
        let failed = |line: &Value| line["event"] == "failed" && line["reason"] == "response_body";
        server.logged(failed).await;
        let record = |line: &Value| line["event"] == "request" && line["outcome"] == "guest-failed";
        server.logged(record).await;
        assert_eq!(hits(&server, "response_body").await, 1);

        let announced = "/status?header=content-length:100001&body=x";
        let reply = server.get(announced).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.reason()),
            (500, "Internal Server Error")
        );
        let record = |line: &Value| line["event"] == "request" && line["status"] == 500;
        server.logged(record).await;
        let messages: Vec<_> = server
            .log()
            .into_iter()
            .filter(failed)
            .map(|line| line["message"].clone())
            .collect();
        let expected = json!("the response's body is longer than 100000 bytes");
        assert_eq!(messages, [expected.clone(), expected]);
        assert_eq!(hits(&server, "response_body").await, 2);
    }
}

#[tokio::test]
async fn a_head_that_is_asked_for_alone_may_announce_what_it_likes() {
    for app in both("[component.probe.limits]\nresponse_body = 100") {
        let server = Server::start(&app, &[]).await;
        let request = "HEAD /status?header=content-length:101&body= HTTP/1.1\r\nhost: a\r\n\
            connection: close\r\n\r\n";
        let answer = raw(server.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: 101\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn calls_beyond_their_rate_are_refused_and_counted() {
    let canary = Canary::start().await;
    let url = format!("http://{}", canary.address());
    for app in both(&format!(
        "allowed_outbound_hosts = [\"{url}\"]\nlimits = {{ outbound_rate = \"2/h\" }}"
    )) {
        let server = Server::start(&app, &ADMIN).await;

        let tally = server.get(&format!("/fetch?url={url}&times=5")).await;

        assert_eq!(
            tally.json(),
            json!({ "200": 2, "connection-limit-reached": 3 })
        );
        let tally = server.get(&format!("/fetch?url={url}&times=1")).await;
        assert_eq!(
            tally.json(),
            json!({ "connection-limit-reached": 1 }),
            "the rate is all instances'"
        );
        let told = server.logged(|line| line["event"] == "limit").await;
        assert_eq!(
            (&told["limit"], &told["folded"]),
            (&json!("outbound_rate"), &json!(0))
        );
        let limits = server
            .log()
            .iter()
            .filter(|l| l["event"] == "limit")
            .count();
        assert_eq!(limits, 1, "the others are folded into the next");
        assert_eq!(hits(&server, "outbound_rate").await, 4);
    }
    assert_eq!(canary.connections(), 4, "no other call went out");
}

#[tokio::test]
async fn calls_at_once_beyond_their_number_are_counted_by_the_name_of_the_limit() {
    let canary = Canary::start().await;
    let url = format!("http://{}", canary.address());
    for app in both(&format!(
        "allowed_outbound_hosts = [\"{url}\"]\nlimits = {{ outbound_concurrency = 2 }}"
    )) {
        let server = Server::start(&app, &ADMIN).await;
        let reports = server.get(&format!("/fetch?url={url}&n=5")).await.json();
        let reports = reports.as_array().expect("five");
        let refused = reports
            .iter()
            .filter(|report| report["error"] == "connection-limit-reached");
        assert_eq!(refused.count(), 3, "{reports:?}");
        assert_eq!(hits(&server, "outbound_concurrency").await, 3);
        server
            .logged(|l| l["event"] == "limit" && l["limit"] == "outbound_concurrency")
            .await;
    }
}

#[tokio::test]
async fn e19_what_a_guest_prints_forges_no_line_and_moves_no_terminal() {
    let app = App::probe("");
    let path = "/stdout?text=%1b]0;owned%07%1b[2J%0d%7b%22event%22:%22denied%22%7d%0a%7b%22event%22:%22x%22%7d";
    let first = "\u{1b}]0;owned\u{7}\u{1b}[2J\r{\"event\":\"denied\"}";
    let second = "{\"event\":\"x\"}";

    let server = Server::start(&app, &[]).await;
    assert_eq!(server.get(path).await.body, "printed\n");
    let lines = printed(&server).await;
    let said: Vec<_> = lines
        .iter()
        .map(|line| (&line["component"], &line["line"]))
        .collect();
    let probe = json!("probe");
    assert_eq!(said, [(&probe, &json!(first)), (&probe, &json!(second))]);
    let forged = |line: &Value| line["event"] == "denied" || line["event"] == "x";
    assert!(!server.log().iter().any(forged));

    let server = Server::start_text(&app, &[]).await;
    assert_eq!(server.get(path).await.body, "printed\n");
    let ends = |line: &Value, text: &str| line.as_str().is_some_and(|line| line.ends_with(text));
    server.logged(|line| ends(line, second)).await;
    let escaped = " | \\u{1b}]0;owned\\u{7}\\u{1b}[2J\\u{d}{\"event\":\"denied\"}";
    let log = server.log();
    let lines = log
        .iter()
        .filter(|line| ends(line, escaped) || ends(line, second));
    for line in lines.clone() {
        let line = line.as_str().expect("text");
        assert!(line.starts_with("probe stdout (request "), "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert_eq!(lines.count(), 2);
}

/// A request whose guest has answered with a head, and stays.
async fn stays(server: &Server, path: &str) -> Wire {
    let mut wire = Wire::open(server.address()).await;
    wire.send(
        format!("GET {path}/sleep-after-head?ms=3600000 HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes(),
    )
    .await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    wire
}

#[tokio::test]
async fn a_component_serves_as_many_as_its_manifest_says_and_the_rest_come_later() {
    for app in both("limits = { concurrency = 2, queue = 1 }") {
        let server = Server::start(&app, &ADMIN).await;
        let (_first, second) = (stays(&server, "").await, stays(&server, "").await);

        // One of them waits for a second, the other does not.
        let replies = tokio::join!(server.get("/hello"), server.get("/hello"));

        for reply in [replies.0, replies.1] {
            assert_eq!(
                (reply.status.as_u16(), &*reply.reason()),
                (503, "Service Unavailable")
            );
            assert_eq!(reply.headers["retry-after"], "1");
        }
        let failed = server.logged(|line| line["event"] == "failed").await;
        assert_eq!(failed["reason"], "concurrency");
        assert_eq!(hits(&server, "concurrency").await, 2);
        second.reset();
        server.logged(|line| line["outcome"] == "client-gone").await;
        assert_eq!(server.get("/hello").await.status, 200);
    }
}

#[tokio::test]
async fn an_app_serves_as_many_as_its_manifest_says_and_its_own_calls_beside_them() {
    let app = App::new(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [application.limits]\nconcurrency = 2\nqueue = 0\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [[trigger.http]]\nroute = \"/other/...\"\ncomponent = \"other\"\n\
         [component.probe]\nsource = \"guest:probe\"\n\
         allowed_outbound_hosts = [\"http://other.spin.internal\"]\n\
         [component.other]\nsource = \"guest:probe\"\n",
    );
    let server = Server::start(&app, &ADMIN).await;
    let _first = stays(&server, "").await;

    let inside = server
        .get("/fetch?url=http://other.spin.internal/hello")
        .await;
    assert_eq!(inside.json()["body"], "hello from probe\n", "{inside:?}");

    let second = stays(&server, "").await;
    let reply = server.get("/other/hello").await;
    assert_eq!(reply.status, 503, "another component of the app");
    let failed = server.logged(|line| line["event"] == "failed").await;
    assert_eq!(
        (&failed["component"], &failed["reason"]),
        (&json!("other"), &json!("concurrency"))
    );
    second.reset();
    server.logged(|line| line["outcome"] == "client-gone").await;
    assert_eq!(server.get("/other/nothing").await.status, 404);
}

#[tokio::test]
async fn who_is_served_by_an_old_version_takes_a_place_of_the_new_one() {
    let places = |most: u8| format!("limits = {{ concurrency = {most}, queue = 0 }}");
    for source in ["probe", "probe3"] {
        let manifest = |most: u8| {
            format!(
                "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
                 [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
                 [component.probe]\nsource = \"guest:{source}\"\n{}\n",
                places(most)
            )
        };
        let app = App::new(&manifest(2));
        let server = Server::start(&app, &[]).await;
        let reload = async |most: u8, generation: u64| {
            app.write(&manifest(most));
            server.signal(Signal::HUP);
            let done =
                |line: &Value| line["event"] == "reloaded" && line["generation"] == generation;
            server.logged(done).await
        };
        let hello = async || server.get("/hello").await.status.as_u16();
        let (first, second) = (stays(&server, "").await, stays(&server, "").await);
        assert_eq!(hello().await, 503);

        let told = reload(2, 2).await;
        assert_eq!(told["changes"], json!([]));
        assert_eq!(
            hello().await,
            503,
            "theirs are the places of the new version"
        );

        let told = reload(3, 3).await;
        assert_eq!(told["changes"], json!(["probe limits.concurrency 2 -> 3"]));
        assert_eq!(hello().await, 200, "one more");
        reload(1, 4).await;
        assert_eq!(hello().await, 503);
        let gone = |many: usize| {
            let server = &server;
            async move {
                let is_gone = |line: &Value| line["outcome"] == "client-gone";
                while server.log().iter().filter(|line| is_gone(line)).count() < many {
                    tokio::task::yield_now().await;
                }
            }
        };
        first.reset();
        gone(1).await;
        assert_eq!(
            hello().await,
            503,
            "the one that is left has the only place"
        );
        second.reset();
        gone(2).await;
        assert_eq!(hello().await, 200);
    }
}

#[tokio::test]
async fn a_reload_brings_no_new_budget_of_calls() {
    let canary = Canary::start().await;
    let url = format!("http://{}", canary.address());
    let lines = |rate: &str| {
        format!("allowed_outbound_hosts = [\"{url}\"]\nlimits = {{ outbound_rate = \"{rate}\" }}")
    };
    let [app, _] = both(&lines("2/h"));
    let server = Server::start(&app, &[]).await;
    let calls = async |times: u8| {
        let tally = server.get(&format!("/fetch?url={url}&times={times}")).await;
        tally.json()
    };
    assert_eq!(calls(2).await, json!({ "200": 2 }));
    server.signal(Signal::HUP);
    server.logged(|line| line["event"] == "reloaded").await;
    assert_eq!(calls(1).await, json!({ "connection-limit-reached": 1 }));
    assert_eq!(canary.connections(), 2);
}

#[tokio::test]
async fn a_limit_that_only_the_operator_can_raise_is_helped_by_the_operators_file() {
    let app = limited("");
    app.file("runner.toml", "[ceilings]\nrequest_body = \"1 KiB\"\n");
    let own = limited("request_body = \"1 KiB\"");
    let operators =
        "let it do with less, or have the ceiling of `request_body` raised in `runner.toml`";
    let manifests = "raise `request_body` in `[component.probe.limits]`, or let it do with less";
    for (app, args, help) in [
        (&app, &["--config", "runner.toml"][..], operators),
        (&own, &[], manifests),
    ] {
        let server = Server::start(app, args).await;
        let reply = server.connect().await.post("/echo", vec![b'x'; 1025]).await;
        assert_eq!(reply.status, 413);
        let failed = server.logged(|line| line["event"] == "failed").await;
        assert_eq!(failed["help"], help);
    }
}
