//! The listener, the care of its connections, and the one place where an error becomes a status.
//!
//! [`Server::bind`] opens the port, [`Server::serve`] answers requests with [`Apps`](runner_host::Apps) until
//! [`Handle::drain`] is called. What a client may ask for at all is decided in `target`, before the app sees it.
//!
//! ```no_run
//! # async fn example(apps: runner_host::Apps) -> Result<(), runner_trigger_http::Error> {
//! use runner_trigger_http::{Limits, Options, Proxies, Server};
//! use std::time::Duration;
//!
//! let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 3000));
//! let options = Options {
//!     listen,
//!     tls: None,
//!     drain_timeout: Duration::from_secs(30),
//!     limits: Limits::default(),
//!     proxies: Proxies::default(),
//! };
//! let server = Server::bind(options, apps).await?;
//! let handle = server.handle();
//! let serving = tokio::spawn(server.serve());
//! handle.drain();
//! # drop(serving);
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod accept;
mod answer;
mod connection;
mod deadline;
mod drain;
mod error;
mod http1;
mod http2;
mod limits;
mod pace;
mod proxies;
mod proxy_protocol;
mod received;
mod refusal;
mod room;
mod server;
mod stats;
mod streams;
mod tally;
mod target;
mod tls;
mod trailers;
mod transport;

pub use error::{refuse, refuse_showing};
pub use limits::Limits;
pub use proxies::{Announced, Proxies};
pub use refusal::Refusal;
pub use server::{Drained, Handle, Server};
pub use stats::{Closed, State, Stats};
pub use tls::Tls;

/// What a server needs to know before it opens its port.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The certificate to serve HTTPS with; without one, cleartext HTTP.
    pub tls: Option<Tls>,
    /// How long requests in progress may go on after [`Handle::drain`].
    pub drain_timeout: Duration,
    /// What a client may take.
    pub limits: Limits,
    /// Whose word counts about the client behind it.
    pub proxies: Proxies,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, not ours, or not permitted.
    #[error("cannot listen on `{address}`: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A listener that somebody else has opened cannot be used.
    #[error("cannot listen on the socket that was handed over: {0}")]
    Inherited(std::io::Error),
    /// A certificate or key file is missing or is not PEM.
    #[error("cannot read `{}`: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error("`{}` holds no certificate; it must be PEM, the server's own certificate first", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key cannot be used, or not together.
    #[error("cannot serve TLS with `{}`: {source}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}
