//! A certificate from an ACME authority, got and renewed in the background by TLS-ALPN-01 (RFC 8737).

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ResolvesServerCert;
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::{AcmeConfig, EventOk};
use tokio::task::JoinHandle;

use super::TlsError;
use super::folder::Folder;

/// What an authority is asked for, and how.
#[derive(Clone, Debug)]
pub struct AcmeOptions {
    /// The names that the certificate is for. They lead to this node, on port 443.
    pub domains: Vec<String>,
    /// Address that the authority may write to; empty for none.
    pub mail: String,
    /// The authority's directory.
    pub directory: String,
    /// Roots, PEM, that the authority's own certificate is checked against instead of the system's.
    pub roots: Option<PathBuf>,
    /// Folder for certificate and account key.
    pub folder: PathBuf,
}

pub(super) fn start(
    options: AcmeOptions,
) -> Result<(Arc<dyn ResolvesServerCert>, JoinHandle<()>), TlsError> {
    let client =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(options.roots)?)
            .with_no_client_auth();
    let mail = Some(&options.mail).filter(|mail| !mail.is_empty());
    let config = AcmeConfig::new_with_client_config(&options.domains, Arc::new(client))
        .contact(mail.map(|mail| format!("mailto:{mail}")))
        .directory(&options.directory)
        .cache(Folder::new(options.folder));
    let mut state = config.state();
    let resolver = state.resolver();
    let (domains, directory) = (options.domains.join(", "), options.directory);
    let keeping = tokio::spawn(async move {
        while let Some(event) = state.next().await {
            match event {
                Ok(EventOk::DeployedCachedCert) => {
                    tracing::info!(%domains, "the certificate of before is in use");
                }
                Ok(EventOk::DeployedNewCert) => {
                    tracing::info!(%domains, "a new certificate is in use");
                }
                Ok(_) => {}
                // It is tried again, each time after twice as long.
                Err(error) => {
                    tracing::warn!(%domains, %directory, %error, "no new certificate");
                }
            }
        }
    });
    Ok((resolver, keeping))
}

fn roots(file: Option<PathBuf>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match file {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
        Some(path) => {
            let pem = fs::read(&path).map_err(|source| TlsError::File {
                path: path.clone(),
                source,
            })?;
            let wrong = |reason: String| TlsError::Content {
                path: path.clone(),
                expected: "root certificate in PEM",
                reason,
            };
            for root in CertificateDer::pem_slice_iter(&pem) {
                let root = root.map_err(|e| wrong(e.to_string()))?;
                roots.add(root).map_err(|e| wrong(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("no CERTIFICATE section".to_owned()));
            }
        }
    }
    Ok(roots)
}
