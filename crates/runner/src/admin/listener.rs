//! The admin listener's socket, of either kind.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpListener, UnixListener};

use super::{AdminAddress, Hosts};
use crate::socket;
use crate::telemetry::Notice;

/// An open socket.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    pub(super) async fn bind(address: &AdminAddress) -> io::Result<Listener> {
        match address {
            AdminAddress::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            AdminAddress::Unix(path) => {
                let listener = socket::listen_anew(path).await?;
                Ok(Listener::Unix(listener, path.clone()))
            }
        }
    }

    /// The socket to remove at the end.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self {
            Listener::Tcp(_) => None,
            Listener::Unix(_, path) => Some(path.clone()),
        }
    }

    /// No browser reaches a Unix socket, and whoever listens beyond loopback has names of his own.
    pub(super) fn hosts(&self) -> Hosts {
        match self.address() {
            Some(address) if address.ip().to_canonical().is_loopback() => Hosts::Loopback,
            Some(_) | None => Hosts::Any,
        }
    }

    /// Where it is, and what is wrong with that.
    pub(super) fn notices(&self) -> Vec<Notice> {
        let url = match (self, self.address()) {
            (_, Some(address)) => format!("http://{address}"),
            (Listener::Unix(_, path), None) => AdminAddress::Unix(path.clone()).to_string(),
            (Listener::Tcp(_), None) => return Vec::new(),
        };
        let text = format!("health, readiness and metrics on {url}");
        let mut notices = vec![Notice::new("admin", text).with("url", url)];
        if let Some(address) = self.address()
            && !address.ip().to_canonical().is_loopback()
        {
            notices.push(Notice::warning(format!(
                "the admin listener on `{address}` asks nobody for a password: keep others from it, or listen on 127.0.0.1"
            )));
        }
        notices
    }

    fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }
}
