//! Upstreams that speak TLS: whom the door trusts, and which HTTP it speaks with them.

use rcgen::date_time_ymd;
use runner_tests::Dns;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::raw::{Message, Raw, read_head};
use crate::scene::{Scene, fetch};
use crate::upstream::{Authority, Upstream, params, self_signed};

async fn story(authority: &Authority, alpn: &[&str], trusted: bool) -> (Upstream, Scene) {
    presented(authority, authority.acceptor("tls.test", alpn), trusted).await
}

/// An upstream that presents this, and both guests, who may call it.
async fn presented(
    authority: &Authority,
    acceptor: TlsAcceptor,
    trusted: bool,
) -> (Upstream, Scene) {
    let upstream = Upstream::echoing(Some(acceptor)).await;
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

#[tokio::test]
async fn c44_a_certificate_that_is_expired_for_another_or_signed_by_itself_is_an_error() {
    let authority = Authority::new();
    let mut expired = params(&["tls.test"]);
    expired.not_before = date_time_ymd(2000, 1, 1);
    expired.not_after = date_time_ymd(2001, 1, 1);
    let mut early = params(&["tls.test"]);
    early.not_before = date_time_ymd(3000, 1, 1);
    early.not_after = date_time_ymd(3001, 1, 1);
    for (why, acceptor) in [
        ("expired", authority.signed(expired, &[])),
        ("not yet valid", authority.signed(early, &[])),
        ("wrong name", authority.acceptor("other.test", &[])),
        ("a subdomain's", authority.acceptor("a.tls.test", &[])),
        ("an address's", authority.acceptor("127.0.0.1", &[])),
        ("self-signed", self_signed("tls.test")),
    ] {
        let (upstream, scene) = presented(&authority, acceptor, true).await;
        let url = format!("https://tls.test:{}/", upstream.port());
        for report in scene.fetch(&[("url", &url)]).await {
            assert_eq!(report["error"], "TLS-certificate-error", "{why}: {report}");
        }
        assert_eq!(upstream.requests(), 0, "{why}");
        assert_eq!(
            upstream.peers().len(),
            2,
            "{why}: one attempt for each guest"
        );
    }
}

/// A handshake's answer that settles on a version: TLS 1.0 is 1, 1.1 is 2; `RSA` with AES, as those had it.
fn server_hello(version: u8) -> Vec<u8> {
    let mut hello = vec![2, 0, 0, 38, 3, version];
    hello.extend([7; 32]);
    hello.extend([0, 0x00, 0x2f, 0]);
    let mut record = vec![22, 3, version, 0, hello.len() as u8];
    record.extend(hello);
    record
}

#[tokio::test]
async fn c44_old_versions_of_tls_are_not_spoken() {
    for version in [0, 1, 2] {
        let upstream = Raw::start(move |mut stream, heard| async move {
            let _ = stream.write_all(&server_hello(version)).await;
            heard.note(Message::Broken(
                read_head(&mut stream).await.unwrap_or_else(|part| part),
            ));
        })
        .await;
        let url = upstream.url().replace("http://", "https://");
        let scene = Scene::start(&[&url], Dns::start(&[]).await).await;
        for report in scene.fetch(&[("url", &url)]).await {
            assert_eq!(report["error"], "TLS-protocol-error", "{report}");
        }
        assert_eq!(upstream.connections(), 2, "one attempt for each guest");
    }
}

#[tokio::test]
async fn c44_an_upstream_without_tls_is_not_spoken_to_in_clear_text() {
    let upstream = Raw::start(|mut stream, heard| async move {
        let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(answer).await;
        let heard_it = read_head(&mut stream).await;
        heard.note(Message::Broken(heard_it.unwrap_or_else(|part| part)));
    })
    .await;
    let url = upstream.url().replace("http://", "https://");
    let scene = Scene::start(&[&url, &upstream.url()], Dns::start(&[]).await).await;
    for report in scene.fetch(&[("url", &url)]).await {
        assert_eq!(report["error"], "TLS-protocol-error", "{report}");
    }
    assert_eq!(upstream.connections(), 2, "one attempt for each guest");
    let dialled = scene.end().await.dialled().len();
    assert_eq!(dialled, 2);
    for message in upstream.take() {
        let Message::Broken(bytes) = message else {
            panic!("a request: {message:?}");
        };
        assert!(
            bytes.starts_with('\u{16}') && !bytes.contains("HTTP/1.1\r\n"),
            "{bytes:?}"
        );
    }
}

#[tokio::test]
async fn c44_an_address_is_no_server_name() {
    let authority = Authority::new();
    let upstream = Upstream::echoing(Some(authority.acceptor("127.0.0.1", &[]))).await;
    let url = format!("https://127.0.0.1:{}", upstream.port());
    let ca = authority.file();
    let dns = Dns::start(&[]).await;
    let scene = Scene::with(&[&url], "", dns, &["--ca-file", &ca]).await;
    for server in scene.servers() {
        let report = fetch(server, &[("url", &url)]).await;
        assert_eq!(report["status"], 200, "{report}");
    }
    assert_eq!(upstream.names(), [None, None]);
}
