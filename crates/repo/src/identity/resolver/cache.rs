//! A cache that renews what grows old while it still gives it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use super::ResolveError;

/// Most questions under way at the same time.
const MAX_FLIGHTS: usize = 256;
/// What an entry takes besides its value, in bytes.
const ENTRY_OVERHEAD: u64 = 256;
/// An entry of this size is usual; only used to lay out the cache.
const USUAL_ENTRY: u64 = 1024;

/// How long answers are good for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    pub(super) stale: Duration,
    pub(super) expired: Duration,
    pub(super) no: Duration,
}

type Outcome<V> = Result<V, ResolveError>;
type Flight<V> = Shared<BoxFuture<'static, Outcome<V>>>;

/// Answers by question. One question is asked once at a time, however many want to know.
pub(super) struct StaleCache<K, V> {
    entries: Cache<K, Entry<V>, ByBytes>,
    flights: Mutex<HashMap<K, Flight<V>>>,
    permits: Semaphore,
    ages: Ages,
}

#[derive(Clone)]
struct Entry<V> {
    outcome: Outcome<V>,
    bytes: u64,
    since: Instant,
}

#[derive(Clone)]
struct ByBytes;

impl<K, V> Weighter<K, Entry<V>> for ByBytes {
    fn weight(&self, _: &K, entry: &Entry<V>) -> u64 {
        ENTRY_OVERHEAD + entry.bytes
    }
}

/// What a cache says at some moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<V> {
    Fresh(Outcome<V>),
    /// Good enough, and to be renewed.
    Stale(V),
    Nothing,
}

impl<K, V> StaleCache<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(max_bytes: u64, ages: Ages) -> Arc<Self> {
        let items = usize::try_from(max_bytes / USUAL_ENTRY).unwrap_or(usize::MAX);
        Arc::new(Self {
            entries: Cache::with_weighter(items.max(1), max_bytes, ByBytes),
            flights: Mutex::default(),
            permits: Semaphore::new(MAX_FLIGHTS),
            ages,
        })
    }

    /// The answer; `ask` is called if there is none, or an old one, and gives it with its size in bytes.
    pub(super) async fn get<F>(self: &Arc<Self>, key: &K, ask: impl FnOnce() -> F) -> Outcome<V>
    where
        F: Future<Output = Result<(V, usize), ResolveError>> + Send + 'static,
    {
        match self.look(key, Instant::now()) {
            Found::Fresh(outcome) => outcome,
            Found::Stale(value) => {
                drop(self.fly(key, ask));
                Ok(value)
            }
            Found::Nothing => self.fly(key, ask).await,
        }
    }

    /// Asks, whatever the cache says.
    pub(super) async fn renew<F>(self: &Arc<Self>, key: &K, ask: impl FnOnce() -> F) -> Outcome<V>
    where
        F: Future<Output = Result<(V, usize), ResolveError>> + Send + 'static,
    {
        self.fly(key, ask).await
    }

    /// Forgets an answer.
    pub(super) fn forget(&self, key: &K) {
        self.entries.remove(key);
    }

    pub(super) fn look(&self, key: &K, now: Instant) -> Found<V> {
        let Some(entry) = self.entries.get(key) else {
            return Found::Nothing;
        };
        let age = now.saturating_duration_since(entry.since);
        match entry.outcome {
            Err(no) if age < self.ages.no => Found::Fresh(Err(no)),
            Ok(value) if age < self.ages.stale => Found::Fresh(Ok(value)),
            Ok(value) if age < self.ages.expired => Found::Stale(value),
            _ => Found::Nothing,
        }
    }

    pub(super) fn keep(&self, key: K, outcome: Outcome<V>, bytes: usize, now: Instant) {
        let entry = Entry {
            outcome,
            bytes: bytes as u64,
            since: now,
        };
        self.entries.insert(key, entry);
    }

    /// Joins the question that is under way, or asks. The question ends even if nobody waits any more.
    fn fly<F>(self: &Arc<Self>, key: &K, ask: impl FnOnce() -> F) -> Flight<V>
    where
        F: Future<Output = Result<(V, usize), ResolveError>> + Send + 'static,
    {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(key) {
            return flight.clone();
        }
        let (cache, key_inside, question) = (Arc::clone(self), key.clone(), ask());
        let task = tokio::spawn(async move {
            let permit = cache.permits.acquire().await;
            let answer = question.await;
            drop(permit);
            let now = Instant::now();
            let outcome = match answer {
                Ok((value, bytes)) => {
                    cache.keep(key_inside.clone(), Ok(value.clone()), bytes, now);
                    Ok(value)
                }
                Err(no) => {
                    if no.is_definite() {
                        cache.keep(key_inside.clone(), Err(no.clone()), 0, now);
                    }
                    Err(no)
                }
            };
            cache.flights.lock().remove(&key_inside);
            outcome
        });
        let flight = task
            .map(|ended| {
                ended.unwrap_or_else(|e| {
                    Err(ResolveError::Unreachable {
                        what: "the resolver".to_owned(),
                        why: e.to_string(),
                    })
                })
            })
            .boxed()
            .shared();
        flights.insert(key.clone(), flight.clone());
        flight
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::syntax::Did;

    const AGES: Ages = Ages {
        stale: Duration::from_secs(10),
        expired: Duration::from_secs(100),
        no: Duration::from_secs(5),
    };

    fn no() -> ResolveError {
        ResolveError::DidNotFound(Did::parse("did:plc:none").unwrap())
    }

    #[test]
    fn answers_grow_old() {
        let cache = StaleCache::<u8, u8>::new(1 << 20, AGES);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(cache.look(&1, start), Found::Nothing);
        cache.keep(1, Ok(7), 0, start);
        assert_eq!(cache.look(&1, at(9)), Found::Fresh(Ok(7)));
        assert_eq!(cache.look(&1, at(10)), Found::Stale(7));
        assert_eq!(cache.look(&1, at(99)), Found::Stale(7));
        assert_eq!(cache.look(&1, at(100)), Found::Nothing);
        cache.keep(2, Err(no()), 0, start);
        assert_eq!(cache.look(&2, at(4)), Found::Fresh(Err(no())));
        assert_eq!(cache.look(&2, at(5)), Found::Nothing);
        cache.forget(&1);
        assert_eq!(cache.look(&1, start), Found::Nothing);
    }

    #[test]
    fn memory_is_bounded() {
        let cache = StaleCache::<u32, u8>::new(64 << 10, AGES);
        for key in 0..10_000 {
            cache.keep(key, Ok(0), 1000, Instant::now());
        }
        assert!(cache.entries.weight() <= 64 << 10);
    }

    #[tokio::test]
    async fn many_who_ask_share_one_question() {
        let cache = StaleCache::<u8, u8>::new(1 << 20, AGES);
        let asked = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(tokio::sync::Notify::new());
        let ask = || {
            let (asked, gate) = (asked.clone(), gate.clone());
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Ok((7, 1))
            }
        };
        let everyone = futures::future::join_all((0..50).map(|_| cache.get(&1, ask)));
        let (answers, ()) = tokio::join!(everyone, async { gate.notify_one() });
        assert!(answers.iter().all(|answer| *answer == Ok(7)));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(cache.flights.lock().is_empty());
    }

    #[tokio::test]
    async fn an_old_answer_is_given_and_renewed_behind_it() {
        let ages = Ages {
            stale: Duration::ZERO,
            ..AGES
        };
        let cache = StaleCache::<u8, u8>::new(1 << 20, ages);
        cache.keep(1, Ok(1), 0, Instant::now());
        assert_eq!(cache.get(&1, || async { Ok((2, 0)) }).await, Ok(1));
        let flight = cache.flights.lock().get(&1).cloned();
        if let Some(flight) = flight {
            flight.await.unwrap();
        }
        assert_eq!(cache.look(&1, Instant::now()), Found::Stale(2));
    }

    #[tokio::test]
    async fn a_failing_network_does_not_wipe_an_answer_and_is_not_remembered() {
        let cache = StaleCache::<u8, u8>::new(1 << 20, AGES);
        let down = || async {
            Err(ResolveError::Unreachable {
                what: "x".to_owned(),
                why: "y".to_owned(),
            })
        };
        assert!(cache.get(&1, down).await.is_err());
        assert_eq!(cache.look(&1, Instant::now()), Found::Nothing);
        cache.keep(1, Ok(1), 0, Instant::now());
        assert!(cache.renew(&1, down).await.is_err());
        assert_eq!(cache.get(&1, down).await, Ok(1));
    }
}
