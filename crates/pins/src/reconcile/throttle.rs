//! Slows down tasks for CIDs whose hashes begin alike. Hashes spread evenly; where very many begin alike, somebody made
//! them so, and must not crowd out the others.

use std::collections::{HashMap, HashSet, VecDeque};

use ues_data::Cid;

/// CIDs that wait for their turn. What finds no room is found by the walk over all records.
const ROOM: usize = 20_000;
/// Prefixes that are remembered before those that rest are forgotten.
const REMEMBERED: usize = 8192;

/// A bucket of tokens for each prefix that had tasks lately.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Tasks in a second; 0: any number.
    rate: u32,
    spent: HashMap<[u8; 2], Bucket>,
    waiting: VecDeque<Cid>,
    /// What waits, to find it.
    known: HashSet<Cid>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at_ms: u64,
}

impl Throttle {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate,
            spent: HashMap::new(),
            waiting: VecDeque::new(),
            known: HashSet::new(),
        }
    }

    /// Whether so many tasks may be sent for a CID now. If not, it waits for its turn.
    pub(super) fn admit(&mut self, cid: &Cid, tasks: usize, now_ms: u64) -> bool {
        if self.rate == 0 || tasks == 0 {
            return true;
        }
        if self.spent.len() > REMEMBERED {
            self.forget(now_ms);
        }
        let rate = f64::from(self.rate);
        let bucket = self.spent.entry(prefix(cid)).or_insert(Bucket {
            tokens: rate,
            at_ms: now_ms,
        });
        let passed = now_ms.saturating_sub(bucket.at_ms) as f64 / 1000.0;
        bucket.tokens = (bucket.tokens + passed * rate).min(rate);
        bucket.at_ms = now_ms;
        if bucket.tokens < 1.0 {
            if self.waiting.len() < ROOM && self.known.insert(*cid) {
                self.waiting.push_back(*cid);
            }
            return false;
        }
        // Tasks for one CID go together, even if that is more than was left.
        bucket.tokens -= tasks as f64;
        true
    }

    /// Whether somebody waits.
    pub(super) fn holds(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// CIDs that waited and may be tried again, the oldest first.
    pub(super) fn due(&mut self, most: usize) -> Vec<Cid> {
        let count = most.min(self.waiting.len());
        let due: Vec<Cid> = self.waiting.drain(..count).collect();
        for cid in &due {
            self.known.remove(cid);
        }
        due
    }

    /// Forgets prefixes that have all of their tokens again.
    fn forget(&mut self, now_ms: u64) {
        let rate = f64::from(self.rate);
        self.spent.retain(|_, bucket| {
            let passed = now_ms.saturating_sub(bucket.at_ms) as f64 / 1000.0;
            bucket.tokens + passed * rate < rate
        });
    }
}

/// The first two bytes of the digest, `mh_prefix`.
fn prefix(cid: &Cid) -> [u8; 2] {
    let digest = cid.hash().digest();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(number: u8) -> Cid {
        let digest = [7, 7, number];
        Cid::new_v1(0x55, ues_data::Multihash::wrap(0, &digest).unwrap())
    }

    #[test]
    fn those_that_begin_alike_take_turns() {
        let mut throttle = Throttle::new(10);
        let admitted = (0..30)
            .filter(|i| throttle.admit(&alike(*i), 1, 5000))
            .count();
        assert_eq!(admitted, 10);
        assert!(throttle.admit(&ues_data::raw_cid(b"other"), 1, 5000));
        let due = throttle.due(100);
        assert_eq!(due, (10..30).map(alike).collect::<Vec<_>>());
        let admitted = due
            .iter()
            .filter(|cid| throttle.admit(cid, 1, 5500))
            .count();
        assert_eq!(admitted, 5, "half a second later");
    }

    #[test]
    fn large_groups_pass_and_are_paid_for() {
        let mut throttle = Throttle::new(10);
        assert!(throttle.admit(&alike(1), 50, 0));
        assert!(!throttle.admit(&alike(2), 1, 4000));
        assert!(throttle.admit(&alike(2), 1, 4200));
        // No tasks, or no rate, and nothing is counted.
        assert!(throttle.admit(&alike(3), 0, 4200));
        assert!((0..99).all(|i| Throttle::new(0).admit(&alike(i), 1, 0)));
    }

    #[test]
    fn what_rests_takes_no_memory() {
        let mut throttle = Throttle::new(10);
        for number in 0u32..30_000 {
            throttle.admit(
                &ues_data::raw_cid(&number.to_be_bytes()),
                1,
                u64::from(number),
            );
        }
        assert!(throttle.spent.len() <= REMEMBERED + 1);
    }

    #[test]
    fn nobody_waits_twice() {
        let mut throttle = Throttle::new(1);
        for _ in 0..5 {
            throttle.admit(&alike(1), 1, 0);
        }
        assert!(throttle.holds());
        assert_eq!(throttle.due(10), vec![alike(1)]);
        assert!(!throttle.holds());
    }
}
