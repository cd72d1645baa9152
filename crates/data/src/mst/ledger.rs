//! What a tree remembers between two flushes: which stored nodes it let go, and which new ones it made.

use bytes::Bytes;

use super::digest::Digest;
use super::node::Subtree;

/// Book-keeping of one tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// Nodes that had a digest and were changed or dropped.
    pub released: Vec<Digest>,
    /// Nodes that were given a digest.
    pub sealed: Vec<(Digest, Bytes)>,
    /// Number of nodes in memory.
    pub resident: usize,
    /// What that number was when the book was last emptied.
    pub settled: usize,
}

impl Ledger {
    /// Notes that a subtree's top node is no longer part of the tree as it is stored.
    pub fn release(&mut self, subtree: &Subtree) {
        self.released.extend(subtree.digest());
    }

    /// Notes that a subtree has changed.
    pub fn soil(&mut self, subtree: &mut Subtree) {
        *subtree = match std::mem::take(subtree) {
            Subtree::Clean(digest, node) => {
                self.released.push(digest);
                Subtree::Dirty(node)
            }
            other => other,
        };
    }

    /// Makes room for the nodes that are about to be sealed, of which there are at most about as many: those that came
    /// into memory and those that were released.
    pub fn expect_sealing(&mut self) {
        let nodes = self.released.len() + self.resident.saturating_sub(self.settled);
        self.sealed
            .reserve_exact(nodes.saturating_sub(self.sealed.len()));
    }

    /// Empties the book: nodes that are new since it was last emptied, and stored nodes that are no longer used.
    ///
    /// A digest can have been sealed and released several times. What counts is the balance: in a tree no node occurs
    /// twice, so that it is one up (new), one down (retired) or even.
    pub fn settle(&mut self) -> (Vec<(Digest, Bytes)>, Vec<Digest>) {
        let mut sealed = std::mem::take(&mut self.sealed);
        let mut released = std::mem::take(&mut self.released);
        self.settled = self.resident;
        if released.is_empty() {
            return (sealed, released);
        }
        released.sort_unstable();
        let mut cancelled = vec![false; released.len()];
        sealed.retain(|(digest, _)| {
            let start = released.partition_point(|r| r < digest);
            let same = released[start..]
                .iter()
                .take_while(|r| *r == digest)
                .count();
            match cancelled[start..start + same].iter_mut().find(|c| !**c) {
                Some(open) => {
                    *open = true;
                    false
                }
                None => true,
            }
        });
        let mut at = 0;
        released.retain(|_| {
            at += 1;
            !cancelled[at - 1]
        });
        (sealed, released)
    }
}
