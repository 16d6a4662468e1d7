//! How an app is listened for: ports, TLS, and the versions of HTTP.

use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runner_tests::{App, Server, run};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[expect(clippy::disallowed_methods, reason = "the stories' own client")]
async fn dial(server: &Server) -> TcpStream {
    TcpStream::connect(server.address())
        .await
        .expect("it listens")
}

/// `GET /headers` over HTTP/2.
async fn http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, url: &str) -> Value {
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .expect("HTTP/2");
    tokio::spawn(driver);
    let request = Request::get(format!("{url}/headers")).body(Full::<Bytes>::default());
    seen(
        sender
            .send_request(request.expect("a request"))
            .await
            .expect("a response"),
    )
    .await
}

/// `GET /headers` over HTTP/1.1.
async fn http1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, host: &str) -> Value {
    let (mut sender, driver) = http1::handshake(TokioIo::new(io)).await.expect("HTTP/1.1");
    tokio::spawn(driver);
    let request = Request::get("/headers")
        .header("host", host)
        .body(Full::<Bytes>::default());
    seen(
        sender
            .send_request(request.expect("a request"))
            .await
            .expect("a response"),
    )
    .await
}

async fn seen(response: Response<Incoming>) -> Value {
    assert_eq!(response.status(), 200);
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes();
    serde_json::from_slice(&body).expect("JSON")
}

fn full_url(seen: &Value) -> &str {
    let mut headers = seen["headers"]
        .as_array()
        .expect("an array of pairs")
        .iter();
    let url = headers
        .find(|pair| pair[0] == "spin-full-url")
        .expect("always there");
    url[1].as_str().expect("text")
}

#[tokio::test]
async fn http2_without_tls_is_spoken_with_who_begins_with_it() {
    let app = App::probe("");
    let server = Server::start(&app, &[]).await;

    let seen = http2(dial(&server).await, "http://a.test").await;

    assert_eq!([&seen["scheme"], &seen["authority"]], ["http", "a.test"]);
    assert_eq!(full_url(&seen), "http://a.test/headers");
}

/// A certificate for `localhost`, beside the manifest.
fn certificate(app: &App) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    app.file("cert.pem", &made.cert.pem());
    app.file("key.pem", &made.signing_key.serialize_pem());
}

async fn tls(server: &Server, app: &App, protocol: &str) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate =
        CertificateDer::from_pem_file(app.path().join("cert.pem")).expect("written before");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, dial(server).await)
        .await
        .expect("TLS");
    assert_eq!(
        stream.get_ref().1.alpn_protocol(),
        Some(protocol.as_bytes())
    );
    stream
}

#[tokio::test]
async fn tls_serves_http2_to_who_asks_for_it_and_http1_to_the_others() {
    let app = App::probe("");
    certificate(&app);
    let server = Server::start(&app, &["--tls-cert", "cert.pem", "--tls-key", "key.pem"]).await;
    let authority = format!("localhost:{}", server.address().port());
    let url = format!("https://{authority}");
    assert!(
        server.url().starts_with("https://127.0.0.1:"),
        "{}",
        server.url()
    );

    let by_http2 = http2(tls(&server, &app, "h2").await, &url).await;
    let by_http1 = http1(tls(&server, &app, "http/1.1").await, &authority).await;

    for seen in [by_http2, by_http1] {
        assert_eq!([&seen["scheme"], &seen["authority"]], ["https", &authority]);
        assert_eq!(full_url(&seen), format!("{url}/headers"));
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_the_environments_fault() {
    let app = App::probe("");
    certificate(&app);
    app.file("none.pem", "nothing");
    for (certificate, key, message) in [
        (
            "none.pem",
            "key.pem",
            "error: `none.pem` holds no certificate; it must be PEM, the server's own certificate first\n",
        ),
        (
            "gone.pem",
            "key.pem",
            "error: cannot read `gone.pem`: I/O error: No such file or directory (os error 2)\n",
        ),
        (
            "cert.pem",
            "gone.pem",
            "error: cannot read `gone.pem`: I/O error: No such file or directory (os error 2)\n",
        ),
    ] {
        let args = [
            "up",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "text",
            "--tls-cert",
            certificate,
            "--tls-key",
            key,
        ];
        let finished = run(app.path(), &args).await;
        assert_eq!((finished.code, &*finished.stderr), (3, message));
    }
}

#[tokio::test]
async fn port_0_takes_a_free_one_and_says_which() {
    let app = App::probe("");
    let server = Server::start_text(&app, &[]).await;
    assert_ne!(server.address().port(), 0);
    assert_eq!(server.get("/hello").await.status, 200);
}

#[tokio::test]
async fn a_port_that_is_taken_is_the_environments_fault() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let app = App::probe("");

    let finished = run(
        app.path(),
        &["up", "--listen", &address, "--log-format", "text"],
    )
    .await;

    assert_eq!(finished.code, 3);
    assert_eq!(
        finished.stderr,
        format!(
            "error: cannot listen on `{address}`: Address already in use (os error 98)\n\
             help: free it, or choose another with `--listen`; port 0 takes a free one\n"
        )
    );
}
