//! What may go wrong behind the door, named by what failed.

use std::io;
use std::path::PathBuf;

use http::{HeaderName, Method};

use crate::Denied;

/// An error of any kind, as bodies carry them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request has no response, or a response no end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name resolved to addresses that the component may not reach.
    #[error("{0}")]
    Denied(Box<Denied>),
    /// The certificate authorities of [`Options::ca_file`](crate::Options::ca_file) are not usable.
    #[error("certificate authorities `{path}`: {reason}")]
    CaFile {
        /// The file as it was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// DNS does not know the name, or gave no usable answer.
    #[error("`{name}` could not be resolved: {source}")]
    Dns {
        /// The name that was asked for.
        name: Box<str>,
        /// The server's response code, when there was a response.
        rcode: Option<u16>,
        /// What the resolver says.
        source: BoxError,
    },
    /// DNS took longer than the connect timeout.
    #[error("`{name}` was not resolved in time")]
    DnsTimeout {
        /// The name that was asked for.
        name: Box<str>,
    },
    /// No permitted address accepted a connection; this is what the last one said.
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    /// No permitted address accepted a connection, or finished its TLS handshake, in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The peer ended the TLS handshake with an alert.
    #[error("TLS: the peer refused with alert {code}: {name}")]
    Alert {
        /// The alert's number.
        code: u8,
        /// The alert's name.
        name: String,
    },
    /// The peer's certificate is not one to trust for this name.
    #[error("certificate: {0}")]
    Certificate(Box<rustls::CertificateError>),
    /// No response began in time.
    #[error("no response in time")]
    FirstByteTimeout,
    /// The response's body fell silent.
    #[error("the response's body fell silent")]
    BetweenBytesTimeout,
    /// The response's head is over its cap.
    #[error("the response's head is too large")]
    HeaderSize,
    /// The method would leave what HTTP rules can see.
    #[error("method `{0}` is not available to components")]
    Method(Method),
    /// The request's target is not a path.
    #[error("`{0}` is not a path: it must start with `/`")]
    Path(Box<str>),
    /// The permit is for another method or path than the request has.
    #[error("the permit is for another request")]
    NotAsked,
    /// A header field that may occur only once occurs again.
    #[error("header `{0}` occurs more than once")]
    Repeated(HeaderName),
    /// The upstream switched protocols, which nobody asked for.
    #[error("the upstream switched protocols unasked")]
    Upgrade,
    /// The request's own body failed while it was sent.
    #[error("the request's body failed: {0}")]
    RequestBody(#[source] hyper::Error),
    /// The connection ended before the response did.
    #[error("the connection ended early: {0}")]
    Closed(#[source] hyper::Error),
    /// The peer does not speak HTTP as it should.
    #[error("HTTP: {0}")]
    Protocol(#[source] hyper::Error),
}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Error {
        if error.is_parse_too_large() {
            Error::HeaderSize
        } else if error.is_user() {
            Error::RequestBody(error)
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            Error::Closed(error)
        } else {
            Error::Protocol(error)
        }
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Error {
        Error::Denied(Box::new(denied))
    }
}
