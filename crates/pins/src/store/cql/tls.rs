//! Encryption of the connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::CqlTls;

/// Why the connection cannot be encrypted as it is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read, or holds something else.
    #[error("{what} expected in {}: {why}", path.display())]
    File {
        /// What was expected.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system has no authorities that could be believed.
    #[error("no certificate authority is known: name a CA file ({0})")]
    NoAuthorities(String),
    /// Certificates and keys that do not fit.
    #[error("the certificates cannot be used: {0}")]
    Unfit(#[from] rustls::Error),
    /// Authorities that cannot be used.
    #[error("the certificate authorities cannot be used: {0}")]
    Authorities(#[from] rustls::client::VerifierBuilderError),
}

/// What the driver needs to encrypt connections; `None` when they are not encrypted.
pub(super) fn config(tls: &CqlTls) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    if !tls.enabled {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    // An unreadable file is an error although everybody is believed: it was named for a reason.
    let authorities = tls.ca_file.as_deref().map(authorities).transpose()?;
    let verifier: Arc<dyn ServerCertVerifier> = if tls.insecure_skip_verify {
        Arc::new(Believing(Arc::clone(&provider)))
    } else {
        let roots = authorities.map_or_else(system, Ok)?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key)) => {
            config.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoAuthorities(why.join("; ")));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why: String| TlsError::File {
        what: "PEM certificates",
        path: path.to_owned(),
        why,
    };
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?;
    let certificates: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|e| wrong(e.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("there is none in it".to_owned()));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|why| TlsError::File {
        what: "a PEM key",
        path: path.to_owned(),
        why: why.to_string(),
    })
}

/// Believes every certificate, as its operator asked for; signatures are still checked.
#[derive(Debug)]
struct Believing(Arc<CryptoProvider>);

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_ca_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "nothing").unwrap();
        for file in [dir.path().join("absent.pem"), empty] {
            for insecure_skip_verify in [false, true] {
                let tls = CqlTls {
                    enabled: true,
                    ca_file: Some(file.clone()),
                    insecure_skip_verify,
                    ..CqlTls::default()
                };
                let error = config(&tls).unwrap_err();
                assert!(matches!(error, TlsError::File { .. }), "{error}");
                assert!(error.to_string().contains(".pem"), "{error}");
            }
        }
    }

    #[test]
    fn a_client_certificate_needs_both() {
        let tls = CqlTls {
            enabled: true,
            cert_file: Some("/absent".into()),
            insecure_skip_verify: true,
            ..CqlTls::default()
        };
        assert!(
            config(&tls).unwrap().is_some(),
            "the certificate is not read"
        );
        let both = CqlTls {
            key_file: Some("/absent".into()),
            ..tls
        };
        assert!(config(&both).is_err());
    }

    #[test]
    fn nothing_is_read_without_tls() {
        let tls = CqlTls {
            ca_file: Some("/absent".into()),
            ..CqlTls::default()
        };
        assert!(config(&tls).unwrap().is_none());
    }
}
