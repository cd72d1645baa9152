//! How the sessions stand, for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use libp2p::PeerId;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use ues_repo::syntax::Did;

/// Where a session is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Frames go to and fro.
    Syncing,
    /// Both have the same.
    Synced,
    /// It ended; it is tried again.
    Ended,
}

/// A repository's sync with one peer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// The repository.
    pub repo: String,
    /// The peer.
    pub peer: String,
    /// Its device key.
    pub key: String,
    /// Where the session is.
    pub stage: Stage,
    /// Why it ended.
    pub reason: Option<String>,
    /// When both last had the same, in milliseconds since 1970.
    pub synced_ms: Option<u64>,
    /// Operations that came in.
    pub received: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Operations that were refused since the session began, and why the last one was.
    pub refused: u64,
    /// See `refused`.
    pub refused_why: Option<String>,
}

/// All sessions.
#[derive(Clone)]
pub(super) struct Board {
    rows: Arc<Mutex<BTreeMap<(Did, PeerId), PeerStatus>>>,
    changed: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            rows: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Board {
    pub fn list(&self) -> Vec<PeerStatus> {
        self.rows.lock().values().cloned().collect()
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn update(&self, did: &Did, peer: PeerId, change: impl FnOnce(&mut PeerStatus)) {
        let mut rows = self.rows.lock();
        let row = rows
            .entry((did.clone(), peer))
            .or_insert_with(|| PeerStatus {
                repo: did.to_string(),
                peer: peer.to_string(),
                key: crate::identity::key_of(&peer).map_or_else(String::new, |key| key.did_key()),
                stage: Stage::Ended,
                reason: None,
                synced_ms: None,
                received: 0,
                bytes_in: 0,
                bytes_out: 0,
                refused: 0,
                refused_why: None,
            });
        change(row);
        drop(rows);
        self.changed.send_modify(|n| *n += 1);
    }
}
