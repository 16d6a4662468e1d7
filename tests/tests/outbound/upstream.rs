//! Upstreams that do more than a canary: they hold, stream, echo, speak TLS and HTTP/2.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// How long a story waits for who must come. Only a story that fails ever waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// What a story opens, and an upstream waits at.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

/// A listener on loopback.
pub(crate) struct Upstream {
    port: u16,
    seen: Arc<Seen>,
}

/// Who came.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    peers: Mutex<Vec<SocketAddr>>,
    names: Mutex<Vec<Option<String>>>,
}

/// What an upstream does with a request.
#[derive(Clone)]
enum Does {
    /// Sends the body back as it comes, and says which HTTP and which host it came for.
    Echo,
    /// Answers when the gate is opened.
    Hold(Gate),
    /// Sends `first`, and `second` when the gate is opened.
    Stream(Gate),
    /// Never answers.
    Nothing,
}

impl Upstream {
    pub(crate) async fn echoing(tls: Option<TlsAcceptor>) -> Upstream {
        Upstream::start(Does::Echo, tls).await
    }

    pub(crate) async fn holding(gate: Gate) -> Upstream {
        Upstream::start(Does::Hold(gate), None).await
    }

    pub(crate) async fn streaming(gate: Gate) -> Upstream {
        Upstream::start(Does::Stream(gate), None).await
    }

    pub(crate) async fn silent() -> Upstream {
        Upstream::start(Does::Nothing, None).await
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many requests it has read.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// The other end of each connection, in order.
    pub(crate) fn peers(&self) -> Vec<SocketAddr> {
        self.seen.peers.lock().expect("no panic inside").clone()
    }

    /// The server name of each finished TLS handshake, in order.
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        self.seen.names.lock().expect("no panic inside").clone()
    }

    async fn start(does: Does, tls: Option<TlsAcceptor>) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let upstream = Upstream {
            port: listener.local_addr().expect("bound").port(),
            seen: Arc::default(),
        };
        let seen = upstream.seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                seen.peers.lock().expect("no panic inside").push(peer);
                let (does, tls, seen) = (does.clone(), tls.clone(), seen.clone());
                tokio::spawn(async move {
                    match (tls, &does) {
                        // Not even a greeting.
                        (None, Does::Nothing) => hold_open(stream).await,
                        (None, _) => serve(stream, does, seen).await,
                        (Some(tls), _) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let name = stream.get_ref().1.server_name().map(str::to_owned);
                                seen.names.lock().expect("no panic inside").push(name);
                                serve(stream, does, seen).await;
                            }
                        }
                    }
                });
            }
        });
        upstream
    }
}

/// Keeps the connection until the other side closes it, and reads nothing.
async fn hold_open(stream: TcpStream) {
    let _ = stream.ready(Interest::ERROR).await;
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    does: Does,
    seen: Arc<Seen>,
) {
    let service = service_fn(move |request| {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        answer(request, does.clone())
    });
    let server = auto::Builder::new(TokioExecutor::new());
    // A client that went away is none of its business.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, does: Does) -> Result<Answer, Infallible> {
    Ok(match does {
        Does::Echo => {
            let host = request
                .headers()
                .get("host")
                .and_then(|host| host.to_str().ok());
            let host = host.or(request
                .uri()
                .authority()
                .map(|authority| authority.as_str()));
            Response::builder()
                .header("x-version", format!("{:?}", request.version()))
                .header("x-host", host.unwrap_or_default())
                .body(request.into_body().boxed())
                .expect("a response")
        }
        Does::Hold(gate) => {
            gate.pass().await;
            Response::new(Full::from("held").map_err(|never| match never {}).boxed())
        }
        Does::Stream(gate) => Response::new(Halves::new(gate).boxed()),
        Does::Nothing => std::future::pending().await,
    })
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            arrived: Arc::new(Semaphore::new(0)),
            opened: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Gate {
    /// Lets `n` through.
    pub(crate) fn open(&self, n: usize) {
        self.opened.add_permits(n);
    }

    /// Waits until `n` more have come.
    pub(crate) async fn arrived(&self, n: u32) {
        let arrivals = tokio::time::timeout(PATIENCE, self.arrived.acquire_many(n)).await;
        arrivals.expect("they come").expect("never closed").forget();
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.opened.acquire().await.expect("never closed").forget();
    }
}

/// A body in two halves, with a gate between them.
struct Halves {
    first: bool,
    gate: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Halves {
    fn new(gate: Gate) -> Halves {
        Halves {
            first: true,
            gate: Some(Box::pin(async move { gate.pass().await })),
        }
    }
}

impl Body for Halves {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if std::mem::take(&mut self.first) {
            return Poll::Ready(Some(Ok(Frame::data("first".into()))));
        }
        let Some(gate) = &mut self.gate else {
            return Poll::Ready(None);
        };
        ready!(gate.as_mut().poll(cx));
        self.gate = None;
        Poll::Ready(Some(Ok(Frame::data("second".into()))))
    }
}

/// A certificate authority of the story's own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(issuer.pem().as_bytes()).expect("writable");
        Authority { issuer, file }
    }

    /// Its certificate, for `--ca-file`.
    pub(crate) fn file(&self) -> String {
        self.file.path().display().to_string()
    }

    /// What a server of that name presents, and the protocols that it offers.
    pub(crate) fn acceptor(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        self.acceptor_of(&[name], alpn)
    }

    /// The same for a server of several names.
    pub(crate) fn acceptor_of(&self, names: &[&str], alpn: &[&str]) -> TlsAcceptor {
        self.signed(params(names), alpn)
    }

    /// The same under any certificate that this authority would sign.
    pub(crate) fn signed(&self, params: CertificateParams, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        acceptor(&certificate, &key, alpn)
    }
}

/// What a server of that name presents that has nobody's word but its own.
pub(crate) fn self_signed(name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let certificate = params(&[name]).self_signed(&key).expect("a certificate");
    acceptor(&certificate, &key, &[])
}

/// What a certificate for these names says.
pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names")
}

fn acceptor(certificate: &Certificate, key: &KeyPair, alpn: &[&str]) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("they belong together");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
