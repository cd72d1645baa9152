//! Which coded symbols an item is part of.

/// The indices of the coded symbols that an item is added to, rising, the first always 0; index `i` is among them with a
/// probability of about 2/(i+2).
///
/// After Yang, Gilad and Alizadeh, "Practical Rateless Set Reconciliation" (SIGCOMM 2024), section 4.2, whose step from `i`
/// is `⌈(i + 3/2)(2³²/√r − 1)⌉` with `r` even over 64 bits. Here it is made of integers alone, so that every machine and
/// language agrees: `r` is the next output of SplitMix64 seeded by the item's hash, `s = max(1, ⌊√r⌋)`, and the step is
/// `⌈(2i + 3)(2³² − s) / 2s⌉`, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    state: u64,
    index: u32,
}

/// No index is greater than this.
pub const MAX_INDEX: u32 = (1 << 30) - 1;

impl Mapping {
    /// The mapping of the item with this hash, at index 0.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        Self {
            state: hash,
            index: 0,
        }
    }

    /// The index the mapping stands at.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Goes on to the next index; it stays at [`MAX_INDEX`] when there is no other.
    pub fn advance(&mut self) {
        let root = self.random().isqrt().max(1);
        // At most (2³¹ + 1) · (2³² − 1), which fits.
        let step = ((2 * u64::from(self.index) + 3) * ((1 << 32) - root)).div_ceil(2 * root);
        let next = u64::from(self.index).saturating_add(step);
        self.index = next.min(MAX_INDEX.into()) as u32;
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The indices below `end`.
pub(crate) fn indices(hash: u64, end: usize) -> impl Iterator<Item = usize> {
    let mut mapping = Mapping::new(hash);
    let mut done = end == 0;
    std::iter::from_fn(move || {
        let index = mapping.index();
        if done || index as usize >= end {
            return None;
        }
        mapping.advance();
        done = mapping.index() == index;
        Some(index as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_has_its_probability() {
        let trials = 20_000_u32;
        let mut hits = [0_u32; 200];
        for seed in 0..trials {
            for index in indices(u64::from(seed) << 17, hits.len()) {
                hits[index] += 1;
            }
        }
        for (index, hits) in hits.iter().enumerate() {
            let expected = f64::from(trials) * 2.0 / (index as f64 + 2.0);
            let away = (f64::from(*hits) - expected).abs();
            // The paper's step is an approximation, 4 % off at index 1.
            let most = 5.0 * expected.sqrt() + 0.05 * expected;
            assert!(away <= most, "{index}: {hits} for {expected}");
        }
    }

    #[test]
    fn indices_rise_to_the_end_and_stop() {
        for seed in 0..500 {
            let all: Vec<usize> = indices(seed, usize::MAX).collect();
            assert!(all.is_sorted_by(|a, b| a < b));
            assert_eq!(
                (all.first(), all.last()),
                (Some(&0), Some(&(MAX_INDEX as usize)))
            );
        }
        assert_eq!(indices(7, 0).count(), 0);
    }

    #[test]
    fn the_smallest_and_greatest_steps_are_safe() {
        for (state, index) in [(0, 0), (u64::MAX, MAX_INDEX - 1), (1, MAX_INDEX)] {
            let mut mapping = Mapping { state, index };
            mapping.advance();
            assert!(mapping.index() > index || index == MAX_INDEX);
        }
    }
}
