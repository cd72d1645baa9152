//! How much a repository holds: a total that each batch carries forward with what it changes, so that nobody has to count.
//!
//! It changes under the lane's lock only, in the batch that changes what it counts. A repository without one, which an
//! older version wrote, is counted once.

use ues_storage::{Batch, StorageError};

use crate::syntax::Did;

use super::blobs::BlobMeta;
use super::draft_commit::Changes;
use super::lane::Surroundings;
use super::layout::{Numbers, read_record_value};
use super::read::{RepoView, damaged};
use super::write::WriteError;
use super::{RepoError, Repositories};

const VERSION: u8 = 1;

/// How much a repository holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records.
    pub records: u64,
    /// Bytes of all records.
    pub record_bytes: u64,
    /// Blobs, temporary ones too.
    pub blobs: u64,
    /// Bytes of all blobs.
    pub blob_bytes: u64,
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} records of {} bytes and {} blobs of {} bytes",
            self.records, self.record_bytes, self.blobs, self.blob_bytes
        )
    }
}

impl Usage {
    fn encode(&self) -> [u8; 33] {
        let mut row = [VERSION; 33];
        let numbers = [self.records, self.record_bytes, self.blobs, self.blob_bytes];
        let places = row.iter_mut().skip(1);
        for (to, byte) in places.zip(numbers.into_iter().flat_map(u64::to_be_bytes)) {
            *to = byte;
        }
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (&[VERSION], rest) = row.split_first_chunk::<1>()? else {
            return None;
        };
        let mut numbers = rest.chunks_exact(8);
        let mut next = || Some(u64::from_be_bytes(numbers.next()?.try_into().ok()?));
        let usage = Self {
            records: next()?,
            record_bytes: next()?,
            blobs: next()?,
            blob_bytes: next()?,
        };
        (rest.len() == 32).then_some(usage)
    }

    /// The total as a batch leaves it.
    pub(super) fn put(&self, around: &Surroundings, owner: u64, batch: &mut Batch) {
        batch.put(&around.ks.usage, owner.to_be_bytes(), self.encode());
    }

    pub(super) fn gain_blob(&mut self, size: u64) {
        self.blobs = self.blobs.saturating_add(1);
        self.blob_bytes = self.blob_bytes.saturating_add(size);
    }

    pub(super) fn lose_blob(&mut self, size: u64) {
        self.blobs = self.blobs.saturating_sub(1);
        self.blob_bytes = self.blob_bytes.saturating_sub(size);
    }

    pub(super) fn grow(&mut self, growth: Growth) {
        self.records = self.records.saturating_add_signed(growth.records);
        self.record_bytes = self.record_bytes.saturating_add_signed(growth.bytes);
    }
}

/// What changes make of records; less than nothing when they go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    pub records: i64,
    pub bytes: i64,
}

impl Growth {
    /// That of some changes. What they replace is looked up in the store: a record that is in flight counts as nothing.
    pub fn of(around: &Surroundings, changes: &Changes) -> Result<Self, StorageError> {
        let mut growth = Self::default();
        for change in changes.values() {
            if let Some(before) = &change.before {
                growth.records -= 1;
                let block = around.store.block(before.hash())?;
                growth.bytes -= block.map_or(0, |block| length(block.len()));
            }
            if let Some(after) = &change.after {
                growth.records += 1;
                growth.bytes += length(after.bytes.len());
            }
        }
        Ok(growth)
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
        }
    }
}

fn length(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// How much room the records of a repository have. The default is as much as they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Most records.
    pub records: Option<u64>,
    /// Most bytes of all records.
    pub record_bytes: Option<u64>,
}

impl Room {
    pub(super) fn is_bounded(&self) -> bool {
        self.records.is_some() || self.record_bytes.is_some()
    }

    /// Refuses what would make a repository larger than it may be. What makes it smaller is never refused.
    pub(super) fn admit(&self, before: Usage, growth: Growth) -> Result<(), WriteError> {
        let check = |what, bound: Option<u64>, has: u64, more: i64| match bound {
            Some(quota) if more > 0 && has.saturating_add_signed(more) > quota => {
                Err(WriteError::NoRoom {
                    what,
                    quota,
                    has,
                    more: more.unsigned_abs(),
                })
            }
            _ => Ok(()),
        };
        check("records", self.records, before.records, growth.records)?;
        let (has, more) = (before.record_bytes, growth.bytes);
        check("bytes of records", self.record_bytes, has, more)
    }
}

/// The total of a repository of which nothing is in flight; counted, and stored, if it has none. Blocks on the disk.
pub(super) fn load(around: &Surroundings, did: &Did, view: &RepoView) -> Result<Usage, RepoError> {
    if let Some(usage) = stored(around, view)? {
        return Ok(usage);
    }
    let usage = count(around, did, view)?;
    let mut batch = around.store.batch();
    usage.put(around, view.head.owner, &mut batch);
    around
        .store
        .commit_blocking(batch)
        .map_err(StorageError::from)?;
    Ok(usage)
}

fn stored(around: &Surroundings, view: &RepoView) -> Result<Option<Usage>, StorageError> {
    let row = view
        .snapshot
        .get(&around.ks.usage, view.head.owner.to_be_bytes())?;
    Ok(row.and_then(|row| Usage::decode(&row)))
}

/// Counts all that a repository holds.
pub(super) fn count(around: &Surroundings, did: &Did, view: &RepoView) -> Result<Usage, RepoError> {
    let Numbers { owner, content } = view.head.numbers();
    let (owner, content) = (owner.to_be_bytes(), content.to_be_bytes());
    let mut usage = Usage::default();
    for row in view.snapshot.prefix(&around.ks.records, content) {
        let (_, value) = row?;
        let (cid, _) = read_record_value(&value).ok_or_else(|| damaged(did, "a record row"))?;
        usage.records += 1;
        // A record that is lost has no length; a check names it.
        usage.record_bytes += view.block(&cid)?.map_or(0, |block| block.len() as u64);
    }
    for row in view.snapshot.prefix(&around.ks.blobs, owner) {
        let (_, meta) = row?;
        let size = BlobMeta::size_of(&meta).ok_or_else(|| damaged(did, "a blob's row"))?;
        usage.gain_blob(size);
    }
    Ok(usage)
}

impl Repositories {
    /// How much a repository holds; reads one row, unless it was never counted.
    ///
    /// # Errors
    /// [`RepoError`].
    pub fn usage(&self, did: &Did) -> Result<Usage, RepoError> {
        let view = self.view(did)?;
        match stored(self.around(), &view)? {
            Some(usage) => Ok(usage),
            None => count(self.around(), did, &view),
        }
    }

    /// The total of a state, if it has one.
    pub(super) fn noted_usage(&self, view: &RepoView) -> Result<Option<Usage>, StorageError> {
        stored(self.around(), view)
    }

    /// [`load`] on a thread that may block.
    pub(super) async fn load_usage(&self, did: &Did) -> Result<Usage, WriteError> {
        let failed = |e: &dyn std::fmt::Display| WriteError::Storage(e.to_string());
        let (this, of) = (self.clone(), did.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            let view = this.view(&of)?;
            load(this.around(), &of, &view)
        });
        let loaded = loaded.await.map_err(|e| failed(&e))?;
        loaded.map_err(|e| failed(&e))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_written() {
        let usage = Usage {
            records: 1,
            record_bytes: u64::MAX,
            blobs: 3,
            blob_bytes: 4 << 40,
        };
        assert_eq!(Usage::decode(&usage.encode()), Some(usage));
        for wrong in [&usage.encode()[..32], &[2; 33], &[VERSION; 34], &[]] {
            assert_eq!(Usage::decode(wrong), None);
        }
    }

    #[test]
    fn room_is_for_what_grows() {
        let has = Usage {
            records: 10,
            record_bytes: 1000,
            ..Usage::default()
        };
        let room = |records, record_bytes| Room {
            records,
            record_bytes,
        };
        let admits =
            |room: Room, records, bytes| room.admit(has, Growth { records, bytes }).is_ok();
        assert!(admits(Room::default(), i64::MAX, i64::MAX));
        assert!(admits(room(Some(11), Some(1001)), 1, 1));
        assert!(!admits(room(Some(11), None), 2, 1));
        assert!(!admits(room(None, Some(1001)), 1, 2));
        // What is over its bound already may shrink, or stay as it is.
        assert!(admits(room(Some(1), Some(1)), 0, 0));
        assert!(admits(room(Some(1), Some(1)), -1, -1));
        assert!(!admits(room(Some(1), Some(1)), -1, 1));
    }
}
