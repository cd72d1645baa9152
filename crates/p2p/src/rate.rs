//! A token bucket: so many things at once, so many a second.

use std::time::{Duration, Instant};

/// A limit on how often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many may happen at once after a rest.
    pub burst: u32,
    /// How many may happen a second in the long run.
    pub per_second: u32,
}

/// The state of one limited thing.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: Rate,
    /// In thousandths, so that slow rates lose nothing to rounding.
    tokens: u64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: u64::from(rate.burst) * 1000,
            filled: now,
        }
    }

    /// Takes one token; false if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            let earned = millis.saturating_mul(u64::from(self.rate.per_second));
            self.tokens = self
                .tokens
                .saturating_add(earned)
                .min(u64::from(self.rate.burst) * 1000);
            self.filled += Duration::from_millis(millis);
        }
        if self.tokens < 1000 {
            return false;
        }
        self.tokens -= 1000;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(
            Rate {
                burst: 3,
                per_second: 2,
            },
            start,
        );
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(
            [0; 4].map(|t| bucket.take(at(t))),
            [true, true, true, false]
        );
        // half a second earns one, however often it is asked in between
        for t in 1..500 {
            assert!(!bucket.take(at(t)), "at {t} ms");
        }
        assert!(bucket.take(at(500)));
        assert!(!bucket.take(at(500)));
        // a long rest fills it to the burst and no further
        assert_eq!(
            [60_000; 4].map(|t| bucket.take(at(t))),
            [true, true, true, false]
        );
    }
}
