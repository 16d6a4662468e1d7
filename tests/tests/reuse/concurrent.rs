//! Instances that serve several requests at once: what is told of each, and what they have in common.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body_util::BodyExt;
use runner_host::caps;
use runner_tests::{App, End, Fault, Oracle, Protocol, Server};

use crate::host::{Host, Told, whole};

const CONCURRENT: &str = "instance_reuse = \"concurrent\"";

async fn host() -> Host {
    Host::of("probe3", CONCURRENT).await
}

/// Has each of `targets` be asked, one after the other, and all be under way at once; then waits for all.
async fn all(host: &Host, targets: &[String]) -> Vec<(u16, String)> {
    let asked = targets.iter().map(|target| Box::pin(host.get(target)));
    let mut asked: Vec<_> = asked.map(|asked| (asked, None)).collect();
    let mut nobody = Context::from_waker(Waker::noop());
    for (asked, answer) in &mut asked {
        *answer = ready(asked.as_mut().poll(&mut nobody));
        under_way().await;
    }
    std::future::poll_fn(|cx| {
        for (asked, answer) in &mut asked {
            if answer.is_none() {
                *answer = ready(asked.as_mut().poll(cx));
            }
        }
        match asked.iter().all(|(_, answer)| answer.is_some()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    asked.into_iter().filter_map(|(_, answer)| answer).collect()
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The other tasks of this thread have done what they can.
async fn under_way() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn e28_one_instance_serves_so_many_requests_at_once() {
    let host = host().await;
    let sleep = "/sleep?ms=300".to_owned();
    for (requests, instances) in [(caps::CREW_COMPANY, 1), (caps::CREW_COMPANY * 2, 2)] {
        let targets = vec![sleep.clone(); requests];
        let mut asked = pin!(all(&host, &targets));
        let mut most = 0;
        let answers = std::future::poll_fn(|cx| {
            let answers = asked.as_mut().poll(cx);
            most = most.max(host.engine.instances());
            answers
        })
        .await;
        assert_eq!(answers, vec![(200, "slept\n".to_owned()); requests]);
        assert!(most <= instances, "{most} for {requests}");
    }
}

#[tokio::test]
async fn a_line_and_a_denial_are_those_of_the_request_whose_task_calls() {
    let host = host().await;
    let targets = [
        "/stdout?text=one&n=3&ms=100",
        "/stdout?text=two&n=3&ms=100",
        "/fetch?url=http://denied.test/&n=2",
        "/sleep?ms=100",
        "/fetch?url=http://denied-too.test/",
        "/stdout?text=three&n=2&ms=100",
    ];
    let targets = targets.map(str::to_owned);
    assert_eq!(host.counter().await, "1");
    host.told();
    let answers = all(&host, &targets).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let told = |line: &str, lines, denied, counted| Told {
        lines: vec![line.to_owned(); lines],
        denied,
        counted,
    };
    let mut all_told = host.told();
    all_told.sort_by_key(|told| format!("{told:?}"));
    assert_eq!(
        all_told,
        [
            told("one", 3, 0, 0),
            told("three", 2, 0, 0),
            told("two", 3, 0, 0),
            told("", 0, 0, 0),
            told("", 0, 1, 1),
            told("", 0, 1, 2),
        ]
    );
    assert_eq!(host.engine.instances(), 1, "one has served them all");
}

#[tokio::test]
async fn calls_of_all_requests_of_an_instance_share_its_slots() {
    let limits = format!("{CONCURRENT}\noutbound_concurrency = 2");
    let lines =
        format!("allowed_outbound_hosts = [\"http://self\"]\n[component.guest.limits]\n{limits}\n");
    let host = Host::with("probe3", &lines).await;
    let targets = vec!["/fetch?url=/sleep%3Fms%3D300".to_owned(); 3];
    let answers = all(&host, &targets).await;
    let limited = answers
        .iter()
        .filter(|(_, body)| body.contains("connection-limit-reached"));
    assert_eq!(limited.count(), 1, "{answers:?}");
}

#[tokio::test]
async fn what_goes_wrong_in_an_instance_goes_wrong_for_all_it_serves_and_no_other() {
    let host = Host::of("probe3", &format!("{CONCURRENT}\ncpu = \"100 ms\"")).await;
    for (bad, why) in [
        ("/trap", "wasm `unreachable` instruction executed"),
        ("/loop", "computed for 100ms"),
    ] {
        let targets = ["/sleep?ms=5000", bad].map(str::to_owned);
        for (status, body) in all(&host, &targets).await {
            assert_eq!(status, 500);
            assert!(body.contains(why), "{body}");
        }
        assert_eq!(host.get("/hello").await.0, 200);
        assert_eq!(host.counter().await, "1", "after {bad} there is another");
    }
}

#[tokio::test]
async fn a_response_whose_instance_fails_is_never_whole() {
    let host = host().await;
    let mut response = host.head("GET", "/sleep-after-head?ms=60000", "").await;
    let first = response.body_mut().frame().await;
    assert!(first.expect("a frame").is_ok());
    assert_eq!(host.get("/trap").await.0, 500);
    let next = response.body_mut().frame().await;
    assert!(next.expect("an end that is told").is_err());
}

#[tokio::test]
async fn one_that_a_request_has_left_serves_no_more_and_ends_when_it_is_done() {
    let host = host().await;
    assert_eq!(host.counter().await, "1");
    assert_eq!(host.counter().await, "2");
    let other = host.head("GET", "/sleep-after-head?ms=60000", "").await;
    // Its client goes away in the middle.
    let mut left = host.head("GET", "/big?bytes=10000000", "").await;
    let first = left.body_mut().frame().await;
    assert!(first.expect("a frame").is_ok());
    drop(left);
    under_way().await;
    assert_eq!(host.counter().await, "1", "of another instance");
    assert_eq!(host.engine.instances(), 2, "that of the other goes on");
    drop(other);
    under_way().await;
    assert_eq!(host.engine.instances(), 1);
}

#[tokio::test]
async fn a_request_that_nobody_takes_gets_an_instance_of_its_own() {
    let host = host().await;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut targets = vec!["/sleep?ms=2000&block=1".to_owned(); cores + 1];
    targets.push("/hello".to_owned());
    let asked = tokio::time::Instant::now();
    let mut asked_all = pin!(all(&host, &targets));
    let mut most = 0;
    std::future::poll_fn(|cx| {
        let done = asked_all.as_mut().poll(cx).map(drop);
        most = most.max(host.engine.instances());
        done
    })
    .await;
    assert_eq!(most, cores as u64 + 2);
    // One after the other they would have taken as much longer.
    assert!(asked.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn an_instance_serves_a_thousand_requests_and_waits_for_ten_seconds() {
    let host = host().await;
    for n in 1..=caps::REQUESTS_PER_INSTANCE {
        assert_eq!(host.counter().await, n.to_string());
    }
    assert_eq!(host.counter().await, "1");
    under_way().await;
    assert_eq!(host.engine.instances(), 1);
    tokio::time::pause();
    tokio::time::advance(caps::IDLE + Duration::from_millis(1)).await;
    while host.engine.instances() > 0 {
        tokio::task::yield_now().await;
    }
}

/// The universal oracle, while instances serve several at once.
#[tokio::test]
async fn what_serves_several_is_stopped_and_told_of_like_any_other() {
    let limits = "limits = { instance_reuse = \"concurrent\", cpu = \"100 ms\" }";
    let oracle = Oracle::start("guest:probe3", limits).await;
    let fault = |reason, message| Fault { reason, message };
    let trap = "trapped: wasm trap: wasm `unreachable` instruction executed";
    for protocol in Protocol::BOTH {
        for (path, status, end, fault) in [
            ("/trap", 500, End::Clean, fault("trap", trap)),
            ("/trap-after-head", 200, End::Cut, fault("trap", trap)),
            ("/loop", 504, End::Clean, fault("cpu", "computed for 100ms")),
        ] {
            oracle.answers(protocol, "/counter", "1").await;
            oracle.answers(protocol, "/counter", "2").await;
            oracle.fails(protocol, path, status, end, fault).await;
        }
    }
    oracle.over().await;
}

#[tokio::test]
async fn bodies_go_both_ways_while_others_are_served() {
    let app = App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n\
         [component.guest]\nsource = \"guest:probe3\"\nlimits = {{ {CONCURRENT} }}\n"
    ));
    let server = Server::start(&app, &[]).await;
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..32u8 {
        let mut connection = server.connect().await;
        clients.spawn(async move {
            for round in 0..20u8 {
                let body = vec![n.wrapping_add(round); 10_000 * usize::from(round)];
                let request = http::Request::post("/echo").header("host", "story.test");
                let request = request.body(body.clone().into()).expect("a request");
                let reply = connection.send(request).await;
                assert_eq!(reply.body.as_bytes(), body, "{n} {round}");
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.expect("all are answered");
    }
}

#[tokio::test]
async fn who_leaves_again_and_again_holds_nobody_up() {
    let host = host().await;
    for _ in 0..100 {
        let mut response = host.head("GET", "/big?bytes=1000000", "").await;
        let first = response.body_mut().frame().await;
        assert!(first.expect("a frame").is_ok());
        drop(response);
        assert_eq!(whole(host.head("GET", "/hello", "").await).await.0, 200);
    }
    under_way().await;
    assert!(host.engine.instances() <= 2);
}
