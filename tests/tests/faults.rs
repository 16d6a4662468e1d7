//! What goes wrong around a server: it serves, or says why not. What needs a disk or a network of its own is a step of
//! `cargo xtask faults`.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use runner_tests::{App, Connection, Reader, Server, raw, run_after};
use rustix::process::{Resource, Signal};
use serde_json::Value;
use tokio::net::TcpStream;

/// Where a start ends that has got as far as this: so does one that finds everything else.
fn taken() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// `up` on a port that is taken, by a shell that does something first: its exit code and its last words.
async fn started(app: &App, first: &str, address: &str) -> (i32, String) {
    let args = ["up", "--listen", address, "--log-format", "text"];
    let finished = run_after(first, app.path(), &args).await;
    let is_ours = |line: &str| line.starts_with("error: ") || line.starts_with("help: ");
    let said = finished.stderr.lines().filter(|line| is_ours(line));
    (finished.code, said.collect::<Vec<_>>().join("\n"))
}

#[tokio::test]
async fn a_start_without_descriptors_names_the_limit() {
    let (app, (_taken, address)) = (App::probe(""), taken());
    let busy = format!(
        "error: cannot listen on `{address}`: Address already in use (os error 98)\n\
         help: free it, or choose another with `--listen`; port 0 takes a free one"
    );
    let short =
        ": Too many open files (os error 24)\nhelp: raise the limit on open files, `ulimit -n`";
    let mut refused = 0;
    for most in 5..24 {
        let (code, said) = started(&app, &format!("ulimit -n {most}"), &address).await;
        assert_eq!(code, 3, "{most}: {said}");
        let is_short = said.starts_with("error: ") && said.ends_with(short);
        assert!(is_short || said == busy, "{most}: {said}");
        refused += usize::from(is_short);
    }
    assert!((1..19).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_start_without_memory_names_the_limits() {
    let (app, (_taken, address)) = (App::probe(""), taken());
    let help = "\nhelp: the engine reserves addresses that it mostly never uses: raise the limits on them, `ulimit -v` and `ulimit -d`";
    for (first, error) in [
        (
            "ulimit -v 4000000",
            "error: failed to create memory pool mapping: mmap failed to reserve 0x… bytes: Cannot allocate memory (os error 12)",
        ),
        (
            "ulimit -d 400000",
            "error: failed to create table pool mapping: mmap failed to allocate 0x… bytes: Cannot allocate memory (os error 12)",
        ),
    ] {
        let (code, said) = started(&app, first, &address).await;
        // How much it is follows from the caps.
        let words = said.split(' ').map(|word| match word.strip_prefix("0x") {
            Some(_) => "0x…",
            None => word,
        });
        let said = words.collect::<Vec<_>>().join(" ");
        assert_eq!((code, said), (3, format!("{error}{help}")), "{first}");
    }
}

#[tokio::test]
async fn without_descriptors_who_is_connected_is_served_and_others_when_there_are_some_again() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let mut kept = server.connect().await;
    assert_eq!(kept.get("/hello").await.status, 200);

    server.limit(Resource::Nofile, Some(server.descriptors() as u64 + 2));
    let mut others = Vec::new();
    for _ in 0..50 {
        others.push(dial(&server).await);
    }
    server
        .logged(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "warn" && message.starts_with("cannot accept connections")
        })
        .await;
    assert_eq!(kept.get("/hello").await.status, 200);

    drop(others);
    // Those that are gone are closed one after another; until then there is no room, which is said at once.
    let mut reply = server.get("/hello").await;
    while reply.status == 503 {
        reply = server.get("/hello").await;
    }
    assert_eq!(reply.status, 200);
    assert_eq!(kept.get("/hello").await.status, 200);
    assert_eq!(server.stop().await.code, 0);
}

#[expect(clippy::disallowed_methods, reason = "a client of the story")]
async fn dial(server: &Server) -> TcpStream {
    TcpStream::connect(server.address())
        .await
        .expect("it listens")
}

#[tokio::test]
async fn a_guest_that_gets_no_memory_is_told_so_and_the_server_goes_on() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let bytes = 64 << 20;
    let path = format!("/memory?bytes={bytes}");
    let (refused, got) = (
        format!("{{\"refused\":{bytes}}}"),
        format!("{{\"got\":{bytes}}}"),
    );

    server.limit(Resource::Data, Some(server.data() + (32 << 20)));
    for _ in 0..3 {
        assert_eq!(server.get(&path).await.body, refused);
        assert_eq!(server.get("/hello").await.status, 200);
    }
    server.limit(Resource::Data, None);
    assert_eq!(server.get(&path).await.body, got);
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn a_log_that_nobody_reads_or_that_is_closed_holds_nothing_up() {
    let app = App::probe("");
    for reader in [Reader::Nobody, Reader::Gone] {
        let server = Server::start_unread(&app, reader).await;
        let mut client = server.connect().await;
        // Some hundred kilobytes of log: more than a pipe holds.
        for _ in 0..1000 {
            assert_eq!(client.get("/hello").await.status, 200, "{reader:?}");
        }
        assert_eq!(server.stop().await.code, 0, "{reader:?}");
    }
}

#[tokio::test]
async fn a_server_that_was_stopped_answers_all_who_came_meanwhile() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    let mut kept = server.connect().await;
    assert_eq!(kept.get("/hello").await.status, 200);
    server.signal(Signal::STOP);
    server.stopped().await;

    let of_kept = tokio::spawn(async move { kept.get("/hello").await.status });
    let mut new = Vec::new();
    for _ in 0..20 {
        let mut connection: Connection = server.connect().await;
        new.push(tokio::spawn(async move {
            connection.get("/hello").await.status
        }));
    }
    tokio::task::yield_now().await;
    server.signal(Signal::CONT);

    assert_eq!(of_kept.await.expect("no panic"), 200);
    for answer in new {
        assert_eq!(answer.await.expect("no panic"), 200);
    }
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn a_signal_of_a_broken_pipe_is_nothing() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;
    server.signal(Signal::PIPE);
    let request = b"GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = raw(server.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn without_a_home_nothing_is_kept_and_the_app_is_served() {
    let app = App::probe("");
    let nowhere = [("RUNNER_CACHE_DIR", "")];
    let server = Server::try_start_with(&app, &[], &nowhere).await;
    let server = server.unwrap_or_else(|stopped| panic!("not started: {stopped:#?}"));
    assert_eq!(server.get("/hello").await.status, 200);
    let stopped = server.stop().await;
    let warned = stopped.log.iter().filter(|line| line["event"] == "warning");
    let warned: Vec<&Value> = warned.map(|line| &line["message"]).collect();
    let told =
        "neither HOME nor XDG_CACHE_HOME is set: compiled code is not kept; set `--cache-dir`";
    assert_eq!((stopped.code, warned), (0, vec![&Value::from(told)]));
}

/// A step of the clock moves what is told, and nothing that is waited for: `Instant` and `tokio::time` do not step.
#[test]
fn what_reads_the_clock_on_the_wall_only_tells_the_time() {
    let allowed = BTreeMap::from([
        (
            "crates/host/src/app.rs",
            "since when an app is loaded, for `inspect`",
        ),
        ("crates/host/src/cache.rs", "the age of files, in days"),
        (
            "crates/host/src/cache/sweep.rs",
            "the age of files, in days",
        ),
        (
            "crates/host/src/event.rs",
            "where the ids of requests begin",
        ),
        ("crates/http1/src/answer.rs", "the date of a response"),
        ("crates/runner/src/metrics.rs", "when the process started"),
        (
            "crates/runner/src/metrics/process.rs",
            "when the process started",
        ),
        ("crates/runner/src/otel.rs", "the time of a span"),
        ("crates/runner/src/otel/spans.rs", "the time of a span"),
        ("crates/runner/src/telemetry/time.rs", "the time of a line"),
    ]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("in the workspace");
    let mut files = Vec::new();
    collect(&root.join("crates"), &mut files);
    let walls = ["SystemTime", "CLOCK_REALTIME", "ClockId::Realtime"];
    let reads = |path: &&PathBuf| {
        let source = fs::read_to_string(path).expect("a source file");
        walls.iter().any(|wall| source.contains(wall))
    };
    let found = files.iter().filter(reads).map(|path| {
        let path = path.strip_prefix(root).expect("below it");
        path.to_str().expect("a text").to_owned()
    });
    let mut found: Vec<String> = found.collect();
    found.sort();
    assert_eq!(found, allowed.into_keys().collect::<Vec<_>>());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
