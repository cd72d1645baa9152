//! Peers that are said to have the content: Kubo connects to them before it looks for the content.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::KuboBackend;

/// The most origins that are tried for one call, all at once.
const MAX_ORIGINS: usize = 32;
/// The longest origin, in bytes.
const MAX_LENGTH: usize = 1024;
/// How long one that failed is not tried again.
const REST: Duration = Duration::from_secs(60);
/// The most that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// Origins that failed, and when.
#[derive(Default)]
pub(super) struct Failed(Mutex<HashMap<String, Instant>>);

impl Failed {
    fn has(&self, origin: &str) -> bool {
        let failed = self.0.lock();
        failed.get(origin).is_some_and(|at| at.elapsed() < REST)
    }

    fn note(&self, origin: &str) {
        let mut failed = self.0.lock();
        if failed.len() >= MAX_REMEMBERED {
            failed.clear();
        }
        failed.insert(origin.to_owned(), Instant::now());
    }
}

impl KuboBackend {
    /// Connects to those of these that can be reached within the time for it. That some cannot is no failure:
    /// the content may be found elsewhere.
    pub(super) async fn connect(&self, origins: &[String]) {
        let peers: HashSet<&String> = origins
            .iter()
            .filter(|origin| names_a_peer(origin) && !self.failed.has(origin))
            .take(MAX_ORIGINS)
            .collect();
        if peers.is_empty() {
            return;
        }
        future::join_all(peers.into_iter().map(|origin| self.reach(origin))).await;
    }

    async fn reach(&self, origin: &str) {
        let time = self.options.origins;
        if let Err(error) = self
            .rpc
            .tell("swarm/connect", &[("arg", origin)], time)
            .await
        {
            tracing::debug!(%error, origin, "an origin is not reached");
            self.failed.note(origin);
        }
    }
}

/// Whether this may be the address of a peer; Kubo looks closer.
fn names_a_peer(origin: &str) -> bool {
    origin.len() <= MAX_LENGTH
        && origin.starts_with('/')
        && (origin.contains("/p2p/") || origin.contains("/ipfs/"))
}
