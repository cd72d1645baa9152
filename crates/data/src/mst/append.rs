//! Insertion of keys that come after all others: no search, and what they complete is hashed while it is at hand.

use std::sync::Arc;

use super::block::{LINK_BYTES, gap_link, link_digest};
use super::edit::{self, patch_link};
use super::key::common_prefix_len;
use super::ledger::Ledger;
use super::node::{Kid, Node, Subtree};
use super::seal::seal;
use super::verify::MAX_NODE_BYTES;

/// What a tree remembers of its right edge from the insertions before.
///
/// A clone starts without: it is cheap, and the next insertion at the edge begins anew.
#[derive(Debug, Default)]
pub(super) struct RightEdge {
    /// The last key of the rightmost node on each layer; empty where it is not known.
    last: Vec<Vec<u8>>,
    /// The layer of the greatest key of the tree, if it is known.
    greatest: Option<u8>,
}

impl Clone for RightEdge {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl RightEdge {
    /// Whether `key` is known to be greater than all keys of the tree.
    #[inline]
    pub fn is_before(&self, key: &[u8]) -> bool {
        self.greatest.is_some_and(|height| self.key(height) < key)
    }

    /// The last key of the rightmost node on a layer; empty if it is not known.
    fn key(&self, height: u8) -> &[u8] {
        self.last
            .get(usize::from(height))
            .map_or(&[], |key| &key[..])
    }

    /// Notes that `key`, on layer `height`, was added and is the greatest. Nothing on the layers below is on the edge
    /// any longer.
    pub fn note(&mut self, key: &[u8], height: u8) {
        let at = usize::from(height);
        if self.last.len() <= at {
            self.last.resize_with(at + 1, Vec::new);
        }
        for below in &mut self.last[..at] {
            below.clear();
        }
        self.last[at].clear();
        self.last[at].extend_from_slice(key);
        self.greatest = Some(height);
    }

    /// Notes that the tree was changed elsewhere.
    #[inline]
    pub fn forget(&mut self) {
        if self.greatest.take().is_some() {
            self.last.iter_mut().for_each(Vec::clear);
        }
    }

    /// Adds `key`, which [comes after all others](Self::is_before), if the way to its node is in memory. Answers
    /// whether it was; if not, nothing has changed.
    pub fn append(
        &mut self,
        ledger: &mut Ledger,
        root: &mut Subtree,
        (key, value): (&[u8], &[u8]),
        height: u8,
    ) -> bool {
        let last = self.key(height);
        let Some(node) = root.node_mut() else {
            return false;
        };
        if last.is_empty() || !below(ledger, node, last, (key, value), height) {
            return false;
        }
        ledger.soil(root);
        self.note(key, height);
        true
    }
}

fn below(
    ledger: &mut Ledger,
    node: &mut Arc<Node>,
    last: &[u8],
    (key, value): (&[u8], &[u8]),
    height: u8,
) -> bool {
    let node = Arc::make_mut(node);
    if node.height <= height {
        let bytes = node.block().len() + key.len() + value.len() + 128;
        let fits = node.height == height && node.count() > 0 && bytes <= MAX_NODE_BYTES;
        if fits {
            push(ledger, node, last, key, value);
        }
        return fits;
    }
    let (block, kids) = node.parts();
    let gap = kids.len().saturating_sub(1);
    let Some(kid) = kids.last_mut() else {
        return false;
    };
    let Some(child) = kid.node_mut() else {
        return false;
    };
    if !below(ledger, child, last, (key, value), height) {
        return false;
    }
    if matches!(kid, Kid::Clean(_)) {
        let link = match gap {
            0 => block.len() - LINK_BYTES,
            _ => gap_link(block, gap),
        };
        ledger.released.extend(link_digest(block, link));
        kid.soil();
    }
    true
}

/// Adds an entry after the last one of a node.
fn push(ledger: &mut Ledger, node: &mut Node, last: &[u8], key: &[u8], value: &[u8]) {
    // No later key of a rising sequence changes the subtree before this one. Hashed now, its blocks are still in the
    // cache, and none of them holds room to grow for long.
    if let Some(Kid::Dirty(child)) = node.kids.last_mut() {
        let digest = seal(child, &mut ledger.sealed);
        let gap = node.kids.len() - 1;
        node.edit(|block| {
            let link = gap_link(block, gap);
            patch_link(block, link, &digest);
        });
        if let Some(kid) = node.kids.last_mut() {
            kid.cleanse();
        }
    }
    let has_left = !matches!(node.kids.first(), None | Some(Kid::None));
    let prefix = common_prefix_len(last, key);
    node.edit(|block| edit::append(block, prefix, &key[prefix..], value, has_left));
    if !node.kids.is_empty() {
        node.kids.push(Kid::None);
    }
}
