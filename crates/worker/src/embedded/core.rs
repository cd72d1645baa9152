//! What all parts of the embedded backend share.

use parking_lot::Mutex;
use ues_data::Cid;
use ues_pins::PinMode;
use ues_storage::{Batch, CommitError, StorageError, Store};

use super::busy::Busy;
use super::layout::{Keyspaces, META_ID, META_PINS, PinRow, read_number};
use super::numbers::Numbers;
use super::options::EmbeddedOptions;

/// The store, the rows in it, and who works on them.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) store: Store,
    pub(super) ks: Keyspaces,
    pub(super) options: EmbeddedOptions,
    pub(super) numbers: Numbers,
    /// CIDs that are being pinned or unpinned.
    pub(super) cids: Busy<Vec<u8>>,
    /// Intents and uploads that somebody works on.
    pub(super) live: Busy<u64>,
    pub(super) content_id: String,
    /// How many pins there are. Held while a batch that changes it is submitted, so that its rows are in order.
    count: Mutex<u64>,
}

impl Core {
    pub(super) fn open(store: Store, options: EmbeddedOptions) -> Result<Self, StorageError> {
        let ks = Keyspaces::open(&store)?;
        let content_id = content_id(&store, &ks)?;
        let count = match ks.meta.get(META_PINS)? {
            Some(row) => read_number("content_meta", &row)?,
            None => 0,
        };
        Ok(Self {
            numbers: Numbers::open(&ks)?,
            store,
            ks,
            options,
            cids: Busy::new(),
            live: Busy::new(),
            content_id,
            count: Mutex::new(count),
        })
    }

    pub(super) fn count(&self) -> u64 {
        *self.count.lock()
    }

    pub(super) fn row(&self, cid: &Cid) -> Result<Option<PinRow>, StorageError> {
        let row = self.ks.pins.get(cid.to_bytes())?;
        row.map(|row| PinRow::decode(&row)).transpose()
    }

    /// Writes a batch that makes or removes so many pins. Blocks the thread.
    pub(super) fn commit(&self, mut batch: Batch, change: i64) -> Result<(), CommitError> {
        let ticket = if change == 0 {
            self.store.submit(batch)?
        } else {
            let mut count = self.count.lock();
            let now = count.saturating_add_signed(change);
            batch.put(&self.ks.meta, META_PINS, now.to_be_bytes());
            let ticket = self.store.submit(batch)?;
            // If the write fails the store takes no more of them, and the next opening reads the row.
            *count = now;
            ticket
        };
        ticket.wait().map(|_| ())
    }
}

/// Whether a pin that is there does what is asked for.
pub(super) fn is_enough(row: &PinRow, mode: PinMode) -> bool {
    row.mode == mode || row.mode == PinMode::Recursive
}

/// The name of this content, made at first use.
fn content_id(store: &Store, ks: &Keyspaces) -> Result<String, StorageError> {
    let id = match ks.meta.get(META_ID)? {
        Some(id) => id,
        None => {
            let mut id = [0; 16];
            getrandom::fill(&mut id).map_err(|e| StorageError::Damaged {
                keyspace: "content_meta",
                what: format!("no random name could be made: {e}"),
            })?;
            let mut batch = store.batch();
            batch.put(&ks.meta, META_ID, id);
            store.commit_blocking(batch)?;
            bytes::Bytes::copy_from_slice(&id)
        }
    };
    Ok(data_encoding::HEXLOWER.encode(&id))
}
