//! Where the rows of one log are read from, and how their keys look.

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_data::Cid;
use ues_storage::StorageError;

use crate::clock::WriterId;

/// Rows of one log, ordered by key.
pub trait Rows {
    /// The value under a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// The rows from one key to before another.
    fn range<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), StorageError>> + 'a>;

    /// The record that the repository's tree has at a path, as it was before what is being written.
    fn record(&self, path: &str) -> Result<Option<Cid>, StorageError>;
}

/// Rows in memory, for tests and simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryRows {
    /// The rows.
    pub rows: BTreeMap<Vec<u8>, Bytes>,
    /// The records of the tree.
    pub records: BTreeMap<String, Cid>,
}

impl Rows for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.rows.get(key).cloned())
    }

    fn range<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), StorageError>> + 'a> {
        let rows = self.rows.range(from.to_vec()..to.to_vec());
        Box::new(rows.map(|(key, value)| Ok((Bytes::copy_from_slice(key), value.clone()))))
    }

    fn record(&self, path: &str) -> Result<Option<Cid>, StorageError> {
        Ok(self.records.get(path).copied())
    }
}

/// What this device is in the repository.
pub(super) const META: &[u8] = b"m";
const WRITER: u8 = b'w';
const OPERATION: u8 = b'o';
const STATE: u8 = b's';
const FORK: u8 = b'f';
const FLOOR: u8 = b'b';
const ACKNOWLEDGED: u8 = b'a';

/// Key of a writer.
pub(super) fn writer_key(writer: WriterId) -> Vec<u8> {
    let mut key = vec![WRITER];
    key.extend_from_slice(&writer.to_be_bytes());
    key
}

/// All writers.
pub(super) fn writers() -> ([u8; 1], [u8; 1]) {
    ([WRITER], [WRITER + 1])
}

/// Key of an operation.
pub(super) fn operation_key(writer: WriterId, seq: u64) -> Vec<u8> {
    let mut key = vec![OPERATION];
    key.extend_from_slice(&writer.to_be_bytes());
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// All operations.
pub(super) fn operations() -> ([u8; 1], [u8; 1]) {
    ([OPERATION], [OPERATION + 1])
}

/// Key of the state of a target.
pub(super) fn state_key(path: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + path.len());
    key.push(STATE);
    key.extend_from_slice(path.as_bytes());
    key
}

/// Key of the state that a target had when this device's log began.
pub(super) fn floor_key(path: &str) -> Vec<u8> {
    let mut key = state_key(path);
    if let Some(first) = key.first_mut() {
        *first = FLOOR;
    }
    key
}

/// All states that targets had when this device's log began.
pub(super) fn floors() -> ([u8; 1], [u8; 1]) {
    ([FLOOR], [FLOOR + 1])
}

/// All states.
pub(super) fn states() -> ([u8; 1], [u8; 1]) {
    ([STATE], [STATE + 1])
}

/// The path in the key of a state.
pub(super) fn path_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(1..)?).ok()
}

/// Key of what a writer was known to have when it was last met.
pub(super) fn acknowledged_key(writer: WriterId) -> Vec<u8> {
    let mut key = vec![ACKNOWLEDGED];
    key.extend_from_slice(&writer.to_be_bytes());
    key
}

/// Whether a row is about others, not about the log.
pub(super) fn is_acknowledged(key: &[u8]) -> bool {
    key.first() == Some(&ACKNOWLEDGED)
}

/// Key of the proof that a writer signed two operations with one number.
pub(super) fn fork_key(writer: WriterId) -> Vec<u8> {
    let mut key = vec![FORK];
    key.extend_from_slice(&writer.to_be_bytes());
    key
}
