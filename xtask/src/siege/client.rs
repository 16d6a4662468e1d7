//! A client of HTTP/1.1 that tells how a connection failed, which libraries hide.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A head that is longer is none of ours.
const MAX_HEAD: usize = 64 * 1024;

/// Connects from the address of an honest client, or from another of this machine.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clients of the server under siege, in a process of their own"
)]
pub(crate) async fn dial(from: Option<Ipv4Addr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind(SocketAddr::from((from, 0)))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same, with as small a buffer for what it does not read as the kernel gives.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clients of the server under siege, in a process of their own"
)]
pub(crate) async fn dial_narrow(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(1024)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// The addresses that attackers come from: so many that ports suffice, none the honest client's.
pub(crate) fn attacker(number: u64) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, (number % 200) as u8 + 1)
}

/// Why there was no whole response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A reset, or a write that failed.
    Reset(io::Error),
    /// An orderly end before the first byte of a response.
    NoAnswer,
    /// An end in the middle.
    CutShort,
    /// No HTTP/1.1.
    Nonsense(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Reset(error) => write!(f, "{error}"),
            Failure::NoAnswer => write!(f, "closed without an answer"),
            Failure::CutShort => write!(f, "cut within the answer"),
            Failure::Nonsense(text) => write!(f, "no response: {text:?}"),
        }
    }
}

/// A response, its body counted and thrown away.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In lower case.
    head: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found == name).then(|| value.trim())
        })
    }

    /// Whether the connection can be used again.
    pub(crate) fn keeps(&self) -> bool {
        self.header("connection") != Some("close")
    }
}

/// One connection.
pub(crate) struct Client<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Client<S> {
        Client {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// `GET path`, and the whole response.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Reply, Failure> {
        self.get_of("siege.example", path).await
    }

    /// The same, of another host.
    pub(crate) async fn get_of(&mut self, host: &str, path: &str) -> Result<Reply, Failure> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.stream
            .write_all(request.as_bytes())
            .await
            .map_err(Failure::Reset)?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, Failure> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head
            .strip_prefix("http/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status else {
            return Err(Failure::Nonsense(head));
        };
        let reply = Reply { status, head };
        match self.body(&reply).await {
            Ok(()) => Ok(reply),
            Err(Failure::NoAnswer | Failure::Reset(_)) => Err(Failure::CutShort),
            Err(failure) => Err(failure),
        }
    }

    async fn body(&mut self, reply: &Reply) -> Result<(), Failure> {
        if reply.header("transfer-encoding") == Some("chunked") {
            return self.chunks().await;
        }
        let length = reply.header("content-length").unwrap_or("0");
        match length.parse() {
            Ok(length) => self.skip(length).await,
            Err(_) => Err(Failure::Nonsense(length.to_owned())),
        }
    }

    async fn chunks(&mut self) -> Result<(), Failure> {
        loop {
            let line = self.until(b"\r\n").await?;
            let size = String::from_utf8_lossy(&line);
            let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
                return Err(Failure::Nonsense(size.into_owned()));
            };
            self.skip(size + 2).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Everything up to and with `end`.
    async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|part| part == end) {
                return Ok(self.read.drain(..at + end.len()).collect());
            }
            if self.read.len() > MAX_HEAD {
                return Err(Failure::Nonsense("too long a head".to_owned()));
            }
            self.more().await?;
        }
    }

    async fn skip(&mut self, mut count: usize) -> Result<(), Failure> {
        while count > self.read.len() {
            count -= self.read.len();
            self.read.clear();
            self.more().await?;
        }
        self.read.drain(..count);
        Ok(())
    }

    async fn more(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) if self.read.is_empty() => Err(Failure::NoAnswer),
            Ok(0) => Err(Failure::CutShort),
            Ok(_) => Ok(()),
            // What rustls says of a connection that ended without a word of TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Failure::NoAnswer),
            Err(error) if self.read.is_empty() => Err(Failure::Reset(error)),
            Err(_) => Err(Failure::CutShort),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(wire: &str) -> Result<Reply, Failure> {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(wire.as_bytes()).await.expect("room");
        drop(theirs);
        Client::new(ours).reply().await
    }

    #[tokio::test]
    async fn a_response_is_read_to_its_end_or_it_failed() {
        let whole = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                200,
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\r\n",
                503,
            ),
        ];
        for (wire, status) in whole {
            assert_eq!(read(wire).await.expect(wire).status, status, "{wire}");
        }
        let broken = [
            ("", "closed without an answer"),
            ("HTTP/1.1 200 OK\r\n", "cut within the answer"),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
                "cut within the answer",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
                "cut within the answer",
            ),
            ("SSH-2.0\r\n\r\n", "no response: \"ssh-2.0\\r\\n\\r\\n\""),
        ];
        for (wire, expected) in broken {
            let failure = read(wire).await.expect_err(wire);
            assert_eq!(failure.to_string(), expected, "{wire}");
        }
    }
}
