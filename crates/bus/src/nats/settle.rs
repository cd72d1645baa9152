//! Verdicts on deliveries.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{AckKind, Message};
use async_trait::async_trait;

use super::Core;
use super::publish::{Outgoing, TRACE};
use super::take::unix_ms;
use crate::limits::{self, handed_back};
use crate::queue::{BusError, QueueSpec, Receipt};

/// Headers of a dead letter.
pub(super) const SUBJECT: &str = "Ues-Subject";
pub(super) const QUEUE: &str = "Ues-Queue";
pub(super) const REASON: &str = "Ues-Reason";

/// A delivery of this bus.
pub(super) struct NatsReceipt {
    core: Arc<Core>,
    queue: String,
    max_attempts: u32,
    message: Message,
    attempt: u32,
}

impl NatsReceipt {
    pub(super) fn new(core: &Arc<Core>, spec: &QueueSpec, message: Message, attempt: u32) -> Self {
        Self {
            core: Arc::clone(core),
            queue: spec.name.clone(),
            max_attempts: spec.max_attempts,
            message,
            attempt,
        }
    }

    /// Sends a verdict. Without a connection it waits to be sent, and the caller is told.
    async fn answer(&self, kind: AckKind) -> Result<(), BusError> {
        let link = &self.core.link;
        let sent = tokio::time::timeout(link.timeout, self.message.ack_with(kind)).await;
        match sent {
            Ok(Ok(())) if link.is_up() => Ok(()),
            Ok(Ok(())) => Err(BusError::Unavailable("no connection to NATS".to_owned())),
            Ok(Err(e)) => Err(BusError::Unavailable(e.to_string())),
            Err(e) => Err(BusError::Unavailable(e.to_string())),
        }
    }

    /// Copies the message to the dead letters, then removes it from its queue.
    pub(super) async fn bury(&self, reason: &str) -> Result<(), BusError> {
        let info = self.message.info();
        let info = info.map_err(|e| BusError::Refused(e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(SUBJECT, self.message.subject.as_str());
        headers.insert(QUEUE, self.queue.as_str());
        headers.insert(REASON, limits::reason(reason));
        let trace = self.message.headers.as_ref().and_then(|h| h.get(TRACE));
        if let Some(trace) = limits::trace(trace.map(AsRef::as_ref)) {
            headers.insert(TRACE, trace);
        }
        // Should the removal get lost, the second copy is dropped.
        let nanos = info.published.unix_timestamp_nanos();
        let id = format!("{}-{}-{nanos}", info.stream, info.stream_sequence);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        tracing::warn!(
            queue = self.queue,
            published_at_ms = unix_ms(nanos),
            reason,
            "gave a message up"
        );
        self.core.link.ready().await?;
        for _ in 0..2 {
            let letter = Outgoing {
                stream: self.core.dead_stream().await?,
                subject: self.core.names.dead_subject(&self.queue),
                headers: headers.clone(),
                payload: self.message.payload.clone(),
            };
            if self.core.send(&[letter]).await?.is_empty() {
                return self.answer(AckKind::Term).await;
            }
        }
        Err(BusError::Unavailable(
            "no stream takes the dead letter".to_owned(),
        ))
    }
}

#[async_trait]
impl Receipt for NatsReceipt {
    async fn ack(&self) -> Result<(), BusError> {
        self.answer(AckKind::Ack).await
    }

    async fn retry_after(&self, pause: Duration) -> Result<(), BusError> {
        if self.attempt >= self.max_attempts {
            return self.bury(&handed_back(self.attempt)).await;
        }
        let pause = Some(pause).filter(|p| !p.is_zero());
        self.answer(AckKind::Nak(pause)).await
    }

    async fn in_progress(&self) -> Result<(), BusError> {
        self.answer(AckKind::Progress).await
    }

    async fn give_up(&self, reason: &str) -> Result<(), BusError> {
        self.bury(reason).await
    }
}
