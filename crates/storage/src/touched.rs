//! What the committer remembers for the collector.

use std::collections::HashSet;

use crate::batch::Batch;
use crate::block_ops;
use crate::format::{digest_prefix_of, read_u64};

/// Touched digests that are remembered for the collector; beyond it every digest counts as touched.
const MAX_TOUCHED: usize = 1 << 20;

/// Remembers, while asked to, which digests had a reference added or removed.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    on: bool,
    overflow: bool,
    digests: HashSet<u64>,
}

impl Touched {
    /// Forgets everything and begins to remember.
    pub(crate) fn start(&mut self) {
        *self = Self {
            on: true,
            ..Self::default()
        };
    }

    /// Stops remembering and frees the memory.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }

    /// Whether a digest was touched since the start, judged by its first eight bytes.
    pub(crate) fn contains(&self, digest: &[u8]) -> bool {
        !self.on
            || self.overflow
            || Self::short(digest).is_none_or(|short| self.digests.contains(&short))
    }

    /// Notes the references that a batch writes.
    pub(crate) fn note(&mut self, batch: &Batch) {
        if !self.on || self.overflow {
            return;
        }
        let digests = block_ops::multihashes(batch.block_ops()).map(digest_prefix_of);
        self.digests
            .extend(digests.filter_map(|digest| Self::short(&digest)));
        if self.digests.len() > MAX_TOUCHED {
            self.overflow = true;
            self.digests = HashSet::new();
        }
    }

    fn short(digest: &[u8]) -> Option<u64> {
        digest.get(..8).and_then(read_u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_digests_are_noted_only_after_the_start() {
        let mut touched = Touched::default();
        assert!(
            touched.contains(&[1; 16]),
            "nothing is known before the start"
        );
        touched.start();
        let mh = crate::Multihash::wrap(0x1e, &[1; 32]).unwrap();
        let mut batch = Batch::new();
        batch.release_block(&mh, crate::BlockRef { owner: 1, slot: 1 });
        touched.note(&batch);
        assert!(touched.contains(&[1; 16]));
        assert!(!touched.contains(&[2; 16]));
    }
}
