//! Taking messages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use ues_storage::{Batch, Ticket};

use super::ledger::{Ledger, Open};
use super::rows::{Attempts, StoredMessage, key, seq_of};
use super::settle::EmbeddedReceipt;
use super::{Core, Queue, commit, storage};
use crate::limits::{millis, unanswered};
use crate::queue::{BusError, Delivery, QueueSpec, WorkQueue};

/// Rows that are read under the lock at most, when many of them wait for a later time.
const SCAN: usize = 1_000;
/// Bytes that one call takes at most, so that its memory is bounded.
const TAKE_BYTES: usize = 16 << 20;
/// A wait that is as good as for ever.
const LONG: Duration = Duration::from_secs(86_400 * 365);

/// A handle to a queue.
pub(super) struct Consumer {
    core: Arc<Core>,
    queue: Arc<Queue>,
}

/// What a look into the queue gave.
enum Taken {
    /// Deliveries; to be handed out when the ticket says that this is durable.
    Some(Vec<Picked>, Ticket),
    /// Nothing, but what was published before this number is visible when the ticket resolves.
    Behind(u64, Ticket),
    /// Nothing yet; look again.
    Again(Option<Ticket>),
    /// Nothing for so many milliseconds, unless somebody calls.
    Nothing(Option<u64>),
}

struct Picked {
    seq: u64,
    token: u64,
    attempt: u32,
    message: StoredMessage,
}

impl Consumer {
    pub(super) fn new(core: Arc<Core>, queue: Arc<Queue>) -> Self {
        Self { core, queue }
    }

    async fn hand_out(
        &self,
        picked: Vec<Picked>,
        ticket: Ticket,
    ) -> Result<Vec<Delivery>, BusError> {
        let mut back = PutBack {
            queue: &self.queue,
            picked,
        };
        ticket.await.map_err(commit)?;
        let picked = std::mem::take(&mut back.picked);
        Ok(picked.into_iter().map(|p| self.delivery(p)).collect())
    }

    fn delivery(&self, picked: Picked) -> Delivery {
        let receipt = EmbeddedReceipt::new(&self.core, &self.queue, picked.seq, picked.token);
        Delivery {
            subject: picked.message.subject,
            payload: picked.message.payload,
            trace: picked.message.trace,
            attempt: picked.attempt,
            published_at_ms: picked.message.published_at_ms,
            receipt: Box::new(receipt),
        }
    }
}

#[async_trait]
impl WorkQueue for Consumer {
    async fn next(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        let deadline = Instant::now() + wait.min(LONG);
        let mut visible = 0;
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            let mut called = std::pin::pin!(self.queue.wake.notified());
            called.as_mut().enable();
            self.core.store.ready().await;
            match self.core.take(&self.queue, max, visible)? {
                Taken::Some(picked, ticket) => return self.hand_out(picked, ticket).await,
                Taken::Behind(before, ticket) => {
                    ticket.await.map_err(commit)?;
                    visible = before;
                }
                Taken::Again(Some(ticket)) => {
                    ticket.await.map_err(commit)?;
                }
                Taken::Again(None) => tokio::task::yield_now().await,
                Taken::Nothing(pause) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return Ok(Vec::new());
                    }
                    let pause = pause.map_or(LONG, Duration::from_millis).min(LONG);
                    tokio::select! {
                        () = called => (),
                        () = tokio::time::sleep_until(deadline.min(now + pause)) => (),
                    }
                }
            }
        }
    }
}

/// Deliveries that nobody got, because the call was cancelled or the store failed, come again at once and do not count.
struct PutBack<'a> {
    queue: &'a Queue,
    picked: Vec<Picked>,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        if self.picked.is_empty() {
            return;
        }
        let mut inner = self.queue.inner.lock();
        let ledger = &mut inner.ledger;
        for picked in &self.picked {
            if let Some(open) = ledger.delivery(picked.seq, picked.token) {
                ledger.remove(picked.seq);
                let made = open.made.saturating_sub(1);
                ledger.wait(picked.seq, Open { made, ..open }, 0);
            }
        }
        drop(inner);
        self.queue.wake.notify_waiters();
    }
}

impl Core {
    /// Looks into a queue. What was published before number `visible` is visible in the store.
    fn take(&self, queue: &Queue, max: usize, visible: u64) -> Result<Taken, BusError> {
        let wall = self.now_ms();
        let mut inner = queue.inner.lock();
        let super::Inner { spec, ledger } = &mut *inner;
        if ledger.removed {
            return Err(queue.was_removed());
        }
        ledger.tick(wall);
        let before = ledger.next_event(spec.max_in_flight);
        let mut taking = Taking {
            core: self,
            queue,
            spec,
            ledger,
            wall,
            max,
            batch: Batch::new(),
            picked: Vec::new(),
            bytes: 0,
        };
        taking.returning()?;
        let read = taking.fresh()?;
        let Taking { batch, picked, .. } = taking;
        let behind = ledger.marks.cursor < ledger.marks.next;
        if !picked.is_empty() {
            let ticket = queue.submit(self, ledger, batch)?;
            // Who sleeps must wake when one of these deliveries ends.
            let after = ledger.next_event(spec.max_in_flight);
            if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
                queue.wake.notify_waiters();
            }
            return Ok(Taken::Some(picked, ticket));
        }
        if read > 0 || !batch.is_empty() {
            let ticket = (!batch.is_empty()).then(|| queue.submit(self, ledger, batch));
            return Ok(Taken::Again(ticket.transpose()?));
        }
        if behind && ledger.in_flight() < spec.max_in_flight {
            ledger.marks.cursor = ledger.marks.cursor.max(visible);
            if ledger.marks.cursor < ledger.marks.next {
                let before = ledger.marks.next;
                let ticket = queue.submit(self, ledger, batch)?;
                return Ok(Taken::Behind(before, ticket));
            }
        }
        Ok(Taken::Nothing(ledger.next_event(spec.max_in_flight)))
    }

    /// The row of a message, if it is there and whole.
    pub(super) fn read(
        &self,
        number: u32,
        seq: u64,
    ) -> Result<Option<(Bytes, StoredMessage)>, BusError> {
        let row = self
            .spaces
            .messages
            .get(key(number, seq))
            .map_err(storage)?;
        Ok(row.and_then(|row| {
            let message = StoredMessage::decode(&row)?;
            Some((row, message))
        }))
    }
}

/// One look into a queue, under its lock.
struct Taking<'a> {
    core: &'a Core,
    queue: &'a Queue,
    spec: &'a QueueSpec,
    ledger: &'a mut Ledger,
    wall: u64,
    max: usize,
    batch: Batch,
    picked: Vec<Picked>,
    bytes: usize,
}

impl Taking<'_> {
    fn has_room(&self) -> bool {
        self.picked.len() < self.max
            && self.bytes < TAKE_BYTES
            && self.ledger.in_flight() < self.spec.max_in_flight
    }

    /// Messages that were delivered before and come again.
    fn returning(&mut self) -> Result<(), BusError> {
        while let Some((seq, open)) = self.ledger.pop_expired() {
            self.ledger.wait(seq, open, 0);
        }
        while self.has_room() {
            let Some((seq, open)) = self.ledger.pop_ready() else {
                break;
            };
            match self.core.read(self.queue.number, seq) {
                Ok(Some((row, message))) => self.pick(seq, open, &row, message),
                Ok(None) => self.drop_unreadable(seq, open),
                Err(e) => {
                    self.ledger.wait(seq, open, 0);
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Messages that this process has not delivered; the number of rows that were read.
    fn fresh(&mut self) -> Result<usize, BusError> {
        let (number, cursor) = (self.queue.number, self.ledger.marks.cursor);
        if !self.has_room() || cursor >= self.ledger.marks.next {
            return Ok(0);
        }
        let rows = self
            .core
            .spaces
            .messages
            .range(key(number, cursor)..=key(number, u64::MAX));
        let mut read = 0;
        for row in rows {
            if !self.has_room() || read == SCAN.max(self.max) {
                break;
            }
            let (key, row) = row.map_err(storage)?;
            if let Some(seq) = seq_of(&key) {
                read += 1;
                self.row(seq, &key, &row)?;
            }
        }
        Ok(read)
    }

    fn row(&mut self, seq: u64, row_key: &[u8], row: &Bytes) -> Result<(), BusError> {
        let attempts = if self.ledger.may_have_been_delivered(seq) {
            let stored = self.core.spaces.attempts.get(row_key).map_err(storage)?;
            let once = Attempts { made: 1, due_ms: 0 };
            Some(stored.map_or((once, false), |r| {
                (Attempts::decode(&r).unwrap_or(once), true)
            }))
        } else {
            None
        };
        self.ledger.marks.cursor = seq + 1;
        let bytes = row.len() as u64;
        let Some(message) = StoredMessage::decode(row) else {
            self.drop_unreadable(seq, Open::new(0, bytes, 0, attempts.is_some()));
            return Ok(());
        };
        let (attempts, recorded) = attempts.unwrap_or((Attempts { made: 0, due_ms: 0 }, false));
        let open = Open::new(attempts.made, bytes, message.published_at_ms, recorded);
        if attempts.due_ms > self.wall {
            self.ledger.wait(seq, open, attempts.due_ms - self.wall);
        } else {
            self.pick(seq, open, row, message);
        }
        Ok(())
    }

    /// Delivers a message, or buries it when it was delivered often enough.
    fn pick(&mut self, seq: u64, mut open: Open, row: &Bytes, message: StoredMessage) {
        if open.made >= self.spec.max_attempts {
            let reason = unanswered(open.made);
            self.core.bury(
                &mut self.batch,
                self.queue,
                self.ledger,
                (seq, open),
                row,
                &reason,
            );
            return;
        }
        open.made += 1;
        if open.made > 1 {
            open.recorded = true;
            let attempts = Attempts {
                made: open.made,
                due_ms: 0,
            };
            let key = key(self.queue.number, seq);
            self.batch
                .put(&self.core.spaces.attempts, key, attempts.encode());
        }
        self.bytes += row.len();
        let token = self.ledger.deliver(seq, open, millis(self.spec.ack_wait));
        self.picked.push(Picked {
            seq,
            token,
            attempt: open.made,
            message,
        });
    }

    /// A row that cannot be read can be neither delivered nor buried, and must not hold up the others.
    fn drop_unreadable(&mut self, seq: u64, open: Open) {
        tracing::error!(
            queue = self.queue.name,
            seq,
            "dropped an unreadable message"
        );
        self.core
            .remove_rows(&mut self.batch, self.queue.number, seq, &open);
        self.ledger.settled(open.bytes);
    }
}
