//! Write timestamps: what decides in the database which of two writes of one cell is the later one.
//!
//! # Why requests need neither transactions nor equal clocks
//!
//! A request's row has one cell that holds the truth, so a reader sees one version of it, the one with the greatest
//! timestamp. Each change reads that version with its timestamp `t` and writes at a timestamp that depends on it:
//!
//! - A *put* and an unconditional removal write at an even timestamp: the clock's, or one above `t` where the clock is
//!   behind `t`. So whoever has seen a version replaces it, whatever the clocks say.
//! - A removal on a *condition* was judged on the version of `t`, which is even, and writes at `t + 1`. It
//!   takes away just that version: every other one has an even timestamp, thus either less than `t`, and is replaced
//!   already, or more than `t + 1`, and stays. A put that runs at the same time is therefore never lost.
//! - A removal leaves a *marker* for [`MARKER_SECONDS`] instead of a deletion, which would show no timestamp: so the next
//!   put sees what it has to be above, even from a clock that is behind. Clocks may differ by less than that.
//!
//! Ties: two processes that put the same request within the same two microseconds write at the same timestamp with a
//! chance of one in five hundred (each has a part of a millisecond of its own; where the clock is behind, a random
//! distance takes its place). Then the database keeps the greater bytes for everybody: one of two puts of the same time,
//! as if they had come one after the other. A marker beats a put of its timestamp.
//!
//! Placements have one writer at a time, but the next one may have a clock that is behind. Timestamps of rows that were
//! read are therefore remembered ([`Stamps::seen`]) and exceeded by all that is written after: who has read a row
//! writes over it.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::Clock;

/// How long a removal is remembered: longer than clocks differ and than a write may be under way.
pub(super) const MARKER_SECONDS: i32 = 3600;
/// Timestamps that are further ahead, in microseconds, come from a clock that is out of its mind; it is not followed.
const FOLLOWED_US: i64 = 3600 * 1_000_000;
/// The greatest timestamp that the clock makes.
const MAX_US: i64 = i64::MAX / 4;

/// Makes timestamps in microseconds: even, each greater than all before it and than all that were seen.
#[derive(Debug)]
pub(super) struct Stamps {
    clock: Clock,
    /// Microseconds that this process adds to the clock's milliseconds.
    offset: i64,
    last: AtomicI64,
}

impl Stamps {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            offset: 2 * random_below(500),
            last: AtomicI64::new(0),
        }
    }

    /// The clock.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The clock's time in microseconds.
    pub(super) fn now_us(&self) -> i64 {
        let us = self.clock.now_ms().saturating_mul(1000);
        i64::try_from(us).unwrap_or(MAX_US).min(MAX_US)
    }

    /// The next timestamp.
    pub(super) fn next(&self) -> i64 {
        let now = self.now_us() + self.offset;
        let later = |last: i64| even(now.max(last.saturating_add(2)));
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(later(last))
            });
        later(last.unwrap_or_else(|last| last))
    }

    /// The next timestamp for what replaces a version.
    pub(super) fn after(&self, version: Option<i64>) -> i64 {
        let next = self.next();
        match version {
            Some(at) if next <= at.saturating_add(1) => {
                even(at.saturating_add(2)).saturating_add(2 * random_below(512))
            }
            _ => next,
        }
    }

    /// The timestamp that takes away one version and no other.
    pub(super) fn instead_of(version: i64) -> i64 {
        version.saturating_add(1)
    }

    /// A timestamp that was read: later ones are greater.
    pub(super) fn seen(&self, at: Option<i64>) {
        if let Some(at) = at.filter(|at| *at <= self.now_us().saturating_add(FOLLOWED_US)) {
            self.last.fetch_max(even(at), Ordering::Relaxed);
        }
    }
}

/// The number, or the next one if it is odd.
fn even(number: i64) -> i64 {
    number.saturating_add(number & 1) & !1
}

/// A random number; 0 when the system has no randomness, which only makes ties likelier.
fn random_below(limit: u32) -> i64 {
    getrandom::u32().map_or(0, |number| i64::from(number % limit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(now_ms: u64) -> Stamps {
        Stamps::new(Clock::new(move || now_ms))
    }

    #[test]
    fn they_grow_although_the_clock_stands() {
        let stamps = at(0);
        let many: Vec<_> = (0..100).map(|_| stamps.next()).collect();
        assert!(many.is_sorted_by(|a, b| a < b) && many.iter().all(|t| t % 2 == 0));
    }

    #[test]
    fn what_was_seen_is_exceeded_unless_it_is_absurd() {
        let stamps = at(1_000_000);
        stamps.seen(Some(1_000_500_001));
        assert!(stamps.next() > 1_000_500_001);
        stamps.seen(Some(i64::MAX));
        assert!(stamps.next() < 1_001_000_000);
    }

    proptest! {
        /// A conditional removal of a version takes away neither what replaces it nor what was put beside it.
        #[test]
        fn a_condition_takes_one_version(version in 0i64..1 << 52, here in 0u64..1 << 42, there in 0u64..1 << 42) {
            let version = even(version);
            let replaced = at(here).after(Some(version));
            prop_assert!(replaced > Stamps::instead_of(version));
            let beside = at(there).after(None);
            prop_assert!(beside != Stamps::instead_of(version));
            prop_assert_eq!((replaced % 2, beside % 2), (0, 0));
        }
    }
}
