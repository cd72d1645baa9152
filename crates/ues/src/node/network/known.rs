//! Where peers were last found, kept between runs.

use ues_p2p::KnownPeer;
use ues_storage::{Keyspace, StorageError, Store};

/// Peer -> [`KnownPeer`] as JSON.
pub(super) struct KnownRows {
    rows: Keyspace,
    store: Store,
}

impl KnownRows {
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("p2p_peers")?,
            store: store.clone(),
        })
    }

    /// All of them; a row that cannot be read is passed over.
    pub fn read(&self) -> Result<Vec<KnownPeer>, StorageError> {
        let mut out = Vec::new();
        for row in self.rows.prefix("") {
            match serde_json::from_slice(&row?.1) {
                Ok(known) => out.push(known),
                Err(e) => tracing::warn!(error = %e, "a known peer cannot be read"),
            }
        }
        Ok(out)
    }

    /// Writes them.
    pub async fn keep(&self, peers: Vec<KnownPeer>) {
        let mut batch = self.store.batch();
        for known in peers {
            if let Ok(row) = serde_json::to_vec(&known) {
                batch.put(&self.rows, known.peer.to_string(), row);
            }
        }
        if let Err(e) = self.store.commit(batch).await {
            tracing::warn!(error = %e, "the addresses of peers could not be kept");
        }
    }
}
