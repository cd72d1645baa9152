//! Finding where two chains of one writer part: names at places between are compared, and the space narrows.

use crate::operation::OperationId;

use super::frame::MAX_PROBES;

/// A search for the first number at which two copies have different operations.
#[derive(Clone, Debug)]
pub(super) struct ForkSearch {
    /// Both are equal up to here.
    equal: u64,
    /// They differ from here on, at the latest.
    differ: u64,
}

impl ForkSearch {
    /// The copies differ at `differ`.
    pub fn new(differ: u64) -> Self {
        Self { equal: 0, differ }
    }

    /// The place, once it is found.
    pub fn found(&self) -> Option<u64> {
        (self.equal + 1 >= self.differ).then_some(self.differ)
    }

    /// The first number at which they are known to differ.
    pub fn differ(&self) -> u64 {
        self.differ
    }

    /// The numbers to compare next.
    pub fn probes(&self) -> Vec<u64> {
        let between = self.differ.saturating_sub(self.equal + 1);
        let count = between.min(MAX_PROBES as u64);
        (1..=count)
            .map(|i| self.equal + i * (between + 1) / (count + 1))
            .collect()
    }

    /// Takes names at places that were asked for; `mine` gives the own ones, as far as they are still there.
    pub fn learn(
        &mut self,
        theirs: impl Iterator<Item = (u64, OperationId)>,
        mine: impl Fn(u64) -> Option<OperationId>,
    ) {
        for (seq, id) in theirs {
            if seq <= self.equal || seq >= self.differ {
                continue;
            }
            match mine(seq) {
                Some(mine) if mine == id => self.equal = seq,
                Some(_) => self.differ = seq,
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_difference_is_found(first in 1u64..100_000, beyond in 0u64..100_000) {
            let name = |seq: u64, side: u8| {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&seq.to_be_bytes());
                id[31] = if seq >= first { side } else { 0 };
                OperationId(id)
            };
            let mut search = ForkSearch::new(first + beyond);
            let mut rounds = 0;
            while search.found().is_none() {
                let probes = search.probes();
                prop_assert!(!probes.is_empty() && probes.len() <= MAX_PROBES);
                search.learn(probes.iter().map(|seq| (*seq, name(*seq, 1))), |seq| Some(name(seq, 2)));
                rounds += 1;
                prop_assert!(rounds <= 4);
            }
            prop_assert_eq!(search.found(), Some(first));
        }
    }
}
