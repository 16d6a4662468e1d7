//! How many calls of one instance may be under way.

use runner_tests::{Dns, Server};

use crate::scene::{Scene, fetch};
use crate::upstream::{Gate, Upstream};

#[tokio::test]
async fn the_third_of_two_calls_at_once_is_told_so() {
    let gate = Gate::default();
    let upstream = Upstream::holding(gate.clone()).await;
    let url = upstream.url();
    let limits = "[component.probe.limits]\noutbound_concurrency = 2";
    let scene = Scene::with(&[&url], limits, Dns::start(&[]).await, &[]).await;
    for server in scene.servers() {
        third_is_refused(server, &url, &gate).await;
    }
}

async fn third_is_refused(server: &Server, url: &str, gate: &Gate) {
    let parameters = [("url", url), ("n", "3")];
    let held = async {
        gate.arrived(2).await;
        gate.open(2);
    };
    let (reports, ()) = tokio::join!(fetch(server, &parameters), held);
    let reports = reports.as_array().expect("an array of reports");
    let answered = reports
        .iter()
        .filter(|report| report["status"] == 200)
        .count();
    let refused = reports
        .iter()
        .filter(|report| report["error"] == "connection-limit-reached")
        .count();
    assert_eq!((answered, refused), (2, 1), "{reports:?}");
    // And the slots come back.
    gate.open(1);
    let report = fetch(server, &[("url", url)]).await;
    assert_eq!(report["status"], 200, "{report}");
    gate.arrived(1).await;
}

#[tokio::test]
async fn however_many_calls_a_guest_makes_its_answer_is_heard() {
    let scene = Scene::start(&[], Dns::start(&[]).await).await;
    for server in scene.servers() {
        // Around 128 things that a task does in one turn, which not every try meets at the wrong moment.
        for calls in (110..=130).cycle().take(400) {
            let n = calls.to_string();
            let parameters = [("url", "http://evil.com"), ("n", &n), ("times", "1")];
            let tally = fetch(server, &parameters).await;
            assert_eq!(tally["HTTP-request-denied"], calls, "{tally}");
        }
    }
}
