//! Calls inside the app: a component's name is a way out of a component like any other, and no way in for a client.

use runner_tests::{App, Dns, Http2, Server, Wire, raw, without_id};
use serde_json::Value;

use crate::scene::No::Denied;
use crate::scene::{Scene, fetch};

/// A second component, without a public route.
const BACK: &str = "[component.back]\nsource = \"guest:probe\"\n\
                    [[trigger.http]]\nroute = { private = true }\ncomponent = \"back\"";

async fn scene(rules: &[&str]) -> Scene {
    Scene::with(rules, BACK, Dns::start(&[]).await, &[]).await
}

/// What the callee read, from the report of its caller.
fn seen(report: &Value) -> Value {
    let body = report["body"].as_str();
    let body = body.unwrap_or_else(|| panic!("no body: {report}"));
    serde_json::from_str(body).expect("JSON")
}

/// What its caller read of an error of the runtime.
fn told(report: &Value) -> String {
    without_id(report["body"].as_str().unwrap_or_default())
}

/// Nobody ran but the caller, and no name was asked for.
async fn nothing_left(scene: Scene) {
    assert_eq!(scene.dns.asked(), Vec::<String>::new());
    let log = scene.end().await;
    assert_eq!(log.dialled(), Vec::<&str>::new());
    assert_eq!(log.inside(), Vec::<&Value>::new());
    assert_eq!(log.count("failed"), 0);
}

#[tokio::test]
async fn c21_a_request_without_an_authority_is_the_apps_own_and_needs_self() {
    let host = [("url", "/headers"), ("header", "Host:evil.com")];
    let without = scene(&["https://allowed.com", "http://back.spin.internal"]).await;
    for parameters in [&host[..1], &[("url", "//evil.com/")]] {
        for report in without.fetch(parameters).await {
            assert_eq!(report["error"], "HTTP-request-denied", "{report}");
        }
    }
    for report in without.fetch(&host).await {
        assert_eq!(report["at"], "header", "{report}");
    }
    let (code, block) = without.explain("/headers").await;
    assert_eq!(code, 1);
    for server in without.servers() {
        let line = server.logged(|line| line["event"] == "denied").await;
        assert_eq!(line["text"].as_str(), block.strip_suffix('\n'));
    }
    nothing_left(without).await;

    let granted = scene(&["http://self"]).await;
    for report in granted.fetch(&host).await {
        assert_eq!(report["at"], "header", "{report}");
    }
    for report in granted.fetch(&host[..1]).await {
        assert_eq!(seen(&report)["authority"], "self", "{report}");
    }
    assert_eq!(granted.dns.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn c31_no_client_reaches_a_component_by_its_name() {
    let scene = scene(&["http://*.spin.internal"]).await;
    let host = "Host: back.spin.internal";
    for server in scene.servers() {
        let address = server.address();
        for head in [
            format!("GET /hello HTTP/1.1\r\n{host}"),
            "GET /hello HTTP/1.1\r\nHost: BACK.Spin.Internal.".to_owned(),
            "GET /hello HTTP/1.1\r\nHost: back.spin.internal:80".to_owned(),
            format!("GET http://back.spin.internal/hello HTTP/1.1\r\n{host}"),
            format!("GET http://back.spin.internal/hello HTTP/1.1\r\nHost: {address}"),
            format!("GET http://{address}/hello HTTP/1.1\r\n{host}"),
        ] {
            let request = format!("{head}\r\nConnection: close\r\n\r\n");
            let answer = raw(address, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{head}: {answer}");
        }
        let mut http2 = Http2::open(address).await;
        for authority in ["back.spin.internal", "BACK.spin.internal:80"] {
            let status = http2.try_get_of(authority, "/hello").await;
            assert_eq!(status.expect("an answer"), 404, "{authority}");
        }
    }
    nothing_left(scene).await;
}

#[tokio::test]
async fn c32_a_component_is_called_by_whom_it_was_granted_to_under_one_name() {
    let names = [
        ("http", "back.spin.internal", "/hello"),
        ("HTTP", "BACK.SPIN.INTERNAL.", "/hello"),
        ("https", "back.spin.internal", "/hello"),
    ];
    let ports = ["back.spin.internal:8080", "back.spin.internal:443"];
    for rules in [
        &[][..],
        &["http://probe.spin.internal"],
        &["http://self", "https://*:*", "http://*.internal:*"],
    ] {
        let scene = scene(rules).await;
        for name in names {
            scene.denies(name, [Denied, Denied]).await;
        }
        for authority in ports {
            scene
                .denies(("http", authority, "/hello"), [Denied, Denied])
                .await;
        }
        nothing_left(scene).await;
    }
    let scene = scene(&["http://back.spin.internal"]).await;
    for (scheme, authority, path) in names {
        let parts = [("scheme", scheme), ("authority", authority), ("path", path)];
        for report in scene.fetch(&parts).await {
            assert_eq!(
                report["body"], "hello from probe\n",
                "{authority}: {report}"
            );
        }
    }
    for authority in ports
        .into_iter()
        .chain(["a.back.spin.internal", "spin.internal"])
    {
        scene
            .denies(("http", authority, "/hello"), [Denied, Denied])
            .await;
    }
    assert_eq!(scene.dns.asked(), Vec::<String>::new());
    assert_eq!(scene.end().await.dialled(), Vec::<&str>::new());
}

#[tokio::test]
async fn c33_a_component_that_is_not_there_is_not_found_and_nothing_else() {
    let scene = scene(&["http://*.spin.internal"]).await;
    for name in ["nobody", "back-2", "b", "spin"] {
        let url = format!("http://{name}.spin.internal/hello");
        for report in scene.fetch(&[("url", &url)]).await {
            assert_eq!(
                (&report["status"], told(&report)),
                (&404.into(), "Not Found".to_owned()),
                "{url}: {report}"
            );
        }
    }
    for server in scene.servers() {
        assert_eq!(server.get("/hello").await.status, 200);
    }
    assert_eq!(scene.dns.asked(), Vec::<String>::new());
    let log = scene.end().await;
    assert_eq!((log.dialled().len(), log.count("failed")), (0, 0));
}

#[tokio::test]
async fn c34_an_empty_list_grants_nothing_inside_either() {
    let scene = scene(&[]).await;
    for (scheme, authority) in [
        ("http", "self"),
        ("https", "self"),
        ("http", "back.spin.internal"),
        ("http", "probe.spin.internal"),
    ] {
        scene
            .denies((scheme, authority, "/hello"), [Denied, Denied])
            .await;
    }
    for report in scene.fetch(&[("url", "/hello")]).await {
        assert_eq!(report["error"], "HTTP-request-denied", "{report}");
    }
    nothing_left(scene).await;
}

#[tokio::test]
async fn c35_self_is_the_public_routes_and_no_more() {
    for guest in ["probe", "probe3"] {
        let app = App::new(&format!(
            "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
             [[trigger.http]]\nroute = \"/fetch\"\ncomponent = \"front\"\n\
             [component.front]\nsource = \"guest:{guest}\"\nallowed_outbound_hosts = [\"http://self\"]\n{BACK}\n"
        ));
        let server = Server::start(&app, &["-vv"]).await;
        for path in ["/hello", "/back/hello", "/back", "/"] {
            for url in [path.to_owned(), format!("http://self{path}")] {
                let report = fetch(&server, &[("url", &url)]).await;
                assert_eq!(
                    (&report["status"], told(&report)),
                    (&404.into(), "Not Found".to_owned()),
                    "{guest} {url}: {report}"
                );
            }
        }
        let report = fetch(&server, &[("url", "http://back.spin.internal/hello")]).await;
        assert_eq!(report["error"], "HTTP-request-denied", "{guest}: {report}");
        let back = |line: &Value| line["event"] == "request" && line["component"] == "back";
        assert!(!server.stop().await.log.iter().any(back));
    }
}

#[tokio::test]
async fn c55_a_caller_inside_is_told_of_by_the_host_alone() {
    let scene = scene(&["http://back.spin.internal"]).await;
    let claims = [
        "x-forwarded-for",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        "X_Forwarded_For",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "spin-client-addr",
        "Spin_Client_Addr",
        "spin-full-url",
        "spin-path-info",
        "spin-matched-route",
        "spin-path-match-id",
        "traceparent",
        "tracestate",
    ]
    .map(|name| format!("{name}:6.6.6.6"));
    let mut parameters = vec![("url", "http://back.spin.internal/headers")];
    parameters.extend(claims.iter().map(|claim| ("header", claim.as_str())));
    parameters.push(("header", "x-mine:kept"));
    for report in scene.fetch(&parameters).await {
        let seen = seen(&report)["headers"].to_string();
        assert!(!seen.contains("6.6.6.6"), "{seen}");
        assert!(seen.contains("[\"x-mine\",\"kept\"]"), "{seen}");
        assert!(
            seen.contains("[\"spin-client-addr\",\"0.0.0.0:0\"]"),
            "{seen}"
        );
    }
    // From outside it is a client's word, and a component may go on from it.
    for server in scene.servers() {
        let mut wire = Wire::open(server.address()).await;
        let head =
            "GET /headers HTTP/1.1\r\nhost: a\r\ntraceparent: 00-1\r\nconnection: close\r\n\r\n";
        wire.send(head.as_bytes()).await;
        let answer = wire.rest().await;
        assert!(answer.contains("[\"traceparent\",\"00-1\"]"), "{answer}");
    }
}
