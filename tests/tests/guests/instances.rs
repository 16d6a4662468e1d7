//! What one instance leaves for the next: nothing.

use std::fs;

use runner_tests::{Connection, End, Oracle, Protocol};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::fault;

/// Looks through memory and table as it gets them: traps where anything is there, and fills both. It answers nothing.
const RESIDUE: &str = r#"(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))
  ))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $code
    (memory 1)
    (table 16 funcref)
    (global $used (mut i32) (i32.const 0))
    (elem declare func $look)
    (func $look (export "handle") (param i32 i32)
      (local $at i32)
      (if (global.get $used) (then (unreachable)))
      (global.set $used (i32.const 1))
      ;; 32 MiB: more than stays with a slot of the pool.
      (if (i32.eq (memory.grow (i32.const 511)) (i32.const -1)) (then (unreachable)))
      (if (i32.eq (table.grow (ref.null func) (i32.const 8176)) (i32.const -1)) (then (unreachable)))
      (loop $words
        (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $words (i32.lt_u (local.get $at) (i32.const 33554432)))
      )
      (local.set $at (i32.const 0))
      (loop $elements
        (if (i32.eqz (ref.is_null (table.get (local.get $at)))) (then (unreachable)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $elements (i32.lt_u (local.get $at) (i32.const 8192)))
      )
      (memory.fill (i32.const 0) (i32.const 0xa5) (i32.const 33554432))
      (table.fill (i32.const 0) (ref.func $look) (i32.const 8192))
    )
  )
  (core instance $guest (instantiate $code))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $guest "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
)"#;

#[tokio::test]
async fn e28_e29_an_instance_finds_nothing_of_those_before_it() {
    let oracle = Oracle::start_text(RESIDUE, "").await;
    let nothing = fault("no_response", "returned without a response");
    for protocol in Protocol::BOTH {
        for _ in 0..20 {
            oracle.fails(protocol, "/", 500, End::Clean, nothing).await;
        }
    }
    oracle.over().await;
}

#[tokio::test]
async fn e51_code_that_is_changed_on_disk_while_it_runs_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("cache");
    let args = ["--cache-dir", cache.to_str().expect("text")];
    let about = "{\"environment\":[],\"arguments\":[],\"cwd\":null}";
    // The first start writes what the second one reads.
    let first = Oracle::serve_with(Oracle::app("guest:rogue", ""), &args).await;
    first.over().await;
    let oracle = Oracle::serve_with(Oracle::app("guest:rogue", ""), &args).await;
    let entries = fs::read_dir(&cache).expect("made by the start");
    let entries = entries.map(|entry| entry.expect("readable").path());
    let code: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "cwasm"))
        .collect();
    assert_eq!(code.len(), 2, "{code:?}");
    for change in [&[0xcc; 4 << 20][..], b""] {
        for entry in &code {
            fs::write(entry, change).expect("ours, in place");
        }
        oracle.answers(Protocol::Http1, "/about", about).await;
        let trap = fault("trap", "failed: empty poll list");
        oracle
            .fails(Protocol::Http1, "/poll", 500, End::Clean, trap)
            .await;
    }
    oracle.over().await;
}

/// A thousand clients at once, of which every one is answered: too late, or later.
#[tokio::test]
async fn e4_a_component_whose_places_loop_is_told_to_come_later_and_its_neighbour_is_answered() {
    const CLIENTS: usize = 1000;
    let limits = "limits = { request_timeout = \"2 s\" }";
    let oracle = Oracle::start("guest:probe", limits).await;
    let address = oracle.server().address();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(async move { Connection::open(address).await.get("/loop").await });
    }
    let (mut late, mut later) = (0, 0);
    while late + later < CLIENTS {
        let (reply, neighbour) = tokio::join!(clients.join_next(), oracle.ask_neighbour());
        assert_eq!(neighbour.status, 200, "{neighbour:?}");
        let reply = reply.expect("as many as were begun").expect("no panic");
        match reply.status.as_u16() {
            504 => late += 1,
            503 => {
                assert_eq!(reply.headers["retry-after"], "1");
                later += 1;
            }
            other => panic!("{other}: {reply:?}"),
        }
    }
    assert!(late > 0 && later > 0, "{late} late, {later} to come later");
    let failed = || {
        let log = oracle.server().log().into_iter();
        let of_it = |line: &Value| line["event"] == "failed" && line["component"] == "guest";
        log.filter(of_it).collect::<Vec<_>>()
    };
    // A line may come after its answer.
    for _ in 0..CLIENTS {
        if failed().len() >= CLIENTS {
            break;
        }
        oracle.ask_neighbour().await;
    }
    let failed = failed();
    let reasons: Vec<_> = failed
        .iter()
        .map(|line| line["reason"].as_str().expect("text"))
        .collect();
    assert_eq!(reasons.len(), CLIENTS);
    let is_late = |reason: &&&str| ["cpu", "request_timeout"].contains(*reason);
    assert_eq!(reasons.iter().filter(is_late).count(), late);
    oracle.over().await;
}
