//! Insertion: descend to the key's layer, and part there what lies around the key.

use std::sync::Arc;

use cid::Cid;

use super::block::{link_digest, seek};
use super::edit;
use super::error::MstError;
use super::ledger::Ledger;
use super::node::{Bounds, Kid, Node, Subtree, value_cid};
use super::shape::{load_gap, load_spine, raise, split};
use super::verify::MAX_NODE_BYTES;
use crate::source::BlockSource;

/// One insertion under way.
pub(super) struct Put<'a, S: ?Sized> {
    pub src: &'a S,
    pub ledger: &'a mut Ledger,
    pub key: &'a [u8],
    /// The key's layer.
    pub height: u8,
    /// The value's CID in binary.
    pub value: &'a [u8],
    /// The value that was replaced.
    pub old: Option<Cid>,
    /// Whether, as far as is known by now, no key is greater.
    pub is_last: bool,
}

impl<S: BlockSource + ?Sized> Put<'_, S> {
    /// Puts the entry into the tree with this root, which is in memory.
    pub fn run(&mut self, root: &mut Subtree) -> Result<(), MstError> {
        let Some(node) = root.node_mut() else {
            return Ok(());
        };
        if node.is_empty() {
            self.ledger.release(root);
            *root = Subtree::dirty(self.single(Subtree::None, Subtree::None));
            return Ok(());
        }
        if node.height < self.height {
            load_spine(self.src, self.ledger, node, self.key, Bounds::default())?;
            let top = node.height;
            let (left, right) = split(self.ledger, std::mem::take(root), self.key);
            self.is_last = right.is_none();
            let left = raise(self.ledger, left, top, self.height - 1);
            let right = raise(self.ledger, right, top, self.height - 1);
            self.ledger.resident += 1;
            *root = Subtree::dirty(self.single(left, right));
            return Ok(());
        }
        if self.below(node, Bounds::default())? {
            self.ledger.soil(root);
        }
        Ok(())
    }

    fn single(&self, left: Subtree, right: Subtree) -> Node {
        Node::single(self.key, self.value, left, right, self.height)
    }

    /// Puts the entry into `node` or below it. Answers whether anything changed.
    fn below(&mut self, node: &mut Arc<Node>, bounds: Bounds<'_>) -> Result<bool, MstError> {
        node.touch();
        let node = Arc::make_mut(node);
        let place = seek(node.block(), self.key);
        if let Some(entry) = place.entry.filter(|_| place.found) {
            let same = entry.value(node.block()) == self.value;
            self.old = Some(value_cid(node.block(), &entry));
            if !same {
                node.edit(|block| edit::set_value(block, &entry, self.value));
            }
            return Ok(!same);
        }
        let (index, count) = (place.index, place.count);
        self.is_last &= index == count;
        let has_child = match node.kids.get(index) {
            None | Some(Kid::None) => false,
            Some(Kid::Clean(_) | Kid::Dirty(_)) => true,
            Some(Kid::Stored) => {
                let link = place.kid_link(node.block());
                load_gap(self.src, self.ledger, node, (index, link, count), bounds)?;
                true
            }
        };

        if node.height == self.height {
            let bytes = node.block().len() + self.key.len() + self.value.len() + 128;
            if bytes > MAX_NODE_BYTES {
                return Err(MstError::NodeTooLarge {
                    bytes,
                    limit: MAX_NODE_BYTES,
                });
            }
            let (block, kids) = node.parts();
            if let Some(child) = kids.get_mut(index).and_then(Kid::node_mut) {
                let bounds = bounds.narrowed(block, index, count);
                load_spine(self.src, self.ledger, child, self.key, bounds)?;
            }
            let (left, right) = split(self.ledger, node.take_subtree(index), self.key);
            self.is_last &= right.is_none();
            let (key, value) = (self.key, self.value);
            node.edit(|block| edit::insert(block, &place, key, value, left.link(), right.link()));
            if !node.kids.is_empty() {
                node.kids.insert(index + 1, Kid::None);
            }
            node.set_kid(index, left.into_kid());
            node.set_kid(index + 1, right.into_kid());
            return Ok(true);
        }

        if !has_child {
            let single = Subtree::dirty(self.single(Subtree::None, Subtree::None));
            self.ledger.resident += 1;
            let child = raise(self.ledger, single, self.height, node.height - 1);
            node.set_subtree(index, child);
            return Ok(true);
        }
        let (block, kids) = node.parts();
        let Some(kid) = kids.get_mut(index) else {
            return Ok(false);
        };
        let Some(child) = kid.node_mut() else {
            return Ok(false);
        };
        let changed = self.below(child, bounds.narrowed(block, index, count))?;
        if changed && matches!(kid, Kid::Clean(_)) {
            self.ledger
                .released
                .extend(link_digest(block, place.kid_link(block)));
            kid.soil();
        }
        Ok(changed)
    }
}
