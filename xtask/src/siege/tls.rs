//! A certificate for a server under siege, and a client that trusts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

const NAME: &str = "siege.example";

/// Files for `--tls-cert` and `--tls-key`, and who believes them.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client: TlsConnector,
}

/// Makes one in `folder`.
pub(crate) fn make(folder: &Path) -> Result<Certificate> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let files = Certificate {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
        client: client(made.cert.der().clone())?,
    };
    fs::write(&files.certificate, made.cert.pem())?;
    fs::write(&files.key, made.signing_key.serialize_pem())?;
    Ok(files)
}

fn client(trusted: rustls_pki_types::CertificateDer<'static>) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Whom a client asks for.
pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a name as any other")
}
