//! Operations behind the limit of their writer, which wait in memory until it turns out that they count.

use std::collections::BTreeMap;

use crate::clock::WriterId;

use super::admit::Incoming;

/// Most bytes that wait in all.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// Most bytes that wait of one writer, so that one that floods leaves room for others.
pub(super) const MAX_WRITER_BYTES: usize = 32 << 20;
/// What an operation takes in memory besides its bytes, at least.
const OVERHEAD: usize = 1024;

/// The operations that wait, by writer and number.
#[derive(Clone, Debug, Default)]
pub(super) struct Beyond {
    waiting: BTreeMap<(WriterId, u64), Incoming>,
    bytes: usize,
}

fn size(incoming: &Incoming) -> usize {
    let value = incoming.value.as_ref().map_or(0, |value| value.len());
    // The payload is there twice: as bytes, and read.
    OVERHEAD + incoming.operation.block().len() * 2 + value
}

impl Beyond {
    /// What waits under a number.
    pub fn get(&self, writer: WriterId, seq: u64) -> Option<&Incoming> {
        self.waiting.get(&(writer, seq))
    }

    /// Takes something out.
    pub fn remove(&mut self, writer: WriterId, seq: u64) -> Option<Incoming> {
        let out = self.waiting.remove(&(writer, seq))?;
        self.bytes = self.bytes.saturating_sub(size(&out));
        Some(out)
    }

    /// Puts something in, in place of what had its number; `false` if there is no room.
    pub fn insert(&mut self, incoming: Incoming) -> bool {
        let key = (
            incoming.operation.payload.writer,
            incoming.operation.payload.seq,
        );
        self.remove(key.0, key.1);
        let size = size(&incoming);
        let of_writer = self.waiting.range((key.0, 0)..=(key.0, u64::MAX));
        let of_writer: usize = of_writer.map(|(_, waiting)| self::size(waiting)).sum();
        if self.bytes + size > MAX_BYTES || of_writer + size > MAX_WRITER_BYTES {
            return false;
        }
        self.bytes += size;
        self.waiting.insert(key, incoming);
        true
    }

    /// All that wait, by writer and number.
    pub fn iter(&self) -> impl Iterator<Item = &Incoming> {
        self.waiting.values()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
