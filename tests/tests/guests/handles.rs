//! Handles without end, and calls that hand over too much at once.

use runner_tests::{End, Fault, Oracle, Protocol};

use crate::{Attack, ROGUES, attack, fault};

const NO_HANDLES: Fault = fault("handles", "held 10000 resources, and asked for one more");
const FUEL: Fault = fault("hostcall_fuel", "handed more than 16 MiB over in one call");

/// What ends in a 500.
const fn fails(path: &'static str, fault: Fault) -> Attack {
    (path, 500, End::Clean, fault)
}

#[tokio::test]
async fn e16_what_is_too_large_for_one_call_is_not_copied() {
    let both = [
        fails("/huge-value?bytes=33554432", FUEL),
        fails(
            "/huge-value?bytes=4294967295",
            fault(
                "trap",
                "failed: list pointer/length out of bounds of memory",
            ),
        ),
    ];
    for source in ROGUES {
        attack(source, "", &both).await;
    }
    let read = fault("trap", "failed: read pointer out of bounds of memory");
    attack(
        "guest:rogue3",
        "",
        &[fails("/huge-read?bytes=268435455", read)],
    )
    .await;
}

#[tokio::test]
async fn e16_a_large_buffer_is_read_into_as_far_as_there_is_something_to_read() {
    let oracle = Oracle::start("guest:rogue3", "").await;
    let room = 48 << 20;
    oracle.server().forget_peak_memory();
    let before = oracle.server().peak_memory();
    for protocol in Protocol::BOTH {
        let path = format!("/huge-read?bytes={room}");
        oracle.answers(protocol, &path, "{\"read\":1}").await;
    }
    let took = oracle.server().peak_memory() - before;
    assert!(took < 2 * room, "the guest's own buffer: {took}");
    oracle.over().await;
}

#[tokio::test]
async fn e20_ten_thousand_handles_are_the_most() {
    for source in ROGUES {
        let both = [
            fails("/leak?what=fields", NO_HANDLES),
            fails("/leak?what=options", NO_HANDLES),
        ];
        attack(source, "", &both).await;
    }
    attack(
        "guest:rogue",
        "",
        &[
            fails("/leak?what=pollables", NO_HANDLES),
            fails("/leak?what=requests", NO_HANDLES),
        ],
    )
    .await;
}

const TOO_MUCH: Fault = fault(
    "oom",
    "failed: its handles hold more than it may have; it had been refused more memory than its 128 MiB",
);

#[tokio::test]
async fn e20_what_the_host_holds_for_handles_is_a_part_of_the_memory() {
    for (source, kinds) in [
        ("guest:rogue", &["fat", "copies", "methods", "bodies"][..]),
        ("guest:rogue3", &["fat", "copies"]),
    ] {
        // However slow the machine is, it is memory that it has too little of.
        let oracle = Oracle::start(source, "limits = { cpu = \"20 s\" }").await;
        for what in kinds {
            oracle.server().forget_peak_memory();
            let before = oracle.server().peak_memory();
            let some = format!("/leak?what={what}&n=50");
            let path = format!("/leak?what={what}");
            for protocol in Protocol::BOTH {
                oracle.answers(protocol, &some, "{\"got\":50}").await;
                oracle
                    .fails(protocol, &path, 500, End::Clean, TOO_MUCH)
                    .await;
            }
            // The kernel's count of what is resident is exact to some pages of each thread.
            let took = oracle.server().peak_memory().saturating_sub(before);
            assert!(took < 400 << 20, "{source} {what}: {took}");
        }
        oracle.over().await;
    }
}

#[tokio::test]
async fn e20_what_nobody_asks_for_is_kept_short_or_counted() {
    let files =
        "files = [{ source = \"one\", destination = \"/one\" }]\nlimits = { cpu = \"20 s\" }";
    let app = Oracle::app("guest:rogue3", files);
    app.file("one/a.txt", "a");
    let oracle = Oracle::serve(app).await;
    oracle.server().forget_peak_memory();
    let before = oracle.server().peak_memory();
    // The texts are 900 MB together.
    let path = "/hoard?what=errors&n=1000";
    oracle
        .answers(Protocol::Http1, path, "{\"got\":1000}")
        .await;
    oracle
        .fails(
            Protocol::Http1,
            "/hoard?what=methods",
            500,
            End::Clean,
            TOO_MUCH,
        )
        .await;
    let took = oracle.server().peak_memory().saturating_sub(before);
    assert!(took < 400 << 20, "{took}");
    oracle.over().await;
}

#[tokio::test]
async fn e21_a_poll_has_an_end_and_waits_for_what_there_is() {
    let oracle = Oracle::start("guest:rogue", "").await;
    for protocol in Protocol::BOTH {
        for (path, _, _, fault) in [
            fails("/poll?what=none", fault("trap", "failed: empty poll list")),
            fails(
                "/poll?what=dropped",
                fault("trap", "failed: unknown handle index 3"),
            ),
            fails("/poll?what=many&n=100000", NO_HANDLES),
        ] {
            oracle.fails(protocol, path, 500, End::Clean, fault).await;
        }
        let path = "/poll?what=many&n=5000";
        oracle.answers(protocol, path, "{\"ready\":5000}").await;
    }
    oracle.over().await;
}

#[tokio::test]
async fn e26_tasks_streams_futures_and_sets_are_handles_too() {
    attack(
        "guest:rogue3",
        "",
        &[
            fails("/leak?what=tasks", NO_HANDLES),
            fails("/leak?what=streams", NO_HANDLES),
            fails("/leak?what=futures", NO_HANDLES),
            fails("/leak?what=sets", NO_HANDLES),
        ],
    )
    .await;
}

#[tokio::test]
async fn e26_ten_thousand_of_them_are_the_most() {
    let oracle = Oracle::start("guest:rogue3", "").await;
    for what in ["tasks", "sets"] {
        let some = format!("/leak?what={what}&n=9000");
        oracle
            .answers(Protocol::Http1, &some, "{\"got\":9000}")
            .await;
        let path = format!("/leak?what={what}&n=10001");
        oracle
            .fails(Protocol::Http1, &path, 500, End::Clean, NO_HANDLES)
            .await;
    }
    oracle.over().await;
}
