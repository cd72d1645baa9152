//! How a [`NatsBus`](super::NatsBus) reaches its servers, and what it makes there.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Options of [`NatsBus::connect`](super::NatsBus::connect). The default is a server on this machine without
/// authentication.
#[derive(Clone)]
pub struct NatsOptions {
    /// Servers, such as `nats://host:4222` or `tls://host:4222`; the others of their cluster are found by themselves.
    pub urls: Vec<String>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// A token.
    pub token: Option<String>,
    /// A file with a JWT and its key, as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// Certificates.
    pub tls: NatsTls,
    /// Servers of the cluster that keep each message: 1, 3 or 5.
    pub replicas: usize,
    /// One word before the name of every stream and every subject, so that several services can share an account.
    pub prefix: Option<String>,
    /// Messages that one stream may hold; [`BusError::Full`](crate::BusError::Full) above it.
    pub max_messages: u64,
    /// Bytes that one stream may hold. The server reserves them; `None` leaves it to the limits of the account.
    pub max_bytes: Option<u64>,
    /// Messages that are older are dropped.
    pub max_age: Duration,
    /// Dead letters; the oldest are dropped above it.
    pub max_dead_letters: u64,
    /// How long the server may take to answer, and how long a call waits for a lost connection to come back.
    pub timeout: Duration,
}

/// Certificates for TLS, in PEM files.
#[derive(Clone, Debug, Default)]
pub struct NatsTls {
    /// Refuse a server without TLS, also when the address does not begin with `tls://`.
    pub required: bool,
    /// Authorities that servers are checked against, instead of those of the operating system.
    pub ca: Option<PathBuf>,
    /// Certificate and key of this client.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            urls: vec!["nats://127.0.0.1:4222".to_owned()],
            user: None,
            token: None,
            credentials: None,
            tls: NatsTls::default(),
            replicas: 1,
            prefix: None,
            max_messages: 2_000_000,
            max_bytes: None,
            max_age: Duration::from_secs(7 * 86_400),
            max_dead_letters: 10_000,
            timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for NatsOptions {
    /// Without secrets, which may also stand in the addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("urls", &self.urls.len())
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .field("replicas", &self.replicas)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
