//! A client that speaks HTTP/2 from the first byte.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// One connection, HTTP/2 with prior knowledge.
pub struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Http2 {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Http2 {
        let stream = crate::client::dial(address).await;
        let (sender, driver) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(driver);
        Http2 { sender, address }
    }

    /// `GET path`, where failing is an outcome.
    pub async fn try_get(&mut self, path: &str) -> Result<StatusCode, hyper::Error> {
        let authority = self.address.to_string();
        self.try_get_of(&authority, path).await
    }

    /// `GET path` under another `:authority` than the server's address.
    pub async fn try_get_of(
        &mut self,
        authority: &str,
        path: &str,
    ) -> Result<StatusCode, hyper::Error> {
        self.sender.ready().await?;
        let request = Request::get(format!("http://{authority}{path}")).body(Full::default());
        let response = self
            .sender
            .send_request(request.expect("a request"))
            .await?;
        let status = response.status();
        response.into_body().collect().await?;
        Ok(status)
    }
}
