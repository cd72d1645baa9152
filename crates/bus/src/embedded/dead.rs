//! Dead letters.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use ues_storage::Batch;

use super::ledger::{Ledger, Open};
use super::rows::{Spaces, StoredDead, StoredMessage, key};
use super::{Core, Queue, commit, damaged, storage};
use crate::limits;
use crate::queue::{BusError, DeadLetter};

/// The ids of the dead letters, which are few, and the bytes of their rows.
pub(super) struct DeadIndex {
    rows: BTreeMap<u64, u64>,
    bytes: u64,
    last: u64,
}

impl DeadIndex {
    pub(super) fn load(spaces: &Spaces) -> Result<Self, BusError> {
        let mut index = Self {
            rows: BTreeMap::new(),
            bytes: 0,
            last: 0,
        };
        for row in spaces.dead.prefix("") {
            let (key, row) = row.map_err(storage)?;
            let id = <[u8; 8]>::try_from(&*key).map_err(|_| damaged("dead letter", &key))?;
            index.insert(u64::from_be_bytes(id), row.len() as u64);
        }
        Ok(index)
    }

    /// An id that rises with time, also when earlier dead letters are gone.
    fn new_id(&self, now_ms: u64) -> u64 {
        self.last
            .saturating_add(1)
            .max(now_ms.saturating_mul(1_000))
    }

    fn insert(&mut self, id: u64, bytes: u64) {
        self.rows.insert(id, bytes);
        self.bytes += bytes;
        self.last = self.last.max(id);
    }

    fn remove(&mut self, id: u64) -> Option<u64> {
        let bytes = self.rows.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(bytes)
    }
}

impl Core {
    /// Moves a message that is open no more from its queue to the dead letters, and drops the oldest of those when
    /// there are too many.
    pub(super) fn bury(
        &self,
        batch: &mut Batch,
        queue: &Queue,
        ledger: &mut Ledger,
        (seq, open): (u64, Open),
        row: &Bytes,
        reason: &str,
    ) {
        self.remove_rows(batch, queue.number, seq, &open);
        ledger.settled(open.bytes);
        let at_ms = self.now_ms();
        let dead = StoredDead {
            at_ms,
            queue: queue.name.clone(),
            reason: limits::reason(reason),
            message: row.clone(),
        };
        tracing::warn!(
            queue = dead.queue,
            reason = dead.reason,
            "gave a message up"
        );
        let row = dead.encode();
        let mut index = self.dead.lock();
        let id = index.new_id(at_ms);
        index.insert(id, row.len() as u64);
        batch.put(&self.spaces.dead, id.to_be_bytes(), row);
        while index.rows.len() > self.options.max_dead_letters
            || index.bytes > self.options.max_dead_bytes
        {
            let Some((oldest, _)) = index.rows.first_key_value().map(|(k, v)| (*k, *v)) else {
                break;
            };
            index.remove(oldest);
            batch.delete(&self.spaces.dead, oldest.to_be_bytes());
        }
    }

    pub(super) fn dead_letters(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BusError> {
        let later = (Bound::Excluded(after), Bound::Unbounded);
        let ids: Vec<u64> = {
            let index = self.dead.lock();
            index
                .rows
                .range(later)
                .map(|(id, _)| *id)
                .take(limit)
                .collect()
        };
        let mut letters = Vec::with_capacity(ids.len());
        for id in ids {
            // A row that was just written may not be visible yet.
            let row = self.spaces.dead.get(id.to_be_bytes()).map_err(storage)?;
            let parts = row.as_ref().and_then(decode);
            if let Some((dead, message)) = parts {
                letters.push(DeadLetter {
                    id,
                    queue: dead.queue,
                    subject: message.subject,
                    payload: message.payload,
                    reason: dead.reason,
                    at_ms: dead.at_ms,
                });
            }
        }
        Ok(letters)
    }

    pub(super) async fn replay(&self, id: u64) -> Result<bool, BusError> {
        self.store.ready().await;
        let Some(row) = self.spaces.dead.get(id.to_be_bytes()).map_err(storage)? else {
            return Ok(false);
        };
        let (dead, message) =
            decode(&row).ok_or_else(|| damaged("dead letter", &id.to_be_bytes()))?;
        let queue = {
            let routes = self.routes.read();
            let by_name = routes.iter().find(|r| r.queue.name == dead.queue);
            let by_subject = || routes.iter().find(|r| message.subject.is_under(&r.subject));
            by_name.or_else(by_subject).map(|r| Arc::clone(&r.queue))
        };
        let queue = queue.ok_or_else(|| {
            BusError::Refused(format!("queue {} is not there any more", dead.queue))
        })?;
        // Whoever takes the id out of the index has the letter.
        let Some(bytes) = self.dead.lock().remove(id) else {
            return Ok(false);
        };
        let submitted = self.put_back(&queue, id, &dead.message);
        if submitted.is_err() {
            self.dead.lock().insert(id, bytes);
        }
        queue.wake.notify_waiters();
        submitted?.await.map_err(commit)?;
        Ok(true)
    }

    fn put_back(
        &self,
        queue: &Queue,
        id: u64,
        row: &Bytes,
    ) -> Result<ues_storage::Ticket, BusError> {
        let mut inner = queue.inner.lock();
        let ledger = &mut inner.ledger;
        if ledger.removed {
            return Err(queue.was_removed());
        }
        let before = ledger.marks;
        let mut marks = before;
        marks.next += 1;
        marks.count += 1;
        marks.bytes += row.len() as u64;
        queue.check_room(&self.options, &marks)?;
        let mut batch = Batch::new();
        batch.put(&self.spaces.messages, key(queue.number, before.next), row);
        batch.delete(&self.spaces.dead, id.to_be_bytes());
        ledger.marks = marks;
        queue.submit(self, ledger, batch)
    }

    pub(super) async fn discard(&self, id: u64) -> Result<bool, BusError> {
        if self.dead.lock().remove(id).is_none() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(&self.spaces.dead, id.to_be_bytes());
        self.store.commit(batch).await.map_err(commit)?;
        Ok(true)
    }
}

fn decode(row: &Bytes) -> Option<(StoredDead, StoredMessage)> {
    let dead = StoredDead::decode(row)?;
    let message = StoredMessage::decode(&dead.message)?;
    Some((dead, message))
}
