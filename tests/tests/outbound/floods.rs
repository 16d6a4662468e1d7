//! Guests that call without end: what each may take, and that nobody else notices.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use runner_tests::{Dns, Server, get};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::raw::{Raw, closed};
use crate::scene::{Scene, fetch, target};
use crate::upstream::{Gate, Upstream};

/// How many instances call at once, and how often each: ten thousand calls.
const INSTANCES: usize = 20;
const CALLS: &str = "500";

/// Descriptors that serving takes beside the calls: the clients' connections, and what comes and goes.
const BESIDE: usize = 64;

/// How long a story waits for what must happen. Only a story that fails ever waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often each outcome was had, over all instances.
type Tally = BTreeMap<String, u64>;

/// Lets all instances call `url`.
fn flood(server: &Server, url: &str, more: &[(&str, &str)]) -> JoinSet<Value> {
    let fixed = [
        ("url", url),
        ("n", CALLS),
        ("times", "1"),
        ("say", "all under way"),
    ];
    let parameters: Vec<_> = fixed.into_iter().chain(more.iter().copied()).collect();
    let url = format!("{}{}", server.url(), target(&parameters));
    let mut instances = JoinSet::new();
    for _ in 0..INSTANCES {
        let url = url.clone();
        instances.spawn(async move { get(&url).await.json() });
    }
    instances
}

/// Waits until every instance has begun all its calls.
async fn all_under_way(server: &Server) {
    let who = RefCell::new(BTreeSet::new());
    let last = |line: &Value| {
        if line["line"] == "all under way" {
            who.borrow_mut().insert(line["request"].to_string());
        }
        who.borrow().len() == INSTANCES
    };
    server.logged(last).await;
}

async fn tallies(instances: JoinSet<Value>) -> Tally {
    let mut sum = Tally::new();
    for tally in instances.join_all().await {
        for (outcome, count) in tally.as_object().expect("a tally") {
            *sum.entry(outcome.clone()).or_default() += count.as_u64().expect("a number");
        }
    }
    sum
}

fn tally<const N: usize>(outcomes: [(&str, u64); N]) -> Tally {
    outcomes
        .map(|(name, count)| (name.to_owned(), count))
        .into()
}

/// Waits until it has no more open than `baseline`. Each question is a request, so time passes between them.
async fn settled(server: &Server, baseline: usize, is_done: impl Fn() -> bool) {
    let settling = async {
        while !is_done() || server.descriptors() > baseline {
            assert_eq!(server.get("/hello").await.status, 200);
        }
    };
    let settled = tokio::time::timeout(PATIENCE, settling).await;
    let open = server.descriptors();
    settled.unwrap_or_else(|_| panic!("{open} are open, {baseline} were"));
}

/// What it has open when it does nothing.
async fn baseline(server: &Server) -> usize {
    assert_eq!(server.get("/hello").await.status, 200);
    server.descriptors()
}

#[tokio::test]
async fn c52_ten_thousand_denials_are_counted_and_told_a_few_times() {
    let scene = Scene::start(&["https://allowed.com"], Dns::start(&[]).await).await;
    let began = Instant::now();
    for server in scene.servers() {
        let instances = flood(server, "http://evil.com/", &[]);
        let expected = tally([("HTTP-request-denied", 10_000)]);
        assert_eq!(tallies(instances).await, expected);
    }
    assert_eq!(scene.dns.asked(), Vec::<String>::new());
    let log = scene.end().await;
    assert_eq!(log.sum("request", "denials"), 20_000);
    let told = log.count("denied") as u64;
    let windows = 2 + began.elapsed().as_secs() / 10;
    assert!((2..=windows).contains(&told), "{told} in {windows} windows");
    assert!(told + log.sum("denied", "folded") <= 20_000);
}

#[tokio::test]
async fn c53_of_ten_thousand_calls_at_once_256_are_under_way() {
    let gate = Gate::default();
    let upstream = Upstream::holding(gate.clone()).await;
    let scene = Scene::start(&[&upstream.url()], Dns::start(&[]).await).await;
    for server in scene.servers() {
        let before = baseline(server).await;
        let instances = flood(server, &upstream.url(), &[]);
        gate.arrived(256).await;
        all_under_way(server).await;
        assert_eq!(server.get("/hello").await.status, 200);
        let open = server.descriptors();
        assert!(open <= before + 256 + BESIDE, "{before}, and now {open}");
        gate.open(256);
        let expected = tally([("200", 256), ("connection-limit-reached", 9_744)]);
        assert_eq!(tallies(instances).await, expected);
        settled(server, before, || true).await;
    }
    assert_eq!(upstream.requests(), 512);
}

#[tokio::test]
async fn c53_a_black_hole_takes_no_more_than_256_sockets() {
    let hole = BlackHole::open().await;
    let scene = Scene::start(&[&hole.url], Dns::start(&[]).await).await;
    for server in scene.servers() {
        let before = baseline(server).await;
        let instances = flood(server, &hole.url, &[("connect", "2s")]);
        all_under_way(server).await;
        let open = server.descriptors();
        assert!(open <= before + 256 + BESIDE, "{before}, and now {open}");
        assert_eq!(server.get("/hello").await.status, 200);
        let tally = tallies(instances).await;
        let outcomes: Vec<_> = tally.keys().map(String::as_str).collect();
        assert_eq!(outcomes, ["connection-limit-reached", "connection-timeout"]);
        assert_eq!(tally.values().sum::<u64>(), 10_000);
        settled(server, before, || true).await;
    }
}

/// A listener that lets nobody in: its queue is full, so whoever knocks is not even refused.
struct BlackHole {
    url: String,
    _listener: TcpListener,
    _queue: JoinSet<std::io::Result<TcpStream>>,
}

impl BlackHole {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "the stories' own sockets, in a process of its own"
    )]
    async fn open() -> BlackHole {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let any = "127.0.0.1:0".parse().expect("an address");
        socket.bind(any).expect("a free port");
        let listener = socket.listen(0).expect("bound");
        let address = listener.local_addr().expect("bound");
        let mut queue = JoinSet::new();
        queue.spawn(TcpStream::connect(address));
        let first = queue.join_next().await.expect("one").expect("no panic");
        queue.spawn(async { first });
        // And one more, where a queue of none holds two.
        queue.spawn(TcpStream::connect(address));
        BlackHole {
            url: format!("http://{address}"),
            _listener: listener,
            _queue: queue,
        }
    }
}

#[tokio::test]
async fn c54_ten_thousand_calls_that_are_let_go_of_leave_nothing() {
    let upstream = Raw::start(|mut stream, _| async move { closed(&mut stream).await }).await;
    let scene = Scene::start(&[&upstream.url()], Dns::start(&[]).await).await;
    for server in scene.servers() {
        let before = baseline(server).await;
        // At once; and after as long as a connection takes.
        for (n, times, hold) in [("1", "950", "0"), ("10", "5", "1ms")] {
            for _ in 0..10 {
                let parameters = [
                    ("url", &*upstream.url()),
                    ("abandon", "1"),
                    ("n", n),
                    ("times", times),
                    ("hold", hold),
                ];
                let report = fetch(server, &parameters).await;
                let calls = n.parse::<u64>().expect("n") * times.parse::<u64>().expect("n");
                assert_eq!(report["abandoned"], calls, "{report}");
            }
        }
        settled(server, before, || upstream.open() == 0).await;
    }
    assert!(upstream.connections() > 0);
    assert_eq!(scene.end().await.count("failed"), 0);
}
