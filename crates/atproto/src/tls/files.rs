//! A certificate from files, read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::task::JoinHandle;

use super::TlsError;

/// How often it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(2);
/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// When the files were written, and how long they are.
type Version = [(SystemTime, u64); 2];

pub(super) fn start(
    certificate: PathBuf,
    key: PathBuf,
) -> Result<(Arc<dyn ResolvesServerCert>, JoinHandle<()>), TlsError> {
    let mut seen = version(&certificate, &key)?;
    let current = Arc::new(Current(RwLock::new(load(&certificate, &key)?)));
    let kept = Arc::clone(&current);
    let keeping = tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            let (certificate, key) = (certificate.clone(), key.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let now = version(&certificate, &key)?;
                let changed = (now != seen).then(|| load(&certificate, &key));
                Ok::<_, TlsError>((now, changed))
            });
            match looked.await {
                // While they are being replaced one may be missing for a moment.
                Err(_) | Ok(Err(_)) | Ok(Ok((_, None))) => {}
                Ok(Ok((now, Some(Ok(fresh))))) => {
                    *kept.0.write() = fresh;
                    seen = now;
                    tracing::info!("the certificate was read again");
                }
                Ok(Ok((now, Some(Err(error))))) => {
                    // Said once for each change; the certificate before goes on.
                    tracing::warn!(%error, "the certificate was not read again");
                    seen = now;
                }
            }
        }
    });
    Ok((current, keeping))
}

fn version(certificate: &Path, key: &Path) -> Result<Version, TlsError> {
    let of = |path: &Path| {
        let meta = fs::metadata(path).and_then(|meta| Ok((meta.modified()?, meta.len())));
        meta.map_err(|source| TlsError::File {
            path: path.to_owned(),
            source,
        })
    };
    Ok([of(certificate)?, of(key)?])
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_BYTES {
        return Err(TlsError::Content {
            path: path.to_owned(),
            expected: "certificate or key",
            reason: format!("{size} bytes, at most {MAX_BYTES} expected"),
        });
    }
    fs::read(path).map_err(failed)
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let wrong = |path: &Path, expected, reason: String| TlsError::Content {
        path: path.to_owned(),
        expected,
        reason,
    };
    let chain = read(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.map_err(|e| wrong(certificate, "certificate in PEM", e.to_string()))?;
    if chain.is_empty() {
        let reason = "no CERTIFICATE section".to_owned();
        return Err(wrong(certificate, "certificate in PEM", reason));
    }
    let secret = zeroize::Zeroizing::new(read(key)?);
    let secret = PrivateKeyDer::from_pem_slice(&secret);
    let secret = secret.map_err(|e| wrong(key, "key in PEM", e.to_string()))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, secret, &provider)
        .map(Arc::new)
        .map_err(|e| TlsError::OtherKey {
            path: key.to_owned(),
            reason: e.to_string(),
        })
}
