//! Deleting a repository: all that only it keeps is freed.

use ues_data::mst::Tree;
use ues_storage::Batch;

use crate::syntax::Did;

use super::Repositories;
use super::blobs;
use super::event::LogEvent;
use super::layout::{Numbers, Status, head_key};
use super::loose::Loose;
use super::write::WriteError;

impl Repositories {
    /// Deletes a repository and announces it with an `#account` event.
    ///
    /// Blocks and blobs that nobody else keeps are freed: records and tree before this returns, in slices, or when the
    /// process starts again, the rest in the background. The DID may have a new repository afterwards. `extra` (an
    /// account's rows) lands in the same atomic batch.
    pub async fn delete(&self, did: &Did, extra: Batch) -> Result<(), WriteError> {
        let around = self.around();
        let storage = |e: ues_storage::StorageError| WriteError::Storage(e.to_string());
        let mut freed = None;
        self.exclusive(
            did,
            |state, batch| {
                let Numbers { owner, content } = state.head.numbers();
                blobs::remove_all(around, owner, batch).map_err(storage)?;
                for number in [owner, content] {
                    batch.delete(&around.ks.owners, number.to_be_bytes());
                }
                let loose = Loose::replaced(did, &state.head, around.store.now_ms());
                batch.put(&around.ks.loose, content.to_be_bytes(), loose.encode());
                state.head.status = Status::Deleted;
                batch.put(&around.ks.heads, head_key(did), state.head.encode());
                state.tree = Tree::empty();
                freed = Some(content);
                let event = LogEvent::Account {
                    did: did.clone(),
                    status: Status::Deleted,
                    time: around.now(),
                };
                batch.append_event(event.encode());
                Ok(())
            },
            extra,
        )
        .await?;
        self.forget(did).await;
        if let Some(content) = freed {
            self.free_now(content).await;
        }
        Ok(())
    }
}
