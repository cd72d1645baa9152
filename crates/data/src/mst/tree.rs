//! The tree: what a caller holds.

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;

use super::append::RightEdge;
use super::block::{link_digest, seek};
use super::delete::Delete;
use super::digest::{Digest, node_cid, node_digest};
use super::error::MstError;
use super::key::{is_valid_key, key_height};
use super::ledger::Ledger;
use super::node::{Bounds, Node, Subtree, value_cid};
use super::put::Put;
use super::seal::seal;
use super::verify::{MAX_VALUE_BYTES, Position};
use crate::source::BlockSource;

/// A Merkle Search Tree, in memory as far as it was changed or loaded.
///
/// The tree keeps no blocks of its own: what is not in memory is read from a [`BlockSource`] that the caller gives, and
/// [`flush`](Self::flush) hands back what has to be stored. Reading (`&self`) never makes the tree grow in memory;
/// changing it (`&mut self`) loads the key's path and keeps it until [`unload`](Self::unload).
///
/// A clone costs little: it shares all nodes, and each tree copies what it changes. Every operation that fails leaves
/// the tree as it was.
///
/// ```
/// use ues_data::{dag_cbor_cid, mst::Tree, source::NoBlocks};
///
/// let mut tree = Tree::empty();
/// let post = dag_cbor_cid(b"a record");
/// tree.put(&NoBlocks, b"app.bsky.feed.post/3lo3kqqljmfe2", &post)?;
/// let flush = tree.flush();
/// assert_eq!(flush.new.len(), 1);
/// assert_eq!(tree.get(&NoBlocks, b"app.bsky.feed.post/3lo3kqqljmfe2")?, Some(post));
/// # Ok::<(), ues_data::mst::MstError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) root: Subtree,
    pub(super) ledger: Ledger,
    pub(super) edge: RightEdge,
}

/// What [`Tree::flush`] hands over.
#[derive(Clone, Debug)]
pub struct Flush {
    /// The root after all changes.
    pub root: Cid,
    /// Nodes to store: those of the tree that were not there at the last flush. Children come before their parents,
    /// so the root, if new, is the last.
    pub new: Vec<(Cid, Bytes)>,
    /// Nodes that the tree had at the last flush, or was loaded with, and has no longer.
    pub retired: Vec<Cid>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::empty()
    }
}

impl Tree {
    /// A tree without entries, not stored yet: its first flush hands over the empty node.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            root: Subtree::dirty(Node::empty()),
            ledger: Ledger {
                resident: 1,
                ..Ledger::default()
            },
            edge: RightEdge::default(),
        }
    }

    /// The stored tree with this root. Nothing is read before it is needed, so a root that is not there, or whose CID
    /// cannot name a node, is found out later.
    #[must_use]
    pub fn load(root: Cid) -> Self {
        // No node has the digest zero: it stands for a CID that cannot name one.
        let digest = node_digest(&root);
        Self {
            root: Subtree::Stored(digest.unwrap_or_default()),
            ledger: Ledger::default(),
            edge: RightEdge::default(),
        }
    }

    /// The value of a key.
    pub fn get<S: BlockSource + ?Sized>(
        &self,
        src: &S,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<Cid>, MstError> {
        let key = key.as_ref();
        let mut node = match &self.root {
            Subtree::None => return Ok(None),
            Subtree::Clean(_, node) | Subtree::Dirty(node) => &**node,
            Subtree::Stored(digest) => {
                let root = Node::load(src, digest, Position::Root)?;
                return get_stored(src, &root, key, Bounds::default());
            }
        };
        let mut bounds = Bounds::default();
        loop {
            node.touch();
            let block = node.block();
            let place = seek(block, key);
            if let Some(entry) = place.entry.filter(|_| place.found) {
                return Ok(Some(value_cid(block, &entry)));
            }
            match node.kids.get(place.index) {
                None | Some(super::node::Kid::None) => return Ok(None),
                Some(super::node::Kid::Stored) => return get_stored(src, node, key, bounds),
                Some(super::node::Kid::Clean(child) | super::node::Kid::Dirty(child)) => {
                    bounds = bounds.narrowed(block, place.index, place.count);
                    node = child;
                }
            }
        }
    }

    /// Sets the value of a key, and answers the value that it had.
    pub fn put<S: BlockSource + ?Sized>(
        &mut self,
        src: &S,
        key: impl AsRef<[u8]>,
        value: &Cid,
    ) -> Result<Option<Cid>, MstError> {
        let key = key.as_ref();
        if !is_valid_key(key) {
            return Err(MstError::invalid_key(key));
        }
        let (value, len) = value_bytes(value)?;
        let (value, height) = (&value[..len], key_height(key));
        if self.edge.is_before(key) {
            let entry = (key, value);
            let (ledger, root) = (&mut self.ledger, &mut self.root);
            if self.edge.append(ledger, root, entry, height) {
                return Ok(None);
            }
        }
        self.load_root(src)?;
        let mut put = Put {
            src,
            ledger: &mut self.ledger,
            key,
            height,
            value,
            old: None,
            is_last: true,
        };
        put.run(&mut self.root)?;
        let (old, is_last) = (put.old, put.is_last);
        if old.is_none() {
            if is_last {
                self.edge.note(key, height);
            } else {
                self.edge.forget();
            }
        }
        Ok(old)
    }

    /// Removes a key, and answers the value that it had.
    pub fn delete<S: BlockSource + ?Sized>(
        &mut self,
        src: &S,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<Cid>, MstError> {
        self.load_root(src)?;
        let mut delete = Delete {
            src,
            ledger: &mut self.ledger,
            key: key.as_ref(),
            old: None,
        };
        delete.run(&mut self.root)?;
        let old = delete.old;
        if old.is_some() {
            self.edge.forget();
        }
        Ok(old)
    }

    /// The root's CID. Changed nodes are hashed, once.
    pub fn root(&mut self) -> Cid {
        node_cid(&self.sealed_root())
    }

    /// Hashes what has changed, and hands over what has to be stored and what may be forgotten since the last flush.
    ///
    /// A node that came and went between two flushes is in neither list.
    pub fn flush(&mut self) -> Flush {
        let root = node_cid(&self.sealed_root());
        let (sealed, released) = self.ledger.settle();
        Flush {
            root,
            new: sealed
                .into_iter()
                .map(|(digest, bytes)| (node_cid(&digest), bytes))
                .collect(),
            retired: released.iter().map(node_cid).collect(),
        }
    }

    /// The root's CID, if nothing has changed since it was last asked for or flushed.
    pub fn clean_root(&self) -> Option<Cid> {
        self.root.digest().map(|digest| node_cid(&digest))
    }

    pub(super) fn load_root<S: BlockSource + ?Sized>(&mut self, src: &S) -> Result<(), MstError> {
        if let Subtree::Stored(digest) = self.root {
            let node = Node::load(src, &digest, Position::Root)?;
            self.ledger.resident += 1;
            self.root = Subtree::Clean(digest, Arc::new(node));
        }
        Ok(())
    }

    fn sealed_root(&mut self) -> Digest {
        self.root = match std::mem::take(&mut self.root) {
            Subtree::Dirty(mut node) => {
                self.ledger.expect_sealing();
                let digest = seal(&mut node, &mut self.ledger.sealed);
                Subtree::Clean(digest, node)
            }
            other => other,
        };
        self.root.digest().unwrap_or_default()
    }
}

/// Looks a key up below a node whose child is not in memory, reading nodes without keeping them.
fn get_stored<S: BlockSource + ?Sized>(
    src: &S,
    node: &Node,
    key: &[u8],
    bounds: Bounds<'_>,
) -> Result<Option<Cid>, MstError> {
    let block = node.block();
    let place = seek(block, key);
    if let Some(entry) = place.entry.filter(|_| place.found) {
        return Ok(Some(value_cid(block, &entry)));
    }
    if node.kids.is_empty() {
        return Ok(None);
    }
    let Some(digest) = link_digest(block, place.gap_link(block)) else {
        return Ok(None);
    };
    let bounds = bounds.narrowed(block, place.index, place.count);
    let child = bounds.load(src, &digest, node.height.saturating_sub(1))?;
    get_stored(src, &child, key, bounds)
}

/// A value's CID in binary, and its length.
pub(super) fn value_bytes(value: &Cid) -> Result<([u8; MAX_VALUE_BYTES], usize), MstError> {
    let mut bytes = [0; MAX_VALUE_BYTES];
    if let Some(digest) = node_digest(value) {
        bytes[..4].copy_from_slice(&[0x01, 0x71, 0x12, 0x20]);
        bytes[4..36].copy_from_slice(&digest);
        return Ok((bytes, 36));
    }
    let refused = || MstError::UnsupportedValue(*value);
    if value.version() != cid::Version::V1 {
        return Err(refused());
    }
    let written = value.write_bytes(&mut bytes[..]).map_err(|_| refused())?;
    Ok((bytes, written))
}
