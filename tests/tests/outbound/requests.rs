//! What leaves with a request, what comes back, and how long a guest waits for it.

use runner_tests::{App, Canary, Dns, Server, Wire};

use crate::scene::{Scene, fetch, manifest, target, untouched};
use crate::upstream::{Gate, Upstream};

#[tokio::test]
async fn c20_the_host_that_is_sent_is_the_destinations() {
    let canary = Canary::start().await;
    let url = canary.url();
    let scene = Scene::start(&[&url], Dns::start(&[]).await).await;
    for report in scene
        .fetch(&[("url", &url), ("header", "Host:evil.com")])
        .await
    {
        assert_eq!(
            (&report["error"], &report["at"]),
            (&"refused".into(), &"header".into()),
            "{report}"
        );
    }
    assert_eq!(canary.connections(), 0);
    scene
        .allows(("http", &canary.address().to_string(), "/"))
        .await;
    for head in canary.heads() {
        assert!(
            head.contains(&format!("\r\nhost: {}\r\n", canary.address())),
            "{head}"
        );
    }
}

#[tokio::test]
async fn c29_headers_that_leave_http_are_refused() {
    let canary = Canary::start().await;
    let url = canary.url();
    let scene = Scene::start(&[&url], Dns::start(&[]).await).await;
    for header in [
        "Upgrade:h2c",
        "upgrade:websocket",
        "Connection:upgrade",
        "HTTP2-Settings:AAMAAABkAAQAAP__",
        "Transfer-Encoding:chunked",
        "Proxy-Connection:keep-alive",
    ] {
        for report in scene.fetch(&[("url", &url), ("header", header)]).await {
            assert_eq!(
                (&report["error"], &report["at"]),
                (&"refused".into(), &"header".into()),
                "{header}: {report}"
            );
        }
    }
    untouched(&[canary]);
}

#[tokio::test]
async fn c30_a_redirect_is_the_guests_to_follow() {
    let inside = Canary::start().await;
    for status in [301, 302, 307, 308] {
        let location = format!("{}/", inside.url());
        let answer = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        );
        let canary = Canary::answering("127.0.0.1:0", &answer).await;
        // Even where the guest could go there.
        let scene = Scene::start(&[&canary.url(), &inside.url()], Dns::start(&[]).await).await;
        for report in scene.fetch(&[("url", &canary.url())]).await {
            assert_eq!(report["status"], status, "{report}");
            assert!(
                report["headers"].to_string().contains(&location),
                "{report}"
            );
        }
        assert_eq!(canary.connections(), 2);
    }
    untouched(&[inside]);
}

#[tokio::test]
async fn c41_the_servers_own_proxy_variables_are_ignored() {
    let (upstream, proxy) = (Canary::start().await, Canary::start().await);
    let app = App::new(&manifest("probe", &[&upstream.url()], ""));
    let url = proxy.url();
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let server = Server::try_start_with(&app, &[], &names.map(|name| (name, url.as_str()))).await;
    let server = server.unwrap_or_else(|stopped| panic!("{stopped:?}"));
    let report = fetch(&server, &[("url", &upstream.url())]).await;
    assert_eq!(report["body"], "collected", "{report}");
    assert_eq!(upstream.connections(), 1);
    untouched(&[proxy]);
}

#[tokio::test]
async fn an_answer_is_passed_on_while_it_comes() {
    let gate = Gate::default();
    let upstream = Upstream::streaming(gate.clone()).await;
    let scene = Scene::start(&[&upstream.url()], Dns::start(&[]).await).await;
    for server in scene.servers() {
        let mut wire = Wire::open(server.address()).await;
        let target = target(&[("url", &upstream.url()), ("stream", "1")]);
        wire.send(
            format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        let early = wire.until("first").await;
        assert!(
            early.starts_with("HTTP/1.1 200 ") && !early.contains("second"),
            "{early}"
        );
        gate.open(1);
        let late = wire.rest().await;
        assert!(late.contains("second"), "{late}");
    }
}

#[tokio::test]
async fn a_body_goes_out_and_another_comes_back() {
    let upstream = Upstream::echoing(None).await;
    let scene = Scene::start(&[&upstream.url()], Dns::start(&[]).await).await;
    let bytes = 200_000;
    let parameters = [
        ("url", &*upstream.url()),
        ("method", "POST"),
        ("body-bytes", &bytes.to_string()),
    ];
    for report in scene.fetch(&parameters).await {
        let body = report["body"].as_str().unwrap_or_default();
        assert!(
            body.len() == bytes && body.bytes().all(|byte| byte == b'x'),
            "{}",
            body.len()
        );
    }
}

#[tokio::test]
async fn c43_a_guests_timeouts_lower_the_ceilings() {
    let silent = Upstream::silent().await;
    let tls = silent.url().replace("http://", "https://");
    let scene = Scene::start(&[&silent.url(), &tls], Dns::start(&[]).await).await;
    for (url, timeout, error) in [
        (&tls, "connect", "connection-timeout"),
        (&silent.url(), "first-byte", "HTTP-response-timeout"),
    ] {
        for report in scene.fetch(&[("url", url), (timeout, "50ms")]).await {
            assert_eq!(report["error"], error, "{timeout}: {report}");
        }
    }
}

#[tokio::test]
async fn c43_a_guests_timeout_ends_an_answer_that_falls_silent() {
    let upstream = Upstream::streaming(Gate::default()).await;
    let scene = Scene::start(&[&upstream.url()], Dns::start(&[]).await).await;
    let reports = scene
        .fetch(&[("url", &upstream.url()), ("between-bytes", "50ms")])
        .await;
    for report in &reports {
        assert_eq!(
            (&report["at"], &report["body"]),
            (&"body".into(), &"first".into()),
            "{report}"
        );
    }
    // A guest of 0.2 learns that the body broke and not why: wasmtime 48 keeps a body's error code from it.
    assert_eq!(reports[1]["error"], "connection-read-timeout");
}

#[tokio::test]
async fn c45_absurd_timeouts_crash_nothing() {
    let upstream = Upstream::echoing(None).await;
    let scene = Scene::start(&[&upstream.url()], Dns::start(&[]).await).await;
    for timeout in ["connect", "first-byte", "between-bytes"] {
        for value in ["0", "1ns", "18446744073709551615ns"] {
            let reports = scene
                .fetch(&[("url", &upstream.url()), (timeout, value)])
                .await;
            for report in reports {
                // Too short a wait may be enough on a fast day.
                let fine = report["status"] == 200;
                let late = report["error"]
                    .as_str()
                    .is_some_and(|error| error.contains("timeout"));
                let huge = value.len() > 3;
                assert!(fine || (late && !huge), "{timeout} {value}: {report}");
            }
        }
    }
    for report in scene.fetch(&[("url", &upstream.url())]).await {
        assert_eq!(report["status"], 200, "{report}");
    }
    assert_eq!(scene.end().await.count("failed"), 0);
}
