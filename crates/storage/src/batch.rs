//! The atomic batch: everything that one change writes.

use crate::Multihash;
use crate::block::{BlockRef, MAX_BLOCK};
use crate::block_ops;
use crate::engine::{KeyspaceId, Op};
use crate::format::{MAX_KEY, ks};
use crate::keyspace::{Keyspace, value};

/// Largest sum of keys and values that one batch may carry.
const MAX_BATCH: usize = 256 << 20;

/// Why a batch is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A key is empty or longer than 65,535 bytes.
    #[error("a key must have 1 to 65535 bytes, found {0}")]
    Key(usize),
    /// A value or block is larger than 64 MiB.
    #[error("a value may have at most 67108864 bytes, found {0}")]
    Value(usize),
    /// All of the batch is larger than 256 MiB.
    #[error("a batch may have at most 268435456 bytes, found {0}")]
    Batch(usize),
}

/// Blocks, keys and events that become durable together or not at all.
///
/// Operations apply in the order in which they were added. Keys and values are copied into one buffer, so that
/// adding an operation allocates nothing and the committer has little to do. An operation that cannot be stored
/// (an empty or overlong key, a huge value) makes [`Store::submit`](crate::Store::submit) refuse the whole batch.
#[derive(Debug, Default)]
pub struct Batch {
    buf: Vec<u8>,
    ops: Vec<Slot>,
    /// Changes of blocks, in the form of [`block_ops`]: they go to the nursery, not to the engine's rows at once.
    blocks: Vec<u8>,
    block_ops: usize,
    events: u32,
    invalid: Option<BatchError>,
}

/// Where an operation lies in the buffer: the key, then the value.
#[derive(Debug, Clone, Copy)]
struct Slot {
    at: u32,
    value_len: u32,
    key_len: u16,
    ks: KeyspaceId,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Delete,
    Event,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for so many operations and bytes.
    pub fn with_capacity(ops: usize, bytes: usize) -> Self {
        Self {
            buf: Vec::with_capacity(bytes),
            ops: Vec::with_capacity(ops),
            ..Self::default()
        }
    }

    /// Stores a block and the reference that keeps it. Does not look whether either is there already: both writes
    /// are idempotent. The caller vouches that `mh` is the hash of `bytes`.
    pub fn put_block(&mut self, mh: &Multihash, bytes: impl AsRef<[u8]>, r: BlockRef) {
        self.push_block(mh, bytes.as_ref(), r, None);
    }

    /// As [`put_block`](Self::put_block), with a mark in the reference that
    /// [`Snapshot::ref_mark`](crate::Snapshot::ref_mark) gives back: a revision, for example.
    pub fn put_block_marked(
        &mut self,
        mh: &Multihash,
        bytes: impl AsRef<[u8]>,
        r: BlockRef,
        mark: u64,
    ) {
        self.push_block(mh, bytes.as_ref(), r, Some(mark));
    }

    fn push_block(&mut self, mh: &Multihash, bytes: &[u8], r: BlockRef, mark: Option<u64>) {
        if bytes.len() > MAX_BLOCK {
            return self.refuse(BatchError::Value(bytes.len()));
        }
        block_ops::write_put(&mut self.blocks, mh, r, mark, bytes);
        self.count_block_op();
    }

    /// Adds a reference to a block that is stored already, or is stored earlier in this batch.
    pub fn add_ref(&mut self, mh: &Multihash, r: BlockRef) {
        block_ops::write_refer(&mut self.blocks, mh, r);
        self.count_block_op();
    }

    /// Removes a reference. The block itself is freed later, when the collector finds no other reference to it.
    pub fn release_block(&mut self, mh: &Multihash, r: BlockRef) {
        block_ops::write_release(&mut self.blocks, mh, r);
        self.count_block_op();
    }

    fn count_block_op(&mut self) {
        self.block_ops += 1;
        if self.bytes() > MAX_BATCH {
            self.refuse(BatchError::Batch(self.bytes()));
        }
    }

    /// Stores a value under a key, replacing what is there.
    pub fn put(&mut self, ks: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.push(ks.id(), Kind::Put, key.as_ref(), |buf| {
            value::encode_plain(buf, value)
        });
    }

    /// Stores a value that is gone from `expires_at_ms` on (milliseconds since the Unix epoch): invisible at once,
    /// its space freed in the background.
    pub fn put_with_ttl(
        &mut self,
        ks: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at_ms: u64,
    ) {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.push(ks.id(), Kind::Put, key, |buf| {
            value::encode_expiring(buf, value, expires_at_ms)
        });
        let row = value::expiry_key(expires_at_ms, ks.name(), key);
        self.push(ks::EXPIRY, Kind::Put, &row, |_| ());
    }

    /// Removes a key; nothing happens when it is not there.
    pub fn delete(&mut self, ks: &Keyspace, key: impl AsRef<[u8]>) {
        self.push(ks.id(), Kind::Delete, key.as_ref(), |_| ());
    }

    /// Appends an event to the log. Its sequence number is decided when the batch is committed.
    pub fn append_event(&mut self, payload: impl AsRef<[u8]>) {
        let payload = payload.as_ref();
        // The key is a placeholder of the right length that the committer overwrites.
        self.push(ks::LOG, Kind::Event, &[0; 8], |buf| {
            buf.extend_from_slice(payload)
        });
        self.events = self.events.saturating_add(1);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.blocks.is_empty()
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.ops.len() + self.block_ops
    }

    /// Sum of the lengths of all keys, values and blocks.
    pub fn bytes(&self) -> usize {
        self.buf.len() + self.blocks.len()
    }

    /// Number of events.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// The first operation that cannot be stored, if there is one.
    pub(crate) fn validate(&self) -> Result<(), BatchError> {
        self.invalid.map_or(Ok(()), Err)
    }

    /// Writes a row of one of the store's own keyspaces.
    pub(crate) fn put_row(&mut self, ks: KeyspaceId, key: &[u8], value: &[u8]) {
        self.push(ks, Kind::Put, key, |buf| buf.extend_from_slice(value));
    }

    /// Removes a row of any keyspace.
    pub(crate) fn delete_row(&mut self, ks: KeyspaceId, key: &[u8]) {
        self.push(ks, Kind::Delete, key, |_| ());
    }

    /// Writes the sequence numbers, counted up from `first`, into the events.
    pub(crate) fn number_events(&mut self, first: u64) {
        if self.events == 0 {
            return;
        }
        let slots = self.ops.iter().filter(|slot| slot.kind == Kind::Event);
        for (slot, seq) in slots.zip(first..) {
            let at = slot.at as usize;
            if let Some(key) = self.buf.get_mut(at..at + 8) {
                key.copy_from_slice(&seq.to_be_bytes());
            }
        }
    }

    /// The payloads of the events in order.
    pub(crate) fn event_payloads(&self) -> impl Iterator<Item = &[u8]> {
        let slots = self.ops.iter().filter(|slot| slot.kind == Kind::Event);
        slots.filter_map(|slot| self.op(slot).value)
    }

    /// The changes of blocks, in the form of [`block_ops`].
    pub(crate) fn block_ops(&self) -> &[u8] {
        &self.blocks
    }

    /// Takes the changes of blocks out.
    pub(crate) fn take_block_ops(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.blocks)
    }

    /// All operations on rows in order, without the changes of blocks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        self.ops.iter().map(|slot| self.op(slot))
    }

    fn op(&self, slot: &Slot) -> Op<'_> {
        let rest = self.buf.get(slot.at as usize..).unwrap_or_default();
        let (key, rest) = rest
            .split_at_checked(slot.key_len.into())
            .unwrap_or_default();
        let value = rest.get(..slot.value_len as usize).unwrap_or_default();
        Op {
            ks: slot.ks,
            key,
            value: (slot.kind != Kind::Delete).then_some(value),
        }
    }

    fn push(&mut self, ks: KeyspaceId, kind: Kind, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let at = self.buf.len();
        let key_len = match u16::try_from(key.len()) {
            Ok(len) if len > 0 => len,
            _ => return self.refuse(BatchError::Key(key.len())),
        };
        self.buf.extend_from_slice(key);
        let from = self.buf.len();
        value(&mut self.buf);
        let value_len = self.buf.len() - from;
        // Room for the byte or two that the row forms add to the largest permitted value.
        if value_len > MAX_BLOCK + 16 {
            self.buf.truncate(at);
            return self.refuse(BatchError::Value(value_len));
        }
        if self.bytes() > MAX_BATCH {
            let len = self.bytes();
            self.buf.truncate(at);
            return self.refuse(BatchError::Batch(len));
        }
        let (Ok(at), Ok(value_len)) = (u32::try_from(at), u32::try_from(value_len)) else {
            return self.refuse(BatchError::Batch(at));
        };
        self.ops.push(Slot {
            at,
            value_len,
            key_len,
            ks,
            kind,
        });
    }

    fn refuse(&mut self, why: BatchError) {
        self.invalid.get_or_insert(why);
    }
}

const _: () = assert!(MAX_KEY == 65_535);
