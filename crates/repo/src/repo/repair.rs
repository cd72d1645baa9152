//! Repairing a repository: from its tree, which hashes prove, to the rows beside it, and a fresh commit for those who
//! follow.

use ues_data::mst::{Preorder, PreorderItem};
use ues_storage::{Batch, StorageError};

use crate::syntax::Did;

use super::draft_commit::{Announce, Changes};
use super::layout::{read_record_value, record_key, record_ref, record_value};
use super::read::RepoView;
use super::subjects;
use super::verify::check_record;
use super::write::{CommitMeta, RecordPath, WriteError};
use super::{RepoError, Repositories};

/// Rows of one batch.
const SLICE: usize = 10_000;

/// Takes what makes a row right, to be put into a batch.
type Put<'a> = dyn FnMut(&dyn Fn(&mut Batch)) -> Result<(), WriteError> + 'a;

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairedRows {
    /// Records of the tree, each held against its hash.
    pub records: u64,
    /// Nodes of the tree, too.
    pub nodes: u64,
    /// Records whose row was missing or wrong, and is right now.
    pub rebuilt: u64,
    /// Rows without a record, which are gone now.
    pub removed: u64,
}

impl Repositories {
    /// Repairs a repository: checks every node of its tree and every record against its hash, makes the rows of records
    /// what the tree says, has subjects and totals counted anew, signs a fresh commit over the same tree and announces it
    /// with a `#sync` event. `extra` goes into the batch of that commit. Writes wait meanwhile.
    ///
    /// Rows of blobs and of what refers to them stay as they are.
    ///
    /// # Errors
    /// [`WriteError::Damaged`] when a node or a record is missing or is not what its hash says: nothing is changed then, and
    /// only an import or a backup helps. [`WriteError::Inactive`] when the repository is not active; also when several
    /// devices hold it, or the store fails.
    pub async fn repair(
        &self,
        did: &Did,
        extra: Batch,
    ) -> Result<(RepairedRows, CommitMeta), WriteError> {
        if self.around().log_of(did).is_some() {
            return Err(WriteError::BadArchive(
                "several devices hold this repository: it cannot be repaired from here".into(),
            ));
        }
        let storage = |e: &dyn std::fmt::Display| WriteError::Storage(e.to_string());
        let lane = self.lane(did);
        let mut guard = lane.state.lock().await;
        lane.settle().await;
        // What is in memory follows from rows that may be wrong.
        *guard = None;
        let (this, of) = (self.clone(), did.clone());
        let repaired = tokio::task::spawn_blocking(move || this.repair_rows(&of));
        let repaired = repaired.await.map_err(|e| storage(&e))??;
        let mut state = self.load(did).await?;
        let mut batch = extra;
        let nothing = Changes::new();
        let commit = state.make_commit(self.around(), did, &nothing, Announce::Sync, &mut batch)?;
        lane.changed();
        let committed = self.store().commit(batch).await;
        committed.map_err(|e| storage(&e))?;
        *guard = Some(state);
        Ok((repaired, commit))
    }

    fn repair_rows(&self, did: &Did) -> Result<RepairedRows, WriteError> {
        let view = self.view(did).map_err(|e| match e {
            RepoError::NotFound(did) => WriteError::RepoNotFound(did),
            other => WriteError::Storage(other.to_string()),
        })?;
        if !view.head.status.is_active() {
            return Err(WriteError::Inactive(view.head.status));
        }
        // Nothing is changed before all of it was found to be there.
        self.walk(&view, &mut |_| Ok(()))?;
        let store = self.store();
        let failed = |e: &dyn std::fmt::Display| WriteError::Storage(e.to_string());
        let mut batch = store.batch();
        let repaired = self.walk(&view, &mut |change| {
            change(&mut batch);
            if batch.len() >= SLICE {
                let full = std::mem::replace(&mut batch, store.batch());
                store.commit_blocking(full).map_err(|e| failed(&e))?;
            }
            Ok(())
        })?;
        subjects::unmark(self.around(), view.head.content, &mut batch);
        batch.delete(&self.around().ks.usage, view.head.owner.to_be_bytes());
        store.commit_blocking(batch).map_err(|e| failed(&e))?;
        Ok(repaired)
    }

    /// Holds all nodes and records against their hashes, and the rows of records against the tree. `put` gets what makes a
    /// row right.
    fn walk(&self, view: &RepoView, put: &mut Put<'_>) -> Result<RepairedRows, WriteError> {
        let (did, rows) = (view.did(), &self.around().ks.records);
        let content = view.head.content;
        let storage = |e: StorageError| WriteError::Storage(e.to_string());
        let damaged = |reason: String| WriteError::Damaged {
            did: did.clone(),
            reason,
        };
        let mut found = RepairedRows::default();
        let mut stored = view.snapshot.prefix(rows, content.to_be_bytes());
        let mut row = stored.next().transpose().map_err(storage)?;
        let remove = |key: &[u8], value: &[u8], batch: &mut Batch| {
            batch.delete(rows, key);
            let path = key.get(8..).and_then(|path| std::str::from_utf8(path).ok());
            if let (Some(path), Some((cid, _))) = (path, read_record_value(value)) {
                batch.release_block(cid.hash(), record_ref(content, path));
            }
        };
        for item in Preorder::new(view.clone(), view.head.data) {
            let (key, cid) = match item.map_err(|e| damaged(e.to_string()))? {
                PreorderItem::Node { cid, bytes } => {
                    ues_data::verify(&cid, &bytes).map_err(|_| {
                        damaged(format!("tree node {cid} is not what its CID says"))
                    })?;
                    found.nodes += 1;
                    continue;
                }
                PreorderItem::Value { key, cid } => (key, cid),
            };
            let path = RecordPath::parse(&String::from_utf8_lossy(&key));
            let path = path.map_err(|e| damaged(e.to_string()))?;
            let bytes = view.block(&cid).map_err(|e| damaged(e.to_string()))?;
            let bytes = bytes.ok_or_else(|| damaged(format!("the record {path} is missing")))?;
            ues_data::verify(&cid, &bytes)
                .map_err(|_| damaged(format!("the record {path} is not what its CID says")))?;
            check_record(&path, &cid, &bytes).map_err(|e| damaged(e.to_string()))?;
            found.records += 1;
            while let Some((key, value)) = &row
                && key.get(8..).unwrap_or_default() < path.as_str().as_bytes()
            {
                put(&|batch| remove(key, value, batch))?;
                found.removed += 1;
                row = stored.next().transpose().map_err(storage)?;
            }
            let own = row
                .take_if(|(key, _)| key.get(8..).unwrap_or_default() == path.as_str().as_bytes());
            if own.is_some() {
                row = stored.next().transpose().map_err(storage)?;
            }
            let named = own.as_ref().and_then(|(_, value)| read_record_value(value));
            if named.is_some_and(|(named, _)| named == cid) {
                continue;
            }
            found.rebuilt += 1;
            put(&|batch| {
                let held = record_ref(content, path.as_str());
                if let Some((other, _)) = named {
                    batch.release_block(other.hash(), held);
                }
                batch.put_block(cid.hash(), bytes.clone(), held);
                let value = record_value(&cid, &view.head.rev);
                batch.put(rows, record_key(content, path.as_str()), value);
            })?;
        }
        while let Some((key, value)) = &row {
            put(&|batch| remove(key, value, batch))?;
            found.removed += 1;
            row = stored.next().transpose().map_err(storage)?;
        }
        Ok(found)
    }
}
