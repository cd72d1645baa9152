//! Hybrid logical time: wall clock where clocks agree, a counter where they do not.

/// A moment: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
///
/// Each writer's times rise, and are greater than all that the writer had seen. Source: Kulkarni, Demirbas and others,
/// "Logical Physical Clocks and Consistent Snapshots in Globally Distributed Databases" (2014).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HybridTime(pub u64);

/// How far ahead of the reader's clock an operation may be, in milliseconds. One from further ahead waits.
pub const MAX_SKEW_MS: u64 = 10 * 60 * 1000;

impl HybridTime {
    /// The first moment of a millisecond.
    pub fn from_ms(ms: u64) -> Self {
        Self(ms.min(u64::MAX >> 16) << 16)
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next time of a writer that has seen `self`.
    pub fn tick(self, now_ms: u64) -> Self {
        Self::from_ms(now_ms).max(Self(self.0.saturating_add(1)))
    }

    /// Whether an operation with this time has to wait.
    pub fn is_ahead(self, now_ms: u64) -> bool {
        self.ms() > now_ms.saturating_add(MAX_SKEW_MS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_rise_whatever_the_clock_does(last in 0u64..u64::MAX, now in 0u64..1 << 50) {
            let last = HybridTime(last);
            prop_assert!(last.tick(now) > last);
            prop_assert!(last.tick(now).ms() >= now.min(u64::MAX >> 16));
        }
    }

    #[test]
    fn ten_minutes_are_not_too_far() {
        assert!(!HybridTime::from_ms(MAX_SKEW_MS).is_ahead(0));
        assert!(HybridTime::from_ms(MAX_SKEW_MS + 1).is_ahead(0));
    }
}
