//! Handles to keyspaces: ordered maps from bytes to bytes, whose values may expire.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::engine::{KeyspaceId, Reads, Rows};
use crate::error::StorageError;
use crate::format::prefix_end;
use crate::pages::Pages;
use crate::store::Shared;

/// A keyspace of a store. Cheap to clone. Its own reads show the latest state; use a
/// [`Snapshot`](crate::Snapshot) where several reads must agree.
#[derive(Clone)]
pub struct Keyspace {
    shared: Arc<Shared>,
    id: KeyspaceId,
    name: &'static str,
}

impl Keyspace {
    pub(crate) fn new(shared: Arc<Shared>, id: KeyspaceId, name: &'static str) -> Self {
        Self { shared, id, name }
    }

    /// The name under which it was opened.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn id(&self) -> KeyspaceId {
        self.id
    }

    /// The value under a key, unless it is absent or expired.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, StorageError> {
        get(
            &*self.shared.engine,
            &self.shared.options.clock,
            self,
            key.as_ref(),
        )
    }

    /// Whether a key is there and not expired.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool, StorageError> {
        Ok(self.get(key)?.is_some())
    }

    /// The rows in a range of keys, in key order from either end, of the state at the time of the call.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Scan {
        let from = range.start_bound().map(AsRef::as_ref);
        let to = range.end_bound().map(AsRef::as_ref);
        scan(
            &*self.shared.engine,
            &self.shared.options.clock,
            self,
            from,
            to,
        )
    }

    /// The rows whose keys begin with a prefix; all rows for an empty one.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        scan_prefix(
            &*self.shared.engine,
            &self.shared.options.clock,
            self,
            prefix.as_ref(),
        )
    }

    /// The same for a long walk during which much may be written: every page is of a state of its own.
    pub fn in_pages(&self, prefix: impl AsRef<[u8]>) -> Pages {
        Pages::new(self.clone(), prefix.as_ref())
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyspace").field(&self.name).finish()
    }
}

/// Reads one key in any state of the engine.
pub(crate) fn get(
    reads: &dyn Reads,
    clock: &Clock,
    ks: &Keyspace,
    key: &[u8],
) -> Result<Option<Bytes>, StorageError> {
    match reads.get(ks.id, key)? {
        Some(row) => value::decode(row, clock, ks.name),
        None => Ok(None),
    }
}

/// Reads a range in any state of the engine.
pub(crate) fn scan(
    reads: &dyn Reads,
    clock: &Clock,
    ks: &Keyspace,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
) -> Scan {
    Scan {
        rows: reads.scan(ks.id, from, to),
        clock: clock.clone(),
        name: ks.name,
    }
}

/// Reads all rows under a prefix in any state of the engine.
pub(crate) fn scan_prefix(reads: &dyn Reads, clock: &Clock, ks: &Keyspace, prefix: &[u8]) -> Scan {
    let end = prefix_end(prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    scan(reads, clock, ks, Bound::Included(prefix), to)
}

/// Rows of a keyspace in key order, from either end; expired ones are left out.
///
/// It keeps its state of the store alive, so it should not be held for long.
pub struct Scan {
    rows: Rows,
    clock: Clock,
    name: &'static str,
}

impl Scan {
    fn visible(&self, row: crate::engine::Row) -> Option<<Self as Iterator>::Item> {
        let (key, row) = match row {
            Ok(row) => row,
            Err(e) => return Some(Err(e.into())),
        };
        match value::decode(row, &self.clock, self.name) {
            Ok(value) => value.map(|value| Ok((key, value))),
            Err(e) => Some(Err(e)),
        }
    }
}

impl Iterator for Scan {
    type Item = Result<(Bytes, Bytes), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let row = self.rows.next()?;
            if let Some(item) = self.visible(row) {
                return Some(item);
            }
        }
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let row = self.rows.next_back()?;
            if let Some(item) = self.visible(row) {
                return Some(item);
            }
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("keyspace", &self.name)
            .finish_non_exhaustive()
    }
}

/// The stored form of a value: one byte that says whether it expires, the time if so, the value.
pub(crate) mod value {
    use bytes::Bytes;

    use crate::clock::Clock;
    use crate::error::StorageError;
    use crate::format::read_u64;

    const PLAIN: u8 = 0;
    const EXPIRES: u8 = 1;

    /// Appends the stored form of a value that stays.
    pub(crate) fn encode_plain(out: &mut Vec<u8>, value: &[u8]) {
        out.push(PLAIN);
        out.extend_from_slice(value);
    }

    /// Appends the stored form of a value that expires.
    pub(crate) fn encode_expiring(out: &mut Vec<u8>, value: &[u8], expires_at_ms: u64) {
        out.push(EXPIRES);
        out.extend_from_slice(&expires_at_ms.to_be_bytes());
        out.extend_from_slice(value);
    }

    /// The expiry time in a stored form, if it has one.
    pub(crate) fn expires_at(row: &[u8]) -> Option<u64> {
        if row.first() == Some(&EXPIRES) {
            row.get(1..9).and_then(read_u64)
        } else {
            None
        }
    }

    /// The value from its stored form, unless it has expired.
    pub(crate) fn decode(
        row: Bytes,
        clock: &Clock,
        keyspace: &'static str,
    ) -> Result<Option<Bytes>, StorageError> {
        match row.first() {
            Some(&PLAIN) => return Ok(Some(row.slice(1..))),
            Some(&EXPIRES) => {
                if let Some(expires_at_ms) = expires_at(&row) {
                    return Ok((expires_at_ms > clock.now_ms()).then(|| row.slice(9..)));
                }
            }
            _ => {}
        }
        let what = format!(
            "value tag 0 or 1 expected, found {:?} in {} bytes",
            row.first(),
            row.len()
        );
        Err(StorageError::Damaged { keyspace, what })
    }

    /// Key of the expiry index: time, length of the keyspace's name, name, key.
    pub(crate) fn expiry_key(expires_at_ms: u64, keyspace: &str, key: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(9 + keyspace.len() + key.len());
        row.extend_from_slice(&expires_at_ms.to_be_bytes());
        // Keyspace names have at most 64 bytes.
        row.push(u8::try_from(keyspace.len()).unwrap_or(u8::MAX));
        row.extend_from_slice(keyspace.as_bytes());
        row.extend_from_slice(key);
        row
    }

    /// Time, keyspace name and key of a row of the expiry index.
    pub(crate) fn parse_expiry_key(row: &[u8]) -> Option<(u64, &str, &[u8])> {
        let (time, rest) = row.split_at_checked(8)?;
        let (len, rest) = rest.split_first()?;
        let (name, key) = rest.split_at_checked((*len).into())?;
        Some((read_u64(time)?, std::str::from_utf8(name).ok()?, key))
    }
}
