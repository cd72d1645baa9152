//! The part of the queue of ends that is known in memory: what was read and is not behind the position yet.

use std::collections::BTreeMap;

/// Parts of each hour of the queue.
pub(super) const SHARDS: i32 = 16;
/// How far the position stays behind the time, in seconds: a row may come so late, or from a clock that is so much behind.
const LAG_S: u64 = 600;
/// Entries of a shard that are remembered although they are settled; when there are more, the lag is given up.
const SETTLED: usize = 10_000;
/// After how many seconds everything from the position on is looked at again.
const LOOK_AGAIN_S: u64 = 60;

/// Key of an entry: when it is due in seconds, CID, owner.
pub(super) type Key = (u64, Vec<u8>, String);

#[derive(Debug)]
struct Entry {
    /// Timestamp of the row.
    stamp: i64,
    settled: bool,
}

/// What is known of one shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Everything that was due before this second is settled.
    position: u64,
    /// The position as it is stored.
    stored: u64,
    entries: BTreeMap<Key, Entry>,
    /// The hour that is to be read next, and behind which key.
    pub hour: u64,
    pub behind: Key,
    /// When the position was the place to read from, in seconds.
    looked_s: u64,
}

impl Shard {
    /// A shard whose position is stored.
    pub(super) fn new(position: u64, now_s: u64) -> Self {
        let mut shard = Self {
            position,
            stored: position,
            ..Self::default()
        };
        shard.look_again(now_s);
        shard
    }

    fn look_again(&mut self, now_s: u64) {
        self.looked_s = now_s;
        self.hour = self.position / 3600;
        self.behind = (self.position, Vec::new(), String::new());
    }

    /// Reads from the position on again when that is due: rows may have come behind what was read.
    pub(super) fn begin(&mut self, now_s: u64) {
        if now_s.saturating_sub(self.looked_s) >= LOOK_AGAIN_S {
            self.look_again(now_s);
        }
    }

    /// Takes in a row that was read.
    pub(super) fn read(&mut self, key: Key, stamp: i64) {
        self.behind = key.clone();
        let entry = self.entries.entry(key).or_insert(Entry {
            stamp,
            settled: false,
        });
        // Written anew: it is another end.
        if entry.stamp != stamp {
            entry.stamp = stamp;
            entry.settled = false;
        }
    }

    /// Goes on with the next hour.
    pub(super) fn next_hour(&mut self) {
        self.hour += 1;
        self.behind = (self.hour * 3600, Vec::new(), String::new());
    }

    /// Whether everything up to a time was read.
    pub(super) fn is_read(&self, now_s: u64) -> bool {
        self.hour > now_s / 3600
    }

    /// What is not settled, oldest first.
    pub(super) fn open(&self) -> impl Iterator<Item = &Key> {
        let open = self.entries.iter().filter(|(_, entry)| !entry.settled);
        open.map(|(key, _)| key)
    }

    /// Settles an entry.
    pub(super) fn settle(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.settled = true;
        }
    }

    /// Moves the position over what is settled, up to where reading is; returns one that has to be stored.
    pub(super) fn advance(&mut self, now_s: u64) -> Option<u64> {
        let first_open = self.open().next().map(|key| key.0);
        let read = first_open.unwrap_or(u64::MAX).min(self.behind.0);
        let lagging = read.min(now_s.saturating_sub(LAG_S));
        self.move_to(lagging);
        if self.entries.len() > SETTLED {
            self.move_to(read);
        }
        // Being a minute back costs nothing, and saves most writes.
        (self.position >= self.stored + 60).then_some(self.position)
    }

    fn move_to(&mut self, position: u64) {
        if position > self.position {
            self.position = position;
            let rest = self
                .entries
                .split_off(&(position, Vec::new(), String::new()));
            self.entries = rest;
        }
    }

    /// A position was stored.
    pub(super) fn stored(&mut self, position: u64) {
        self.stored = self.stored.max(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(due: u64, number: u8) -> Key {
        (due, vec![number], "o".to_owned())
    }

    fn open(shard: &Shard) -> Vec<u64> {
        shard.open().map(|key| key.0).collect()
    }

    #[test]
    fn the_position_passes_what_is_settled_and_lags_behind_the_time() {
        let now_s = 1_000_000;
        let mut shard = Shard::new(now_s - 7200, now_s);
        for due in [now_s - 3600, now_s - 3000, now_s - 10] {
            shard.read(key(due, 1), 1);
        }
        assert_eq!(open(&shard), [now_s - 3600, now_s - 3000, now_s - 10]);
        shard.settle(&key(now_s - 3000, 1));
        assert_eq!(
            shard.advance(now_s),
            Some(now_s - 3600),
            "the first is open"
        );
        shard.stored(now_s - 3600);
        assert_eq!(shard.advance(now_s), None);
        shard.settle(&key(now_s - 3600, 1));
        shard.settle(&key(now_s - 10, 1));
        assert_eq!(shard.advance(now_s), Some(now_s - LAG_S));
        assert_eq!(open(&shard), [0; 0]);
        // Read again, it stays settled, unless it was written anew.
        shard.read(key(now_s - 10, 1), 1);
        assert_eq!(open(&shard), [0; 0]);
        shard.read(key(now_s - 10, 1), 2);
        assert_eq!(open(&shard), [now_s - 10]);
    }

    #[test]
    fn late_rows_are_found_when_it_looks_again() {
        let mut shard = Shard::new(7200, 9000);
        shard.read(key(8900, 1), 1);
        shard.begin(9001);
        assert_eq!(shard.behind.0, 8900);
        shard.begin(9000 + LOOK_AGAIN_S);
        assert_eq!((shard.hour, shard.behind.0), (2, 7200));
    }

    #[test]
    fn hours_are_read_one_after_the_other() {
        let mut shard = Shard::new(3600 * 5 + 7, 3600 * 6 + 1);
        assert_eq!(shard.hour, 5);
        shard.next_hour();
        assert!(!shard.is_read(3600 * 6 + 1));
        shard.next_hour();
        assert!(shard.is_read(3600 * 6 + 1));
    }

    #[test]
    fn memory_is_bounded() {
        let now_s = 1_000_000;
        let mut shard = Shard::new(now_s - 100, now_s);
        for number in 0..=SETTLED as u64 {
            let key = (now_s - 50, number.to_be_bytes().to_vec(), String::new());
            shard.read(key.clone(), 1);
            shard.settle(&key);
        }
        shard.read(key(now_s - 5, 1), 1);
        shard.advance(now_s);
        assert_eq!(shard.entries.len(), 1);
    }
}
