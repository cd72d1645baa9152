//! The seam between the store and what keeps its rows: an ordered, atomic, multi-keyspace key-value engine.
//!
//! Two implementations stand behind it, [`FjallEngine`] on disk and [`MemoryEngine`] for tests and simulation, and
//! one conformance suite runs over both.

mod fjall;
mod memory;
mod memtables;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

pub use self::fjall::FjallEngine;
pub use self::memory::{Fault, MemoryEngine};

/// A keyspace of an open engine. The number is valid for this engine in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyspaceId(pub u16);

/// One change of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op<'a> {
    /// Where the row is.
    pub ks: KeyspaceId,
    /// The key, 1 to 65,535 bytes.
    pub key: &'a [u8],
    /// The new value, or `None` to remove the row.
    pub value: Option<&'a [u8]>,
}

/// What a keyspace will hold, so that the engine can lay it out well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Small rows read by key and by range.
    Small,
    /// Rows of very different size; large values are kept apart from the keys.
    Blobs,
    /// Rows that are appended in key order and read in runs.
    Log,
}

/// A failure of the engine.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The operating system refused to read or write.
    #[error("input or output failed: {0}")]
    Io(Arc<std::io::Error>),
    /// The engine's files contradict themselves.
    #[error("damaged storage: {0}")]
    Damaged(String),
    /// An earlier write or sync failed, so the engine takes no more of them.
    #[error("an earlier write failed")]
    Poisoned,
    /// Another process has the engine's files open.
    #[error("another process has the storage open")]
    Locked,
    /// Too many keyspaces, or an unknown one.
    #[error("no such keyspace: {0}")]
    Keyspace(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<std::io::Error> for EngineError {
    fn from(e: std::io::Error) -> Self {
        Self::Io(Arc::new(e))
    }
}

/// A row of a scan: key and value.
pub type Row = Result<(Bytes, Bytes), EngineError>;

/// Rows in key order, from either end.
pub type Rows = Box<dyn DoubleEndedIterator<Item = Row> + Send>;

/// Reads of one state of the engine.
pub trait Reads: Send + Sync {
    /// The value under a key.
    fn get(&self, ks: KeyspaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Whether a key is there.
    fn contains(&self, ks: KeyspaceId, key: &[u8]) -> Result<bool, EngineError>;

    /// The rows between two bounds. An empty or inverted range has no rows.
    fn scan(&self, ks: KeyspaceId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows;
}

/// An ordered key-value engine with atomic batches over several keyspaces.
///
/// The reads of the engine itself show the latest state, including what was applied but not yet synced.
pub trait Engine: Reads + 'static {
    /// Opens the keyspace of this name, creating it at first use. The same name gives the same number again.
    fn keyspace(&self, name: &str, shape: Shape) -> Result<KeyspaceId, EngineError>;

    /// A state that does not change any more. It contains a whole batch or nothing of it.
    fn snapshot(&self) -> Arc<dyn Reads>;

    /// Applies the operations atomically and in order. When it returns they are visible, but durable only after
    /// the next [`sync`](Self::sync). After an error nothing may be assumed about what a crash leaves of them.
    fn apply(&self, ops: &mut dyn Iterator<Item = Op<'_>>) -> Result<(), EngineError>;

    /// Makes all that was applied durable.
    fn sync(&self) -> Result<(), EngineError>;

    /// Background work calls this about once a second. When nothing was written since the last call, an engine may
    /// move recent writes out of memory.
    fn tidy_up(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Bytes that the engine occupies on the disk.
    fn disk_bytes(&self) -> Result<u64, EngineError>;

    /// Bytes that one keyspace occupies on the disk, without recent writes that are not in tables yet.
    fn keyspace_bytes(&self, ks: KeyspaceId) -> Result<u64, EngineError>;
}

/// Whether a range can hold any key; engines and maps dislike inverted ones.
pub(crate) fn is_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(a), Bound::Included(b)) => a <= b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b))
        | (Bound::Excluded(a), Bound::Included(b)) => a < b,
        _ => true,
    }
}
