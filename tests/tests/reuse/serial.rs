//! Instances that serve one request after the other: what goes on from one to the next, and what never does.

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Full};
use runner_host::{Body, CacheDir, EngineOptions, caps};
use runner_tests::{App, End, Fault, Oracle, Protocol, Server, guest};
use rustix::process::Signal;

use crate::host::{Host, Told, whole};

const SERIAL: &str = "instance_reuse = \"serial\"";

/// Both versions of `wasi:http`.
const PROBES: [&str; 2] = ["probe", "probe3"];

#[tokio::test]
async fn e28_a_fresh_instance_is_the_default_and_one_that_serves_again_is_asked_for() {
    for name in PROBES {
        for (lines, counts) in [
            ("", ["1", "1", "1"]),
            ("limits = { instance_reuse = \"never\" }", ["1", "1", "1"]),
            ("limits = { instance_reuse = \"serial\" }", ["1", "2", "3"]),
        ] {
            let app = App::new(&format!(
                "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
                 [[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n\
                 [component.guest]\nsource = \"guest:{name}\"\n{lines}\n"
            ));
            let server = Server::start(&app, &[]).await;
            let mut connection = server.connect().await;
            for count in counts {
                let body = connection.get("/counter").await.body;
                assert_eq!(body, count, "{name} {lines}");
            }
        }
    }
}

/// The universal oracle, while instances serve again: a neighbour is answered, faults are told and counted, nothing stays.
#[tokio::test]
async fn what_serves_again_is_stopped_and_told_of_like_any_other() {
    let limits = "limits = { instance_reuse = \"serial\", cpu = \"100 ms\" }";
    let oracle = Oracle::start("guest:probe", limits).await;
    let fault = |reason, message| Fault { reason, message };
    let trap = "trapped: wasm trap: wasm `unreachable` instruction executed";
    for protocol in Protocol::BOTH {
        for (path, status, end, fault) in [
            ("/trap", 500, End::Clean, fault("trap", trap)),
            ("/trap-after-head", 200, End::Cut, fault("trap", trap)),
        ] {
            oracle.answers(protocol, "/counter", "1").await;
            oracle.answers(protocol, "/counter", "2").await;
            oracle.fails(protocol, path, status, end, fault).await;
        }
        oracle.answers(protocol, "/counter", "1").await;
        oracle
            .fails(protocol, "/trap", 500, End::Clean, fault("trap", trap))
            .await;
    }
    oracle.over().await;
}

/// An app for one host, with two components of the same code, one of which only the other reaches.
fn two(name: &str) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n\
         [application]\nname = \"{name}\"\nlimits = {{ {SERIAL} }}\n\
         [application.trigger.http]\nhost = \"{name}.test\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = \"guest:probe\"\n\
         allowed_outbound_hosts = [\"http://inner.spin.internal\"]\n\
         [[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"inner\"\n\
         [component.inner]\nsource = \"guest:probe\"\n"
    ))
}

async fn ask(server: &Server, host: &str, path: &str) -> String {
    let request = Request::get(path).header("host", host);
    let request = request.body(Full::default()).expect("a request");
    server.connect().await.send(request).await.body
}

#[tokio::test]
async fn e28_no_other_component_app_or_load_of_it_is_served_by_an_instance() {
    let inner = "/proxy?url=http://inner.spin.internal/counter";
    let (one, other) = (two("one"), two("two"));
    let folders = [&one, &other].map(|app| app.path().display().to_string());
    let server = Server::start(&one, &[&folders[0], &folders[1]]).await;
    for host in ["one.test", "two.test"] {
        for path in ["/counter", inner] {
            assert_eq!(ask(&server, host, path).await, "1", "{host} {path}");
        }
    }
    for host in ["one.test", "two.test"] {
        for path in ["/counter", inner] {
            // Its client may have the answer before the instance is back, and then a fresh one serves the next.
            let again = async { while ask(&server, host, path).await != "2" {} };
            let waited = tokio::time::timeout(Duration::from_secs(20), again).await;
            waited.expect("an instance serves again");
        }
    }
    one.write(&format!("# changed\n{}", one.text()));
    server.signal(Signal::HUP);
    server
        .logged(|line| line["event"] == "reloaded" && line["app"] == "one")
        .await;
    for path in ["/counter", inner] {
        assert_eq!(ask(&server, "one.test", path).await, "1", "{path}");
    }
}

#[tokio::test]
async fn who_has_served_well_serves_again_whatever_it_did() {
    for name in PROBES {
        let host = Host::of(name, SERIAL).await;
        let mut served = 0;
        for (method, target, body) in [
            ("GET", "/hello", ""),
            ("HEAD", "/hello", ""),
            ("POST", "/echo", "a body"),
            ("POST", "/hello", "a body that nobody reads"),
            ("GET", "/big?bytes=1000000", ""),
            ("GET", "/status?code=204", ""),
            ("GET", "/env", ""),
            ("GET", "/headers", ""),
            ("GET", "/fetch?url=http://denied.test/", ""),
            ("GET", "/sleep?ms=1", ""),
            ("GET", "/stdout", ""),
            ("GET", "/files", ""),
        ] {
            let response = host.head(method, target, body).await;
            let response = match method {
                "HEAD" => response.map(Body::detach),
                _ => response,
            };
            whole(response).await;
            // What it still does then it does on a task of its own, which needs a few turns and waits for nobody.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            served += 1;
            assert_eq!(host.counter().await, served.to_string(), "{name} {target}");
        }
    }
}

#[tokio::test]
async fn who_has_not_served_well_never_serves_again() {
    let bad = [
        "/error",
        "/trap",
        "/loop",
        "/trap-after-head",
        "/loop-after-head",
        "/unfinished",
        "/sleep?ms=600000",
    ];
    let only_02 = [
        "/no-response",
        "/exit",
        "/panic",
        "/recurse",
        "/memory?bytes=500000000",
    ];
    for (name, paths) in [
        ("probe", [&bad[..], &only_02].concat()),
        ("probe3", bad.to_vec()),
    ] {
        let limits = format!("{SERIAL}\ncpu = \"100 ms\"\nrequest_timeout = \"500 ms\"");
        let host = Host::of(name, &limits).await;
        for path in paths {
            assert_eq!(host.counter().await, "1", "{name} {path}");
            assert_eq!(host.counter().await, "2", "{name} {path}");
            let answer = host.get(path).await;
            assert_eq!(host.counter().await, "1", "{name} {path}: {answer:?}");
            // Its client goes away in the middle.
            let mut response = host.head("GET", "/big?bytes=10000000", "").await;
            let first = response.body_mut().frame().await;
            assert!(first.expect("a frame").is_ok());
            drop(response);
        }
    }
}

#[tokio::test]
async fn who_keeps_something_of_its_request_never_serves_again() {
    for (name, leaks) in [
        ("rogue", &["fields", "options", "pollables", "requests"][..]),
        (
            "rogue3",
            &["fields", "options", "streams", "futures", "sets"],
        ),
    ] {
        let host = Host::of(name, SERIAL).await;
        for what in leaks {
            host.get("/about").await;
            assert_eq!(host.engine.instances(), 1, "{name}: one waits");
            let (status, body) = host.get(&format!("/leak?what={what}&n=3")).await;
            assert_eq!((status, &*body), (200, "{\"got\":3}"), "{name}");
            assert_eq!(host.engine.instances(), 0, "{name} {what}");
        }
    }
}

#[tokio::test]
async fn a_line_and_a_denial_are_those_of_the_request_that_is_served() {
    let host = Host::of("probe", SERIAL).await;
    for target in [
        "/stdout?text=one",
        "/stderr?text=two&newline=0",
        "/fetch?url=http://denied.test/&n=2",
        "/hello",
        "/stdout?text=three",
        "/fetch?url=http://denied-too.test/",
    ] {
        host.get(target).await;
    }
    let told = |lines: &[&str], denied, counted| Told {
        lines: lines.iter().map(ToString::to_string).collect(),
        denied,
        counted,
    };
    assert_eq!(
        host.told(),
        [
            told(&["one"], 0, 0),
            told(&["two"], 0, 0),
            told(&[], 1, 2),
            told(&[], 0, 0),
            told(&["three"], 0, 0),
            told(&[], 1, 1),
        ]
    );
    assert_eq!(host.counter().await, "1");
    assert_eq!(host.engine.instances(), 1, "one has served them all");
}

#[tokio::test]
async fn what_it_may_compute_is_a_requests_and_its_memory_is_its_own() {
    let host = Host::of(
        "probe",
        &format!("{SERIAL}\ncpu = \"500 ms\"\nmemory = \"64 MiB\""),
    )
    .await;
    for n in 1..=100 {
        assert_eq!(
            host.get("/memory?bytes=40000000").await.1,
            "{\"got\":40000000}"
        );
        assert_eq!(host.counter().await, n.to_string());
    }
    let more = "/memory?bytes=70000000";
    assert_eq!(host.get(more).await.1, "{\"refused\":70000000}");
    assert_eq!(host.counter().await, "1", "it was refused something");
}

#[tokio::test]
async fn an_instance_serves_a_thousand_requests() {
    let host = Host::of("probe", SERIAL).await;
    for n in 1..=caps::REQUESTS_PER_INSTANCE {
        assert_eq!(host.counter().await, n.to_string());
    }
    assert_eq!(host.engine.instances(), 0);
    assert_eq!(host.counter().await, "1");
}

#[tokio::test]
async fn as_many_instances_of_a_component_wait_as_may_and_ten_seconds_at_most() {
    let host = Host::of("probe", SERIAL).await;
    let mut at_once = Vec::new();
    for n in 1..=caps::IDLE_PER_COMPONENT as u64 + 2 {
        at_once.push(host.head("GET", "/big?bytes=10000000", "").await);
        assert_eq!(host.engine.instances(), n);
    }
    for response in at_once {
        whole(response).await;
    }
    assert_eq!(host.engine.instances(), caps::IDLE_PER_COMPONENT as u64);
    tokio::time::pause();
    // One is asked, and waits for as long again.
    tokio::time::advance(caps::IDLE - Duration::from_secs(1)).await;
    assert_eq!(host.counter().await, "1");
    tokio::time::advance(Duration::from_secs(2)).await;
    while host.engine.instances() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.counter().await, "2");
    tokio::time::advance(caps::IDLE + Duration::from_millis(1)).await;
    while host.engine.instances() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.counter().await, "1");
}

#[tokio::test]
async fn all_components_together_have_as_many_as_may_wait() {
    let cache = tempfile::tempdir().expect("a folder");
    let components = caps::IDLE_INSTANCES / caps::IDLE_PER_COMPONENT + 1;
    let mut manifest = format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\nlimits = {{ {SERIAL} }}\n"
    );
    let source = guest("probe");
    for n in 0..components {
        manifest += &format!(
            "[[trigger.http]]\nroute = \"/{n}/...\"\ncomponent = \"c{n}\"\n\
             [component.c{n}]\nsource = \"{}\"\n",
            source.display()
        );
    }
    let options = EngineOptions {
        cache: CacheDir::Chosen(cache.path().join("cache")),
        ..EngineOptions::default()
    };
    let host = Host::serving(&manifest, options).await;
    let mut at_once = Vec::new();
    for n in 0..components {
        for _ in 0..caps::IDLE_PER_COMPONENT {
            at_once.push(host.head("GET", &format!("/{n}/hello"), "").await);
        }
    }
    for response in at_once {
        whole(response).await;
    }
    assert_eq!(host.engine.instances(), caps::IDLE_INSTANCES as u64);
    drop(host.app);
    assert_eq!(host.engine.instances(), 0, "they go with their app");
}

#[tokio::test]
async fn an_operator_can_forbid_it() {
    let app = App::probe("[component.probe.limits]\ninstance_reuse = \"serial\"");
    app.file("runner.toml", "[ceilings]\ninstance_reuse = \"never\"\n");
    let config = app.path().join("runner.toml");
    let config = config.to_str().expect("text");
    let Err(stopped) = Server::try_start(&app, &["--config", config]).await else {
        panic!("it started")
    };
    let error = stopped.log.iter().find(|line| line["event"] == "error");
    let told = &error.expect("it says why")["diagnostics"][0];
    assert_eq!(
        (&told["code"], &told["message"]),
        (
            &"limit-above-ceiling".into(),
            &"`component.probe.limits.instance_reuse` is more than the operator allows".into()
        )
    );
}
