//! Blocks that were stored lately, in memory, before they get rows of their own.
//!
//! Most blocks of a busy repository die young: each commit replaces the tree nodes on the way to its record, and the
//! next commit replaces them again. Therefore a commit does not write them to the engine's block rows. It writes all
//! its changes of blocks as *one* journal row, and keeps them here. When enough have gathered, what is still alive
//! moves into the engine in key order, together with the removal of the journal rows; what came and went in between is
//! never written again. After a crash the journal rows give the same state back.
//!
//! Reads look here first, then in the engine. A generation only grows until it has been moved, so that a reader who
//! holds it keeps seeing every block that it may need.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::block_ops::{BlockOps, Change, Malformed};
use crate::engine::{Engine, EngineError, KeyspaceId, Reads, Rows};
use crate::format::{DIGEST_PREFIX, digest_prefix_of, ks, read_u64, ref_key_of};

/// Where readers find the newest blocks.
#[derive(Default)]
pub(crate) struct Nursery {
    current: RwLock<Arc<Generation>>,
}

/// The committer's side of the nursery.
pub(crate) struct NurseryWriter {
    nursery: Arc<Nursery>,
    /// Journal rows of this generation.
    rows: std::ops::Range<u64>,
    max_bytes: usize,
}

/// Blocks that gathered since the last move.
#[derive(Default)]
pub(crate) struct Generation(RwLock<Young>);

#[derive(Default)]
struct Young {
    /// Multihash to block row.
    blocks: HashMap<Bytes, Bytes>,
    /// Reference row to its fate.
    refs: BTreeMap<RefKey, YoungRef>,
    bytes: usize,
}

/// Key of a reference row.
type RefKey = [u8; 32];

/// What became of a reference in this generation.
struct YoungRef {
    mh: Bytes,
    /// Whether its first change here wrote it, so that the engine has no row of it unless it was written twice.
    born_here: bool,
    alive: bool,
    /// The last mark that was written here; outlives the reference, for readers of an earlier state.
    mark: Option<u64>,
    written: bool,
}

/// What a reference costs in memory, roughly.
const REF_OVERHEAD: usize = 160;
/// What a block costs besides its bytes, roughly.
const BLOCK_OVERHEAD: usize = 96;

/// Less than this may stay in an idle store.
const IDLE_MOVE: usize = 1 << 20;

impl Generation {
    fn insert(&self, ops: Bytes) -> Result<(), Malformed> {
        let mut young = self.0.write();
        let young = &mut *young;
        young.bytes += ops.len();
        for op in BlockOps::new(ops) {
            let op = op?;
            let key = ref_key_of(&op.mh, op.r);
            let put = !matches!(op.change, Change::Release);
            let r = young.refs.entry(key).or_insert_with(|| {
                young.bytes += REF_OVERHEAD;
                YoungRef {
                    mh: op.mh.clone(),
                    born_here: put,
                    alive: put,
                    mark: None,
                    written: false,
                }
            });
            r.alive = put;
            match op.change {
                Change::Put { row, mark } => {
                    (r.mark, r.written) = (mark, true);
                    young.bytes += BLOCK_OVERHEAD;
                    young.blocks.insert(op.mh, row);
                }
                Change::Refer => (r.mark, r.written) = (None, true),
                Change::Release => (),
            }
        }
        Ok(())
    }

    fn block(&self, mh: &[u8]) -> Option<Bytes> {
        self.0.read().blocks.get(mh).cloned()
    }

    /// Whether a block is here.
    pub(crate) fn has_block(&self, mh: &[u8]) -> bool {
        self.0.read().blocks.contains_key(mh)
    }

    /// The value that a reference row was last written with here.
    fn mark_row(&self, key: &[u8]) -> Option<Bytes> {
        let key: &RefKey = key.try_into().ok()?;
        let young = self.0.read();
        let r = young.refs.get(key).filter(|r| r.written)?;
        Some(r.mark.map_or_else(Bytes::new, |mark| {
            Bytes::copy_from_slice(&mark.to_be_bytes())
        }))
    }

    /// Which reference rows between two keys are there, and which are gone.
    pub(crate) fn refs_between(&self, from: &RefKey, to: &RefKey) -> Vec<(RefKey, bool)> {
        let young = self.0.read();
        let range = young.refs.range::<RefKey, _>(from..=to);
        range.map(|(key, r)| (*key, r.alive)).collect()
    }

    fn is_empty(&self) -> bool {
        self.0.read().refs.is_empty()
    }
}

/// A row that moves into the engine.
#[derive(Debug)]
pub(crate) struct MovedRow {
    /// Where it goes.
    pub ks: KeyspaceId,
    /// Its key.
    pub key: Bytes,
    /// Its value, or `None` to remove it.
    pub value: Option<Bytes>,
}

impl Nursery {
    /// The generation now.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current.read())
    }

    /// Whether so much is here that an idle store should move it.
    pub(crate) fn is_worth_moving(&self) -> bool {
        self.generation().0.read().bytes >= IDLE_MOVE
    }

    /// A state of the engine with the young blocks in front of it.
    pub(crate) fn view(&self, engine: &dyn Engine) -> Arc<View> {
        loop {
            let generation = self.generation();
            let reads = engine.snapshot();
            // Taken the other way round, or with a move in between, a block might be missing in both.
            if Arc::ptr_eq(&generation, &self.current.read()) {
                return Arc::new(View { generation, reads });
            }
        }
    }

    /// The row of a block, or nothing when neither the nursery nor the engine has it.
    pub(crate) fn block(
        &self,
        engine: &dyn Engine,
        mh: &[u8],
    ) -> Result<Option<Bytes>, EngineError> {
        match self.generation().block(mh) {
            Some(row) => Ok(Some(row)),
            None => engine.get(ks::BLOCKS, mh),
        }
    }
}

impl NurseryWriter {
    /// Takes over what the journal rows hold after a crash or a stop. Moves nothing yet.
    ///
    /// # Errors
    ///
    /// When the engine cannot be read, or a journal row is damaged.
    pub(crate) fn open(
        nursery: Arc<Nursery>,
        engine: &dyn Engine,
        max_bytes: usize,
    ) -> Result<Self, EngineError> {
        let mut rows = 0..0;
        let generation = nursery.generation();
        for row in engine.scan(ks::NURSERY, Bound::Unbounded, Bound::Unbounded) {
            let (key, ops) = row?;
            let number = read_u64(&key).filter(|&n| n < u64::MAX).ok_or_else(|| {
                EngineError::Damaged(format!(
                    "a nursery key of 8 bytes expected, found {}",
                    key.len()
                ))
            })?;
            if rows.is_empty() {
                rows.start = number;
            }
            rows.end = number + 1;
            generation.insert(ops).map_err(|Malformed(at)| {
                EngineError::Damaged(format!("nursery row {number} is unreadable at byte {at}"))
            })?;
        }
        Ok(Self {
            nursery,
            rows,
            max_bytes,
        })
    }

    /// Whether so many further bytes of changes call for a move.
    pub(crate) fn is_full(&self, further: usize) -> bool {
        let bytes = self.nursery.generation().0.read().bytes;
        bytes + further > self.max_bytes
    }

    /// Whether nothing waits here to be moved.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.nursery.generation().is_empty()
    }

    /// Adds changes and makes them visible, before the engine has what belongs to them.
    pub(crate) fn add(&mut self, ops: Bytes) -> Result<(), EngineError> {
        let added = self.nursery.generation().insert(ops);
        added.map_err(|Malformed(at)| {
            EngineError::Damaged(format!("changes of blocks are unreadable at byte {at}"))
        })
    }

    /// The key of the journal row for changes that were just added.
    pub(crate) fn next_row(&mut self) -> [u8; 8] {
        let key = self.rows.end.to_be_bytes();
        self.rows.end += 1;
        key
    }

    /// The rows that hold this generation's outcome in the engine, journal rows removed. Once they are applied,
    /// [`moved`](Self::moved) must be called before anything is added.
    pub(crate) fn rows_to_move(&self, engine: &dyn Engine) -> Result<Vec<MovedRow>, EngineError> {
        let generation = self.nursery.generation();
        let young = generation.0.read();
        let mut out = Vec::with_capacity(young.blocks.len() + young.refs.len() / 2 + 64);
        let mut alive: HashSet<[u8; DIGEST_PREFIX]> = HashSet::with_capacity(young.blocks.len());
        for (key, r) in &young.refs {
            if r.alive {
                if let Some(digest) = key.first_chunk() {
                    alive.insert(*digest);
                }
                let mark = r.mark.map(u64::to_be_bytes);
                let mark = mark.as_ref().map_or(&[][..], |m| m);
                out.push(MovedRow {
                    ks: ks::REFS,
                    key: Bytes::copy_from_slice(key),
                    value: Some(Bytes::copy_from_slice(mark)),
                });
            } else if !r.born_here || engine.contains(ks::REFS, key)? {
                out.push(MovedRow {
                    ks: ks::REFS,
                    key: Bytes::copy_from_slice(key),
                    value: None,
                });
                out.push(MovedRow {
                    ks: ks::RETIRED,
                    key: r.mh.clone(),
                    value: Some(Bytes::new()),
                });
            }
        }
        for (mh, row) in &young.blocks {
            if alive.contains(&digest_prefix_of(mh)) {
                out.push(MovedRow {
                    ks: ks::BLOCKS,
                    key: mh.clone(),
                    value: Some(row.clone()),
                });
            }
        }
        for row in self.rows.clone() {
            out.push(MovedRow {
                ks: ks::NURSERY,
                key: Bytes::copy_from_slice(&row.to_be_bytes()),
                value: None,
            });
        }
        Ok(out)
    }

    /// Begins a new generation: the engine has the rows of the old one.
    pub(crate) fn moved(&mut self) {
        self.rows.start = self.rows.end;
        *self.nursery.current.write() = Arc::default();
    }
}

/// A generation in front of a state of the engine.
pub(crate) struct View {
    pub(crate) generation: Arc<Generation>,
    reads: Arc<dyn Reads>,
}

impl Reads for View {
    fn get(&self, ks: KeyspaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let young = match ks {
            ks::BLOCKS => self.generation.block(key),
            ks::REFS => self.generation.mark_row(key),
            _ => None,
        };
        young.map_or_else(|| self.reads.get(ks, key), |row| Ok(Some(row)))
    }

    fn contains(&self, ks: KeyspaceId, key: &[u8]) -> Result<bool, EngineError> {
        if ks == ks::BLOCKS || ks == ks::REFS {
            return Ok(self.get(ks, key)?.is_some());
        }
        self.reads.contains(ks, key)
    }

    fn scan(&self, ks: KeyspaceId, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        self.reads.scan(ks, from, to)
    }
}
