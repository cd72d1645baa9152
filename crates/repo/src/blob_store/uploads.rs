//! Which uploads to a bucket are under way, so that a crash leaves nothing in the bucket that nobody knows of.
//!
//! A row says so from before the first byte until the content is entered as a blob, in whose batch it goes, or deleted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ues_storage::{Batch, BlockRef, Keyspace, StorageError, Store};

/// How long finished content waits to be entered.
const WAITS: Duration = Duration::from_secs(3600);
const VERSION: u8 = 1;

#[derive(Clone)]
pub(super) struct Uploads {
    store: Store,
    rows: Keyspace,
    /// Those of this process, and since when they are finished.
    live: Arc<Mutex<HashMap<BlockRef, Option<Instant>>>>,
}

/// An upload that nobody goes on with.
pub(super) struct Abandoned {
    pub holder: BlockRef,
    /// Name of the upload in parts, if it was one.
    pub parts: Option<String>,
}

fn key(holder: BlockRef) -> [u8; 16] {
    let mut key = [0; 16];
    let (owner, slot) = key.split_at_mut(8);
    owner.copy_from_slice(&holder.owner.to_be_bytes());
    slot.copy_from_slice(&holder.slot.to_be_bytes());
    key
}

impl Uploads {
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            store: store.clone(),
            rows: store.keyspace("repo_blob_uploads")?,
            live: Arc::default(),
        })
    }

    /// Makes durable that an upload begins. Blocks on the disk.
    pub fn begin(&self, holder: BlockRef, parts: Option<&str>) -> Result<(), StorageError> {
        self.live.lock().insert(holder, None);
        let mut batch = self.store.batch();
        let value = [&[VERSION], parts.unwrap_or_default().as_bytes()].concat();
        batch.put(&self.rows, key(holder), value);
        self.store.commit_blocking(batch)?;
        Ok(())
    }

    /// The content is there and waits to be entered.
    pub fn finished(&self, holder: BlockRef) {
        self.live.lock().insert(holder, Some(Instant::now()));
    }

    /// The content is entered by this batch.
    pub fn entered(&self, holder: BlockRef, batch: &mut Batch) {
        batch.delete(&self.rows, key(holder));
    }

    /// Nothing is left in the bucket.
    pub async fn cleared(&self, holder: BlockRef) -> Result<(), StorageError> {
        self.live.lock().remove(&holder);
        if self.rows.contains(key(holder))? {
            let mut batch = self.store.batch();
            batch.delete(&self.rows, key(holder));
            self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Nobody goes on with an upload; what there is of it is cleared when it can be.
    pub fn give_up(&self, holder: BlockRef) {
        self.live.lock().remove(&holder);
    }

    /// Uploads that nobody goes on with.
    pub fn abandoned(&self) -> Result<Vec<Abandoned>, StorageError> {
        self.live
            .lock()
            .retain(|_, finished| finished.is_none_or(|at| at.elapsed() < WAITS));
        let mut found = Vec::new();
        for row in self.rows.prefix([]) {
            let (key, value) = row?;
            let holder = key.split_first_chunk::<8>().and_then(|(owner, slot)| {
                Some(BlockRef {
                    owner: u64::from_be_bytes(*owner),
                    slot: u64::from_be_bytes(slot.try_into().ok()?),
                })
            });
            let parts = value.split_first().map(|(_, parts)| parts);
            let parts = parts.and_then(|parts| std::str::from_utf8(parts).ok());
            if let Some(holder) = holder
                && !self.live.lock().contains_key(&holder)
            {
                let parts = parts.filter(|parts| !parts.is_empty());
                found.push(Abandoned {
                    holder,
                    parts: parts.map(str::to_owned),
                });
            }
        }
        Ok(found)
    }
}
