//! A copy put together under a new number, batch by batch, and made the copy at the end: for the first one, and for those
//! that differ by more than memory should hold.

use ues_data::mst::{Preorder, PreorderItem};
use ues_storage::Batch;

use super::super::blobs;
use super::super::blobs::RefChanges;
use super::super::import::blobs_in;
use super::super::layout::{node_ref, read_record_value, record_key, record_ref, record_value};
use super::super::read::damaged;
use super::super::verify::{VerifyError, check_record};
use super::super::write::RecordPath;
use super::tidy::{erase_row, settle_row};
use super::update::{Update, staged_key};
use super::{Mirror, MirrorError, Mirrors, SLICE, commit_error, refer};

/// Bytes of one batch.
const SLICE_BYTES: usize = 8 << 20;

impl Update {
    /// Makes the staged blocks the copy. May be begun anew after a crash.
    pub(super) fn rebuild(&mut self, row: &mut Mirror) -> Result<(), MirrorError> {
        let Some(owner) = self.staging else {
            return Err(damaged(&self.did, "nothing was staged").into());
        };
        let around = self.mirrors.repos.around().clone();
        let store = &around.store;
        self.mirrors.forget_records(owner)?;
        let rev = self.offered.commit.rev;
        let source = store.snapshot();
        let (mut batch, mut bytes, mut records) = (store.batch(), 0, 0);
        let mut refs = RefChanges::default();
        for item in Preorder::new(source.clone(), self.offered.commit.data) {
            match item.map_err(VerifyError::Tree)? {
                PreorderItem::Node { cid, bytes: node } => {
                    bytes += node.len() as u64;
                    batch.put_block_marked(cid.hash(), node, node_ref(owner), rev.number());
                    let mark = rev.number().to_be_bytes();
                    batch.put(&self.mirrors.staged, staged_key(owner, &cid), mark);
                }
                PreorderItem::Value { key, cid } => {
                    let path = RecordPath::parse(&String::from_utf8_lossy(&key));
                    let path = path.map_err(VerifyError::Path)?;
                    let record = source.block(cid.hash())?;
                    let record = record.ok_or(VerifyError::MissingBlock(cid))?;
                    check_record(&path, &cid, &record)?;
                    bytes += record.len() as u64;
                    records += 1;
                    batch.put_block(cid.hash(), &record, record_ref(owner, path.as_str()));
                    let key = record_key(owner, path.as_str());
                    batch.put(&around.ks.records, key, record_value(&cid, &rev));
                    refs.refer(path.as_str(), &blobs_in(&record));
                }
            }
            if bytes > row.max_bytes {
                return Err(self.too_large());
            }
            if batch.len() >= SLICE || batch.bytes() >= SLICE_BYTES {
                let refs = std::mem::take(&mut refs);
                refer(refs, &around, owner, &rev, &mut batch)?;
                let full = std::mem::replace(&mut batch, store.batch());
                store.commit_blocking(full).map_err(commit_error)?;
            }
        }
        refer(refs, &around, owner, &rev, &mut batch)?;
        if let Some(old) = &self.live {
            let old_owner = old.owner.to_be_bytes();
            batch.put(&self.mirrors.trash, old_owner, erase_row(Some(old)));
        }
        let settled = settle_row(rev.number());
        batch.put(&self.mirrors.trash, owner.to_be_bytes(), settled);
        batch.delete(&self.mirrors.staging, self.did.as_str());
        row.bytes = bytes;
        self.taken.records = records;
        self.put_head(owner, row, &mut batch)?;
        store.commit_blocking(batch).map_err(commit_error)?;
        Ok(())
    }
}

impl Mirrors {
    /// Removes the rows of records of a number, and what they hold.
    pub(super) fn forget_records(&self, owner: u64) -> Result<(), MirrorError> {
        let around = self.repos.around();
        let store = &around.store;
        let mut batch = store.batch();
        for row in around.ks.records.prefix(owner.to_be_bytes()) {
            let (key, value) = row?;
            batch.delete(&around.ks.records, &key);
            let path = key.get(8..).and_then(|k| std::str::from_utf8(k).ok());
            if let (Some(path), Some((cid, _))) = (path, read_record_value(&value)) {
                batch.release_block(cid.hash(), record_ref(owner, path));
            }
            self.keep_small(&mut batch)?;
        }
        blobs::remove_all(around, owner, &mut batch)?;
        for rows in [&around.ks.blob_refs, &around.ks.blobs_missing] {
            for row in rows.prefix(owner.to_be_bytes()) {
                batch.delete(rows, row?.0);
                self.keep_small(&mut batch)?;
            }
        }
        store.commit_blocking(batch).map_err(commit_error)?;
        Ok(())
    }

    /// Writes a batch that has grown.
    pub(super) fn keep_small(&self, batch: &mut Batch) -> Result<(), MirrorError> {
        if batch.len() >= SLICE {
            let store = self.repos.store();
            let full = std::mem::replace(batch, store.batch());
            store.commit_blocking(full).map_err(commit_error)?;
        }
        Ok(())
    }
}
