//! TLS of the node's own: with a certificate that an ACME authority gives ([RFC 8555]), or one from files.
//!
//! [RFC 8555]: https://www.rfc-editor.org/rfc/rfc8555

mod acme;
mod files;
mod folder;
mod redirect;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::acme::AcmeOptions;
pub use self::redirect::Redirect;

/// The protocol that an authority speaks when it looks whether a domain is the node's (RFC 8737).
const ACME_ALPN: &[u8] = b"acme-tls/1";
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum TlsOptions {
    /// From an authority, got and renewed by the node.
    Acme(AcmeOptions),
    /// From two PEM files, read again when they change.
    Files {
        /// The certificate and those that lead to its authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {expected}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key is not that of the certificate.
    #[error("the key in {} is not the certificate's: {reason}", path.display())]
    OtherKey {
        /// The file of the key.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The cryptography refuses it.
    #[error("TLS cannot be had: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The node's side of TLS. What keeps its certificate fresh ends with the last clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    _keeping: Arc<Keeping>,
}

struct Keeping(JoinHandle<()>);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tls {
    /// Starts it. An authority is asked in the background: until it has given a certificate, handshakes fail.
    ///
    /// # Errors
    /// [`TlsError`] for files that cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(options: TlsOptions) -> Result<Self, TlsError> {
        let (resolver, keeping): (Arc<dyn ResolvesServerCert>, _) = match options {
            TlsOptions::Acme(options) => acme::start(options)?,
            TlsOptions::Files { certificate, key } => files::start(certificate, key)?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        let protocols = HTTP.iter().chain([&ACME_ALPN]);
        config.alpn_protocols = protocols.map(|name| name.to_vec()).collect();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            _keeping: Arc::new(Keeping(keeping)),
        })
    }

    /// Shakes hands with a client; `None` for an authority that has seen what it wanted to see.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        patience: Duration,
    ) -> io::Result<Option<TlsStream<TcpStream>>> {
        let shaken = tokio::time::timeout(patience, self.acceptor.accept(stream)).await;
        let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let is_look = stream.get_ref().1.alpn_protocol() == Some(ACME_ALPN);
        Ok((!is_look).then_some(stream))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
