//! A clock that gives strictly rising timestamp identifiers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Tid;

/// Gives timestamp identifiers of which each is later than all before it, from any thread.
#[derive(Debug)]
pub struct TidClock {
    clock: u16,
    last_micros: AtomicU64,
}

impl TidClock {
    /// A clock with the given number (its lower 10 bits count).
    pub fn new(clock: u16) -> Self {
        Self {
            clock: clock & Tid::MAX_CLOCK,
            last_micros: AtomicU64::new(0),
        }
    }

    /// A clock with a random number, so that two processes seldom agree.
    pub fn random() -> Self {
        let seed = getrandom::u32().unwrap_or_else(|_| std::process::id());
        Self::new((seed & u32::from(Tid::MAX_CLOCK)) as u16)
    }

    /// The clock number that each identifier carries.
    pub fn clock(&self) -> u16 {
        self.clock
    }

    /// The next identifier by the system's time.
    pub fn tick(&self) -> Tid {
        self.tick_at(system_micros())
    }

    /// The next identifier at a given time in microseconds since 1970.
    ///
    /// A time that stands still or goes backwards still gives a later identifier.
    pub fn tick_at(&self, now_micros: u64) -> Tid {
        self.advance(now_micros)
    }

    /// The next identifier by the system's time that is also later than `previous`.
    pub fn tick_after(&self, previous: &Tid) -> Tid {
        self.tick_after_at(previous, system_micros())
    }

    /// The next identifier at a given time that is also later than `previous`.
    pub fn tick_after_at(&self, previous: &Tid, now_micros: u64) -> Tid {
        self.advance(now_micros.max(previous.micros().saturating_add(1)))
    }

    fn advance(&self, at_least: u64) -> Tid {
        let later = |last: u64| at_least.max(last.saturating_add(1)).min(Tid::MAX_MICROS);
        let last = self
            .last_micros
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(later(last))
            })
            .unwrap_or_else(|last| last);
        Tid::new(later(last), self.clock)
    }
}

impl Default for TidClock {
    fn default() -> Self {
        Self::random()
    }
}

fn system_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_when_time_stands_still_or_goes_back() {
        let clock = TidClock::new(5);
        let mut last = clock.tick_at(1_000);
        assert_eq!((last.micros(), last.clock()), (1_000, 5));
        for now in [1_000, 1_000, 10, 0, 5_000, 4_999] {
            let next = clock.tick_at(now);
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn is_later_than_a_revision_from_elsewhere() {
        let clock = TidClock::new(0);
        let foreign = Tid::new(9_000_000, 1023);
        assert!(clock.tick_after_at(&foreign, 10) > foreign);
        assert!(clock.tick_at(11) > foreign);
    }

    #[test]
    fn threads_never_get_the_same() {
        let clock = TidClock::new(1);
        let mut all: Vec<Tid> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).map(|_| clock.tick()).collect::<Vec<_>>()))
                .collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4000);
    }
}
