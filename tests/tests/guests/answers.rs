//! Answers that are none, that come twice, or that break off.

use runner_tests::{End, Fault};

use crate::{PROBES, UNREACHABLE, attack, fault};

/// An end of a body whose guest said nothing of why.
const UNFINISHED: Fault = fault("unfinished", "did not finish its response");

#[tokio::test]
async fn e8_a_trap_before_the_response_is_a_500_and_after_it_never_a_clean_end() {
    for source in PROBES {
        attack(
            source,
            "",
            &[
                ("/trap", 500, End::Clean, UNREACHABLE),
                ("/trap-after-head", 200, End::Cut, UNREACHABLE),
                ("/trap-after-head?bytes=1048576", 200, End::Cut, UNREACHABLE),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn e8_a_body_of_another_length_than_was_announced_is_cut() {
    let too_long = fault(
        "not_http",
        "answered with a body that is longer than its `content-length`",
    );
    // What is too long is seen by the engine's own streams in 0.3.
    for (source, too_long) in [(PROBES[0], too_long), (PROBES[1], UNFINISHED)] {
        let (short, long) = (
            "/status?header=content-length:10&body=short",
            "/status?header=content-length:4&body=longer",
        );
        attack(
            source,
            "",
            &[
                (short, 200, End::Cut, UNFINISHED),
                (long, 200, End::Cut, too_long),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn e10_of_two_answers_the_first_is_given() {
    attack(
        "guest:rogue",
        "",
        &[
            (
                "/set-twice",
                200,
                End::Cut,
                fault("trap", "failed: unknown handle index 2"),
            ),
            ("/set-and-trap", 200, End::Cut, UNREACHABLE),
        ],
    )
    .await;
}

#[tokio::test]
async fn e11_a_body_that_is_not_finished_or_written_to_after_its_end_is_cut() {
    attack(
        "guest:rogue",
        "",
        &[(
            "/finish-and-write",
            200,
            End::Cut,
            fault("trap", "failed: resource has children"),
        )],
    )
    .await;
    for source in PROBES {
        attack(source, "", &[("/unfinished", 200, End::Cut, UNFINISHED)]).await;
    }
}

#[tokio::test]
async fn e17_who_writes_more_than_there_is_room_for_is_stopped() {
    attack(
        "guest:rogue",
        "",
        &[(
            "/overwrite",
            200,
            End::Cut,
            fault("trap", "failed: write exceeded budget"),
        )],
    )
    .await;
}
