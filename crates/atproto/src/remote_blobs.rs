//! Blobs that records refer to and that are on another device of the account as yet.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use ues_data::Cid;
use ues_repo::syntax::Did;

/// How long a request waits for a blob to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Brings a blob that a record refers to and that is not here; whether it is here now.
pub type BringBlob = dyn Fn(Did, Cid) -> BoxFuture<'static, bool> + Send + Sync;

/// Where blobs come from that are not here. Without anybody who brings them they are missing.
#[derive(Clone, Default)]
pub struct RemoteBlobs(Arc<OnceLock<Box<BringBlob>>>);

impl RemoteBlobs {
    /// Tells who brings them, once.
    pub fn set(&self, bring: Box<BringBlob>) {
        let _ = self.0.set(bring);
    }

    /// Has a blob brought; whether it is here now. Gives up after a while, which what comes does not.
    pub(crate) async fn bring(&self, did: &Did, cid: &Cid) -> bool {
        let Some(bring) = self.0.get() else {
            return false;
        };
        // On its own, so that a caller who leaves does not end what others wait for.
        let coming = tokio::spawn(bring(did.clone(), *cid));
        matches!(tokio::time::timeout(PATIENCE, coming).await, Ok(Ok(true)))
    }
}
