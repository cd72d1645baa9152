//! Unpinning, and cleaning up after what was cut short.

use std::collections::HashSet;

use ues_data::Cid;
use ues_storage::{Batch, StorageError};

use super::core::Core;
use super::layout::{Entry, PinRow, encode_intent, pin_ref};
use super::unwind::Unwind;
use super::walk::store_failed;
use crate::backend::JobError;

/// CIDs that are worked on together.
const CHUNK: usize = 4096;

/// Unpinnings that go into one write, and their places among the answers.
#[derive(Default)]
struct Group {
    batch: Batch,
    places: Vec<usize>,
}

impl Core {
    /// Takes the pins of all of these away; one answer for each, in order. Blocks the thread.
    pub(super) fn unpin_all(&self, cids: &[Cid]) -> Vec<Result<(), JobError>> {
        let mut answers = vec![Ok(()); cids.len()];
        for (chunk, cids) in answers.chunks_mut(CHUNK).zip(cids.chunks(CHUNK)) {
            self.unpin_chunk(cids, chunk);
        }
        answers
    }

    fn unpin_chunk(&self, cids: &[Cid], answers: &mut [Result<(), JobError>]) {
        let unique: HashSet<_> = cids.iter().map(Cid::to_bytes).collect();
        let _alone = self.cids.enter(unique.into_iter().collect());
        let mut group = Group::default();
        let mut begun = HashSet::new();
        for (place, cid) in cids.iter().enumerate() {
            if !begun.insert(cid) {
                continue;
            }
            let done = match self.row(cid) {
                Ok(Some(row)) => self.unpin(&mut group, place, cid, row),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let (Err(error), Some(answer)) = (done, answers.get_mut(place)) {
                *answer = Err(store_failed(error));
            }
            if group.batch.len() >= self.options.batch_blocks {
                self.unpin_group(&mut group, answers);
            }
        }
        self.unpin_group(&mut group, answers);
    }

    /// Adds an unpinning to the group; one that is too large for that is done at once.
    fn unpin(
        &self,
        group: &mut Group,
        place: usize,
        cid: &Cid,
        row: PinRow,
    ) -> Result<(), StorageError> {
        let entry = Entry {
            cid: *cid,
            mode: row.mode,
        };
        let mut held = Vec::new();
        let mut unwind = Unwind::new(&self.store, row.number, entry);
        while held.len() < self.options.batch_blocks {
            let Some(block) = unwind.next()? else {
                for (block, part) in held {
                    let r = pin_ref(row.number, &block, part);
                    group.batch.release_block(block.hash(), r);
                }
                group.batch.delete(&self.ks.pins, cid.to_bytes());
                group.places.push(place);
                return Ok(());
            };
            held.push(block);
        }
        let _live = self.live.enter(vec![row.number]);
        let mut batch = self.store.batch();
        batch.delete(&self.ks.pins, cid.to_bytes());
        let key = row.number.to_be_bytes();
        batch.put(&self.ks.intents, key, encode_intent([entry]));
        self.commit(batch, -1)?;
        self.release_intent(row.number, &[entry])
    }

    fn unpin_group(&self, group: &mut Group, answers: &mut [Result<(), JobError>]) {
        let Group { batch, places } = std::mem::take(group);
        if places.is_empty() {
            return;
        }
        let change = i64::try_from(places.len()).map_or(i64::MIN, |n| -n);
        if let Err(error) = self.commit(batch, change) {
            let error = store_failed(error);
            for place in places {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = Err(error.clone());
                }
            }
        }
    }

    /// Releases what the entries of an intent hold, unless a pin has taken it over, and removes the intent.
    pub(super) fn release_intent(&self, first: u64, entries: &[Entry]) -> Result<(), StorageError> {
        let mut batch = self.store.batch();
        for (entry, number) in entries.iter().zip(first..) {
            if self
                .row(&entry.cid)?
                .is_some_and(|row| row.number == number)
            {
                continue;
            }
            let mut unwind = Unwind::new(&self.store, number, *entry);
            while let Some((cid, part)) = unwind.next()? {
                batch.release_block(cid.hash(), pin_ref(number, &cid, part));
                if batch.len() >= self.options.batch_blocks {
                    self.commit(std::mem::take(&mut batch), 0)?;
                    unwind.written();
                }
            }
        }
        batch.delete(&self.ks.intents, first.to_be_bytes());
        Ok(self.commit(batch, 0)?)
    }
}
