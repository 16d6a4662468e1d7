//! What a guest may use, and what is seen of one that uses more: its client has a status, its neighbours are answered, the
//! log has one line with the reason, and a counter has gone up by one. The numbers are rows of the catalogue of guests.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runner_host::caps;
use runner_tests::{App, Server, Wire, around, get, module, raw};
use serde_json::Value;

/// So much computing is enough here: the default is for guests, not for stories.
const CPU: &str = "cpu = \"100 ms\"";

/// One that does this in a loop, in its handler.
fn forever(declared: &str, what: &str) -> Vec<u8> {
    module(&format!(
        r#"{declared} (func (export "handle") (param i32 i32) (loop $again {what} (br $again)))"#
    ))
}

/// One that hands the host a place for a string, and loops in the function that should find it.
fn loops_in_realloc() -> Vec<u8> {
    around(
        r#"(core module $memory (memory (export "memory") 1)
             (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop (br 0)) unreachable))
           (core instance $memory (instantiate $memory))
           (core func $path (canon lower (func $types "[method]incoming-request.path-with-query")
             (memory $memory "memory") (realloc (func $memory "realloc"))))"#,
        r#"(import "host" "path" (func $path (param i32 i32)))
           (func (export "handle") (param i32 i32) (call $path (local.get 0) (i32.const 0)))"#,
        r#"(with "host" (instance (export "path" (func $path))))"#,
        "",
    )
}

/// One that drops a resource of its own, whose destructor loops.
fn loops_in_destructor() -> Vec<u8> {
    around(
        r#"(core module $end (func (export "end") (param i32) (loop (br 0))))
           (core instance $end (instantiate $end))
           (type $own (resource (rep i32) (dtor (func $end "end"))))
           (core func $new (canon resource.new $own))
           (core func $drop (canon resource.drop $own))"#,
        r#"(import "own" "new" (func $new (param i32) (result i32)))
           (import "own" "drop" (func $drop (param i32)))
           (func (export "handle") (param i32 i32) (call $drop (call $new (i32.const 1))))"#,
        r#"(with "own" (instance (export "new" (func $new)) (export "drop" (func $drop))))"#,
        "",
    )
}

/// One that waits for so many nanoseconds, again and again.
fn waits(nanoseconds: u64) -> Vec<u8> {
    around(
        r#"(import "wasi:io/poll@0.2.0" (instance $poll
             (export "pollable" (type $p (sub resource)))
             (export "[method]pollable.block" (func (param "self" (borrow $p))))))
           (alias export $poll "pollable" (type $pollable))
           (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
             (alias outer 1 $pollable (type $outer))
             (export "pollable" (type $p (eq $outer)))
             (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
           (core func $subscribe (canon lower (func $clock "subscribe-duration")))
           (core func $block (canon lower (func $poll "[method]pollable.block")))
           (core func $drop (canon resource.drop $pollable))"#,
        &format!(
            r#"(import "wait" "subscribe" (func $subscribe (param i64) (result i32)))
               (import "wait" "block" (func $block (param i32)))
               (import "wait" "drop" (func $drop (param i32)))
               (func (export "handle") (param i32 i32) (local $timer i32)
                 (loop $again
                   (local.set $timer (call $subscribe (i64.const {nanoseconds})))
                   (call $block (local.get $timer))
                   (call $drop (local.get $timer))
                   (br $again)))"#
        ),
        r#"(with "wait" (instance (export "subscribe" (func $subscribe)) (export "block" (func $block))
             (export "drop" (func $drop))))"#,
        "",
    )
}

/// One that is given 40 pages for a memory, and wants 40 for another one: half of a limit of 4 MiB and a little more.
fn grows_two() -> Vec<u8> {
    around(
        r#"(core module $other (memory 1)
             (func (export "grow") (result i32) (memory.grow (i32.const 40))))
           (core instance $other (instantiate $other))"#,
        r#"(import "other" "grow" (func $other (result i32))) (memory 1)
           (func (export "handle") (param i32 i32)
             (if (i32.eq (memory.grow (i32.const 40)) (i32.const -1)) (then (return)))
             (if (i32.ne (call $other) (i32.const -1)) (then (return)))
             unreachable)"#,
        r#"(with "other" (instance $other))"#,
        "",
    )
}

/// A guest that does one thing it should not, on a path of its name, and what becomes of that.
struct Row {
    name: &'static str,
    wasm: Vec<u8>,
    limits: &'static str,
    status: u16,
    reason: &'static str,
    message: &'static str,
}

impl Row {
    fn new(
        name: &'static str,
        wasm: Vec<u8>,
        limits: &'static str,
        (status, reason, message): (u16, &'static str, &'static str),
    ) -> Row {
        Row {
            name,
            wasm,
            limits,
            status,
            reason,
            message,
        }
    }

    /// One that computes until its time is up.
    fn computes(name: &'static str, wasm: Vec<u8>) -> Row {
        Row::new(name, wasm, CPU, (504, "cpu", "computed for 100ms"))
    }
}

const BOTH: [&str; 2] = ["probe", "probe3"];

/// An app with this guest on every path, and beside it those of the rows. What the first may use stands in `lines`.
fn app(guest: &str, lines: &str, rows: &[Row]) -> App {
    let mut manifest = format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n\
         [component.guest]\nsource = \"guest:{guest}\"\n{lines}\n"
    );
    for Row { name, limits, .. } in rows {
        let _ = write!(
            manifest,
            "[[trigger.http]]\nroute = \"/{name}\"\ncomponent = \"{name}\"\n\
             [component.{name}]\nsource = \"{name}.wasm\"\nlimits = {{ {limits} }}\n"
        );
    }
    let app = App::new(&manifest);
    for Row { name, wasm, .. } in rows {
        fs::write(app.path().join(format!("{name}.wasm")), wasm).expect("writable");
    }
    app
}

/// A server with its numbers.
struct Scene {
    server: Server,
    admin: String,
}

impl Scene {
    async fn of(app: &App) -> Scene {
        let server = Server::start(app, &["--admin", "127.0.0.1:0"]).await;
        let admin = server.admin().await;
        Scene { server, admin }
    }

    /// All that comes back on a connection of its own.
    async fn raw(&self, method: &str, path: &str) -> String {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        raw(self.server.address(), request.as_bytes()).await
    }

    /// Waits until this line is on the page with the numbers.
    async fn counted(&self, line: &str) {
        let (url, patience) = (format!("{}/metrics", self.admin), Duration::from_secs(60));
        let begun = Instant::now();
        loop {
            let page = get(&url).await.body;
            if page.lines().any(|found| found == line) {
                return;
            }
            assert!(begun.elapsed() < patience, "never `{line}`:\n{page}");
            tokio::task::yield_now().await;
        }
    }

    /// Its one failure of this component, which is counted once.
    async fn failed(&self, component: &str, reason: &str) -> Value {
        let is_it = |line: &Value| line["event"] == "failed" && line["component"] == component;
        let line = self.server.logged(is_it).await;
        assert_eq!(line["reason"], reason, "{line}");
        self.counted(&format!(
            "runner_guest_faults_total{{component=\"{component}\",reason=\"{reason}\"}} 1"
        ))
        .await;
        let all = self.server.log();
        let lines = all.iter().filter(|line| is_it(line)).count();
        assert_eq!(lines, 1, "{component}");
        line
    }

    /// The others are answered, nothing is left of whoever did it, and the process ends as it should.
    async fn stays_well(self) {
        assert_eq!(self.server.get("/hello").await.status, 200);
        self.counted("runner_instances 0").await;
        assert_eq!(self.server.stop().await.code, 0);
    }
}

/// Each row as its own request, with a neighbour's behind it.
async fn hold(rows: Vec<Row>) {
    let app = app("probe", "", &rows);
    let scene = Scene::of(&app).await;
    for row in &rows {
        let reply = scene.server.get(&format!("/{}", row.name)).await;

        assert_eq!(reply.status, row.status, "{}", row.name);
        let failed = scene.failed(row.name, row.reason).await;
        assert_eq!(failed["message"], row.message, "{}", row.name);
        assert_eq!(scene.server.get("/hello").await.status, 200, "{}", row.name);
    }
    scene.stays_well().await;
}

/// The build that the cost of limits is measured against is no other build.
#[test]
fn nothing_is_built_without_limits() {
    const FEATURE: &str = "danger-no-limits";
    assert!(std::hint::black_box(caps::LIMITED));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["", "crates", "tests", "xtask"].map(|folder| root.join(folder));
    let mut files = Vec::new();
    for folder in folders {
        files.push(folder.join("Cargo.toml"));
        for entry in fs::read_dir(&folder).expect("a folder") {
            files.push(entry.expect("an entry").path().join("Cargo.toml"));
        }
    }
    let names_it = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.contains(FEATURE)
    };
    let mut named: Vec<_> = files.into_iter().filter(names_it).collect();
    named.dedup();
    assert_eq!(named, [root.join("crates/host/Cargo.toml")]);
    let host = fs::read_to_string(&named[0]).expect("it was read");
    assert!(!host.contains("default = ["), "it has no default features");
}

#[tokio::test]
async fn e01_e02_who_computes_for_too_long_is_stopped_wherever_it_does() {
    let start =
        r#"(func $start (loop (br 0))) (start $start) (func (export "handle") (param i32 i32))"#;
    let post_return = around(
        "",
        r#"(func (export "handle") (param i32 i32)) (func (export "post") (loop (br 0)))"#,
        "",
        r#"(post-return (func $guest "post"))"#,
    );
    hold(vec![
        Row::computes("handler", forever("", "")),
        Row::computes("start", module(start)),
        Row::computes("realloc", loops_in_realloc()),
        Row::computes("post-return", post_return),
        Row::computes("destructor", loops_in_destructor()),
    ])
    .await;
}

#[tokio::test]
async fn e03_who_computes_in_bulk_is_stopped_too() {
    // All that the usual memory holds, but one page.
    let memory = "(memory 2047)";
    let all = "(i32.const 134152192)";
    let half = "(i32.const 67076096)";
    let table = r#"(table $t 100000 funcref) (elem declare func $f) (func $f (param i32) (result i32)
                   (if (result i32) (local.get 0)
                     (then (call_indirect (param i32) (result i32)
                       (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
                     (else (i32.const 0))))
                   (func $start (table.set $t (i32.const 0) (ref.func $f))) (start $start)"#;
    hold(vec![
        Row::computes(
            "fill",
            forever(
                memory,
                &format!("(memory.fill (i32.const 0) (i32.const 1) {all})"),
            ),
        ),
        Row::computes(
            "copy",
            forever(
                memory,
                &format!("(memory.copy (i32.const 0) {half} {half})"),
            ),
        ),
        Row::computes(
            "table-fill",
            forever(
                table,
                "(table.fill $t (i32.const 1) (ref.func $f) (i32.const 99999))",
            ),
        ),
        Row::computes(
            "indirect",
            forever(
                table,
                "(drop (call_indirect (param i32) (result i32) (i32.const 1000) (i32.const 0)))",
            ),
        ),
        Row::computes(
            "simd",
            forever(
                "(global $g (mut v128) (v128.const i64x2 1 2))",
                "(global.set $g (i64x2.mul (global.get $g) (global.get $g)))",
            ),
        ),
    ])
    .await;
}

#[tokio::test]
async fn e05_e06_memory_is_refused_beyond_its_sum_and_whoever_dies_of_it_is_told_so() {
    let trapped = "trapped: wasm trap: wasm `unreachable` instruction executed; \
                   it had been refused more memory than its 4 MiB";
    let limit = "memory = \"4 MiB\"";
    let dies = (500, "oom", trapped);
    let grows = |declared: &str, what: &str| {
        module(&format!(
            r#"{declared} (func (export "handle") (param i32 i32) {what} (unreachable))"#
        ))
    };
    // Ends with -1, and has touched every page until then.
    let all = "(loop $again (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then
                 (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 1))
                 (br $again))))";
    let refused = |what: &str| format!("(if (i32.ne {what} (i32.const -1)) (then (return)))");
    hold(vec![
        Row::new("page-by-page", grows("(memory 1)", all), limit, dies),
        Row::new(
            "at-once",
            grows("(memory 1)", &refused("(memory.grow (i32.const 65535))")),
            limit,
            dies,
        ),
        Row::new("two-memories", grows_two(), limit, dies),
        Row::new(
            "table",
            grows(
                "(table $t 1 funcref)",
                &refused("(table.grow $t (ref.null func) (i32.const 90000))"),
            ),
            "memory = \"1 MiB\"",
            (
                500,
                "oom",
                "trapped: wasm trap: wasm `unreachable` instruction executed; \
                 it had been refused more memory than its 1 MiB",
            ),
        ),
        // Beyond what any table has: no limit of the manifest would help.
        Row::new(
            "huge-table",
            grows(
                "(table $t 1 funcref)",
                &refused("(table.grow $t (ref.null func) (i32.const 4000000000))"),
            ),
            limit,
            (
                500,
                "trap",
                "trapped: wasm trap: wasm `unreachable` instruction executed",
            ),
        ),
    ])
    .await;
}

#[tokio::test]
async fn e05_e06_what_can_never_fit_is_no_component() {
    let many = "(core instance (instantiate $memory))".repeat(32);
    let traps = r#"(func (export "handle") (param i32 i32) unreachable)"#;
    let rows = [
        (
            around(
                &format!("(core module $memory (memory 1)) {many}"),
                traps,
                "",
                "",
            ),
            "has 32 memories, and may have 16",
        ),
        (
            module(&format!("(memory $a 1) (memory $b 1) {traps}")),
            "does not fit this version of runner: module memory does not fit in pooling allocator requirements: \
             defined memories count of 2 exceeds the per-instance limit of 1",
        ),
        (
            module(&format!("(table 4294967295 funcref) {traps}")),
            "has 4294967295 elements in a table, and may have 100000",
        ),
        (
            module(&format!(
                "(type $t (array (mut i8))) (global (ref null $t) (ref.null $t)) {traps}"
            )),
            "cannot be loaded from `large.wasm`: it is damaged: cannot define array types when gc types are disabled \
             (at offset 0xcb)",
        ),
    ];
    let mut found = Vec::new();
    for (wasm, _) in &rows {
        let app = app(
            "probe",
            "",
            &[Row::new("large", wasm.clone(), "", (0, "", ""))],
        );

        let stopped = Server::try_start(&app, &[]).await.err().expect("no start");

        assert_eq!(stopped.code, 1, "{:#?}", stopped.log);
        let error = stopped.log.iter().find(|line| line["event"] == "error");
        let told = &error.expect("it says why")["diagnostics"][0]["message"];
        found.push(told.as_str().unwrap_or_default().to_owned());
    }
    let expected = rows.map(|(_, why)| format!("component `large` {why}"));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn e07_who_recurses_for_ever_is_stopped_and_nobody_else() {
    let direct =
        r#"(func $f (export "handle") (param i32 i32) (call $f (local.get 0) (local.get 1)))"#;
    let indirect = r#"(table 1 funcref) (elem (i32.const 0) func $f) (type $t (func (param i32 i32)))
        (func $f (export "handle") (type $t)
          (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 0)))"#;
    let told = (
        500,
        "stack_overflow",
        "its calls were nested too deeply: its stack has 512 KiB",
    );
    let limit = "cpu = \"10 s\"";
    hold(vec![
        Row::new("direct", module(direct), limit, told),
        Row::new("indirect", module(indirect), limit, told),
    ])
    .await;
}

#[tokio::test]
async fn e08_a_guest_that_traps_is_told_once_before_its_head_and_behind_it() {
    for guest in BOTH {
        let scene = Scene::of(&app(guest, "", &[])).await;
        assert_eq!(scene.server.get("/trap").await.status, 500, "{guest}");
        scene.failed("guest", "trap").await;
        scene.stays_well().await;
        for bytes in [6, 1 << 20] {
            let scene = Scene::of(&app(guest, "", &[])).await;

            let answer = scene
                .raw("GET", &format!("/trap-after-head?bytes={bytes}"))
                .await;

            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{guest} {bytes}");
            assert!(!answer.ends_with("0\r\n\r\n"), "{guest} {bytes}");
            scene.failed("guest", "trap").await;
            scene.stays_well().await;
        }
    }
}

#[tokio::test]
async fn e24_who_asks_for_a_head_and_goes_keeps_no_place() {
    for guest in BOTH {
        let scene = Scene::of(&app(guest, "limits = { concurrency = 1, queue = 1 }", &[])).await;
        let mut wire = Wire::open(scene.server.address()).await;
        wire.send(b"HEAD /sleep-after-head?ms=25000 HTTP/1.1\r\nhost: a\r\n\r\n")
            .await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
        wire.reset();
        let gone = Instant::now();
        // One that is refused is told to come again.
        while scene.server.get("/hello").await.status != 200 {
            let waited = gone.elapsed();
            assert!(waited < Duration::from_secs(15), "{guest}: {waited:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        scene.stays_well().await;
    }
}

#[tokio::test]
async fn e09_e11_e41_what_is_no_answer_has_its_reason() {
    for (path, status, reason) in [
        ("/no-response", 500, "no_response"),
        ("/exit?code=0", 500, "exit"),
        ("/exit?code=255", 500, "exit"),
        ("/panic", 500, "trap"),
        ("/resources?n=100000", 500, "handles"),
        ("/error?name=connection-refused", 502, "error"),
        ("/status?code=999", 502, "not_http"),
    ] {
        let scene = Scene::of(&app("probe", "", &[])).await;
        assert_eq!(scene.server.get(path).await.status, status, "{path}");
        scene.failed("guest", reason).await;
        scene.stays_well().await;
    }
    for guest in BOTH {
        let scene = Scene::of(&app(guest, "", &[])).await;
        let answer = scene.raw("GET", "/unfinished").await;
        assert!(answer.ends_with("6\r\nxxxxxx\r\n"), "{guest}: {answer}");
        scene.failed("guest", "unfinished").await;
        scene.stays_well().await;
    }
}

#[tokio::test]
async fn e12_e22_e23_a_guest_that_waits_or_writes_for_ever_is_cut() {
    let (silent, upstream) = silent_upstream().await;
    let lines = |limit: &str| {
        format!(
            "allowed_outbound_hosts = [\"http://{upstream}\"]\nlimits = {{ {limit} = \"300 ms\" }}"
        )
    };
    let long = "ms=18446744073709";
    for (path, limit, status) in [
        (format!("/sleep?{long}"), "request_timeout", "504"),
        (
            format!("/fetch?url=http://{upstream}/"),
            "request_timeout",
            "504",
        ),
        (format!("/sleep?{long}"), "response_timeout", "504"),
        (
            format!("/sleep-after-head?{long}"),
            "response_timeout",
            "200",
        ),
        (
            "/big?bytes=1000000000000".to_owned(),
            "response_timeout",
            "200",
        ),
    ] {
        for guest in BOTH {
            let scene = Scene::of(&app(guest, &lines(limit), &[])).await;

            let answer = scene.raw("GET", &path).await;

            assert_eq!(answer.split(' ').nth(1), Some(status), "{guest} {path}");
            assert!(!answer.ends_with("0\r\n\r\n"), "{guest} {path}");
            let failed = scene.failed("guest", limit).await;
            assert_eq!(
                failed["help"],
                format!("raise `{limit}` in `[component.guest.limits]`, or let it do with less")
            );
            scene.stays_well().await;
        }
    }
    drop(silent);
}

/// One that is connected to and says nothing; it listens for as long as the first is there.
async fn silent_upstream() -> (tokio::net::TcpListener, std::net::SocketAddr) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

#[tokio::test]
async fn e22_waiting_is_not_computing() {
    let limits = "cpu = \"100 ms\", request_timeout = \"1 s\"";
    let late = (504, "request_timeout", "no response within 1s");
    hold(vec![
        Row::new("for-ever", waits(u64::MAX), limits, late),
        Row::new("very-often", waits(1), limits, late),
    ])
    .await;
}

#[tokio::test]
async fn what_a_guest_does_after_its_response_is_charged_and_told() {
    for (path, reason) in [("/loop-after-head", "cpu"), ("/trap-after-head", "trap")] {
        for guest in BOTH {
            let scene = Scene::of(&app(guest, &format!("limits = {{ {CPU} }}"), &[])).await;
            // Nobody reads what it writes, so its response has ended already.
            let answer = scene.raw("HEAD", path).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            scene.failed("guest", reason).await;
            scene.stays_well().await;
        }
    }
}

#[tokio::test]
async fn a_guest_whose_client_has_gone_stops_within_its_loop() {
    for guest in BOTH {
        let scene = Scene::of(&app(guest, "limits = { cpu = \"1 h\" }", &[])).await;
        let mut wire = Wire::open(scene.server.address()).await;
        wire.send(b"GET /loop-after-head HTTP/1.1\r\nhost: a\r\n\r\n")
            .await;
        assert!(wire.until("xxxxxx").await.ends_with("xxxxxx"), "{guest}");

        wire.reset();

        scene.counted("runner_instances 0").await;
        let log = scene.server.log();
        assert!(log.iter().all(|line| line["event"] != "failed"), "{log:#?}");
        scene.stays_well().await;
    }
}

#[tokio::test]
async fn e01_two_that_loop_keep_nobody_from_being_answered() {
    for guest in BOTH {
        let scene = Scene::of(&app(guest, "", &[])).await;
        let begun = Instant::now();
        let mut loops = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let mut connection = scene.server.connect().await;
            loops.spawn(async move {
                let reply = connection.get("/loop").await;
                (reply.status.as_u16(), begun.elapsed())
            });
        }
        let (mut ended, mut slowest, mut answered) = (Vec::new(), Duration::ZERO, 0);
        let mut others = scene.server.connect().await;
        while ended.len() < 2 {
            let asked = Instant::now();
            assert_eq!(others.get("/hello").await.status, 200);
            slowest = slowest.max(asked.elapsed());
            answered += 1;
            ended.extend(loops.try_join_next().map(|ended| ended.expect("no panic")));
        }
        println!("{guest}: {ended:?}; {answered} others answered, the slowest in {slowest:?}");
        println!("{:?} computed in all", scene.server.processor_time());
        for (status, _) in ended {
            assert_eq!(status, 504, "{guest}");
        }
        scene
            .counted("runner_guest_faults_total{component=\"guest\",reason=\"cpu\"} 2")
            .await;
        scene.stays_well().await;
    }
}
