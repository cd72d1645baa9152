//! A cache bounded by bytes, and a limit on memory for the whole process.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;

/// What an entry costs besides its own bytes.
const ENTRY_OVERHEAD: u64 = 64;

/// Bytes that a key or value occupies, as the cache counts them.
pub trait ByteSize {
    /// The size in bytes; cheap to compute and the same each time.
    fn byte_size(&self) -> usize;
}

impl ByteSize for bytes::Bytes {
    fn byte_size(&self) -> usize {
        self.len()
    }
}

impl ByteSize for String {
    fn byte_size(&self) -> usize {
        self.len()
    }
}

impl<T: ByteSize + ?Sized> ByteSize for Arc<T> {
    fn byte_size(&self) -> usize {
        (**self).byte_size()
    }
}

impl<T> ByteSize for Vec<T> {
    fn byte_size(&self) -> usize {
        self.len() * size_of::<T>()
    }
}

impl<T: ByteSize> ByteSize for Option<T> {
    fn byte_size(&self) -> usize {
        self.as_ref().map_or(0, ByteSize::byte_size)
    }
}

macro_rules! fixed_size {
    ($($t:ty),*) => {$(
        impl ByteSize for $t {
            fn byte_size(&self) -> usize {
                size_of::<$t>()
            }
        }
    )*};
}
fixed_size!(
    u8,
    u32,
    u64,
    i64,
    usize,
    bool,
    [u8; 16],
    [u8; 32],
    crate::Multihash
);

#[derive(Clone)]
struct Entry<V> {
    value: V,
    expires_at_ms: Option<u64>,
}

#[derive(Clone)]
struct Weighter;

impl<K: ByteSize, V: ByteSize> quick_cache::Weighter<K, Entry<V>> for Weighter {
    fn weight(&self, key: &K, entry: &Entry<V>) -> u64 {
        (key.byte_size() + entry.value.byte_size()) as u64 + ENTRY_OVERHEAD
    }
}

/// Counts of a cache since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads that found a live value.
    pub hits: u64,
    /// Reads that found nothing, or an expired value.
    pub misses: u64,
    /// Entries held now.
    pub entries: usize,
    /// Bytes held now.
    pub bytes: u64,
    /// Bytes that it holds at most.
    pub max_bytes: u64,
}

/// A concurrent cache that holds at most so many bytes and evicts what is used least. Entries may expire.
///
/// It is not told what is durable: who writes through it must remove or replace entries after the commit.
pub struct Cache<K, V> {
    entries: quick_cache::sync::Cache<K, Entry<V>, Weighter>,
    clock: Clock,
    hits: AtomicU64,
    misses: AtomicU64,
    _reserved: Option<Reservation>,
}

impl<K: ByteSize + Eq + Hash + Clone, V: ByteSize + Clone> Cache<K, V> {
    /// A cache of at most `max_bytes`, for entries of about `entry_bytes` each.
    pub fn new(max_bytes: u64, entry_bytes: u64, clock: Clock) -> Self {
        let expected = max_bytes / (entry_bytes + ENTRY_OVERHEAD).max(1);
        let expected = usize::try_from(expected.clamp(16, 1 << 20)).unwrap_or(1 << 20);
        Self {
            entries: quick_cache::sync::Cache::with_weighter(expected, max_bytes, Weighter),
            clock,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            _reserved: None,
        }
    }

    /// A cache whose bytes are taken out of a budget for as long as it lives.
    ///
    /// # Errors
    ///
    /// When the budget has not that much left.
    pub fn within(
        budget: &MemoryBudget,
        max_bytes: u64,
        entry_bytes: u64,
        clock: Clock,
    ) -> Result<Self, OverBudget> {
        let reserved = budget.try_reserve(max_bytes)?;
        Ok(Self {
            _reserved: Some(reserved),
            ..Self::new(max_bytes, entry_bytes, clock)
        })
    }

    /// The value of a key, if it is held and has not expired.
    pub fn get(&self, key: &K) -> Option<V> {
        let entry = self.entries.get(key);
        let live = entry.filter(|e| e.expires_at_ms.is_none_or(|at| at > self.clock.now_ms()));
        let counter = if live.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        live.map(|e| e.value)
    }

    /// Holds a value. One that is larger than the whole cache is not kept.
    pub fn insert(&self, key: K, value: V) {
        self.entries.insert(
            key,
            Entry {
                value,
                expires_at_ms: None,
            },
        );
    }

    /// Holds a value for a limited time.
    pub fn insert_with_ttl(&self, key: K, value: V, ttl: Duration) {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let expires_at_ms = Some(self.clock.now_ms().saturating_add(ttl));
        self.entries.insert(
            key,
            Entry {
                value,
                expires_at_ms,
            },
        );
    }

    /// Forgets a key.
    pub fn remove(&self, key: &K) {
        self.entries.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.clear();
    }

    /// Counts since the cache was made.
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            entries: self.entries.len(),
            bytes: self.entries.weight(),
            max_bytes: self.entries.capacity(),
        }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("hits", &self.hits)
            .field("misses", &self.misses)
            .finish_non_exhaustive()
    }
}

/// There is not that much memory left in the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes of memory wanted, {available} of {total} are left")]
#[non_exhaustive]
pub struct OverBudget {
    /// Bytes that were asked for.
    pub wanted: u64,
    /// Bytes that were left.
    pub available: u64,
    /// Bytes of the whole budget.
    pub total: u64,
}

/// A limit on the memory that the parts of a process take for data: caches for good, requests while they run.
/// Whoever finds it exhausted waits or refuses, so that no load runs the process out of memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    kib: Arc<Semaphore>,
    total_kib: u32,
}

/// Memory taken out of a [`MemoryBudget`] until this is dropped.
#[derive(Debug)]
#[must_use = "the memory is given back when this is dropped"]
pub struct Reservation {
    _permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    /// A budget of so many bytes, counted in steps of 1024.
    pub fn new(total_bytes: u64) -> Self {
        let total_kib = u32::try_from(total_bytes / 1024)
            .unwrap_or(u32::MAX)
            .min(1 << 28);
        Self {
            kib: Arc::new(Semaphore::new(total_kib as usize)),
            total_kib,
        }
    }

    /// Takes memory at once, or says how much is left.
    ///
    /// # Errors
    ///
    /// When there is not that much left.
    pub fn try_reserve(&self, bytes: u64) -> Result<Reservation, OverBudget> {
        let over = || OverBudget {
            wanted: bytes,
            available: self.available(),
            total: self.total(),
        };
        let kib = self.to_kib(bytes).ok_or_else(over)?;
        let permit = Arc::clone(&self.kib)
            .try_acquire_many_owned(kib)
            .map_err(|_| over())?;
        Ok(Reservation { _permit: permit })
    }

    /// Takes memory, waiting in line until there is enough.
    ///
    /// # Errors
    ///
    /// When the whole budget is smaller than that.
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation, OverBudget> {
        let over = || OverBudget {
            wanted: bytes,
            available: self.available(),
            total: self.total(),
        };
        let kib = self.to_kib(bytes).ok_or_else(over)?;
        let permit = Arc::clone(&self.kib)
            .acquire_many_owned(kib)
            .await
            .map_err(|_| over())?;
        Ok(Reservation { _permit: permit })
    }

    /// Bytes that are left.
    pub fn available(&self) -> u64 {
        self.kib.available_permits() as u64 * 1024
    }

    /// Bytes of the whole budget.
    pub fn total(&self) -> u64 {
        u64::from(self.total_kib) * 1024
    }

    fn to_kib(&self, bytes: u64) -> Option<u32> {
        u32::try_from(bytes.div_ceil(1024))
            .ok()
            .filter(|&kib| kib <= self.total_kib)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn bytes_are_bounded_and_counted() {
        let cache = Cache::new(64 << 10, 1000, Clock::system());
        for n in 0..1000u64 {
            cache.insert(n, Bytes::from(vec![0; 1000]));
        }
        let stats = cache.stats();
        assert!(stats.bytes <= 64 << 10, "{stats:?}");
        assert!(stats.entries > 10, "{stats:?}");
        cache.insert(5000, Bytes::from_static(b"here"));
        assert_eq!(cache.get(&5000).unwrap(), "here");
        assert!(cache.get(&9999).is_none());
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (1, 1));
        cache.remove(&5000);
        assert!(cache.get(&5000).is_none());
    }

    #[test]
    fn entries_expire() {
        let now = Arc::new(AtomicU64::new(1000));
        let clock = Clock::new({
            let now = Arc::clone(&now);
            move || now.load(Ordering::Relaxed)
        });
        let cache = Cache::new(1 << 20, 100, clock);
        cache.insert_with_ttl(1u64, Bytes::from_static(b"x"), Duration::from_millis(10));
        assert!(cache.get(&1).is_some());
        now.store(1010, Ordering::Relaxed);
        assert!(cache.get(&1).is_none());
    }

    #[test]
    fn a_budget_is_not_exceeded() {
        let budget = MemoryBudget::new(10 << 10);
        let six = budget.try_reserve(6000).unwrap();
        assert!(budget.try_reserve(6000).is_err());
        assert!(Cache::<u64, Bytes>::within(&budget, 1 << 20, 100, Clock::system()).is_err());
        drop(six);
        let cache = Cache::<u64, Bytes>::within(&budget, 10 << 10, 100, Clock::system()).unwrap();
        assert_eq!(budget.available(), 0);
        drop(cache);
        assert_eq!(budget.available(), budget.total());
    }
}
