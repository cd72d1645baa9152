//! Verdicts on deliveries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ues_storage::Batch;

use super::ledger::Open;
use super::rows::{Attempts, key};
use super::{Core, Queue, commit};
use crate::limits::{handed_back, millis};
use crate::queue::{BusError, Receipt};

/// A delivery of this bus.
pub(super) struct EmbeddedReceipt {
    core: Arc<Core>,
    queue: Arc<Queue>,
    seq: u64,
    token: u64,
}

impl EmbeddedReceipt {
    pub(super) fn new(core: &Arc<Core>, queue: &Arc<Queue>, seq: u64, token: u64) -> Self {
        Self {
            core: Arc::clone(core),
            queue: Arc::clone(queue),
            seq,
            token,
        }
    }
}

#[async_trait]
impl Receipt for EmbeddedReceipt {
    /// Also counts when the message was delivered again meanwhile: done is done.
    async fn ack(&self) -> Result<(), BusError> {
        self.core.store.ready().await;
        let mut inner = self.queue.inner.lock();
        if inner.ledger.removed {
            return Ok(());
        }
        let made_room = inner.is_full();
        let Some(open) = inner.ledger.remove(self.seq) else {
            return Ok(());
        };
        inner.ledger.settled(open.bytes);
        let mut batch = Batch::with_capacity(3, 96);
        self.core
            .remove_rows(&mut batch, self.queue.number, self.seq, &open);
        // Nobody waits for it: a message whose end is lost in a crash comes again.
        let _durable = self.queue.submit(&self.core, &inner.ledger, batch)?;
        drop(inner);
        if made_room {
            self.queue.wake.notify_waiters();
        }
        Ok(())
    }

    async fn retry_after(&self, pause: Duration) -> Result<(), BusError> {
        let last = {
            let inner = self.queue.inner.lock();
            let open = inner.ledger.delivery(self.seq, self.token);
            open.filter(|o| o.made >= inner.spec.max_attempts)
        };
        if let Some(open) = last {
            return self.give_up(&handed_back(open.made)).await;
        }
        self.core.store.ready().await;
        let now = self.core.now_ms();
        let mut inner = self.queue.inner.lock();
        let Some(open) = inner.ledger.delivery(self.seq, self.token) else {
            return Ok(());
        };
        if inner.ledger.removed {
            return Ok(());
        }
        let pause = millis(pause);
        let attempts = Attempts {
            made: open.made,
            due_ms: now.saturating_add(pause),
        };
        let mut batch = Batch::with_capacity(2, 96);
        let key = key(self.queue.number, self.seq);
        batch.put(&self.core.spaces.attempts, key, attempts.encode());
        inner.ledger.tick(now);
        inner.ledger.remove(self.seq);
        let recorded = true;
        inner
            .ledger
            .wait(self.seq, Open { recorded, ..open }, pause);
        let _durable = self.queue.submit(&self.core, &inner.ledger, batch)?;
        drop(inner);
        self.queue.wake.notify_waiters();
        Ok(())
    }

    async fn in_progress(&self) -> Result<(), BusError> {
        let now = self.core.now_ms();
        let mut inner = self.queue.inner.lock();
        if inner.ledger.delivery(self.seq, self.token).is_some() {
            let wait = millis(inner.spec.ack_wait);
            inner.ledger.tick(now);
            inner.ledger.extend(self.seq, wait);
        }
        Ok(())
    }

    /// Resolves once the dead letter is durable.
    async fn give_up(&self, reason: &str) -> Result<(), BusError> {
        self.core.store.ready().await;
        let ticket = {
            let mut inner = self.queue.inner.lock();
            let Some(open) = inner.ledger.delivery(self.seq, self.token) else {
                return Ok(());
            };
            if inner.ledger.removed {
                return Ok(());
            }
            let mut batch = Batch::new();
            let row = self.core.read(self.queue.number, self.seq)?;
            let ledger = &mut inner.ledger;
            ledger.remove(self.seq);
            match row {
                Some((row, _)) => {
                    let message = (self.seq, open);
                    self.core
                        .bury(&mut batch, &self.queue, ledger, message, &row, reason);
                }
                None => {
                    self.core
                        .remove_rows(&mut batch, self.queue.number, self.seq, &open);
                    ledger.settled(open.bytes);
                }
            }
            self.queue.submit(&self.core, ledger, batch)?
        };
        self.queue.wake.notify_waiters();
        ticket.await.map_err(commit)?;
        Ok(())
    }
}

impl Core {
    /// Removes the rows of a message that leaves its queue.
    pub(super) fn remove_rows(&self, batch: &mut Batch, number: u32, seq: u64, open: &Open) {
        let key = key(number, seq);
        batch.delete(&self.spaces.messages, key);
        if open.recorded {
            batch.delete(&self.spaces.attempts, key);
        }
    }
}
