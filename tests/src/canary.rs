//! An upstream that answers, and counts who came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A listener on loopback. Every connection is answered once, as told, and closed.
pub struct Canary {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    heads: Vec<String>,
}

impl Canary {
    /// Answers `200 OK` with `collected`.
    pub async fn start() -> Canary {
        Canary::at("127.0.0.1:0").await
    }

    /// The same, at an address.
    pub async fn at(address: &str) -> Canary {
        let body = "collected";
        Canary::answering(
            address,
            &format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
        .await
    }

    /// Answers every connection with these bytes.
    pub async fn answering(address: &str, answer: &str) -> Canary {
        let listener = TcpListener::bind(address)
            .await
            .expect("a free port on loopback");
        let canary = Canary {
            address: listener.local_addr().expect("bound"),
            seen: Arc::default(),
        };
        tokio::spawn(serve(listener, canary.seen.clone(), answer.to_owned()));
        canary
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.seen.lock().expect("no panic inside").connections
    }

    /// The heads of the requests it has read.
    pub fn heads(&self) -> Vec<String> {
        self.seen.lock().expect("no panic inside").heads.clone()
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Seen>>, answer: String) {
    while let Ok((mut stream, _)) = listener.accept().await {
        seen.lock().expect("no panic inside").connections += 1;
        let (seen, answer) = (seen.clone(), answer.clone());
        tokio::spawn(async move {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
                head.push(byte[0]);
            }
            seen.lock()
                .expect("no panic inside")
                .heads
                .push(String::from_utf8_lossy(&head).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}
