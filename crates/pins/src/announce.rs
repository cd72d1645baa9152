//! Tells the planners which CIDs have changed requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use ues_bus::{Bus, BusError, Message};
use ues_data::Cid;

use crate::message::{self, Changed, MAX_ITEMS};
use crate::metrics::{FailureKind, Metrics};
use crate::shard::{Shard, Shards};
use crate::store::StateStore;

/// CIDs that may wait to be announced. What finds no room is not lost: the walk over all records finds it.
const ROOM: usize = 1 << 20;
/// CIDs that are gathered before they are announced.
const GATHER: usize = 4096;

/// Publishes that the requests for these CIDs changed.
///
/// # Errors
/// [`BusError`].
pub async fn publish(
    store: &dyn StateStore,
    bus: &dyn Bus,
    shards: Shards,
    cids: &[Cid],
    recover: bool,
) -> Result<(), BusError> {
    let mut by_shard: BTreeMap<Shard, Vec<String>> = BTreeMap::new();
    for cid in cids {
        let named = by_shard.entry(shards.of(store, cid)).or_default();
        named.push(cid.to_string());
    }
    let mut messages = Vec::new();
    for (shard, cids) in by_shard {
        let subject = shard
            .request_subject()
            .map_err(|e| BusError::Refused(e.to_string()))?;
        for cids in cids.chunks(MAX_ITEMS) {
            let changed = Changed {
                cids: cids.to_vec(),
                recover,
            };
            messages.push(Message::new(subject.clone(), message::write(&changed)));
        }
    }
    bus.publish(messages).await
}

/// Announces changes in the background: gathers what many callers change, so that none of them waits for the bus.
#[derive(Clone, Debug)]
pub struct Announcer(mpsc::Sender<Cid>);

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
            let mut cids = Vec::new();
            while receive.recv_many(&mut cids, GATHER).await > 0 {
                if let Err(error) = publish(&*store, &*bus, shards, &cids, false).await {
                    metrics.failure(FailureKind::Nats);
                    tracing::warn!(%error, "changes are left for the walk over all records");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                cids.clear();
            }
        });
        Self(send)
    }

    /// Announces that the requests for a CID changed.
    pub fn changed(&self, cid: Cid) {
        if self.0.try_send(cid).is_err() {
            tracing::debug!(
                "too many changes to announce; the walk over all records finds this one"
            );
        }
    }
}
