//! A port with an app behind it, and the handle that swaps the app and ends the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use runner_host::App;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::accept;
use crate::answer::answer;
use crate::connection::{Connections, Settings};
use crate::drain::{Drain, Requests};
use crate::tls::Tls;
use crate::{Error, Options};

/// A server whose port is open; [`Server::serve`] answers.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    drain_timeout: Duration,
    handle: Handle,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many requests were in progress when the drain timeout, or a second call to drain, cut them.
    pub cut: usize,
}

impl Server {
    /// Reads the certificate, if any, and opens the port.
    pub async fn bind(options: Options, app: Arc<App>) -> Result<Server, Error> {
        let tls = options.tls.as_ref().map(Tls::acceptor).transpose()?;
        let bind = |source| Error::Bind {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let handle = Handle {
            app: Arc::new(ArcSwap::new(app)),
            drain: Drain::new(),
            requests: Requests::default(),
        };
        Ok(Server {
            listener,
            address,
            tls,
            drain_timeout: options.drain_timeout,
            handle,
        })
    }

    /// The address it listens on, with the port that was free when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What controls this server while it serves.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::drain`] was called and what was in progress has finished or was cut.
    pub async fn serve(self) -> Drained {
        let Handle {
            app,
            drain,
            requests,
        } = self.handle;
        let connections = Connections {
            answer: move |request, peer| answer(app.load_full(), request, peer),
            tls: self.tls,
            drain,
            requests,
            settings: Settings::default(),
        };
        accept::run(self.listener, connections, self.drain_timeout).await
    }
}

/// Controls a server from elsewhere.
#[derive(Clone)]
pub struct Handle {
    app: Arc<ArcSwap<App>>,
    drain: Drain,
    requests: Requests,
}

impl Handle {
    /// Answers every request that begins from now on with this app; those in progress finish on the old one.
    pub fn swap(&self, app: Arc<App>) {
        self.app.store(app);
    }

    /// How many requests have not been answered to the end.
    pub fn in_flight(&self) -> usize {
        self.requests.count()
    }

    /// Stops accepting and lets what is in progress finish. The second call stops at once.
    pub fn drain(&self) {
        self.drain.advance();
    }
}
