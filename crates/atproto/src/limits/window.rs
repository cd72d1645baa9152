//! Counting in fixed windows.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const SHARDS: usize = 64;
/// Keys of one shard that are counted at one time. Beyond it the windows that ended are swept out,
/// and if none did, the whole shard starts anew: a flood of addresses cannot fill the memory.
const MAX_KEYS_PER_SHARD: usize = 4096;

/// A limit: so many points in so long a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Tells limits apart, so that one counter serves all of them.
    pub id: u16,
    /// Points in a window.
    pub points: u32,
    /// Length of a window, which starts with its first request.
    pub window: Duration,
}

/// How a key stands against a limit after a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: Limit,
    /// Points left in this window.
    pub remaining: u32,
    /// When the window ends.
    pub resets_in: Duration,
    /// Whether this request went over the limit.
    pub exceeded: bool,
}

struct Window {
    used: u64,
    ends: Instant,
}

/// Counters of all limits and keys.
pub struct Windows {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<u64, Window>>>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Windows {
    /// Counts `points` for `key`. What exceeds the limit is counted, too.
    pub fn consume(&self, limit: Limit, key: &str, points: u32, now: Instant) -> Standing {
        // Keyed hashing: who does not know the key cannot make two keys collide.
        let hash = self.hasher.hash_one((limit.id, key));
        let Some(shard) = self.shards.get(hash as usize % SHARDS) else {
            return Standing {
                limit,
                remaining: limit.points,
                resets_in: limit.window,
                exceeded: false,
            };
        };
        let mut windows = shard.lock();
        if windows.len() >= MAX_KEYS_PER_SHARD && !windows.contains_key(&hash) {
            windows.retain(|_, w| w.ends > now);
            if windows.len() >= MAX_KEYS_PER_SHARD {
                windows.clear();
            }
        }
        let window = windows.entry(hash).or_insert_with(|| Window {
            used: 0,
            ends: now + limit.window,
        });
        if window.ends <= now {
            *window = Window {
                used: 0,
                ends: now + limit.window,
            };
        }
        window.used += u64::from(points);
        Standing {
            limit,
            remaining: u64::from(limit.points).saturating_sub(window.used) as u32,
            resets_in: window.ends.saturating_duration_since(now),
            exceeded: window.used > u64::from(limit.points),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        id: 1,
        points: 3,
        window: Duration::from_secs(10),
    };

    #[test]
    fn a_window_ends_and_starts_anew() {
        let windows = Windows::default();
        let start = Instant::now();
        assert_eq!(windows.consume(LIMIT, "a", 2, start).remaining, 1);
        assert!(!windows.consume(LIMIT, "a", 1, start).exceeded);
        assert!(windows.consume(LIMIT, "a", 1, start).exceeded);
        assert!(!windows.consume(LIMIT, "b", 1, start).exceeded);
        let later = start + Duration::from_secs(10);
        assert_eq!(windows.consume(LIMIT, "a", 1, later).remaining, 2);
    }

    #[test]
    fn many_keys_stay_bounded() {
        let windows = Windows::default();
        let now = Instant::now();
        for n in 0..SHARDS * MAX_KEYS_PER_SHARD * 2 {
            windows.consume(LIMIT, &n.to_string(), 1, now);
        }
        let kept: usize = windows.shards.iter().map(|s| s.lock().len()).sum();
        assert!(kept <= SHARDS * MAX_KEYS_PER_SHARD);
    }
}
