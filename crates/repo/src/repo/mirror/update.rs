//! Bringing a copy to a commit that was judged good: which blocks are missing, taking them in, and the step itself.
//!
//! Methods block on the disk, but for those that take what comes. That is kept in memory up to a few megabytes, then in the store under a number
//! of its own, so that a crash loses little of it.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use ues_data::Cid;
use ues_data::mst::{self, Tree};
use ues_data::source::Layered;
use ues_storage::{Batch, Snapshot};

use crate::syntax::Did;

use super::super::blobs::{self, RefChanges};
use super::super::import::blobs_in;
use super::super::layout::{
    Head, Status, head_key, node_ref, record_key, record_ref, record_value,
};
use super::super::verify::{VerifyError, check_record};
use super::super::write::RecordPath;
use super::links::links;
use super::{Mirror, MirrorError, Mirrors, Offered, commit_error, number, refer};

/// Bytes that are kept in memory before they are put into the store.
const POOL_BYTES: usize = 8 << 20;

/// What an update did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Blocks that came, without the commit.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that are new, changed or gone; of a new copy, all.
    pub records: u64,
}

/// A block that the new tree needs.
#[derive(Clone, Copy)]
struct Need {
    cid: Cid,
    node: bool,
}

/// An update that is under way. Only one of a copy may be at a time.
pub struct Update {
    pub(super) mirrors: Mirrors,
    pub(super) did: Did,
    pub(super) offered: Offered,
    pub(super) live: Option<Head>,
    pub(super) staging: Option<u64>,
    pool: HashMap<Cid, Bytes>,
    pool_bytes: usize,
    /// What is still to be looked at; subtrees one after the other, so that it stays small.
    todo: Vec<Need>,
    /// What was found missing and asked for.
    asked: Vec<Need>,
    max_bytes: u64,
    pub(super) taken: Taken,
}

impl Mirrors {
    /// Begins an update of a copy, or goes on with what an interrupted one has left.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn update(&self, row: &Mirror, offered: Offered) -> Result<Update, MirrorError> {
        let root = Need {
            cid: offered.commit.data,
            node: true,
        };
        Ok(Update {
            did: row.did.clone(),
            live: self.repos.head(&row.did)?,
            staging: self.staging_of(&row.did)?,
            mirrors: self.clone(),
            offered,
            pool: HashMap::new(),
            pool_bytes: 0,
            todo: vec![root],
            asked: Vec::new(),
            max_bytes: row.max_bytes,
            taken: Taken::default(),
        })
    }

    pub(super) fn staging_of(&self, did: &Did) -> Result<Option<u64>, MirrorError> {
        let row = self.staging.get(did.as_str())?;
        Ok(row.as_deref().and_then(number))
    }
}

impl Update {
    /// What came so far.
    pub fn taken(&self) -> Taken {
        self.taken
    }

    /// Takes a block whose hash was checked. What no repository is made of is passed over.
    ///
    /// # Errors
    /// [`MirrorError::TooLarge`].
    pub fn take(&mut self, cid: Cid, bytes: Bytes) -> Result<(), MirrorError> {
        if !ues_data::content_id::is_atproto(&cid) || self.pool.contains_key(&cid) {
            return Ok(());
        }
        self.taken.blocks += 1;
        self.taken.bytes += bytes.len() as u64;
        if self.taken.bytes > self.max_bytes {
            return Err(self.too_large());
        }
        self.pool_bytes += bytes.len();
        // A small block must not keep a large chunk of input alive.
        self.pool.insert(cid, Bytes::copy_from_slice(&bytes));
        Ok(())
    }

    /// Whether so much is in memory that it should be [put into the store](Self::spill).
    pub fn is_full(&self) -> bool {
        self.pool_bytes > POOL_BYTES
    }

    /// Whether an interrupted update has left something.
    pub fn goes_on(&self) -> bool {
        self.staging.is_some()
    }

    /// The next blocks that are needed and not here, at most `most`; none once everything is here. What was answered
    /// before and did not come is answered again.
    ///
    /// # Errors
    /// When the tree cannot be read, or the store.
    pub fn missing(&mut self, most: usize) -> Result<Vec<Cid>, MirrorError> {
        let snapshot = self.mirrors.repos.store().snapshot();
        self.todo.append(&mut self.asked);
        let mut missing = HashSet::new();
        while missing.len() < most {
            let Some(need) = self.todo.pop() else { break };
            if self.is_in_copy(&snapshot, need)? {
                continue;
            }
            match self.here(&snapshot, &need.cid)? {
                None => {
                    missing.insert(need.cid);
                    self.asked.push(need);
                }
                Some(block) if need.node => {
                    let links = links(&block).ok_or_else(|| self.no_node(&need.cid))?;
                    let needs = |node: bool| move |cid| Need { cid, node };
                    self.todo.extend(links.nodes.into_iter().map(needs(true)));
                    let records = links.records.into_iter().map(needs(false));
                    self.todo.extend(records);
                }
                Some(_) => {}
            }
        }
        Ok(missing.into_iter().collect())
    }

    /// Makes the new state the copy's, with `row` beside it: all at once, or nothing. What it replaces is freed by
    /// [`Mirrors::tidy`].
    ///
    /// # Errors
    /// Nothing is changed then.
    pub fn finish(mut self, mut row: Mirror) -> Result<Taken, MirrorError> {
        let missing = self.missing(1)?.len();
        if missing > 0 {
            return Err(MirrorError::Incomplete(missing));
        }
        match self.live.clone() {
            Some(live) if self.staging.is_none() => self.step(&live, &mut row)?,
            _ => {
                self.spill()?;
                self.rebuild(&mut row)?;
            }
        }
        Ok(self.taken)
    }

    pub(super) fn too_large(&self) -> MirrorError {
        MirrorError::TooLarge {
            limit: self.max_bytes,
        }
    }

    fn no_node(&self, cid: &Cid) -> MirrorError {
        VerifyError::Record {
            path: format!("the tree of {}", self.did),
            reason: format!("{cid} is not a node"),
        }
        .into()
    }

    /// Whether the copy has a block in the place of a node, and all below it then, or in that of a record.
    fn is_in_copy(&self, snapshot: &Snapshot, need: Need) -> Result<bool, MirrorError> {
        let Some(live) = &self.live else {
            return Ok(false);
        };
        let mh = need.cid.hash();
        Ok(match need.node {
            true => snapshot.ref_mark(mh, node_ref(live.owner))?.is_some(),
            false => snapshot.is_held_by(mh, live.owner)?,
        })
    }

    /// A block that came.
    fn here(&self, snapshot: &Snapshot, cid: &Cid) -> Result<Option<Bytes>, MirrorError> {
        if let Some(bytes) = self.pool.get(cid) {
            return Ok(Some(bytes.clone()));
        }
        let Some(staging) = self.staging else {
            return Ok(None);
        };
        if !snapshot.is_held_by(cid.hash(), staging)? {
            return Ok(None);
        }
        Ok(snapshot.block(cid.hash())?)
    }

    /// Puts what is in memory into the store.
    ///
    /// # Errors
    /// When the store does not take it.
    pub fn spill(&mut self) -> Result<(), MirrorError> {
        let (mirrors, store) = (&self.mirrors, self.mirrors.repos.store());
        let mut batch = store.batch();
        let owner = match self.staging {
            Some(owner) => owner,
            None => {
                let owner = mirrors.repos.next_owner();
                let ks = &mirrors.repos.around().ks;
                batch.put(&ks.owners, owner.to_be_bytes(), head_key(&self.did));
                batch.put(&mirrors.staging, self.did.as_str(), owner.to_be_bytes());
                owner
            }
        };
        let rev = self.offered.commit.rev.number();
        for (cid, bytes) in self.pool.drain() {
            batch.put_block_marked(cid.hash(), &bytes, node_ref(owner), rev);
            batch.put(&mirrors.staged, staged_key(owner, &cid), [0; 8]);
        }
        store.commit_blocking(batch).map_err(commit_error)?;
        self.staging = Some(owner);
        self.pool_bytes = 0;
        Ok(())
    }

    /// From the state that is here to the next one, by what differs, in one batch.
    fn step(&mut self, live: &Head, row: &mut Mirror) -> Result<(), MirrorError> {
        let around = self.mirrors.repos.around().clone();
        let (owner, rev) = (live.owner, self.offered.commit.rev);
        let view = self.mirrors.repos.view(&self.did)?;
        let (old, new) = (Tree::load(live.data), Tree::load(self.offered.commit.data));
        let source = Layered(&self.pool, view.clone());
        let diff = mst::diff(&old, view.clone(), &new, &source).map_err(VerifyError::Tree)?;
        let mut batch = around.store.batch();
        let mut bytes = row.bytes;
        let block = |cid: &Cid| {
            let found = ues_data::BlockSource::block(&source, cid);
            let found = found.map_err(|e| MirrorError::Commit(e.to_string()))?;
            found.ok_or(MirrorError::Verify(VerifyError::MissingBlock(*cid)))
        };
        for cid in &diff.removed_nodes {
            bytes = bytes.saturating_sub(block(cid)?.len() as u64);
            batch.release_block(cid.hash(), node_ref(owner));
        }
        for cid in &diff.new_nodes {
            let node = block(cid)?;
            bytes += node.len() as u64;
            batch.put_block_marked(cid.hash(), node, node_ref(owner), rev.number());
        }
        let has_blobs = blobs::any(&around.ks, owner)?;
        let mut refs = RefChanges::default();
        for change in &diff.changes {
            let path = RecordPath::parse(&String::from_utf8_lossy(&change.key));
            let path = path.map_err(VerifyError::Path)?;
            let holder = record_ref(owner, path.as_str());
            if let Some(before) = &change.before {
                bytes = bytes.saturating_sub(block(before)?.len() as u64);
                batch.release_block(before.hash(), holder);
                if has_blobs {
                    refs.release(&around, owner, path.as_str())
                        .map_err(commit_error)?;
                }
            }
            let key = record_key(owner, path.as_str());
            match &change.after {
                None => batch.delete(&around.ks.records, key),
                Some(cid) => {
                    let record = block(cid)?;
                    check_record(&path, cid, &record)?;
                    bytes += record.len() as u64;
                    batch.put_block(cid.hash(), &record, holder);
                    batch.put(&around.ks.records, key, record_value(cid, &rev));
                    refs.refer(path.as_str(), &blobs_in(&record));
                }
            }
        }
        if bytes > self.max_bytes {
            return Err(self.too_large());
        }
        if !refs.is_empty() {
            refer(refs, &around, owner, &rev, &mut batch)?;
        }
        batch.release_block(live.commit.hash(), node_ref(owner));
        row.bytes = bytes;
        self.taken.records = diff.changes.len() as u64;
        self.put_head(owner, row, &mut batch)?;
        around.store.commit_blocking(batch).map_err(commit_error)?;
        Ok(())
    }

    /// The commit, and that the copy is at it.
    pub(super) fn put_head(
        &self,
        owner: u64,
        row: &Mirror,
        batch: &mut Batch,
    ) -> Result<(), MirrorError> {
        let Offered { commit, cid, bytes } = &self.offered;
        let head = Head {
            owner,
            content: owner,
            commit: *cid,
            data: commit.data,
            rev: commit.rev,
            status: Status::Active,
        };
        let ks = &self.mirrors.repos.around().ks;
        batch.put_block_marked(cid.hash(), bytes, node_ref(owner), commit.rev.number());
        batch.put(&ks.heads, head_key(&self.did), head.encode());
        self.mirrors.put_in(row, batch)
    }
}

pub(super) fn staged_key(owner: u64, cid: &Cid) -> Vec<u8> {
    let mut key = owner.to_be_bytes().to_vec();
    key.extend_from_slice(cid.hash().digest());
    key
}
