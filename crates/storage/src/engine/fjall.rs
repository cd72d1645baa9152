//! The engine on disk: fjall's log-structured merge trees, one per keyspace, behind one journal.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy};
use fjall::{Database, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable, Slice};
use parking_lot::{Mutex, RwLock};

use super::memtables::{Memtables, OUT_OF_REACH};
use super::{Engine, EngineError, KeyspaceId, Op, Reads, Row, Rows, Shape, is_range};
use crate::background::stand_back;
use crate::options::StoreOptions;

/// What the journal may hold of rows that are not in tables yet. fjall begins a new file at 64 MB.
const JOURNAL_BYTES: u64 = 64 << 20;
/// Values from this size on are kept apart from their keys, so that compaction does not copy them.
const SEPARATE_BLOBS_FROM: u32 = 4096;
/// Events are written once and read in order; even small ones are better kept out of compaction.
const SEPARATE_EVENTS_FROM: u32 = 512;

/// The first worker only writes memtables as tables, and polls while compactions that nobody takes wait in line; with
/// one more than a busy store needs for compactions, it mostly sleeps.
const WORKERS: usize = 3;

/// Bytes of a table. The first level is four times as large, and rewritten for each few memtables: random keys cost
/// that many times their own bytes.
const SMALL_TABLE: u64 = 8 << 20;
/// The same where rows are large, which keeps the number of files down.
const LARGE_TABLE: u64 = 16 << 20;

/// The memory for recent writes that programs had by default while they left rotating to fjall.
const EARLIER_MEMTABLE_BYTES: u64 = 6 << 20;

/// Whether a keyspace was made by a program that left rotating memtables to fjall, whose limits it then still has.
/// Tables of fjall's own size tell: it does not show its limits.
fn rotates_by_itself(keyspace: &fjall::Keyspace) -> bool {
    let its = &keyspace.config.compaction_strategy;
    let theirs = KeyspaceCreateOptions::default().compaction_strategy;
    its.get_config() == theirs.get_config()
}

/// An engine whose files lie in a folder.
pub struct FjallEngine {
    db: Database,
    keyspaces: Arc<RwLock<Vec<fjall::Keyspace>>>,
    memtable_bytes: u64,
    memtables: Mutex<Memtables>,
}

impl FjallEngine {
    /// Opens the files in a folder, creating them at first use, and replays what the journal holds.
    ///
    /// # Errors
    ///
    /// When another process has them open, when they are damaged, or when the operating system refuses.
    pub fn open(dir: &Path, opts: &StoreOptions) -> Result<Self, EngineError> {
        let open = || {
            // Threads inherit the priority, and what they do may come later. Writes that run too far ahead wait.
            stand_back();
            Database::builder(dir)
                .cache_size(opts.block_cache_bytes)
                .manual_journal_persist(true)
                // See `memtables`.
                .max_journaling_size(u64::MAX)
                .max_cached_files(Some(256))
                .worker_threads(WORKERS)
                .open()
        };
        let thread = std::thread::Builder::new().name("engine-open".to_owned());
        let opened = std::thread::scope(|scope| {
            let opening = thread.spawn_scoped(scope, open)?;
            let opened = opening.join().map_err(|_| {
                EngineError::Damaged("reading it failed in a way that nobody foresaw".to_owned())
            })?;
            Ok::<_, EngineError>(opened?)
        });
        let db = opened?;
        Ok(Self {
            db,
            keyspaces: Arc::default(),
            memtable_bytes: opts.memtable_bytes.max(1 << 20),
            memtables: Mutex::new(Memtables::new(JOURNAL_BYTES)),
        })
    }

    fn options(shape: Shape) -> KeyspaceCreateOptions {
        // Absent keys are the common case of the deduplicating reads above, so every level has a filter.
        let bloom = |bits| FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(bits));
        let table_bytes = match shape {
            Shape::Small => SMALL_TABLE,
            Shape::Blobs | Shape::Log => LARGE_TABLE,
        };
        let leveled = Leveled::default().with_table_target_size(table_bytes);
        let common = KeyspaceCreateOptions::default()
            .compaction_strategy(Arc::new(leveled))
            .manual_journal_persist(true)
            .max_memtable_size(OUT_OF_REACH)
            .expect_point_read_hits(false)
            .filter_policy(FilterPolicy::new([bloom(14.0), bloom(10.0)]))
            .filter_block_pinning_policy(PinningPolicy::new([true, false]))
            .index_block_pinning_policy(PinningPolicy::new([true, true, false]));
        let separate = |from| KvSeparationOptions::default().separation_threshold(from);
        match shape {
            Shape::Small => common,
            // Blocks are packed already where it pays.
            Shape::Blobs => common.with_kv_separation(Some(
                separate(SEPARATE_BLOBS_FROM).compression(fjall::CompressionType::None),
            )),
            Shape::Log => common.with_kv_separation(Some(separate(SEPARATE_EVENTS_FROM))),
        }
    }

    fn memtable_limit(&self, keyspace: &fjall::Keyspace, shape: Shape) -> u64 {
        let bytes = self.memtable_bytes;
        if rotates_by_itself(keyspace) {
            // Below its limits, at which it would ask its own threads: a sixth of small rows, the whole of others.
            let bytes = bytes.min(EARLIER_MEMTABLE_BYTES);
            return match shape {
                Shape::Small => bytes / 8,
                Shape::Blobs | Shape::Log => bytes / 4 * 3,
            };
        }
        match shape {
            // A small row costs several times its bytes in a memtable.
            Shape::Small => bytes / 2,
            Shape::Blobs | Shape::Log => bytes,
        }
    }
}

fn find(
    keyspaces: &RwLock<Vec<fjall::Keyspace>>,
    ks: KeyspaceId,
) -> Result<fjall::Keyspace, EngineError> {
    let all = keyspaces.read();
    all.get(usize::from(ks.0))
        .cloned()
        .ok_or_else(|| EngineError::Keyspace(format!("number {}", ks.0)))
}

/// Hands the engine's memory on without copying it.
fn bytes(slice: Slice) -> Bytes {
    Bytes::from_owner(slice)
}

/// Keys of other lengths cannot be stored, so that asking for one finds nothing.
fn storable(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= crate::format::MAX_KEY
}

fn rows(iter: fjall::Iter) -> Rows {
    Box::new(iter.map(|guard| -> Row {
        let (key, value) = guard.into_inner()?;
        Ok((bytes(key), bytes(value)))
    }))
}

impl Reads for FjallEngine {
    fn get(&self, ks: KeyspaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if !storable(key) {
            return Ok(None);
        }
        Ok(find(&self.keyspaces, ks)?.get(key)?.map(bytes))
    }

    fn contains(&self, ks: KeyspaceId, key: &[u8]) -> Result<bool, EngineError> {
        Ok(storable(key) && find(&self.keyspaces, ks)?.contains_key(key)?)
    }

    fn scan(&self, ks: KeyspaceId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        self.snapshot().scan(ks, from, to)
    }
}

/// A state of all keyspaces at one moment.
struct FjallSnapshot {
    snapshot: fjall::Snapshot,
    keyspaces: Arc<RwLock<Vec<fjall::Keyspace>>>,
}

impl Reads for FjallSnapshot {
    fn get(&self, ks: KeyspaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if !storable(key) {
            return Ok(None);
        }
        Ok(self
            .snapshot
            .get(&find(&self.keyspaces, ks)?, key)?
            .map(bytes))
    }

    fn contains(&self, ks: KeyspaceId, key: &[u8]) -> Result<bool, EngineError> {
        Ok(storable(key)
            && self
                .snapshot
                .contains_key(&find(&self.keyspaces, ks)?, key)?)
    }

    fn scan(&self, ks: KeyspaceId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        if !is_range(from, to) {
            return Box::new(std::iter::empty());
        }
        match find(&self.keyspaces, ks) {
            Ok(keyspace) => rows(self.snapshot.range::<&[u8], _>(&keyspace, (from, to))),
            Err(e) => Box::new(std::iter::once(Err(e))),
        }
    }
}

impl Engine for FjallEngine {
    fn keyspace(&self, name: &str, shape: Shape) -> Result<KeyspaceId, EngineError> {
        let mut all = self.keyspaces.write();
        let number = all.iter().position(|k| &**k.name() == name);
        let number = match number {
            Some(number) => number,
            None => {
                let keyspace = self.db.keyspace(name, || Self::options(shape))?;
                let limit = self.memtable_limit(&keyspace, shape);
                self.memtables.lock().add(&keyspace, limit);
                all.push(keyspace);
                all.len() - 1
            }
        };
        u16::try_from(number)
            .map(KeyspaceId)
            .map_err(|_| EngineError::Keyspace(name.to_owned()))
    }

    fn snapshot(&self) -> Arc<dyn Reads> {
        Arc::new(FjallSnapshot {
            snapshot: self.db.snapshot(),
            keyspaces: Arc::clone(&self.keyspaces),
        })
    }

    fn apply(&self, ops: &mut dyn Iterator<Item = Op<'_>>) -> Result<(), EngineError> {
        let keyspaces = self.keyspaces.read();
        let mut memtables = self.memtables.lock();
        let mut batch = fjall::OwnedWriteBatch::with_capacity(self.db.clone(), ops.size_hint().0);
        for op in ops {
            let number = usize::from(op.ks.0);
            let keyspace = keyspaces
                .get(number)
                .ok_or_else(|| EngineError::Keyspace(format!("number {}", op.ks.0)))?;
            memtables.count(number, op.key.len() + op.value.map_or(0, <[u8]>::len));
            match op.value {
                Some(value) => batch.insert(keyspace, op.key, value),
                None => batch.remove(keyspace, op.key),
            }
        }
        drop(keyspaces);
        // It may have to wait for tables to be written.
        batch.commit()?;
        let keyspaces = self.keyspaces.read();
        if memtables.rotate_full(&keyspaces)? {
            memtables.wait_for_tables(&keyspaces);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(self.db.persist(PersistMode::SyncData)?)
    }

    fn tidy_up(&self) -> Result<(), EngineError> {
        let keyspaces = self.keyspaces.read();
        Ok(self.memtables.lock().rotate_idle(&keyspaces)?)
    }

    fn disk_bytes(&self) -> Result<u64, EngineError> {
        Ok(self.db.disk_space()?)
    }

    fn keyspace_bytes(&self, ks: KeyspaceId) -> Result<u64, EngineError> {
        Ok(find(&self.keyspaces, ks)?.disk_space())
    }
}

impl From<fjall::Error> for EngineError {
    fn from(e: fjall::Error) -> Self {
        match e {
            fjall::Error::Io(e) => e.into(),
            fjall::Error::Poisoned => Self::Poisoned,
            fjall::Error::Locked => Self::Locked,
            other => Self::Damaged(other.to_string()),
        }
    }
}
