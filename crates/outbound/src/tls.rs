//! TLS towards upstreams: whom we trust, and what we say about ourselves (nothing).

use std::io;
use std::path::Path;
use std::sync::Arc;

use runner_manifest::{Host, Origin};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Error;

/// ALPN's name for HTTP/2.
const H2: &[u8] = b"h2";

/// Makes TLS connections; every one is verified against the same roots.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
}

impl Tls {
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Tls, Error> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = ca_file {
            add_file(&mut roots, path)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        // A ticket that one component was given would let the upstream recognise the next one.
        config.resumption = Resumption::disabled();
        Ok(Tls {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Greets the peer under the origin's own name, which its certificate must carry.
    pub(crate) async fn handshake(
        &self,
        origin: &Origin,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let name = server_name(&origin.host)?;
        self.connector.connect(name, stream).await.map_err(failure)
    }
}

/// Whether the two sides agreed on HTTP/2.
pub(crate) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(H2)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Error> {
    match host {
        Host::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Host::Name(name) => ServerName::try_from(name.to_string())
            .map_err(|error| Error::Tls(io::Error::other(error))),
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    let unusable = |reason: String| Error::CaFile {
        path: path.to_owned(),
        reason,
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    let before = roots.len();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    if roots.len() == before {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(())
}

fn failure(error: io::Error) -> Error {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            Error::Certificate(Box::new(reason.clone()))
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::Alert {
            code: u8::from(*alert),
            name: format!("{alert:?}"),
        },
        _ => Error::Tls(error),
    }
}
