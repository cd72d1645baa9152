//! Proofs that a stranger can check: of one key, and of a whole commit.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;

use super::block::seek;
use super::digest::{Digest, node_cid, node_digest, sha256};
use super::error::MstError;
use super::node::{Bounds, Node, Subtree};
use super::tree::Tree;
use super::verify::Position;
use crate::content_id;
use crate::source::{BlockSource, BlockSourceError};

impl Tree {
    /// The nodes from the root to where `key` stands or would stand: they prove its value, or that it has none.
    /// The tree must have been flushed.
    pub fn proof<S: BlockSource + ?Sized>(
        &self,
        src: &S,
        key: impl AsRef<[u8]>,
    ) -> Result<Vec<(Cid, Bytes)>, MstError> {
        self.collect_nodes(src, &[key.as_ref()], false)
    }

    /// The nodes that a consumer needs to undo a commit's operations on these keys (Sync 1.1): for each key those on its
    /// path, and those down to its neighbours on both sides. It is what the reference implementation calls the
    /// covering proof. The tree is the one after the commit and must have been flushed; each node comes once, parents
    /// first.
    pub fn covering_proof<S: BlockSource + ?Sized, K: AsRef<[u8]>>(
        &self,
        src: &S,
        keys: &[K],
    ) -> Result<Vec<(Cid, Bytes)>, MstError> {
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        self.collect_nodes(src, &keys, true)
    }

    fn collect_nodes<S: BlockSource + ?Sized>(
        &self,
        src: &S,
        keys: &[&[u8]],
        neighbours: bool,
    ) -> Result<Vec<(Cid, Bytes)>, MstError> {
        let digest = self.root.digest().ok_or(MstError::Unflushed)?;
        let root = match &self.root {
            Subtree::Clean(_, node) | Subtree::Dirty(node) => Arc::clone(node),
            Subtree::None | Subtree::Stored(_) => {
                Arc::new(Node::load(src, &digest, Position::Root)?)
            }
        };
        let mut trail = Trail {
            src,
            neighbours,
            seen: HashSet::new(),
            nodes: Vec::new(),
        };
        for key in keys {
            trail.follow(digest, &root, key, Bounds::default())?;
        }
        Ok(trail.nodes)
    }
}

/// Nodes found on the way to keys.
struct Trail<'s, S: ?Sized> {
    src: &'s S,
    neighbours: bool,
    seen: HashSet<Digest>,
    nodes: Vec<(Cid, Bytes)>,
}

impl<S: BlockSource + ?Sized> Trail<'_, S> {
    fn follow(
        &mut self,
        digest: Digest,
        node: &Node,
        key: &[u8],
        bounds: Bounds<'_>,
    ) -> Result<(), MstError> {
        if self.seen.insert(digest) {
            self.nodes.push((node_cid(&digest), node.bytes()));
        }
        let place = seek(node.block(), key);
        if place.found && !self.neighbours {
            return Ok(());
        }
        let last = if place.found {
            place.index + 1
        } else {
            place.index
        };
        for gap in place.index..=last {
            let bounds = bounds.narrowed(node.block(), gap, place.count);
            match node.subtree(gap) {
                Subtree::None => {}
                Subtree::Dirty(_) => return Err(MstError::Unflushed),
                Subtree::Clean(digest, child) => self.follow(digest, &child, key, bounds)?,
                Subtree::Stored(digest) => {
                    let child = bounds.load(self.src, &digest, node.height.saturating_sub(1))?;
                    self.follow(digest, &child, key, bounds)?;
                }
            }
        }
        Ok(())
    }
}

/// Checks a proof from a stranger: what value, if any, `key` has in the tree with the root `root`.
///
/// `blocks` may come from anywhere: each node is hashed, and checked to be canonical and to belong where it is linked.
/// Missing nodes on the key's path are an error, never an absence.
pub fn verify_proof<S: BlockSource + ?Sized>(
    root: &Cid,
    key: impl AsRef<[u8]>,
    blocks: &S,
) -> Result<Option<Cid>, MstError> {
    Tree::load(*root).get(&Hashed(blocks), key)
}

/// A source whose nodes are hashed before they are believed.
pub(super) struct Hashed<'s, S: ?Sized>(pub &'s S);

impl<S: BlockSource + ?Sized> BlockSource for Hashed<'_, S> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        let Some(bytes) = self.0.block(cid)? else {
            return Ok(None);
        };
        if node_digest(cid) != Some(sha256(&bytes)) {
            // The general check words the error.
            content_id::verify(cid, &bytes).map_err(|e| BlockSourceError::read(cid, e))?;
        }
        Ok(Some(bytes))
    }
}
