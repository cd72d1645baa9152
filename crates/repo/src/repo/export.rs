//! Repositories as CAR archives, in the order that lets a reader verify as it streams: the commit,
//! then each tree node before what it points to, records where their keys stand.

use std::collections::HashSet;

use bytes::Bytes;
use ues_data::mst::{Preorder, PreorderItem};
use ues_data::{BlockSource, BlockSourceError, Cid, car};

use crate::syntax::{Did, Tid};

use super::layout::{node_ref, read_record_value, record_key};
use super::read::{RepoView, damaged};
use super::write::RecordPath;
use super::{RepoError, Repositories};

/// Size from which a piece of an archive is handed out.
const PIECE_BYTES: usize = 128 << 10;

impl BlockSource for RepoView {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        self.snapshot
            .block(cid.hash())
            .map_err(|e| BlockSourceError::read(cid, e))
    }
}

/// An archive being made, piece by piece.
///
/// Memory is bounded by the depth of the tree and one piece. It blocks on the disk, so drive it from
/// a thread that may. After an error the archive is to be thrown away.
pub struct Export {
    view: RepoView,
    walk: Option<Preorder<RepoView>>,
    piece: Vec<u8>,
    since: Option<(Tid, ues_storage::Keyspace)>,
    without: HashSet<String>,
}

impl Repositories {
    /// The whole repository, or with `since` the tree nodes and records written after that revision.
    pub fn export(&self, did: &Did, since: Option<Tid>) -> Result<Export, RepoError> {
        let view = self.view(did)?;
        let mut piece = Vec::with_capacity(PIECE_BYTES + 4096);
        let commit = view
            .block(&view.head.commit)?
            .ok_or_else(|| damaged(did, "the commit block is missing"))?;
        car::write_header(&[view.head.commit], &mut piece);
        car::write_block(&view.head.commit, &commit, &mut piece);
        let walk = Preorder::new(view.clone(), view.head.data);
        let since = since.map(|rev| (rev, self.around().ks.records.clone()));
        Ok(Export {
            view,
            walk: Some(walk),
            piece,
            since,
            without: HashSet::new(),
        })
    }

    /// The blocks that prove what stands at a path, or that nothing does: commit, tree nodes, and
    /// the record if there is one. The answer is a CAR with the commit as root.
    pub fn proof(&self, did: &Did, path: &RecordPath) -> Result<Vec<u8>, RepoError> {
        let view = self.view(did)?;
        let tree = ues_data::mst::Tree::load(view.head.data);
        let bad = |e: ues_data::mst::MstError| damaged(did, &e.to_string());
        let key = path.as_str().as_bytes();
        let nodes = tree.proof(&view, key).map_err(bad)?;
        let mut out = Vec::with_capacity(4096);
        let missing = || damaged(did, "a block is missing");
        let commit = view.block(&view.head.commit)?.ok_or_else(missing)?;
        car::write_header(&[view.head.commit], &mut out);
        car::write_block(&view.head.commit, &commit, &mut out);
        for (cid, bytes) in &nodes {
            car::write_block(cid, bytes, &mut out);
        }
        if let Some(cid) = tree.get(&view, key).map_err(bad)? {
            car::write_block(&cid, &view.block(&cid)?.ok_or_else(missing)?, &mut out);
        }
        Ok(out)
    }
}

impl Export {
    /// The commit that is the archive's root.
    pub fn root(&self) -> Cid {
        self.view.head.commit
    }

    /// Leaves the records at some paths out: the tree still names them, their content is not told.
    #[must_use]
    pub fn without_records(mut self, paths: HashSet<String>) -> Self {
        self.without = paths;
        self
    }

    fn wanted(&self, key: &[u8]) -> Result<bool, RepoError> {
        let path = std::str::from_utf8(key).unwrap_or_default();
        if self.without.contains(path) {
            return Ok(false);
        }
        let Some((since, records)) = &self.since else {
            return Ok(true);
        };
        let row = self
            .view
            .snapshot
            .get(records, record_key(self.view.head.content, path))?;
        Ok(row
            .and_then(|r| read_record_value(&r))
            .is_none_or(|(_, rev)| rev > *since))
    }

    fn fill(&mut self) -> Result<(), RepoError> {
        while self.piece.len() < PIECE_BYTES {
            let Some(walk) = &mut self.walk else {
                return Ok(());
            };
            if let Some((since, _)) = &self.since {
                // A node is written anew whenever anything below it changes.
                while let Some(node) = walk.next_node() {
                    let holder = node_ref(self.view.head.content);
                    let mark = self.view.snapshot.ref_mark(node.hash(), holder)?;
                    if mark.is_none_or(|rev| rev > since.number()) {
                        break;
                    }
                    walk.skip_subtree();
                }
            }
            match walk.next() {
                None => self.walk = None,
                Some(Err(e)) => {
                    self.walk = None;
                    return Err(damaged(&self.view.did, &e.to_string()));
                }
                Some(Ok(PreorderItem::Node { cid, bytes })) => {
                    car::write_block(&cid, &bytes, &mut self.piece);
                }
                Some(Ok(PreorderItem::Value { key, cid })) => {
                    if self.wanted(&key)? {
                        let bytes = self.view.block(&cid)?.ok_or_else(|| {
                            damaged(&self.view.did, &format!("block {cid} is missing"))
                        })?;
                        car::write_block(&cid, &bytes, &mut self.piece);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Iterator for Export {
    type Item = Result<Bytes, RepoError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(e) = self.fill() {
            self.walk = None;
            self.piece.clear();
            return Some(Err(e));
        }
        if self.piece.is_empty() {
            return None;
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES + 4096));
        Some(Ok(piece.into()))
    }
}

/// A CAR with one block as its root: what a `#sync` event carries.
pub(super) fn commit_car(commit: &Cid, bytes: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len() + 128);
    car::write_header(&[*commit], &mut out);
    car::write_block(commit, bytes, &mut out);
    out.into()
}
