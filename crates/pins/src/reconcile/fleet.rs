//! Keeps the list of workers fresh: takes their heartbeats from the bus, and reads the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use ues_bus::{QueueSpec, WorkQueue};

use super::{ReconcileError, Shared, pause};
use crate::fleet::{Fleet, Worker};
use crate::heartbeat::{self, Heartbeat};

/// How often the list is read again.
const REFRESH: Duration = Duration::from_secs(1);

pub(super) async fn run(shared: Arc<Shared>, writer: watch::Sender<Arc<Fleet>>) {
    let mut queue = None;
    loop {
        if let Err(error) = step(&shared, &mut queue, &writer).await {
            shared.count(&error);
            tracing::warn!(%error, "the list of workers cannot be kept");
            queue = None;
        }
        // The queue itself waits for heartbeats; this only slows down what fails.
        let time = if queue.is_some() {
            Duration::ZERO
        } else {
            REFRESH
        };
        if !pause(&shared.stop, time).await {
            return;
        }
    }
}

async fn step(
    shared: &Shared,
    queue: &mut Option<Arc<dyn WorkQueue>>,
    writer: &watch::Sender<Arc<Fleet>>,
) -> Result<(), ReconcileError> {
    let parts = &shared.parts;
    let beats = match queue {
        Some(beats) => beats,
        None => {
            let spec = QueueSpec {
                name: "pin-worker".to_owned(),
                subject: heartbeat::subject()?,
                ack_wait: Duration::from_secs(30),
                max_attempts: 5,
                max_in_flight: 1000,
            };
            queue.insert(parts.bus.queue(spec).await?)
        }
    };
    let taken = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return Ok(()),
        taken = beats.next(100, REFRESH) => taken?,
    };
    for delivery in taken {
        match Heartbeat::read(&delivery.payload) {
            Ok(beat) => {
                let sent = delivery.published_at_ms.min(parts.clock.now_ms());
                parts.store.put_worker(beat.into_worker(sent)).await?;
                delivery.receipt.ack().await?;
            }
            Err(error) => delivery.receipt.give_up(&error.to_string()).await?,
        }
    }
    let fleet = Fleet::new(parts.store.workers().await?);
    let changed = marks(&writer.borrow(), shared) != marks(&fleet, shared);
    writer.send_replace(Arc::new(fleet));
    if changed {
        shared.sweep_now.notify_waiters();
    }
    Ok(())
}

/// What of the workers makes plans change.
fn marks(fleet: &Fleet, shared: &Shared) -> Vec<(Vec<u8>, u32, bool, u8)> {
    let now_ms = shared.parts.clock.now_ms();
    let policy = &shared.parts.policy;
    let presence = |worker: &Worker| {
        let silence = now_ms.saturating_sub(worker.seen_ms);
        u8::from(silence > policy.away_ms) + u8::from(silence > policy.lost_ms)
    };
    let mark = |w: &Worker| {
        let usable = w.draining || w.failing.is_some();
        (w.id.as_bytes().to_vec(), w.content, usable, presence(w))
    };
    fleet.workers().iter().map(mark).collect()
}
