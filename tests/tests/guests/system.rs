//! The machine: chance, time, the end of a program.

use runner_tests::{End, Oracle, Protocol, Server, run};

use crate::{PROBES, ROGUES, UNREACHABLE, attack, fault};

#[tokio::test]
async fn e30_a_guest_is_told_what_the_manifest_says_and_nothing_else() {
    for source in ROGUES {
        for (lines, about) in [
            ("", "{\"environment\":[],\"arguments\":[],\"cwd\":null}"),
            (
                "environment = { TZ = \"Mars/Olympus\" }",
                "{\"environment\":[[\"TZ\",\"Mars/Olympus\"]],\"arguments\":[],\"cwd\":null}",
            ),
        ] {
            let oracle = Oracle::start(source, lines).await;
            oracle.answers(Protocol::Http1, "/about", about).await;
            oracle.over().await;
        }
    }
}

/// A component that asks where it is.
const TIME_ZONE: &str = r#"(component
  (import "wasi:clocks/timezone@0.2.0" (instance))
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))
  ))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $code (func (export "handle") (param i32 i32)))
  (core instance $guest (instantiate $code))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $guest "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
)"#;

#[tokio::test]
async fn e30_there_is_no_time_zone_to_ask_for() {
    let app = Oracle::app("guest.wasm", "");
    let bytes = wat::parse_str(TIME_ZONE).expect("a component");
    std::fs::write(app.path().join("guest.wasm"), bytes).expect("writable");
    let said = run(app.path(), &["up", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(said.code, 1);
    assert!(
        said.stderr.contains(
            "component `guest` imports `wasi:clocks/timezone@0.2.0`, which is not provided"
        ),
        "{}",
        said.stderr
    );
}

#[tokio::test]
async fn e38_times_that_are_none_are_errors_or_never_come() {
    // A time of the past has come; what 0.2 calls ready is known when it is waited for.
    for (source, times) in [
        ("guest:rogue", "[false,false,false]"),
        ("guest:rogue3", "[false,false,true]"),
    ] {
        let oracle = Oracle::start(source, "").await;
        oracle.answers(Protocol::Http1, "/times", times).await;
        oracle.over().await;
    }
}

#[tokio::test]
async fn e39_a_clock_goes_on_in_the_steps_that_it_may_and_says_so() {
    // Three, so that neither a clock of milliseconds nor a rounded second is one of them.
    const STEP: u64 = 3_000_000;
    for source in PROBES {
        let oracle = Oracle::start(source, "limits = { clock_resolution = \"3 ms\" }").await;
        for _ in 0..20 {
            let clock = oracle.server().get("/clock").await.json();
            let number = |name: &str| clock[name].as_u64().expect("a number");
            assert_eq!(number("resolution"), STEP);
            assert_eq!(number("monotonic") % STEP, 0, "{clock}");
            let wall = u128::from(number("seconds")) * 1_000_000_000;
            let wall = wall + u128::from(number("nanoseconds"));
            assert_eq!(wall % u128::from(STEP), 0, "{clock}");
        }
        oracle.over().await;

        let server = Server::start(&Oracle::app(source, ""), &[]).await;
        let clock = server.get("/clock").await.json();
        let resolution = clock["resolution"].as_u64().expect("a number");
        assert!(resolution < STEP, "that of the machine: {clock}");
    }
}

#[tokio::test]
async fn e40_a_call_for_too_much_chance_gets_none_or_a_mebibyte() {
    let too_much = |asked: &str| -> &'static str {
        format!("failed: requested len {asked} exceeds limit 1048576").leak()
    };
    let large = too_much("4294967296");
    attack(
        "guest:rogue",
        "",
        &[
            (
                "/random?bytes=4294967296",
                500,
                End::Clean,
                fault("trap", large),
            ),
            (
                "/random?bytes=4294967296&insecure=1",
                500,
                End::Clean,
                fault("trap", large),
            ),
            (
                "/random?bytes=1048577",
                500,
                End::Clean,
                fault("trap", too_much("1048577")),
            ),
        ],
    )
    .await;
    let oracle = Oracle::start("guest:rogue", "").await;
    let most = "/random?bytes=1048576";
    oracle
        .answers(Protocol::Http1, most, "{\"got\":1048576}")
        .await;
    oracle.over().await;
    // In 0.3 a call gives as many as it likes.
    let oracle = Oracle::start("guest:rogue3", "").await;
    for path in [
        "/random?bytes=4294967296",
        "/random?bytes=18446744073709551615&insecure=1",
    ] {
        oracle
            .answers(Protocol::Http1, path, "{\"got\":1048576}")
            .await;
    }
    oracle.over().await;
}

#[tokio::test]
async fn e41_a_guest_ends_itself_and_nothing_else() {
    for source in ROGUES {
        attack(
            source,
            "",
            &[
                (
                    "/exit?ok=1",
                    500,
                    End::Clean,
                    fault("exit", "exited with code 0"),
                ),
                (
                    "/exit?ok=0",
                    500,
                    End::Clean,
                    fault("exit", "exited with code 1"),
                ),
                ("/abort", 500, End::Clean, UNREACHABLE),
            ],
        )
        .await;
    }
    attack(
        PROBES[0],
        "",
        &[
            ("/panic", 500, End::Clean, UNREACHABLE),
            (
                "/exit?code=255",
                500,
                End::Clean,
                fault("exit", "exited with code 1"),
            ),
        ],
    )
    .await;
}
