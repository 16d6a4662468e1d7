//! Whom the door trusts, and that it never falls back.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use runner_outbound::{Error, Options, Outbound};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::support::{Dns, HELLO, Upstream, door, fetch, grants, refusal, text};

/// A certificate authority of our own, and the file that makes a door trust it.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Authority { issuer, file }
    }

    /// An acceptor for `name` that offers `alpn`.
    pub(crate) fn acceptor(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        self.accept(CertificateParams::new([name.to_owned()]).unwrap(), alpn)
    }

    fn accept(&self, params: CertificateParams, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor(certificate, key, alpn)
    }

    /// A door that trusts this authority and takes its names from `dns`.
    pub(crate) fn door(&self, dns: &Dns) -> Outbound {
        door(Options {
            ca_file: Some(self.file.path().to_owned()),
            dns: vec![dns.address],
            ..Options::default()
        })
    }
}

fn acceptor(certificate: rcgen::Certificate, key: KeyPair, alpn: &[&str]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Logs the server name that was asked for, and answers every request with the same bytes.
async fn secure(acceptor: TlsAcceptor) -> Upstream {
    Upstream::start("127.0.0.2", move |stream, log| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            log.note(format!("{:?}", stream.get_ref().1.server_name()));
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    log.note(String::from_utf8(std::mem::take(&mut head)).unwrap());
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                }
            }
        }
    })
    .await
}

/// What a call of `https://{name}` brings when the upstream presents `acceptor`.
async fn call(
    authority: &Authority,
    acceptor: TlsAcceptor,
    name: &str,
) -> (Result<String, Error>, Vec<String>) {
    let upstream = secure(acceptor).await;
    let dns = Dns::answering(&[&["127.0.0.2"]]).await;
    let port = upstream.port();
    let url = format!("https://{name}:{port}");
    let grants = grants("shop", 1, &[&url, &format!("https://127.0.0.2/32:{port}")]);
    let answer = match fetch(&authority.door(&dns), &grants, &url).await {
        Ok(response) => Ok(text(response).await),
        Err(error) => Err(error),
    };
    let host = format!(":{port}");
    let heads = upstream
        .log
        .heads()
        .into_iter()
        .map(|head| head.replace(&host, ""));
    (answer, heads.collect())
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_for_the_name() {
    let authority = Authority::new();
    for alpn in [&["http/1.1"][..], &[]] {
        let (answer, heads) = call(&authority, authority.acceptor("a.test", alpn), "a.test").await;
        assert_eq!(answer.unwrap(), "hello");
        assert_eq!(
            heads,
            ["Some(\"a.test\")", "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"]
        );
    }
}

#[tokio::test]
async fn c44_an_address_is_verified_as_one_and_sends_no_name() {
    let authority = Authority::new();
    let (answer, heads) = call(
        &authority,
        authority.acceptor("127.0.0.2", &[]),
        "127.0.0.2",
    )
    .await;
    assert_eq!(answer.unwrap(), "hello");
    assert_eq!(heads[0], "None");
    let (answer, _) = call(&authority, authority.acceptor("a.test", &[]), "127.0.0.2").await;
    assert!(matches!(answer, Err(Error::Certificate(_))));
}

#[tokio::test]
async fn c44_a_certificate_that_is_not_to_be_trusted() {
    let authority = Authority::new();
    let mut expired = CertificateParams::new(["a.test".to_owned()]).unwrap();
    expired.not_before = date_time_ymd(2000, 1, 1);
    expired.not_after = date_time_ymd(2001, 1, 1);
    let own = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    for (why, acceptor) in [
        ("expired", authority.accept(expired, &[])),
        ("wrong name", authority.acceptor("b.test", &[])),
        ("self-signed", acceptor(own.cert, own.signing_key, &[])),
        (
            "unknown authority",
            Authority::new().acceptor("a.test", &[]),
        ),
    ] {
        let (answer, heads) = call(&authority, acceptor, "a.test").await;
        assert!(
            matches!(answer, Err(Error::Certificate(_))),
            "{why}: {answer:?}"
        );
        assert!(
            heads.iter().all(|head| !head.contains("GET")),
            "{why}: {heads:?}"
        );
    }
}

#[tokio::test]
async fn c44_an_upstream_without_tls_is_not_spoken_to() {
    let upstream = Upstream::start("127.0.0.1", |mut stream, log| async move {
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        log.note(String::from_utf8_lossy(&heard).into_owned());
    })
    .await;
    let url = format!("https://{}", upstream.address);
    let result = fetch(&door(Options::default()), &grants("shop", 1, &[&url]), &url).await;
    assert!(matches!(result, Err(Error::Tls(_))));
    assert_eq!(upstream.log.peers().len(), 1);
    assert!(
        upstream
            .log
            .heads()
            .iter()
            .all(|head| !head.contains("GET"))
    );
}

#[tokio::test]
async fn an_unusable_file_of_authorities_stops_the_start() {
    let empty = NamedTempFile::new().unwrap();
    let missing = empty.path().with_extension("missing");
    for path in [empty.path().to_owned(), missing] {
        let result = Outbound::new(Options {
            ca_file: Some(path.clone()),
            ..Options::default()
        });
        assert!(matches!(result, Err(Error::CaFile { path: named, .. }) if named == path));
    }
}

#[tokio::test]
async fn the_public_authorities_do_not_know_ours() {
    let authority = Authority::new();
    let upstream = secure(authority.acceptor("127.0.0.2", &[])).await;
    let url = format!("https://{}", upstream.address);
    let result = fetch(&door(Options::default()), &grants("shop", 1, &[&url]), &url).await;
    assert_eq!(refusal(result), "certificate: UnknownIssuer");
}
