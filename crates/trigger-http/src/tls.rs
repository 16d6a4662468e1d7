//! The certificate and key that HTTPS is served with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::Error;

/// The name by which ALPN calls HTTP/2.
pub(crate) const HTTP2: &[u8] = b"h2";

/// Where the certificate chain and its key are, both PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Shakes hands with the certificate that was read last. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Acceptor {
    files: Tls,
    current: Arc<ArcSwap<ServerConfig>>,
}

impl Acceptor {
    /// Reads both files.
    pub(crate) fn new(files: Tls) -> Result<Acceptor, Error> {
        let current = Arc::new(ArcSwap::new(files.config()?));
        Ok(Acceptor { files, current })
    }

    /// Reads both files again; handshakes that begin from now on use what they hold. What cannot be used changes nothing.
    pub(crate) fn reload(&self) -> Result<(), Error> {
        self.current.store(self.files.config()?);
        Ok(())
    }

    /// For one handshake.
    pub(crate) fn current(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

impl Tls {
    /// Reads both files. Early data stays off: a request in it could be replayed. rustls does not know renegotiation.
    fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        let chain = read_chain(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(pem(&self.key))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|source| Error::Certificate {
                path: self.certificate.clone(),
                source,
            })?;
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect())
        .map_err(pem(path))?;
    if chain.is_empty() {
        return Err(Error::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

fn pem(path: &Path) -> impl FnOnce(rustls_pki_types::pem::Error) -> Error {
    move |source| Error::Pem {
        path: path.to_owned(),
        source,
    }
}
