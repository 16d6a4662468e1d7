//! The destinations of the catalogue: each as a guest gives it, and what all three witnesses say.

use runner_tests::{Canary, Dns};

use crate::scene::No::{self, Denied, Refused};
use crate::scene::{Scene, canaries, untouched};

const BOTH: [No; 2] = [Denied, Denied];
const NO_AUTHORITY: [No; 2] = [Refused("authority"), Refused("authority")];
/// The types of 0.3 read a port where 0.2 leaves that to the door.
const LATE_EARLY: [No; 2] = [Denied, Refused("authority")];

/// A row: scheme, authority and path as the guest gives them, and how each guest hears no. `PORT` is the canaries'.
type Row<'a> = ((&'a str, &'a str, &'a str), [No; 2]);

/// Denies every row under the catalogue's own rules. Nobody is dialled, and no name is asked for.
async fn denied(rows: &[Row<'_>]) {
    denied_under(
        &[
            "https://allowed.com",
            "http://*.ok.test:8080",
            "http://127.0.0.1:9001",
        ],
        rows,
    )
    .await;
}

async fn denied_under(rules: &[&str], rows: &[Row<'_>]) {
    let canaries = canaries().await;
    let port = canaries[0].port().to_string();
    let scene = Scene::start(rules, Dns::start(&[]).await).await;
    for ((scheme, authority, path), says) in rows {
        let authority = authority.replace("PORT", &port);
        scene.denies((scheme, &authority, path), *says).await;
    }
    assert_eq!(scene.dns.asked(), Vec::<String>::new());
    assert_eq!(scene.end().await.dialled(), Vec::<&str>::new());
    untouched(&canaries);
}

#[tokio::test]
async fn c01_c02_c03_user_information_is_denied() {
    denied(&[
        (("https", "allowed.com@evil.com", "/"), BOTH),
        (("https", "allowed.com:443@evil.com", "/"), LATE_EARLY),
        // Two parsers disagree on the second `@`: 0.3's types do not take it.
        (("https", "user@evil.com:80@allowed.com", "/"), LATE_EARLY),
        (("http", "127.0.0.1:9001@127.0.0.1:PORT", "/"), BOTH),
    ])
    .await;
}

#[tokio::test]
async fn c04_c05_c06_names_that_only_look_like_a_granted_one_are_denied() {
    denied(&[
        (("https", "allowed.com.evil.com", "/"), BOTH),
        (("https", "evilallowed.com", "/"), BOTH),
        (("http", "evilok.test:8080", "/"), BOTH),
        (("http", "ok.test:8080", "/"), BOTH), // the apex
    ])
    .await;
}

#[tokio::test]
async fn c07_c08_c10_names_that_are_a_granted_one_are_allowed_under_one_name() {
    let canary = Canary::start().await;
    let port = canary.port();
    let rules = [
        format!("http://*.ok.test:{port}"),
        format!("http://allowed.com:{port}"),
        format!("http://127.0.0.1/32:{port}"),
    ];
    let here: &[&[&str]] = &[&["127.0.0.1"]];
    let dns = Dns::start(&[("a.b.ok.test", here), ("allowed.com", here)]).await;
    let scene = Scene::start(&rules.each_ref().map(String::as_str), dns).await;
    for (asked, name) in [
        ("a.b.ok.test", "a.b.ok.test"),
        ("allowed.com.", "allowed.com"),
        ("ALLOWED.COM", "allowed.com"),
    ] {
        let before = canary.heads().len();
        scene
            .allows(("http", &format!("{asked}:{port}"), "/"))
            .await;
        let heads = canary.heads();
        assert_eq!(heads.len(), before + 2, "one for each guest");
        for head in &heads[before..] {
            assert!(
                head.contains(&format!("\r\nhost: {name}:{port}\r\n")),
                "{head}"
            );
        }
    }
    let (code, block) = scene.explain(&format!("HTTP://ALLOWED.COM.:{port}/")).await;
    assert_eq!(code, 0, "{block}");
    assert!(
        block.starts_with(&format!(
            "allowed: probe may connect to http://allowed.com:{port}\n"
        )),
        "{block}"
    );
    assert_eq!(
        scene.end().await.dialled(),
        vec![format!("127.0.0.1:{port}"); 6]
    );
}

#[tokio::test]
async fn c09_empty_labels_are_denied() {
    denied(&[
        (("https", "allowed.com..", "/"), BOTH),
        (("https", "a..ok.test", "/"), BOTH),
        (("https", ".allowed.com", "/"), BOTH),
    ])
    .await;
}

#[tokio::test]
async fn c11_c12_c13_c15_addresses_in_disguise_are_denied() {
    let rows = [
        // C11
        (("http", "127.1:PORT", "/"), BOTH),
        (("http", "2130706433:PORT", "/"), BOTH),
        (("http", "0x7f000001:PORT", "/"), BOTH),
        (("http", "0x7f.1:PORT", "/"), BOTH),
        (("http", "0177.0.0.1:PORT", "/"), BOTH),
        (("http", "017700000001:PORT", "/"), BOTH),
        (("http", "127.0.0.1.:PORT", "/"), BOTH),
        (("http", "0:PORT", "/"), BOTH),
        // C12
        (("http", "[::ffff:127.0.0.1]:PORT", "/"), BOTH),
        (("http", "[::ffff:7f00:1]:PORT", "/"), BOTH),
        (("http", "[::127.0.0.1]:PORT", "/"), BOTH),
        // C13
        (("http", "[64:ff9b::7f00:1]:PORT", "/"), BOTH),
        (("http", "[64:ff9b:1::7f00:1]:PORT", "/"), BOTH),
        (("http", "[2002:7f00:1::]:PORT", "/"), BOTH),
        (("http", "[2001:0:7f00:1::1]:PORT", "/"), BOTH),
        // C15
        (("http", "[::]:PORT", "/"), BOTH),
        (("http", "0.0.0.0:PORT", "/"), BOTH),
        (("http", "255.255.255.255:PORT", "/"), BOTH),
        (("http", "224.0.0.1:PORT", "/"), BOTH),
        // And in no disguise.
        (("http", "127.0.0.1:PORT", "/"), BOTH),
        (("http", "[::1]:PORT", "/"), BOTH),
    ];
    denied(&rows).await;
    denied_under(&["*://*:*"], &rows).await;
}

#[tokio::test]
async fn c14_zones_and_future_addresses_are_denied() {
    let rows = [
        (("http", "[fe80::1%25eth0]:PORT", "/"), BOTH),
        (("http", "[fe80::1%eth0]:PORT", "/"), BOTH),
        (("http", "[::1%25lo]:PORT", "/"), BOTH),
        (("http", "[v1.fe80]:PORT", "/"), BOTH),
    ];
    denied(&rows).await;
    denied_under(&["*://*:*"], &rows).await;
}

#[tokio::test]
async fn c16_the_widest_rule_does_not_cover_metadata_services() {
    denied_under(
        &["*://*:*"],
        &[
            (("http", "169.254.169.254", "/latest/meta-data/"), BOTH),
            (("http", "[fd00:ec2::254]", "/"), BOTH),
            (("http", "100.100.100.200", "/"), BOTH),
        ],
    )
    .await;
}

#[tokio::test]
async fn c28_connect_and_trace_are_denied_even_where_the_destination_is_allowed() {
    let canary = Canary::start().await;
    let url = canary.url();
    let scene = Scene::start(&[&url, "http://self"], Dns::start(&[]).await).await;
    let methods = ["CONNECT", "TRACE", "connect", "Trace", "TRACK"];
    // Neither is one for the guest's own app, nor one without a rule to be told of a rule.
    for to in [url.as_str(), "http://self", "http://evil.com:22"] {
        for method in methods {
            let parameters = [("url", to), ("method", method)];
            let reports = scene.fetch(&parameters).await;
            let block = format!(
                "denied: probe may not connect to {to}\n\
                 help: no rule can allow this: method `{method}` is not available to components"
            );
            for (server, report) in scene.servers().iter().zip(reports) {
                assert_eq!(report["error"], "HTTP-request-denied", "{method}: {report}");
                let line = server.logged(|line| line["text"] == *block).await;
                assert_eq!(
                    (&line["event"], &line["method"]),
                    (&"denied".into(), &method.into())
                );
            }
        }
    }
    let log = scene.end().await;
    assert_eq!(log.sum("request", "denials"), 30);
    assert_eq!(log.dialled(), Vec::<&str>::new());
    assert_eq!(log.inside().len(), 0);
    untouched(&[canary]);
}

#[tokio::test]
async fn c38_a_text_that_is_no_destination_is_not_tried_as_another() {
    denied_under(
        &["https://*"],
        &[
            (("http", "anything:80", "/"), BOTH),
            (("http", "xn--a.evil.com:8080", "/"), BOTH),
            (("http", "allowed.com:65536", "/"), LATE_EARLY),
            (("https", "allowed.com:65536", "/"), LATE_EARLY),
            (("http", "[fe80::1%eth0]", "/"), BOTH),
        ],
    )
    .await;
}

#[tokio::test]
async fn c46_c47_names_outside_ascii_or_encoded_are_denied() {
    denied(&[
        (("https", "\u{430}llowed.com", "/"), NO_AUTHORITY),
        (("https", "allowed\u{3002}com", "/"), NO_AUTHORITY),
        (("https", "\u{24d0}llowed.com", "/"), NO_AUTHORITY),
        (("https", "xn--allowed-q1a.com", "/"), BOTH),
        (("http", "xn--a.ok.test:8080", "/"), BOTH),
        (("https", "allowed%2ecom", "/"), NO_AUTHORITY),
        (("https", "allowed.com%2eevil.com", "/"), NO_AUTHORITY),
        (("https", "%61llowed.com", "/"), NO_AUTHORITY),
    ])
    .await;
}

#[tokio::test]
async fn c48_ports_that_are_none_are_denied() {
    denied(&[
        (("https", "allowed.com:0", "/"), BOTH),
        (("https", "allowed.com:+443", "/"), BOTH),
        (("https", "allowed.com: 443", "/"), NO_AUTHORITY),
        (("https", "allowed.com:443:80", "/"), NO_AUTHORITY),
        (("https", "allowed.com:65536", "/"), LATE_EARLY),
        (("https", "allowed.com:\u{ff19}", "/"), NO_AUTHORITY),
    ])
    .await;
}

#[tokio::test]
async fn c48_an_empty_port_is_the_usual_one_and_zeros_in_front_say_nothing() {
    let canary = Canary::start().await;
    let port = canary.port();
    let scene = Scene::start(
        &["https://allowed.com", &canary.url()],
        Dns::start(&[]).await,
    )
    .await;
    scene
        .allows(("http", &format!("127.0.0.1:00{port}"), "/"))
        .await;
    for url in ["https://allowed.com:/", "https://allowed.com:00443/"] {
        let (code, block) = scene.explain(url).await;
        assert_eq!(code, 3, "allowed, and nobody knows the name: {block}");
        assert!(
            block.starts_with("allowed: probe may connect to https://allowed.com\n"),
            "{block}"
        );
    }
    assert_eq!(canary.connections(), 2);
}

#[tokio::test]
async fn c49_schemes_that_are_not_http_are_denied() {
    denied(&[
        (("ws", "allowed.com", "/"), BOTH),
        (("ftp", "allowed.com", "/"), BOTH),
        (("unix", "allowed.com", "/"), BOTH),
        (("file", "allowed.com", "/"), BOTH),
        (
            ("http+unix", "%2Fvar%2Frun%2Fdocker.sock", "/"),
            NO_AUTHORITY,
        ),
        (("http", "allowed.com", "/"), BOTH),
        (("http", "allowed.com:443", "/"), BOTH),
    ])
    .await;
}

#[tokio::test]
async fn c49_other_that_spells_http_is_the_same_as_http() {
    let (granted, other) = (Canary::start().await, Canary::start().await);
    let scene = Scene::start(&[&granted.url()], Dns::start(&[]).await).await;
    for (authority, expected) in [(granted.address(), "status"), (other.address(), "error")] {
        let parts = [
            ("scheme", "other:http"),
            ("authority", &*authority.to_string()),
            ("path", "/"),
        ];
        for report in scene.fetch(&parts).await {
            assert!(
                report[expected].is_u64() || report[expected] == "HTTP-request-denied",
                "{report}"
            );
        }
    }
    assert_eq!(granted.connections(), 2);
    untouched(&[other]);
}

#[tokio::test]
async fn c50_names_of_this_machine_are_denied() {
    let rows = [
        (("http", "localhost:PORT", "/"), BOTH),
        (("http", "localhost.localdomain:PORT", "/"), BOTH),
        (("http", "x.localhost:PORT", "/"), BOTH),
    ];
    denied(&rows).await;
    denied_under(&["*://*:*"], &rows).await;
}

#[tokio::test]
async fn c50_localhost_that_is_written_out_is_this_machine_without_asking() {
    let canary = Canary::start().await;
    let rule = format!("http://localhost:{}", canary.port());
    let scene = Scene::start(&[&rule], Dns::start(&[]).await).await;
    scene
        .allows(("http", &format!("localhost:{}", canary.port()), "/"))
        .await;
    assert_eq!(scene.dns.asked(), Vec::<String>::new());
    assert_eq!(canary.connections(), 2);
}

#[tokio::test]
async fn c50_names_come_from_dns_as_they_are_and_never_from_etc_hosts() {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = hosts.lines().flat_map(|line| {
        line.split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
    });
    let name = known
        .filter(|name| !name.contains("localhost"))
        .last()
        .unwrap_or("ip6-loopback")
        .to_lowercase();
    let canary = Canary::start().await;
    let port = canary.port();
    let rules = [
        format!("http://{name}:{port}"),
        format!("http://127.0.0.0/8:{port}"),
    ];
    let scene = Scene::start(&rules.each_ref().map(String::as_str), Dns::start(&[]).await).await;
    for report in scene
        .fetch(&[("url", &format!("http://{name}:{port}/"))])
        .await
    {
        assert_eq!(report["error"], "DNS-error", "{report}");
    }
    // Once for each guest: an absolute name has no other spellings to try.
    assert_eq!(scene.dns.asked(), [name.as_str(), name.as_str()]);
    assert_eq!(scene.end().await.dialled(), Vec::<&str>::new());
    untouched(&[canary]);
}

#[tokio::test]
async fn c56_the_authority_ends_at_the_first_separator() {
    denied(&[
        (("http", "127.0.0.1:PORT", "?@allowed.com/"), BOTH),
        (("http", "127.0.0.1:PORT", "/@allowed.com/"), BOTH),
        (
            ("http", "127.0.0.1:PORT", "\\@allowed.com/"),
            [Refused("path"), Refused("path")],
        ),
        (
            ("http", "127.0.0.1:PORT", "#@allowed.com/"),
            [Refused("path"), Refused("path")],
        ),
    ])
    .await;
}

#[tokio::test]
async fn c56_a_separator_in_an_authority_is_no_authority() {
    let canaries = canaries().await;
    let port = canaries[0].port();
    let scene = Scene::start(&["http://allowed.com"], Dns::start(&[]).await).await;
    for separator in ['/', '?', '#', '\\'] {
        let url = format!("http://127.0.0.1:{port}{separator}@allowed.com/");
        let (code, block) = scene.explain(&url).await;
        let head = format!("denied: probe may not connect to http://127.0.0.1:{port}\n");
        assert!(code == 1 && block.starts_with(&head), "{url}: {block}");

        let authority = format!("127.0.0.1:{port}{separator}@allowed.com");
        let parts = [
            ("scheme", "http"),
            ("authority", &*authority),
            ("path", "/"),
        ];
        for report in scene.fetch(&parts).await {
            let got = (report["error"].as_str(), report["at"].as_str());
            assert_eq!(got, (Some("refused"), Some("authority")), "{report}");
        }
    }
    let block = "denied: probe may not connect to http://***@allowed.com\n\
                 help: no rule can allow this: it has a user name or a password; send them in a header";
    let setters = [
        "wasi:http/types.outgoing-request.set-authority",
        "wasi:http/types.request.set-authority",
    ];
    for (server, setter) in scene.servers().iter().zip(setters) {
        let line = server.logged(|line| line["text"] == block).await;
        assert_eq!(line["call"], setter, "{line}");
    }
    assert_eq!(scene.dns.asked(), Vec::<String>::new());
    assert_eq!(scene.end().await.dialled(), Vec::<&str>::new());
    untouched(&canaries);
}

#[tokio::test]
async fn credentials_are_printed_nowhere() {
    let scene = Scene::start(&["https://allowed.com"], Dns::start(&[]).await).await;
    let block = scene
        .denies(("https", "user:hunter2@allowed.com", "/"), LATE_EARLY)
        .await;
    assert_eq!(
        block,
        "denied: probe may not connect to https://***@allowed.com\n\
         help: no rule can allow this: it has a user name or a password; send them in a header\n"
    );
    scene
        .denies(("https", "hunter2@evil.com", "/?token=hunter2"), BOTH)
        .await;
    scene
        .denies(("http", "evil.com", "/?token=hunter2"), BOTH)
        .await;
    let log = scene.end().await.text();
    assert!(!log.contains("hunter2"), "{log}");
}
