//! Connections that are kept: whose they are.

use runner_tests::{App, Dns, Server};
use serde_json::Value;

use crate::scene::target;
use crate::upstream::{Authority, Upstream};

/// Component `a` behind `/fetch` and `b` behind `/proxy`, with the same rules.
fn app(rules: &[String]) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/fetch\"\ncomponent = \"a\"\n\
         [[trigger.http]]\nroute = \"/proxy\"\ncomponent = \"b\"\n\
         [component.a]\nsource = \"guest:probe\"\nallowed_outbound_hosts = {rules:?}\n\
         [component.b]\nsource = \"guest:probe3\"\nallowed_outbound_hosts = {rules:?}\n"
    ))
}

/// Has `a` or `b` call `url`.
async fn call(server: &Server, component: &str, url: &str) {
    let target = target(&[("url", url)]);
    match component {
        "a" => {
            let report: Value = server.get(&target).await.json();
            assert_eq!(report["status"], 200, "{report}");
        }
        _ => {
            let reply = server.get(&target.replace("/fetch", "/proxy")).await;
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    }
}

#[tokio::test]
async fn c42_two_components_never_meet_on_a_connection() {
    let upstream = Upstream::echoing(None).await;
    let server = Server::start(&app(&[upstream.url()]), &["-vv"]).await;
    let url = format!("{}/", upstream.url());
    for component in ["a", "b", "a", "b", "b", "a"] {
        call(&server, component, &url).await;
    }
    assert_eq!(upstream.requests(), 6);
    let peers = upstream.peers();
    assert_eq!(peers.len(), 2, "each keeps its own: {peers:?}");
    assert_ne!(peers[0].port(), peers[1].port());
}

#[tokio::test]
async fn c42_a_certificate_for_two_names_does_not_make_them_one() {
    let authority = Authority::new();
    let names = ["one.test", "two.test"];
    let upstream = Upstream::echoing(Some(authority.acceptor_of(&names, &["h2"]))).await;
    let port = upstream.port();
    let mut rules: Vec<_> = names.map(|name| format!("https://{name}:{port}")).into();
    rules.push(format!("https://127.0.0.1/32:{port}"));
    let here: &[&[&str]] = &[&["127.0.0.1"]];
    let dns = Dns::start(&names.map(|name| (name, here))).await;
    let (dns, ca) = (dns.address(), authority.file());
    let args = ["-vv", "--dns", &dns, "--ca-file", &ca];
    let server = Server::start(&app(&rules), &args).await;
    for (component, name, connections) in [
        ("a", "one.test", 1),
        ("a", "one.test", 1),
        ("a", "two.test", 2),
        ("b", "one.test", 3),
        ("b", "two.test", 4),
        ("a", "two.test", 4),
        ("b", "two.test", 4),
    ] {
        call(&server, component, &format!("https://{name}:{port}/")).await;
        let peers = upstream.peers();
        assert_eq!(peers.len(), connections, "{component} {name}: {peers:?}");
    }
    let asked = upstream.names();
    let names: Vec<_> = asked
        .iter()
        .map(|name| name.as_deref().unwrap_or_default())
        .collect();
    assert_eq!(names, ["one.test", "two.test", "one.test", "two.test"]);
}
