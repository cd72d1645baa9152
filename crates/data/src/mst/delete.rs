//! Removal: take the entry out, and merge the subtrees that it parted.

use std::sync::Arc;

use cid::Cid;

use super::block::{link_digest, seek};
use super::edit;
use super::error::MstError;
use super::ledger::Ledger;
use super::node::{Bounds, Kid, Node, Subtree, value_cid};
use super::shape::{load_edges, load_gap, merge};
use crate::source::BlockSource;

/// One removal under way.
pub(super) struct Delete<'a, S: ?Sized> {
    pub src: &'a S,
    pub ledger: &'a mut Ledger,
    pub key: &'a [u8],
    /// The value that was removed.
    pub old: Option<Cid>,
}

impl<S: BlockSource + ?Sized> Delete<'_, S> {
    /// Removes the key from the tree with this root, which is in memory.
    pub fn run(&mut self, root: &mut Subtree) -> Result<(), MstError> {
        let Some(node) = root.node_mut() else {
            return Ok(());
        };
        if !self.below(node, Bounds::default(), true)? {
            return Ok(());
        }
        self.ledger.soil(root);
        // A root without entries gives way to its subtree, and so on; all that was loaded before the removal.
        while let Some(node) = root.node_mut()
            && node.count() == 0
            && !node.kids.is_empty()
        {
            let below = Arc::make_mut(node).take_subtree(0);
            self.ledger.release(root);
            if below.is_none() {
                *root = Subtree::dirty(Node::empty());
                break;
            }
            self.ledger.resident -= 1;
            *root = below;
        }
        Ok(())
    }

    /// Removes the key from `node` or below it. Answers whether it was there.
    fn below(
        &mut self,
        node: &mut Arc<Node>,
        bounds: Bounds<'_>,
        is_root: bool,
    ) -> Result<bool, MstError> {
        if node.kids.is_empty() && !seek(node.block(), self.key).found {
            return Ok(false);
        }
        let node = Arc::make_mut(node);
        let place = seek(node.block(), self.key);
        let (index, count) = (place.index, place.count);
        if let Some(entry) = place.entry.filter(|_| place.found) {
            self.load_around(node, index, bounds)?;
            if is_root && count == 1 {
                self.load_heir(node, bounds)?;
            }
            self.old = Some(value_cid(node.block(), &entry));
            let (left, right) = (node.take_subtree(index), node.take_subtree(index + 1));
            let merged = merge(self.ledger, left, right);
            node.edit(|block| edit::remove(block, &place, merged.link()));
            if !node.kids.is_empty() {
                node.kids.remove(index + 1);
            }
            node.set_kid(index, merged.into_kid());
            return Ok(true);
        }

        let has_child = node
            .kids
            .get(index)
            .is_some_and(|kid| !matches!(kid, Kid::None));
        if !has_child {
            return Ok(false);
        }
        let link = place.kid_link(node.block());
        load_gap(self.src, self.ledger, node, (index, link, count), bounds)?;
        let (block, kids) = node.parts();
        let Some(kid) = kids.get_mut(index) else {
            return Ok(false);
        };
        let Some(child) = kid.node_mut() else {
            return Ok(false);
        };
        if !self.below(child, bounds.narrowed(block, index, count), false)? {
            return Ok(false);
        }
        let vanished = child.is_empty();
        if matches!(kid, Kid::Clean(_)) {
            self.ledger.released.extend(link_digest(block, link));
            kid.soil();
        }
        if vanished {
            self.ledger.resident -= 1;
            node.set_subtree(index, Subtree::None);
        }
        Ok(true)
    }

    /// Loads what merging the subtrees on both sides of entry `index` touches.
    fn load_around(
        &mut self,
        node: &mut Node,
        index: usize,
        bounds: Bounds<'_>,
    ) -> Result<(), MstError> {
        let both = matches!(
            (node.kids.get(index), node.kids.get(index + 1)),
            (Some(left), Some(right)) if !matches!(left, Kid::None) && !matches!(right, Kid::None)
        );
        if !both {
            return Ok(());
        }
        let count = node.count();
        for gap in [index, index + 1] {
            let link = super::block::gap_link(node.block(), gap);
            load_gap(self.src, self.ledger, node, (gap, link, count), bounds)?;
        }
        let (block, kids) = node.parts();
        let (low, high) = kids.split_at_mut(index + 1);
        let left = low.last_mut().and_then(Kid::node_mut);
        let right = high.first_mut().and_then(Kid::node_mut);
        if let (Some(left), Some(right)) = (left, right) {
            let left_bounds = bounds.narrowed(block, index, count);
            let right_bounds = bounds.narrowed(block, index + 1, count);
            load_edges(
                self.src,
                self.ledger,
                (left, left_bounds),
                (right, right_bounds),
            )?;
        }
        Ok(())
    }

    /// The root is about to lose its only entry: loads the nodes that may have to become the root in its stead.
    fn load_heir(&mut self, root: &mut Node, bounds: Bounds<'_>) -> Result<(), MstError> {
        let present = |node: &Node, gap: usize| {
            node.kids
                .get(gap)
                .is_some_and(|kid| !matches!(kid, Kid::None))
        };
        // Two subtrees are loaded for their merge, down to one that has entries.
        let gap = match (present(root, 0), present(root, 1)) {
            (true, false) => 0,
            (false, true) => 1,
            _ => return Ok(()),
        };
        self.load_chain(root, gap, bounds)
    }

    fn load_chain(
        &mut self,
        node: &mut Node,
        gap: usize,
        bounds: Bounds<'_>,
    ) -> Result<(), MstError> {
        let count = node.count();
        let link = super::block::gap_link(node.block(), gap);
        load_gap(self.src, self.ledger, node, (gap, link, count), bounds)?;
        let (block, kids) = node.parts();
        match kids.get_mut(gap).and_then(Kid::node_mut) {
            Some(child) if child.count() == 0 => {
                let bounds = bounds.narrowed(block, gap, count);
                self.load_chain(Arc::make_mut(child), 0, bounds)
            }
            _ => Ok(()),
        }
    }
}
