//! How a resolver behaves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::plc::Directory;

/// How a resolver behaves. Change what differs from the defaults.
#[derive(Clone)]
#[non_exhaustive]
pub struct ResolverOptions {
    /// The did:plc directory over HTTP; empty for none. Trusted by the operator, so it may be local.
    pub plc_url: String,
    /// The embedded directory, asked before the one over HTTP.
    pub directory: Option<Directory>,
    /// Longest time for one question to the network.
    pub timeout: Duration,
    /// Age from which an answer is renewed in the background while it is still given.
    pub stale_after: Duration,
    /// Age from which an answer is no longer given.
    pub expire_after: Duration,
    /// How long a definite no is remembered.
    pub remember_no: Duration,
    /// The most that each of the two caches may hold, in bytes.
    pub cache_bytes: u64,
    /// Whether names may lead to addresses that are not public, for networks on one machine.
    pub allow_private_addresses: bool,
    /// Hosts (or domains with all below them) that are asked by plain HTTP at a base URL of the
    /// operator's, such as `test` at `http://127.0.0.1:2583`. The host's own name is sent as `Host`.
    pub local_hosts: BTreeMap<String, String>,
    /// DNS servers; empty for those of the system.
    pub dns_servers: Vec<SocketAddr>,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        Self {
            plc_url: "https://plc.directory".to_owned(),
            directory: None,
            timeout: Duration::from_secs(3),
            stale_after: Duration::from_secs(60 * MINUTE),
            expire_after: Duration::from_secs(24 * 60 * MINUTE),
            remember_no: Duration::from_secs(MINUTE),
            cache_bytes: 4 << 20,
            allow_private_addresses: false,
            local_hosts: BTreeMap::new(),
            dns_servers: Vec::new(),
        }
    }
}

impl std::fmt::Debug for ResolverOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResolverOptions")
            .field("plc_url", &self.plc_url)
            .field("directory", &self.directory.is_some())
            .field("timeout", &self.timeout)
            .field("allow_private_addresses", &self.allow_private_addresses)
            .field("local_hosts", &self.local_hosts)
            .finish_non_exhaustive()
    }
}
