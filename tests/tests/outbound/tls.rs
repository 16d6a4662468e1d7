//! Upstreams that speak TLS: whom the door trusts, and which HTTP it speaks with them.

use runner_tests::Dns;

use crate::scene::Scene;
use crate::upstream::{Authority, Upstream};

async fn story(authority: &Authority, alpn: &[&str], trusted: bool) -> (Upstream, Scene) {
    let upstream = Upstream::echoing(Some(authority.acceptor("tls.test", alpn))).await;
    let port = upstream.port();
    let rules = [
        format!("https://tls.test:{port}"),
        format!("https://127.0.0.1/32:{port}"),
    ];
    let file = authority.file();
    let args: &[&str] = if trusted { &["--ca-file", &file] } else { &[] };
    let dns = Dns::start(&[("tls.test", &[&["127.0.0.1"]])]).await;
    let scene = Scene::with(&rules.each_ref().map(String::as_str), "", dns, args).await;
    (upstream, scene)
}

#[tokio::test]
async fn an_upstream_of_a_trusted_authority_is_spoken_to_as_it_offers() {
    let authority = Authority::new();
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0"),
        (&["http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let (upstream, scene) = story(&authority, alpn, true).await;
        let url = format!("https://tls.test:{}/", upstream.port());
        for report in scene
            .fetch(&[
                ("url", &url),
                ("method", "POST"),
                ("body", "there and back"),
            ])
            .await
        {
            assert_eq!(
                (&report["status"], &report["body"]),
                (&200.into(), &"there and back".into()),
                "{report}"
            );
            let headers = report["headers"].to_string();
            assert!(
                headers.contains(&format!("[\"x-version\",\"{version}\"]")),
                "{headers}"
            );
            assert!(
                headers.contains(&format!("[\"x-host\",\"tls.test:{}\"]", upstream.port())),
                "{headers}"
            );
        }
    }
}

#[tokio::test]
async fn c44_an_authority_nobody_named_is_not_trusted_and_nothing_falls_back() {
    let authority = Authority::new();
    let (upstream, scene) = story(&authority, &["http/1.1"], false).await;
    let url = format!("https://tls.test:{}/", upstream.port());
    for report in scene.fetch(&[("url", &url)]).await {
        assert_eq!(report["error"], "TLS-certificate-error", "{report}");
    }
    assert_eq!(upstream.requests(), 0);
    let dialled = scene.end().await.dialled().len();
    assert_eq!(dialled, 2, "one attempt for each guest");
}
