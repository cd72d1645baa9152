//! Releasing what nobody finishes any more: expired uploads, and pins that a crash cut short.

use std::ops::Bound;

use ues_storage::{Keyspace, StorageError};

use super::core::Core;
use super::layout::{decode_intent, read_multihashes, read_number, upload_ref};

/// Rows that are looked at together.
const PAGE: usize = 256;

/// What a sweep released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Uploads whose time was over.
    pub uploads: u64,
    /// Writes of pins, and unpinnings, that an earlier process had begun.
    pub intents: u64,
}

impl Core {
    /// Releases what is due at this time, in milliseconds since the Unix epoch. Blocks the thread.
    pub(super) fn sweep(&self, now_ms: u64) -> Result<Swept, StorageError> {
        let mut swept = Swept::default();
        self.each(&self.ks.intents, |number| {
            // Whoever was working on it may have ended since the row was listed.
            if let Some(row) = self.ks.intents.get(number.to_be_bytes())? {
                self.release_intent(number, &decode_intent(&row)?)?;
                swept.intents += 1;
            }
            Ok(())
        })?;
        self.each(&self.ks.uploads, |number| {
            if let Some(row) = self.ks.uploads.get(number.to_be_bytes())?
                && read_number("content_uploads", &row)? <= now_ms
            {
                self.release_upload(number)?;
                swept.uploads += 1;
            }
            Ok(())
        })?;
        Ok(swept)
    }

    /// Calls `work` with the number of each row that nobody works on.
    fn each(
        &self,
        ks: &Keyspace,
        mut work: impl FnMut(u64) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut after = Bound::Unbounded;
        loop {
            let rows = ks.range::<[u8; 8]>((after, Bound::Unbounded)).take(PAGE);
            let page = rows
                .map(|row| read_number(ks.name(), &row?.0))
                .collect::<Result<Vec<_>, _>>()?;
            for number in &page {
                if let Some(_live) = self.live.try_enter(*number) {
                    work(*number)?;
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Bound::Excluded(last.to_be_bytes()),
                _ => return Ok(()),
            }
        }
    }

    /// Releases the blocks of an upload and forgets it. Begun again after a crash, it does the rest.
    pub(super) fn release_upload(&self, number: u64) -> Result<(), StorageError> {
        let key = number.to_be_bytes();
        let r = upload_ref(number);
        loop {
            let Some(row) = self.ks.upload_blocks.prefix(key).next() else {
                let mut batch = self.store.batch();
                batch.delete(&self.ks.uploads, key);
                return Ok(self.commit(batch, 0)?);
            };
            let (segment, names) = row?;
            let mut batch = self.store.batch();
            for mh in read_multihashes(&names)? {
                batch.release_block(&mh, r);
            }
            batch.delete(&self.ks.upload_blocks, segment);
            self.commit(batch, 0)?;
        }
    }
}
