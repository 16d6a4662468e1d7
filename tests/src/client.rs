//! A client that says exactly what a story tells it to.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole response.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as text.
    pub body: String,
}

impl Reply {
    /// What of the body does not change, where the runtime made it: see [`without_id`].
    pub fn reason(&self) -> String {
        without_id(&self.body)
    }

    /// Its body, as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

/// The body of an error that the runtime made, without its request's id, which must be the last line and nothing else.
/// Any other body comes back as it is.
pub fn without_id(body: &str) -> String {
    let Some((reason, id)) = body.split_once("\nrequest id: ") else {
        return body.to_owned();
    };
    let id = id.strip_suffix('\n').unwrap_or_default();
    let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_id, "{body:?}");
    reason.to_owned()
}

/// One kept connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Connection {
        let (sender, driver) = handshake(TokioIo::new(dial(address).await))
            .await
            .expect("HTTP/1.1");
        tokio::spawn(driver);
        Connection { sender, address }
    }

    /// `GET path`.
    pub async fn get(&mut self, path: &str) -> Reply {
        let request = Request::get(path).header("host", self.address.to_string());
        self.send(request.body(Full::default()).expect("a request"))
            .await
    }

    /// `POST path` with a body.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Reply {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("host", self.address.to_string());
        self.send(request.body(Full::new(body.into())).expect("a request"))
            .await
    }

    /// Any request; it needs its own `host`.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Reply {
        self.try_send(request).await.expect("a response")
    }

    /// `GET path`, where failing is an outcome.
    pub async fn try_get(&mut self, path: &str) -> Result<Reply, hyper::Error> {
        let request = Request::get(path).header("host", self.address.to_string());
        self.try_send(request.body(Full::default()).expect("a request"))
            .await
    }

    /// Any request, where failing is an outcome.
    pub async fn try_send(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, hyper::Error> {
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// `GET url`, for an address in it.
pub async fn get(url: &str) -> Reply {
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut connection = Connection::open(authority.parse().expect("an address")).await;
    connection
        .get(if path.is_empty() { "/" } else { path })
        .await
}

/// Sends these bytes and reads until the server closes.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = dial(address).await;
    stream.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    // A reset after the answer is a way to close.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stories' own client, in a process of its own"
)]
pub(crate) async fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream
}
