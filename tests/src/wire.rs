//! A connection of bytes, for what no HTTP client would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An open connection.
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Wire {
        Wire {
            stream: crate::client::dial(address).await,
        }
    }

    /// Its own end, as the server's log names it.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("connected")
    }

    /// Sends these bytes, or as many as the server takes.
    pub async fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it reads");
    }

    /// Ends it as one that breaks: not by a close, after which a client may still listen.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a socket");
    }

    /// Takes what is there, and says how much that was; nothing at the end.
    pub async fn some(&mut self) -> usize {
        let mut bytes = vec![0; 64 * 1024];
        self.stream.read(&mut bytes).await.unwrap_or(0)
    }

    /// Reads up to the end of a response's head.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Reads until `end` has come.
    pub async fn until(&mut self, end: &str) -> String {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(end.as_bytes()) && self.stream.read_exact(&mut byte).await.is_ok() {
            text.push(byte[0]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads until the server closes.
    pub async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        // A reset after the answer is a way to close.
        let _ = self.stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }
}
