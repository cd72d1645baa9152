//! Deleting a repository: all that only it keeps is freed.

use ues_data::mst::Tree;
use ues_data::mst::{Preorder, PreorderItem};
use ues_storage::Batch;

use crate::syntax::Did;

use super::Repositories;
use super::blobs;
use super::event::LogEvent;
use super::layout::{Status, head_key, node_ref, read_record_value, record_ref};
use super::subjects;
use super::write::WriteError;

impl Repositories {
    /// Deletes a repository and announces it with an `#account` event.
    ///
    /// Blocks and blobs that nobody else keeps are freed in the background. The DID may have a new
    /// repository afterwards. `extra` (an account's rows) lands in the same atomic batch.
    pub async fn delete(&self, did: &Did, extra: Batch) -> Result<(), WriteError> {
        let around = self.around();
        let storage = |e: ues_storage::StorageError| WriteError::Storage(e.to_string());
        self.exclusive(
            did,
            |state, batch| {
                let owner = state.head.owner;
                let view = self
                    .view(did)
                    .map_err(|e| WriteError::Storage(e.to_string()))?;
                for item in Preorder::new(view.clone(), state.head.data) {
                    // What cannot be read cannot be released; the rest still is.
                    match item {
                        Ok(PreorderItem::Node { cid, .. }) => {
                            batch.release_block(cid.hash(), node_ref(owner));
                        }
                        Ok(PreorderItem::Value { .. }) => {}
                        Err(e) => {
                            tracing::warn!(%did, error = %e, "deleting a damaged tree");
                            break;
                        }
                    }
                }
                for row in view
                    .snapshot
                    .prefix(&around.ks.records, owner.to_be_bytes())
                {
                    let (key, value) = row.map_err(storage)?;
                    batch.delete(&around.ks.records, &key);
                    let path = key.get(8..).and_then(|k| std::str::from_utf8(k).ok());
                    if let (Some(path), Some((cid, _))) = (path, read_record_value(&value)) {
                        batch.release_block(cid.hash(), record_ref(owner, path));
                    }
                }
                blobs::delete_all(around, owner, batch).map_err(storage)?;
                subjects::remove_all(around, owner, batch).map_err(storage)?;
                batch.release_block(state.head.commit.hash(), node_ref(owner));
                batch.delete(&around.ks.owners, owner.to_be_bytes());
                state.head.status = Status::Deleted;
                batch.put(&around.ks.heads, head_key(did), state.head.encode());
                state.tree = Tree::empty();
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
        Ok(())
    }
}
