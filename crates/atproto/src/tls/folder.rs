//! Where the certificate and the account at the authority are kept between starts: files that only their owner may read,
//! whole or not there.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use rustls_acme::{AccountCache, CertCache};
use sha2::{Digest, Sha256};

pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The file for a kind of thing of some names at an authority.
    fn file(&self, kind: &str, names: &[String], directory: &str) -> PathBuf {
        let mut hash = Sha256::new();
        for part in names.iter().map(String::as_str).chain([directory]) {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let name = HEXLOWER.encode(&hash.finalize()[..16]);
        self.0.join(format!("{kind}-{name}.pem"))
    }
}

async fn read(path: PathBuf) -> io::Result<Option<Vec<u8>>> {
    let read = tokio::task::spawn_blocking(move || match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    });
    read.await.map_err(io::Error::other)?
}

async fn write(path: PathBuf, bytes: Vec<u8>) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || {
        let bytes = zeroize::Zeroizing::new(bytes);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
            owner_only(folder, 0o700)?;
        }
        let beside = path.with_extension("new");
        let _ = fs::remove_file(&beside);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(beside, path)
    });
    written.await.map_err(io::Error::other)?
}

#[cfg(unix)]
fn owner_only(path: &std::path::Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn owner_only(_: &std::path::Path, _: u32) -> io::Result<()> {
    Ok(())
}

#[async_trait]
impl CertCache for Folder {
    type EC = io::Error;

    async fn load_cert(&self, domains: &[String], directory: &str) -> io::Result<Option<Vec<u8>>> {
        read(self.file("certificate", domains, directory)).await
    }

    async fn store_cert(&self, domains: &[String], directory: &str, cert: &[u8]) -> io::Result<()> {
        write(self.file("certificate", domains, directory), cert.to_vec()).await
    }
}

#[async_trait]
impl AccountCache for Folder {
    type EA = io::Error;

    async fn load_account(
        &self,
        contact: &[String],
        directory: &str,
    ) -> io::Result<Option<Vec<u8>>> {
        read(self.file("account", contact, directory)).await
    }

    async fn store_account(
        &self,
        contact: &[String],
        directory: &str,
        key: &[u8],
    ) -> io::Result<()> {
        write(self.file("account", contact, directory), key.to_vec()).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("tls"));
        let (domains, directory) = ([String::from("node.example")], "https://acme.example/dir");
        assert_eq!(folder.load_cert(&domains, directory).await.unwrap(), None);
        for content in [b"one", b"two"] {
            folder
                .store_cert(&domains, directory, content)
                .await
                .unwrap();
            let kept = folder.load_cert(&domains, directory).await.unwrap();
            assert_eq!(kept.as_deref(), Some(&content[..]));
        }
        assert_eq!(
            folder
                .load_cert(&domains, "https://other.example")
                .await
                .unwrap(),
            None
        );
        assert_eq!(
            folder.load_account(&domains, directory).await.unwrap(),
            None
        );
        #[cfg(unix)]
        for entry in [Some(dir.path().join("tls")), None] {
            use std::os::unix::fs::PermissionsExt;
            let path = entry.unwrap_or_else(|| folder.file("certificate", &domains, directory));
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o077, 0);
        }
    }
}
