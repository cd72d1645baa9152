//! The one task that follows the log and makes each message once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use ues_repo::repo::event::LogEvent;
use ues_repo::syntax::Datetime;
use ues_storage::Store;

use crate::config::Firehose as Config;

use super::message;
use super::ring::Ring;
use super::told::Told;

/// Events and bytes that one step reads from the log.
const STEP_EVENTS: usize = 4096;
const STEP_BYTES: usize = 4 << 20;
/// Subscribers that may read the log in large pieces at one time; the others read small ones.
const WIDE_READERS: usize = 16;

/// The live end of the stream.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub store: Store,
    pub config: Config,
    pub ring: Ring,
    pub told: Told,
    pub stopping: CancellationToken,
    /// Places of those who read the log in large pieces.
    pub wide: Arc<Semaphore>,
    subscribers: AtomicUsize,
}

impl Hub {
    /// A hub over a store's log. [`Hub::run`] makes it live.
    pub fn new(store: Store, config: Config, told: Told) -> Self {
        let ring = Ring::new(store.log().last_durable(), config.ring_bytes);
        Self {
            inner: Arc::new(Inner {
                store,
                config,
                ring,
                told,
                stopping: CancellationToken::new(),
                wide: Arc::new(Semaphore::new(WIDE_READERS)),
                subscribers: AtomicUsize::new(0),
            }),
        }
    }

    /// The oldest event that who starts from a cursor is sent: the first of the log, or the first
    /// that is not older than the configured limit. `newest` is the newest event.
    pub fn oldest_served(
        &self,
        newest: u64,
    ) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
        let log = self.inner.store.log();
        let mut first = log.first_seq();
        let limit = self.inner.config.backfill_limit_s;
        if limit == 0 {
            return Ok(first);
        }
        let limit = i64::try_from(limit)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000);
        let horizon = Datetime::now().unix_millis().saturating_sub(limit);
        let mut end = newest + 1;
        // Times rise with the numbers, so the border is found by halving.
        while first < end {
            let middle = first + (end - first) / 2;
            let event = log.read(middle - 1, 1, 1)?.into_iter().next();
            let event = event.ok_or_else(|| format!("event {middle} is missing"))?;
            let event = LogEvent::decode(&event.payload)?;
            if Datetime::parse(event.time())?.unix_millis() < horizon {
                first = middle + 1;
            } else {
                end = middle;
            }
        }
        Ok(first)
    }

    /// Follows the log until the hub is stopped.
    pub async fn run(self) {
        let inner = &self.inner;
        let mut durable = inner.store.log().subscribe();
        loop {
            tokio::select! {
                () = inner.stopping.cancelled() => return,
                changed = durable.changed() => if changed.is_err() { return },
            }
            let newest = *durable.borrow_and_update();
            if inner.subscribers.load(Ordering::Acquire) == 0 {
                inner.ring.skip_to(newest);
                continue;
            }
            if let Err(cause) = self.catch_up(newest) {
                // Subscribers read the log themselves and meet the same fault.
                tracing::error!(%cause, "the event stream cannot read the log");
                inner.ring.skip_to(newest);
            }
        }
    }

    fn catch_up(&self, newest: u64) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let inner = &self.inner;
        while inner.ring.last() < newest {
            let events = inner
                .store
                .log()
                .read(inner.ring.last(), STEP_EVENTS, STEP_BYTES)?;
            let Some(first) = events.first().map(|e| e.seq) else {
                break;
            };
            let messages: Vec<_> = events
                .iter()
                .map(|event| message::event(&inner.told.now(event)?))
                .collect::<Result<_, _>>()?;
            inner.ring.push(first, messages);
        }
        Ok(())
    }

    /// To be called when more is withheld than before: what is kept in memory may hold some of it.
    pub fn withhold(&self) {
        self.inner.ring.forget();
    }

    /// Tells all subscribers that the node stops, and ends [`Hub::run`].
    pub fn stop(&self) {
        self.inner.stopping.cancel();
    }

    /// Waits until the hub is stopped.
    pub async fn stopped(&self) {
        self.inner.stopping.cancelled().await;
    }

    /// Subscribers now.
    pub fn subscribers(&self) -> usize {
        self.inner.subscribers.load(Ordering::Acquire)
    }

    pub(super) fn shared(&self) -> &Inner {
        &self.inner
    }

    /// Counts a subscriber in, until the ticket is dropped; `None` when there are too many.
    pub(crate) fn enter(&self) -> Option<Present> {
        let count = &self.inner.subscribers;
        let before = count.fetch_add(1, Ordering::AcqRel);
        let ticket = Present { hub: self.clone() };
        (before < self.inner.config.max_subscribers).then_some(ticket)
    }
}

/// A subscriber's presence.
pub(crate) struct Present {
    hub: Hub,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.hub.inner.subscribers.fetch_sub(1, Ordering::AcqRel);
    }
}
