//! How far the blobs of each repository are, for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use ues_repo::syntax::Did;

/// The blobs of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobStatus {
    /// The repository.
    pub repo: String,
    /// Blobs that records refer to and that are not here.
    pub missing: u64,
    /// Blobs that came from other devices since the start.
    pub fetched: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that are coming.
    pub underway: u64,
    /// Why the last one that did not come did not.
    pub trouble: Option<String>,
}

/// All repositories.
#[derive(Clone, Default)]
pub(super) struct Board(Arc<Mutex<BTreeMap<Did, BlobStatus>>>);

impl Board {
    pub fn update(&self, did: &Did, change: impl FnOnce(&mut BlobStatus)) {
        change(self.0.lock().entry(did.clone()).or_default());
    }

    pub fn get(&self, did: &Did) -> BlobStatus {
        self.0.lock().get(did).cloned().unwrap_or_default()
    }
}
