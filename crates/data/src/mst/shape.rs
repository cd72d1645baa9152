//! Splitting and merging of subtrees, and loading what they will touch.
//!
//! Loading comes first and changes nothing but what is in memory; after it, splitting and merging cannot fail, so that
//! a failed operation leaves the tree as it was.

use std::sync::Arc;

use super::block::{LEFT_START, entries_end, link_digest, seek};
use super::edit;
use super::error::MstError;
use super::ledger::Ledger;
use super::node::{Bounds, Kid, Node, Subtree};
use super::verify::MAX_NODE_BYTES;
use crate::source::BlockSource;

/// Brings the child in a gap into memory. `link` is where the gap's link lies.
pub(super) fn load_gap<S: BlockSource + ?Sized>(
    src: &S,
    ledger: &mut Ledger,
    node: &mut Node,
    (gap, link, count): (usize, usize, usize),
    bounds: Bounds<'_>,
) -> Result<(), MstError> {
    let height = node.height;
    let (block, kids) = node.parts();
    if let Some(kid @ Kid::Stored) = kids.get_mut(gap)
        && let Some(digest) = link_digest(block, link)
    {
        let bounds = bounds.narrowed(block, gap, count);
        let child = bounds.load(src, &digest, height.saturating_sub(1))?;
        ledger.resident += 1;
        *kid = Kid::Clean(Arc::new(child));
    }
    Ok(())
}

/// Brings into memory all nodes below `node` that a split at `key` touches.
pub(super) fn load_spine<S: BlockSource + ?Sized>(
    src: &S,
    ledger: &mut Ledger,
    node: &mut Arc<Node>,
    key: &[u8],
    bounds: Bounds<'_>,
) -> Result<(), MstError> {
    if node.kids.is_empty() {
        return Ok(());
    }
    let node = Arc::make_mut(node);
    let place = seek(node.block(), key);
    let link = place.gap_link(node.block());
    load_gap(src, ledger, node, (place.index, link, place.count), bounds)?;
    let (block, kids) = node.parts();
    match kids.get_mut(place.index).and_then(Kid::node_mut) {
        None => Ok(()),
        Some(child) => {
            let bounds = bounds.narrowed(block, place.index, place.count);
            load_spine(src, ledger, child, key, bounds)
        }
    }
}

/// Which edge of a subtree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Left,
    Right,
}

/// Brings into memory all nodes that a merge of `left` and `right`, two neighbouring subtrees of `block`, touches:
/// their facing edges, as far down as both have nodes.
pub(super) fn load_edges<S: BlockSource + ?Sized>(
    src: &S,
    ledger: &mut Ledger,
    (left, left_bounds): (&mut Arc<Node>, Bounds<'_>),
    (right, right_bounds): (&mut Arc<Node>, Bounds<'_>),
) -> Result<(), MstError> {
    let bytes = left.block().len() + right.block().len();
    if bytes > MAX_NODE_BYTES {
        return Err(MstError::NodeTooLarge {
            bytes,
            limit: MAX_NODE_BYTES,
        });
    }
    let left_child = edge_child(left, Edge::Right);
    let right_child = edge_child(right, Edge::Left);
    let (Some(left_gap), Some(right_gap)) = (left_child, right_child) else {
        return Ok(());
    };
    let left = Arc::make_mut(left);
    let right = Arc::make_mut(right);
    load_gap(src, ledger, left, left_gap, left_bounds)?;
    load_gap(src, ledger, right, right_gap, right_bounds)?;
    let (left_block, left_kids) = left.parts();
    let (right_block, right_kids) = right.parts();
    let left_bounds = left_bounds.narrowed(left_block, left_gap.0, left_gap.2);
    let right_bounds = right_bounds.narrowed(right_block, right_gap.0, right_gap.2);
    match (
        left_kids.get_mut(left_gap.0).and_then(Kid::node_mut),
        right_kids.get_mut(right_gap.0).and_then(Kid::node_mut),
    ) {
        (Some(left), Some(right)) => {
            load_edges(src, ledger, (left, left_bounds), (right, right_bounds))
        }
        _ => Ok(()),
    }
}

/// Gap, link and entry count of the subtree on an edge of a node, if there is one.
fn edge_child(node: &Node, edge: Edge) -> Option<(usize, usize, usize)> {
    let count = node.count();
    let gap = if edge == Edge::Left { 0 } else { count };
    match node.kids.get(gap) {
        None | Some(Kid::None) => None,
        Some(_) if gap == 0 => Some((0, entries_end(node.block()) + LEFT_START.len(), count)),
        Some(_) => Some((gap, super::block::gap_link(node.block(), gap), count)),
    }
}

/// Puts nodes without entries above a subtree on layer `from` until it lies on layer `to`.
pub(super) fn raise(ledger: &mut Ledger, mut subtree: Subtree, from: u8, to: u8) -> Subtree {
    if subtree.is_none() {
        return subtree;
    }
    for height in from..to {
        subtree = Subtree::dirty(Node::wrapper(subtree, height + 1));
        ledger.resident += 1;
    }
    subtree
}

/// Splits a subtree, whose spine at `key` is in memory, into what is smaller and what is greater than the key.
pub(super) fn split(ledger: &mut Ledger, mut subtree: Subtree, key: &[u8]) -> (Subtree, Subtree) {
    let Some(node) = subtree.node_mut() else {
        return (subtree, Subtree::None);
    };
    let place = seek(node.block(), key);
    let (inner_left, inner_right) = if node.kids.is_empty() {
        (Subtree::None, Subtree::None)
    } else {
        let inner = Arc::make_mut(node).take_subtree(place.index);
        split(ledger, inner, key)
    };
    // A side that gets nothing leaves the other as it is, its own children too.
    if place.index == place.count && inner_right.is_none() {
        Arc::make_mut(node).restore(place.index, inner_left);
        return (subtree, Subtree::None);
    }
    if place.index == 0 && inner_left.is_none() {
        Arc::make_mut(node).restore(0, inner_right);
        return (Subtree::None, subtree);
    }
    ledger.release(&subtree);
    let Some(node) = subtree.into_node() else {
        return (Subtree::None, Subtree::None);
    };
    let mut node = Arc::unwrap_or_clone(node);
    let height = node.height;
    ledger.resident += 1;
    if place.index == place.count {
        node.set_subtree(place.index, inner_left);
        let right = Node::wrapper(inner_right, height);
        return (Subtree::dirty(node), Subtree::dirty(right));
    }
    if place.index == 0 {
        node.set_subtree(0, inner_right);
        let left = Node::wrapper(inner_left, height);
        return (Subtree::dirty(left), Subtree::dirty(node));
    }
    let (low, high) = edit::split(
        node.block(),
        &place,
        key,
        inner_left.link(),
        inner_right.link(),
    );
    let mut low = Node::open(low, Vec::new(), height);
    let mut high = Node::open(high, Vec::new(), height);
    if !node.kids.is_empty() {
        high.kids = node.kids.split_off(place.index + 1);
        high.kids.insert(0, Kid::None);
        low.kids = node.kids;
    }
    low.set_kid(place.index, inner_left.into_kid());
    high.set_kid(0, inner_right.into_kid());
    (Subtree::dirty(low), Subtree::dirty(high))
}

/// Merges two neighbouring subtrees of one layer, whose facing edges are in memory.
pub(super) fn merge(ledger: &mut Ledger, left: Subtree, right: Subtree) -> Subtree {
    if left.is_none() {
        return right;
    }
    if right.is_none() {
        return left;
    }
    ledger.release(&left);
    ledger.release(&right);
    let (Some(left), Some(right)) = (left.into_node(), right.into_node()) else {
        return Subtree::None;
    };
    let mut left = Arc::unwrap_or_clone(left);
    let mut right = Arc::unwrap_or_clone(right);
    let count = left.count();
    let middle = merge(ledger, left.take_subtree(count), right.take_subtree(0));
    let block = edit::join(left.block(), right.block(), middle.link());
    ledger.resident -= 1;
    let mut kids = left.kids;
    if !kids.is_empty() || !right.kids.is_empty() {
        let right_count = super::block::entries_start(right.block()).0;
        kids.resize(count + 1, Kid::None);
        kids.extend(right.kids.into_iter().skip(1));
        kids.resize(count + right_count + 1, Kid::None);
    }
    let mut node = Node::open(block, kids, left.height);
    node.set_kid(count, middle.into_kid());
    Subtree::dirty(node)
}
