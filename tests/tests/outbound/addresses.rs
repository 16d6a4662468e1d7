//! The second decision: what a granted name may turn out to be.

use runner_tests::{Canary, Dns};

use crate::scene::No::Denied;
use crate::scene::{Scene, canaries, fetch, untouched};
use crate::upstream::Upstream;

/// An answer after which the connection is of no more use.
const GOODBYE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\ncollected";

#[tokio::test]
async fn c17_a_name_that_leads_to_a_private_address_is_denied_there() {
    let canaries = canaries().await;
    let port = canaries[0].port();
    let names: [(&str, &[&[&str]], &str); 3] = [
        ("loop.test", &[&["127.0.0.1"]], "127.0.0.1/32"),
        ("ten.test", &[&["10.0.0.5"]], "10.0.0.5/32"),
        ("six.test", &[&["::1"]], "[::1]/128"),
    ];
    let rules = names.map(|(name, ..)| format!("http://{name}:{port}"));
    let dns = Dns::start(&names.map(|(name, turns, _)| (name, turns))).await;
    let scene = Scene::start(&rules.each_ref().map(String::as_str), dns).await;
    for (name, turns, range) in names {
        let block = scene
            .denies(("http", &format!("{name}:{port}"), "/"), [Denied, Denied])
            .await;
        let label = format!(
            "`{name}` resolved to {}, not public: a name alone does not open it",
            turns[0][0]
        );
        assert!(block.contains(&label), "{block}");
        let rule = format!("http://{range}:{port}");
        assert!(
            block.contains("runner allow probe ") && block.contains(&rule),
            "{block}"
        );
    }
    assert_eq!(scene.end().await.dialled(), Vec::<&str>::new());
    untouched(&canaries);
}

#[tokio::test]
async fn c18_of_a_mixed_answer_only_the_granted_address_is_dialled() {
    let inside = Canary::start().await;
    let port = inside.port();
    let granted = Canary::at(&format!("127.0.0.2:{port}")).await;
    let rules = [
        format!("http://mixed.test:{port}"),
        format!("http://127.0.0.2/32:{port}"),
    ];
    let dns = Dns::start(&[("mixed.test", &[&["127.0.0.1", "127.0.0.2"]])]).await;
    let scene = Scene::start(&rules.each_ref().map(String::as_str), dns).await;
    scene
        .allows(("http", &format!("mixed.test:{port}"), "/"))
        .await;
    assert_eq!(granted.connections(), 2);
    assert_eq!(
        scene.end().await.dialled(),
        [format!("127.0.0.2:{port}"), format!("127.0.0.2:{port}")]
    );
    untouched(&[inside]);
}

#[tokio::test]
async fn c18_where_the_granted_address_refuses_the_call_fails() {
    let inside = Canary::start().await;
    let port = inside.port();
    let rules = [
        format!("http://mixed.test:{port}"),
        format!("http://127.0.0.2/32:{port}"),
    ];
    let dns = Dns::start(&[("mixed.test", &[&["127.0.0.2", "127.0.0.1"]])]).await;
    let scene = Scene::start(&rules.each_ref().map(String::as_str), dns).await;
    for report in scene
        .fetch(&[("url", &format!("http://mixed.test:{port}/"))])
        .await
    {
        assert_eq!(report["error"], "connection-refused", "{report}");
    }
    assert_eq!(
        scene.end().await.dialled(),
        [format!("127.0.0.2:{port}"), format!("127.0.0.2:{port}")]
    );
    untouched(&[inside]);
}

#[tokio::test]
async fn c19_a_name_is_asked_for_once_a_connection_and_a_changed_answer_is_judged_anew() {
    let inside = Canary::start().await;
    let port = inside.port();
    let granted = Canary::answering(&format!("127.0.0.2:{port}"), GOODBYE).await;
    let rules = [
        format!("http://rebind.test:{port}"),
        format!("http://127.0.0.2/32:{port}"),
    ];
    let dns = Dns::start(&[("rebind.test", &[&["127.0.0.2"], &["127.0.0.1"]])]).await;
    let scene = Scene::start(&rules.each_ref().map(String::as_str), dns).await;
    let url = format!("http://rebind.test:{port}/");
    let server = &scene.servers()[0];

    let first = fetch(server, &[("url", &url)]).await;
    assert_eq!(first["status"], 200, "{first}");
    assert_eq!(scene.dns.asked(), ["rebind.test"]);
    let second = fetch(server, &[("url", &url)]).await;
    assert_eq!(second["error"], "HTTP-request-denied", "{second}");
    assert_eq!(scene.dns.asked(), ["rebind.test", "rebind.test"]);

    let (code, block) = scene.explain(&url).await;
    assert_eq!(code, 1);
    let event = server.logged(|line| line["event"] == "denied").await;
    assert_eq!(event["text"].as_str(), block.strip_suffix('\n'));
    assert_eq!(granted.connections(), 1);
    untouched(&[inside]);
}

#[tokio::test]
async fn c16_a_name_of_a_metadata_service_is_denied_under_the_widest_rule() {
    let name = "metadata.google.internal";
    let dns = Dns::start(&[(name, &[&["169.254.169.254"]])]).await;
    let scene = Scene::start(&["*://*:*"], dns).await;
    scene
        .denies(("http", name, "/computeMetadata/v1/"), [Denied, Denied])
        .await;
    assert_eq!(scene.end().await.dialled(), Vec::<&str>::new());
}

#[tokio::test]
async fn c10_the_spellings_of_one_name_share_one_connection() {
    let upstream = Upstream::echoing(None).await;
    let port = upstream.port();
    let rules = [
        format!("http://allowed.com:{port}"),
        format!("http://127.0.0.1/32:{port}"),
    ];
    let dns = Dns::start(&[("allowed.com", &[&["127.0.0.1"]])]).await;
    let scene = Scene::start(&rules.each_ref().map(String::as_str), dns).await;
    for name in ["allowed.com", "ALLOWED.com", "allowed.com."] {
        for report in scene
            .fetch(&[("url", &format!("http://{name}:{port}/"))])
            .await
        {
            assert_eq!(report["status"], 200, "{report}");
        }
    }
    assert_eq!(upstream.requests(), 6);
    assert_eq!(scene.dns.asked().len(), 2, "one connection for each guest");
    assert_eq!(scene.end().await.dialled().len(), 2);
}

#[tokio::test]
async fn c19_an_alias_is_judged_by_the_name_that_was_asked_and_the_address_that_was_found() {
    let inside = Canary::start().await;
    let port = inside.port();
    let granted = Canary::at(&format!("127.0.0.2:{port}")).await;
    let rules = ["in.test", "out.test", "far.test", "gone.test", "here.test"]
        .map(|name| format!("http://{name}:{port}"));
    let rules = rules
        .into_iter()
        .chain([format!("http://127.0.0.2/32:{port}")]);
    let rules: Vec<String> = rules.collect();
    let dns = Dns::start(&[
        ("in.test", &[&["evil.test"]]),
        ("evil.test", &[&["127.0.0.1"]]),
        ("out.test", &[&["a.out.test"]]),
        ("a.out.test", &[&["b.out.test"]]),
        ("b.out.test", &[&["127.0.0.2"]]),
        ("far.test", &[&["loop.test"]]),
        ("loop.test", &[&["far.test"]]),
        ("gone.test", &[&["nowhere.test"]]),
        ("here.test", &[&["localhost"]]),
    ])
    .await;
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let scene = Scene::start(&rules, dns).await;

    // The name is granted, what it leads to is not.
    let block = scene
        .denies(("http", &format!("in.test:{port}"), "/"), [Denied, Denied])
        .await;
    assert!(
        block.contains("`in.test` resolved to 127.0.0.1, not public"),
        "{block}"
    );
    // What it leads to is nobody's to ask for, and need not be.
    for name in ["evil.test", "a.out.test", "b.out.test"] {
        let asked = scene.dns.asked();
        scene
            .denies(("http", &format!("{name}:{port}"), "/"), [Denied, Denied])
            .await;
        assert_eq!(scene.dns.asked(), asked, "{name}");
    }
    scene
        .allows(("http", &format!("out.test:{port}"), "/"))
        .await;
    for head in granted.heads() {
        assert!(
            head.contains(&format!("\r\nhost: out.test:{port}\r\n")),
            "{head}"
        );
    }
    // An alias in a circle, one of a name that DNS does not know, and one of this machine.
    for (name, error) in [
        ("far.test", "DNS-error"),
        ("gone.test", "DNS-error"),
        ("here.test", "HTTP-request-denied"),
    ] {
        let url = format!("http://{name}:{port}/");
        for report in scene.fetch(&[("url", &url)]).await {
            assert_eq!(report["error"], error, "{name}: {report}");
        }
    }
    assert_eq!(granted.connections(), 2);
    untouched(&[inside]);
}

#[tokio::test]
async fn c43_a_name_server_that_never_answers() {
    let dns = Dns::start(&[("silent.test", &[&[Dns::SILENCE]])]).await;
    let scene = Scene::start(&["http://silent.test"], dns).await;
    let parameters = [("url", "http://silent.test/"), ("connect", "100ms")];
    for report in scene.fetch(&parameters).await {
        assert_eq!(report["error"], "DNS-timeout", "{report}");
    }
    assert_eq!(scene.end().await.dialled(), Vec::<&str>::new());
}
