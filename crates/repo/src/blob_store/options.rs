//! How a bucket is reached.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use url::Url;
use zeroize::Zeroizing;

/// Longest time for one request with its content, which is some megabytes at most.
const REQUEST: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// How often a request is tried again, and until when.
const RETRIES: usize = 4;
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// A bucket of an S3 service, and how the node is let in.
#[derive(Clone, Default)]
pub struct S3Options {
    /// The bucket, which is there already.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Address of the service; empty for Amazon's own.
    pub endpoint: String,
    /// The name part of the credentials.
    pub access_key: String,
    /// The secret part.
    pub secret_key: Arc<Zeroizing<String>>,
    /// Whether the bucket stands in the path of addresses, not in the name of the host.
    pub path_style: bool,
    /// What the names of all objects begin with: one bucket may serve several nodes.
    pub prefix: String,
}

impl std::fmt::Debug for S3Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3OptionsError {
    /// Something has to be said, and is not.
    #[error("the S3 backend needs {0}")]
    Missing(&'static str),
    /// The address is none.
    #[error("{0:?} is not the address of an S3 service: expected https://HOST or http://HOST:PORT")]
    Endpoint(String),
    /// The prefix is none.
    #[error("{0:?} cannot begin the names of objects: {1}")]
    Prefix(String, String),
    /// The client refuses them.
    #[error("the S3 client refuses its options: {0}")]
    Client(String),
}

impl S3Options {
    /// A client for the bucket. Nothing is asked of the service yet.
    pub(super) fn client(&self) -> Result<AmazonS3, S3OptionsError> {
        for (value, what) in [
            (self.bucket.as_str(), "a bucket: blobs.s3_bucket"),
            (
                self.access_key.as_str(),
                "an access key: blobs.s3_access_key",
            ),
            (
                self.secret_key.as_str(),
                "a secret key: blobs.s3_secret_key",
            ),
        ] {
            if value.is_empty() {
                return Err(S3OptionsError::Missing(what));
            }
        }
        // The client takes the process's provider; an earlier choice stands.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(self.secret_key.as_str())
            .with_virtual_hosted_style_request(!self.path_style)
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(2),
                    base: 2.0,
                },
                max_retries: RETRIES,
                retry_timeout: RETRY_WITHIN,
            })
            .with_client_options(
                ClientOptions::new()
                    .with_timeout(REQUEST)
                    .with_connect_timeout(CONNECT)
                    .with_allow_http(self.endpoint.starts_with("http://")),
            );
        if !self.region.is_empty() {
            builder = builder.with_region(&self.region);
        }
        if !self.endpoint.is_empty() {
            builder = builder.with_endpoint(self.address()?);
        }
        builder
            .build()
            .map_err(|e| S3OptionsError::Client(e.to_string()))
    }

    /// The address that requests go to: with the bucket in front of the host, unless it stands in the path.
    fn address(&self) -> Result<String, S3OptionsError> {
        let wrong = || S3OptionsError::Endpoint(self.endpoint.clone());
        let mut url = Url::parse(&self.endpoint).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?.to_owned();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        if !self.path_style {
            url.set_host(Some(&format!("{}.{host}", self.bucket)))
                .map_err(|_| wrong())?;
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(endpoint: &str, path_style: bool) -> S3Options {
        S3Options {
            bucket: "blobs".into(),
            endpoint: endpoint.into(),
            access_key: "id".into(),
            secret_key: Arc::new(Zeroizing::new("secret".into())),
            path_style,
            ..S3Options::default()
        }
    }

    #[test]
    fn where_requests_go() {
        let address = |endpoint, path| options(endpoint, path).address();
        assert_eq!(
            address("http://127.0.0.1:9000/", true).unwrap(),
            "http://127.0.0.1:9000"
        );
        let hosted = address("https://s3.example", false).unwrap();
        assert_eq!(hosted, "https://blobs.s3.example");
        for wrong in ["s3.example", "ftp://s3.example", "https://"] {
            assert!(address(wrong, true).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_needed_is_named() {
        let mut nameless = options("", false);
        nameless.bucket.clear();
        assert!(matches!(
            nameless.client(),
            Err(S3OptionsError::Missing("a bucket: blobs.s3_bucket"))
        ));
        let mut open = options("", false);
        open.secret_key = Arc::default();
        assert!(matches!(
            open.client(),
            Err(S3OptionsError::Missing("a secret key: blobs.s3_secret_key"))
        ));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", options("", true)).contains("secret"));
    }
}
