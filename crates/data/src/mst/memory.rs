//! How much of a tree is in memory, and forgetting some of it.

use std::collections::HashSet;
use std::sync::Arc;

use super::block::{gap_link, link_digest};
use super::digest::Digest;
use super::error::MstError;
use super::node::{Bounds, Kid, Node, Subtree};
use super::shape::load_gap;
use super::tree::Tree;
use crate::source::BlockSource;

impl Tree {
    /// Number of nodes in memory. Nodes that other trees share are counted too.
    #[must_use]
    pub fn resident_nodes(&self) -> usize {
        self.ledger.resident
    }

    /// Forgets all nodes that can be read again. What has changed since the last flush stays.
    pub fn unload(&mut self) {
        self.unload_to(0);
    }

    /// Forgets nodes that can be read again until at most `max_nodes` are in memory, lower layers first; the upper ones
    /// are few, and on every path. What has changed since the last flush stays.
    pub fn unload_to(&mut self, max_nodes: usize) {
        if self.ledger.resident <= max_nodes {
            return;
        }
        let mut by_layer = [0usize; 256];
        if let Some(node) = self.root.node() {
            count(node, &mut by_layer);
        }
        let mut kept = 0;
        let mut lowest = 256;
        for (layer, nodes) in by_layer.iter().enumerate().rev() {
            kept += nodes;
            if kept > max_nodes {
                break;
            }
            lowest = layer;
        }
        // What was hashed since the last flush has a digest, and nobody has stored it yet.
        let unstored: HashSet<Digest> = self.ledger.sealed.iter().map(|(d, _)| *d).collect();
        self.root = match std::mem::take(&mut self.root) {
            Subtree::Clean(digest, node)
                if usize::from(node.height) < lowest && !unstored.contains(&digest) =>
            {
                Subtree::Stored(digest)
            }
            mut root => {
                if let Some(node) = root.node_mut() {
                    forget(node, lowest, &unstored);
                }
                root
            }
        };
        by_layer.fill(0);
        if let Some(node) = self.root.node() {
            count(node, &mut by_layer);
        }
        self.ledger.resident = by_layer.iter().sum();
    }

    /// Brings the whole tree into memory, checking every node.
    pub fn load_all<S: BlockSource + ?Sized>(&mut self, src: &S) -> Result<(), MstError> {
        self.load_root(src)?;
        match self.root.node_mut() {
            Some(node) => load_below(src, &mut self.ledger, node, Bounds::default()),
            None => Ok(()),
        }
    }
}

fn load_below<S: BlockSource + ?Sized>(
    src: &S,
    ledger: &mut super::ledger::Ledger,
    node: &mut Arc<Node>,
    bounds: Bounds<'_>,
) -> Result<(), MstError> {
    if node.kids.is_empty() {
        return Ok(());
    }
    let node = Arc::make_mut(node);
    let count = node.count();
    for gap in 0..=count {
        let link = super::block::gap_link(node.block(), gap);
        load_gap(src, ledger, node, (gap, link, count), bounds)?;
        let (block, kids) = node.parts();
        if let Some(child) = kids.get_mut(gap).and_then(Kid::node_mut) {
            load_below(src, ledger, child, bounds.narrowed(block, gap, count))?;
        }
    }
    Ok(())
}

fn count(node: &Node, by_layer: &mut [usize; 256]) {
    by_layer[usize::from(node.height)] += 1;
    for child in node.kids.iter().filter_map(Kid::node) {
        count(child, by_layer);
    }
}

/// Forgets clean nodes below layer `lowest` that are stored.
fn forget(node: &mut Arc<Node>, lowest: usize, unstored: &HashSet<Digest>) {
    if !node.kids.iter().any(|kid| kid.node().is_some()) {
        return;
    }
    let (block, kids) = Arc::make_mut(node).parts();
    for (gap, kid) in kids.iter_mut().enumerate() {
        let stored = || {
            let digest = || link_digest(block, gap_link(block, gap));
            unstored.is_empty() || digest().is_some_and(|digest| !unstored.contains(&digest))
        };
        match kid {
            Kid::Clean(child) if usize::from(child.height) < lowest && stored() => {
                *kid = Kid::Stored;
            }
            Kid::Clean(child) | Kid::Dirty(child) => forget(child, lowest, unstored),
            Kid::None | Kid::Stored => {}
        }
    }
}
