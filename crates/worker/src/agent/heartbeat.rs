//! What a worker tells of itself, and the list of all that it has pinned.

use std::sync::Arc;

use futures::StreamExt;
use ues_bus::{BusError, Message, Subject};
use ues_pins::heartbeat::{self, Heartbeat};
use ues_pins::message::{self, Holdings, MAX_ITEMS};

use super::Shared;
use crate::backend::{BackendStatus, JobError};

/// The pause after the first heartbeat, twice as long after each: whoever makes the queue of heartbeats may start at the
/// same time, and what is published before there is one may be lost.
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
/// Longest that a backend may take to tell of itself.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
/// When all that is pinned is told for the first time: what a crash has interrupted was given to this worker once more by then, though
/// nobody may want it any longer.
const FIRST_AUDIT: std::time::Duration = std::time::Duration::from_secs(90);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let status = tokio::time::timeout(PATIENCE, shared.backend.status()).await;
        let status = status
            .unwrap_or_else(|_| Err(JobError::Retry("the backend does not answer".to_owned())));
        let content = status.as_ref().ok().map(|s| content_mark(&s.content_id));
        shared.content.send_if_modified(|known| {
            let new = *known != content;
            *known = content;
            new
        });
        if let Err(error) = &status {
            tracing::warn!(%error, "the worker's backend does not work");
        }
        if let Err(error) = beat(&shared, status).await {
            tracing::warn!(%error, "a heartbeat is lost");
        }
        if !shared.pause(pause.min(shared.options.heartbeat)).await {
            return;
        }
        pause = pause.saturating_mul(2).min(shared.options.heartbeat);
    }
}

async fn beat(shared: &Shared, status: Result<BackendStatus, JobError>) -> Result<(), BusError> {
    let options = &shared.options;
    let (status, failing) = match status {
        Ok(status) => (Some(status), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let beat = Heartbeat {
        id: options.id.clone(),
        name: options.name.clone(),
        free: status.as_ref().map_or(0, |s| s.free),
        used: status.as_ref().map_or(0, |s| s.used),
        pins: status.as_ref().and_then(|s| s.pins),
        tags: options.tags.clone(),
        concurrency: options.concurrency,
        failing,
        content: shared.content.borrow().unwrap_or_default(),
        exclusive: options.exclusive,
        ipfs_id: status
            .as_ref()
            .and_then(|s| s.ipfs_id.clone())
            .unwrap_or_default(),
        ipfs_addresses: status
            .as_ref()
            .map(|s| s.ipfs_addresses.clone())
            .unwrap_or_default(),
        agent: status.map(|s| s.agent).unwrap_or_default(),
    };
    let subject = heartbeat::subject().map_err(|e| BusError::Refused(e.to_string()))?;
    shared
        .bus
        .publish(vec![Message::new(subject, beat.write())])
        .await
}

/// Hash of the name of what a backend holds.
fn content_mark(name: &str) -> u32 {
    let hash = blake3::hash(name.as_bytes());
    let first = hash.as_bytes().first_chunk::<4>();
    first.map_or(1, |bytes| u32::from_be_bytes(*bytes).max(1))
}

/// Tells from time to time all that is pinned, so that what nobody wants is found.
pub(super) async fn audit(shared: Arc<Shared>) {
    let mut pause = shared.options.audit.min(FIRST_AUDIT);
    while shared.pause(pause).await {
        pause = shared.options.audit;
        if let Err(error) = audit_once(&shared).await {
            tracing::warn!(%error, "what is pinned cannot be listed");
        }
    }
}

async fn audit_once(shared: &Shared) -> Result<(), JobError> {
    let pins = shared.backend.pins();
    let mut pieces = pins.chunks(MAX_ITEMS);
    while let Some(piece) = pieces.next().await {
        if shared.stop.is_cancelled() {
            return Ok(());
        }
        let pins: Vec<_> = piece.into_iter().collect::<Result<_, _>>()?;
        let holdings = Holdings {
            peer: shared.options.id.clone(),
            count: shared.count(),
            cids: pins.into_iter().map(|(cid, _)| cid.to_string()).collect(),
        };
        let lost = |e: &dyn std::fmt::Display| JobError::Retry(e.to_string());
        let subject = Subject::new(message::AUDIT).map_err(|e| lost(&e))?;
        let message = Message::new(subject, message::write(&holdings));
        shared
            .bus
            .publish(vec![message])
            .await
            .map_err(|e| lost(&e))?;
    }
    Ok(())
}
