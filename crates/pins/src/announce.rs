//! Tells the planners which CIDs have changed requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use ues_bus::{Bus, BusError, Message};
use ues_data::Cid;

use crate::message::{self, Changed, MAX_ITEMS};
use crate::metrics::{FailureKind, Metrics};
use crate::shard::{Shard, Shards};
use crate::store::StateStore;
use crate::trace::{self, Causes, TraceParent};

/// CIDs that may wait to be announced. What finds no room is not lost: the walk over all records finds it.
const ROOM: usize = 1 << 20;
/// CIDs that are announced together at most.
const GATHER: usize = 8192;
/// The least time between two announcements. The first change after a pause goes at once; under load everything behind
/// it works on many CIDs at a time.
const GATHER_TIME: Duration = Duration::from_millis(25);

/// A CID whose requests changed, and the trace in which they did.
pub type Announced = (Cid, Option<TraceParent>);

/// Publishes that the requests for these CIDs changed.
///
/// # Errors
/// [`BusError`].
pub async fn publish(
    store: &dyn StateStore,
    bus: &dyn Bus,
    shards: Shards,
    announced: &[Announced],
    recover: bool,
) -> Result<(), BusError> {
    let mut by_shard: BTreeMap<Shard, Vec<&Announced>> = BTreeMap::new();
    for one in announced {
        by_shard
            .entry(shards.of(store, &one.0))
            .or_default()
            .push(one);
    }
    let mut messages = Vec::new();
    // They end when all is published.
    let mut spans = Vec::new();
    for (shard, announced) in by_shard {
        let subject = shard
            .request_subject()
            .map_err(|e| BusError::Refused(e.to_string()))?;
        for announced in announced.chunks(MAX_ITEMS) {
            let cids = announced.iter().map(|(cid, _)| cid.to_string()).collect();
            let changed = Changed { cids, recover };
            let causes: Causes = announced.iter().filter_map(|(_, trace)| *trace).collect();
            let span = causes.span(|| {
                tracing::info_span!(target: trace::TARGET, "announce", otel.kind = "producer",
                    shard = i64::from(shard.0), cids = trace::number(announced.len()))
            });
            messages.push(Message {
                trace: trace::header(&span),
                ..Message::new(subject.clone(), message::write(&changed))
            });
            spans.push(span);
        }
    }
    bus.publish(messages).await
}

/// Announces changes in the background: gathers what many callers change, so that none of them waits for the bus.
#[derive(Clone, Debug)]
pub struct Announcer(mpsc::Sender<Announced>);

impl Announcer {
    /// Starts it; it ends when its last clone is dropped.
    pub fn start(
        store: Arc<dyn StateStore>,
        bus: Arc<dyn Bus>,
        shards: Shards,
        metrics: Metrics,
    ) -> Self {
        let (send, mut receive) = mpsc::channel(ROOM);
        tokio::spawn(async move {
            let mut announced = Vec::new();
            let mut next = Instant::now();
            while receive.recv_many(&mut announced, GATHER).await > 0 {
                tokio::time::sleep_until(next).await;
                while announced.len() < GATHER
                    && let Ok(one) = receive.try_recv()
                {
                    announced.push(one);
                }
                next = Instant::now() + GATHER_TIME;
                if let Err(error) = publish(&*store, &*bus, shards, &announced, false).await {
                    metrics.failure(FailureKind::Nats);
                    tracing::warn!(%error, "changes are left for the walk over all records");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                announced.clear();
            }
        });
        Self(send)
    }

    /// Announces that the requests for a CID changed.
    pub fn changed(&self, cid: Cid) {
        if self.0.try_send((cid, TraceParent::current())).is_err() {
            tracing::debug!(
                "too many changes to announce; the walk over all records finds this one"
            );
        }
    }
}
