//! How long to wait before a failed thing is tried again.

use std::time::Duration;

/// An exponential schedule with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
}

impl Default for Backoff {
    /// One second at first, half a minute at most: when a network is back, people wait for what comes over it.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row; none after no failure.
    ///
    /// The wait doubles with every failure. Of it, the upper half is left to chance (`random` is any number), so that
    /// many who lost the same peer do not come back at the same moment.
    #[must_use]
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let full = 2_u32
            .checked_pow(doublings)
            .and_then(|factor| self.first.checked_mul(factor))
            .map_or(self.longest, |wait| wait.min(self.longest));
        let half = full / 2;
        let range = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
        half + Duration::from_millis(random % range.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_up_to_the_longest() {
        let backoff = Backoff {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(20),
        };
        let shortest: Vec<u64> = (0..7).map(|n| backoff.delay(n, 0).as_secs()).collect();
        assert_eq!(shortest, [0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.delay(1, 1000), Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn stays_between_half_and_all_of_the_wait(failures in 1_u32.., random: u64) {
            let backoff = Backoff::default();
            let delay = backoff.delay(failures, random);
            prop_assert!(delay >= backoff.first / 2);
            prop_assert!(delay <= backoff.longest);
        }
    }
}
