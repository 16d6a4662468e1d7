//! A connection of hand-written HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::siege::client::{attacker, dial};
use crate::siege::frames::{goaway, greeting};

/// After this a write has stalled: the server reads no more.
const STALL: Duration = Duration::from_secs(2);

/// What a server still sends after an attack is read up to this.
const MOST_READ: u64 = 16 << 20;

/// How an attacked connection ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// It did not.
    Open,
    /// With a GOAWAY that has this code.
    GoAway(u32),
    /// Without a word that arrived: what is under way is lost when bytes are still coming in.
    Closed,
}

/// One connection, greeted.
pub(crate) struct Wire {
    stream: TcpStream,
}

impl Wire {
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Wire> {
        let mut stream = dial(Some(attacker(0)), to).await?;
        stream.write_all(&greeting()).await?;
        Ok(Wire { stream })
    }

    /// Sends, unless the server has closed or has stopped reading.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        matches!(
            timeout(STALL, self.stream.write_all(bytes)).await,
            Ok(Ok(()))
        )
    }

    /// Reads until the server closes, at most for `patience`.
    pub(crate) async fn end(mut self, patience: Duration) -> End {
        let mut sent = Vec::new();
        let mut limited = (&mut self.stream).take(MOST_READ);
        let closed = timeout(patience, limited.read_to_end(&mut sent))
            .await
            .is_ok();
        match (goaway(&sent), closed) {
            (Some(code), true) => End::GoAway(code),
            (None, true) => End::Closed,
            (_, false) => End::Open,
        }
    }
}
