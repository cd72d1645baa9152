//! The sections about TLS and about where blobs lie.

use std::net::SocketAddr;

use serde::Deserialize;

/// The `blobs` section.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blobs {
    /// Where the content of new blobs goes.
    pub backend: BlobBackend,
    /// The bucket.
    pub s3_bucket: String,
    /// Its region.
    pub s3_region: String,
    /// Address of the service; empty for Amazon's own.
    pub s3_endpoint: String,
    /// Name part of the credentials.
    pub s3_access_key: String,
    /// Secret part of the credentials.
    pub s3_secret_key: String,
    /// File with the secret part instead.
    pub s3_secret_key_file: String,
    /// Whether the bucket stands in the path.
    pub s3_path_style: bool,
    /// What names of objects begin with.
    pub s3_prefix: String,
    /// Hours that an uploaded blob waits for a record; 0: for ever.
    pub temporary_hours: u64,
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blobs")
            .field("backend", &self.backend)
            .field("s3_bucket", &self.s3_bucket)
            .finish_non_exhaustive()
    }
}

/// Where the content of new blobs goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobBackend {
    /// Into the node's own store.
    Disk,
    /// Into a bucket of an S3 service.
    S3,
}

/// The `tls` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Where clients come in by TLS.
    pub listen: SocketAddr,
    /// Whether an authority is asked for the certificate.
    pub acme: bool,
    /// The names that the certificate is for, and that lead to the node.
    pub domains: Vec<String>,
    /// Address that the authority may write to; empty for none.
    pub mail: String,
    /// The authority's directory.
    pub acme_directory: String,
    /// Roots for the authority's own certificate; empty for the system's.
    pub acme_ca_file: String,
    /// File with the certificate; empty for none.
    pub cert: String,
    /// File with its key.
    pub key: String,
}

impl Tls {
    /// Whether there is any.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.acme || !self.cert.is_empty()
    }
}
