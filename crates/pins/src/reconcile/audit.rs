//! What workers have pinned and nobody wants: found, and handed to the shard that takes it away.

use std::sync::Arc;
use std::time::Duration;

use ues_bus::{Message, QueueSpec, Subject, WorkQueue};
use ues_data::Cid;

use super::{ReconcileError, Shared, pause};
use crate::message::{self, AUDIT, Holdings, Reported, Status};
use crate::planner::{Report, Word};

/// The pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut queue = None;
    while !shared.stop.is_cancelled() {
        if let Err(error) = step(&shared, &mut queue).await {
            shared.count(&error);
            tracing::warn!(%error, "what workers hold cannot be compared");
            queue = None;
            pause(&shared.stop, AFTER_FAILURE).await;
        }
    }
}

async fn step(
    shared: &Shared,
    queue: &mut Option<Arc<dyn WorkQueue>>,
) -> Result<(), ReconcileError> {
    let queue = match queue {
        Some(queue) => queue,
        None => {
            let spec = QueueSpec {
                name: "pin-audit".to_owned(),
                subject: Subject::new(AUDIT)?,
                ack_wait: Duration::from_secs(60),
                max_attempts: 5,
                max_in_flight: 100,
            };
            queue.insert(shared.parts.bus.queue(spec).await?)
        }
    };
    let taken = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return Ok(()),
        taken = queue.next(4, Duration::from_secs(20)) => taken?,
    };
    for delivery in taken {
        match message::read::<Holdings>(&delivery.payload) {
            Ok(holdings) => {
                compare(shared, holdings).await?;
                delivery.receipt.ack().await?;
            }
            Err(error) => delivery.receipt.give_up(&error.to_string()).await?,
        }
    }
    Ok(())
}

/// Reports what has no placement as pinned, to the shard that it belongs to: it has it given up.
async fn compare(shared: &Shared, holdings: Holdings) -> Result<(), ReconcileError> {
    let cids: Vec<Cid> = message::cids(&holdings.cids);
    let parts = &shared.parts;
    let records = parts.store.records(&cids).await?;
    let mut messages = Vec::new();
    for record in records {
        if record.placement(&holdings.peer).is_some() {
            continue;
        }
        let (bytes, content) = (0, 0);
        let report = Report {
            count: holdings.count,
            word: Word::Pinned { bytes, content },
        };
        let status = Status {
            peer: holdings.peer.clone(),
            reports: vec![Reported::new(record.cid.to_string(), report)],
        };
        let shard = parts.shards.of(&*parts.store, &record.cid);
        let subject = shard.status_subject()?;
        messages.push(Message::new(subject, message::write(&status)));
    }
    if !messages.is_empty() {
        shared.parts.bus.publish(messages).await?;
    }
    Ok(())
}
