//! The one thread that writes: it takes all batches that wait, applies them, syncs once and answers everybody.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::batch::Batch;
use crate::block_ops::{BlockRows, Malformed};
use crate::engine::{Engine, EngineError, Op};
use crate::error::CommitError;
use crate::event_log::EventLog;
use crate::format::ks;
use crate::nursery::NurseryWriter;
use crate::ticket::{Committed, Reply, Ticket};
use crate::touched::Touched;

/// Groups with so many operations are sorted before they are applied.
const SORT_FROM: usize = 64;

/// Changes of blocks of one batch, in bytes, from which on they pass the nursery by: that is an import, whose blocks
/// seldom die young.
const LARGE: usize = 512 << 10;

/// Work that must happen between batches, with nothing in flight.
pub(crate) type Task = Box<dyn FnOnce(&mut Between<'_>) -> Batch + Send>;

/// What a [`Task`] sees: the engine with every earlier batch applied.
pub(crate) struct Between<'a> {
    /// The latest state.
    pub engine: &'a dyn Engine,
    /// Which reference rows were written lately.
    pub touched: &'a mut Touched,
}

enum Request {
    Write(Batch, Reply),
    Task(Task, Moving, Reply),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    bytes: usize,
    closing: bool,
    poisoned: Option<Arc<str>>,
}

/// The line of batches that wait for the committer. First in, first applied.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    room: Condvar,
    room_async: Notify,
    max_bytes: usize,
}

impl Queue {
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            room: Condvar::new(),
            room_async: Notify::new(),
            max_bytes,
        })
    }

    /// Puts a batch in line; waits first while too much is in it.
    pub(crate) fn submit(&self, batch: Batch) -> Result<Ticket, CommitError> {
        batch.validate()?;
        let bytes = batch.bytes();
        let (reply, ticket) = Ticket::pair();
        self.push(Request::Write(batch, reply), bytes)?;
        Ok(ticket)
    }

    /// Puts a task in line, and says whether the nursery is to be emptied before it.
    pub(crate) fn submit_task(&self, moving: Moving, task: Task) -> Result<Ticket, CommitError> {
        let (reply, ticket) = Ticket::pair();
        self.push(Request::Task(task, moving, reply), 0)?;
        Ok(ticket)
    }

    fn push(&self, request: Request, bytes: usize) -> Result<(), CommitError> {
        let mut state = self.state.lock();
        while state.bytes >= self.max_bytes && state.check().is_ok() {
            self.room.wait(&mut state);
        }
        state.check()?;
        state.bytes += bytes;
        state.waiting.push_back(request);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Resolves when a [`submit`](Self::submit) would not have to wait.
    pub(crate) async fn ready(&self) {
        loop {
            let mut notified = std::pin::pin!(self.room_async.notified());
            notified.as_mut().enable();
            {
                let state = self.state.lock();
                if state.bytes < self.max_bytes || state.check().is_err() {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Why the store takes no more writes, if that is so.
    pub(crate) fn poisoned(&self) -> Option<Arc<str>> {
        self.state.lock().poisoned.clone()
    }

    /// Bytes in line.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Takes no more; the committer finishes what is in line and ends.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_all();
        self.make_room();
    }

    fn poison(&self, reason: &Arc<str>) {
        self.state
            .lock()
            .poisoned
            .get_or_insert_with(|| Arc::clone(reason));
        self.make_room();
    }

    fn make_room(&self) {
        self.room.notify_all();
        self.room_async.notify_waiters();
    }

    /// All that waits, blocking while nothing does; `None` once the queue is closed and empty.
    fn take(&self) -> Option<VecDeque<Request>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closing {
                return None;
            }
            self.wake.wait(&mut state);
        }
        state.bytes = 0;
        let group = std::mem::take(&mut state.waiting);
        drop(state);
        self.make_room();
        Some(group)
    }
}

impl State {
    fn check(&self) -> Result<(), CommitError> {
        match &self.poisoned {
            Some(reason) => Err(CommitError::Poisoned(Arc::clone(reason))),
            None if self.closing => Err(CommitError::Closed),
            None => Ok(()),
        }
    }
}

/// The committer's own state.
pub(crate) struct Committer {
    queue: Arc<Queue>,
    engine: Arc<dyn Engine>,
    log: Arc<EventLog>,
    nursery: NurseryWriter,
    next_seq: u64,
    touched: Touched,
}

/// A batch of the group that is being written.
struct Pending {
    batch: Batch,
    reply: Reply,
    done: Committed,
}

impl Committer {
    pub(crate) fn new(
        queue: Arc<Queue>,
        engine: Arc<dyn Engine>,
        log: Arc<EventLog>,
        nursery: NurseryWriter,
    ) -> Self {
        let next_seq = log.last_durable() + 1;
        Self {
            queue,
            engine,
            log,
            nursery,
            next_seq,
            touched: Touched::default(),
        }
    }

    /// Works until the queue is closed.
    pub(crate) fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let _guard = PoisonOnPanic(&queue);
        while let Some(group) = queue.take() {
            if let Some(reason) = queue.poisoned() {
                refuse(group, &reason);
            } else {
                self.write(group);
            }
        }
    }

    fn write(&mut self, group: VecDeque<Request>) {
        let mut pending = Vec::with_capacity(group.len());
        let first = self.next_seq;
        let result = self
            .apply(group, &mut pending)
            .and_then(|applied| match applied {
                // A task that found nothing to do needs no sync.
                Applied::Nothing => Ok(()),
                Applied::Something => self.engine.sync(),
            });
        if let Err(e) = result {
            let reason: Arc<str> = e.to_string().into();
            tracing::error!(%reason, "the store takes no further writes: a write failed");
            self.queue.poison(&reason);
            for p in pending {
                // The submitter may have gone; that is its own business.
                let _ = p
                    .reply
                    .send(Err(CommitError::Poisoned(Arc::clone(&reason))));
            }
            return;
        }
        self.log
            .publish(first, pending.iter().flat_map(|p| p.batch.event_payloads()));
        for p in pending {
            let _ = p.reply.send(Ok(p.done));
        }
    }

    /// Applies the group as few engine batches: one, and one more for each task in it. Even when it fails, every
    /// request ends up in `pending`.
    fn apply(
        &mut self,
        group: VecDeque<Request>,
        pending: &mut Vec<Pending>,
    ) -> Result<Applied, EngineError> {
        let mut applied = 0;
        let mut result = Ok(Applied::Nothing);
        for request in group {
            let (batch, reply) = match request {
                Request::Write(batch, reply) => (batch, reply),
                Request::Task(task, moving, reply) => {
                    result = result.and_then(|before| {
                        let now = self.apply_some(pending.get_mut(applied..), moving)?;
                        Ok(before.max(now))
                    });
                    applied = pending.len();
                    let batch = match result {
                        Ok(_) => task(&mut Between {
                            engine: &*self.engine,
                            touched: &mut self.touched,
                        }),
                        Err(_) => Batch::new(),
                    };
                    (batch, reply)
                }
            };
            let mut p = Pending {
                batch,
                reply,
                done: Committed::default(),
            };
            if p.batch.events() > 0 {
                p.batch.number_events(self.next_seq);
                p.done.first_seq = Some(self.next_seq);
                self.next_seq += u64::from(p.batch.events());
                p.done.last_seq = Some(self.next_seq - 1);
            }
            self.touched.note(&p.batch);
            let large = p.batch.block_ops().len() >= LARGE;
            if large {
                result = result.and_then(|before| {
                    let earlier = self.apply_some(pending.get_mut(applied..), Moving::Now)?;
                    Ok(before.max(earlier).max(self.apply_large(&p.batch)?))
                });
            }
            pending.push(p);
            if large {
                applied = pending.len();
            }
        }
        result.and_then(|before| {
            let now = self.apply_some(pending.get_mut(applied..), Moving::IfFull)?;
            Ok(before.max(now))
        })
    }

    fn apply_some(
        &mut self,
        pending: Option<&mut [Pending]>,
        moving: Moving,
    ) -> Result<Applied, EngineError> {
        let pending = pending.unwrap_or_default();
        let young: usize = pending.iter().map(|p| p.batch.block_ops().len()).sum();
        let move_now = match moving {
            Moving::Now => !self.nursery.is_empty() || young > 0,
            Moving::IfFull => self.nursery.is_full(young),
        };
        if !move_now && pending.iter().all(|p| p.batch.is_empty()) {
            return Ok(Applied::Nothing);
        }
        let (mut journal, mut moved) = (None, Vec::new());
        if move_now {
            for p in pending.iter_mut() {
                self.nursery.add(p.batch.take_block_ops().into())?;
            }
            moved = self.nursery.rows_to_move(&*self.engine)?;
        } else if young > 0 {
            let mut all = Vec::with_capacity(young);
            pending
                .iter()
                .for_each(|p| all.extend_from_slice(p.batch.block_ops()));
            let all = Bytes::from(all);
            self.nursery.add(all.clone())?;
            journal = Some((self.nursery.next_row(), all));
        }
        let moved_ops = moved.iter().map(|row| Op {
            ks: row.ks,
            key: &row.key,
            value: row.value.as_deref(),
        });
        let journal_op = journal.iter().map(|(key, value)| Op {
            ks: ks::NURSERY,
            key,
            value: Some(value),
        });
        // Blocks last: a batch of the collector may remove a row that a later one stores again.
        let mut ops: Vec<Op<'_>> = pending
            .iter()
            .flat_map(|p| p.batch.iter())
            .chain(journal_op)
            .chain(moved_ops)
            .collect();
        if ops.len() >= SORT_FROM {
            sort_last_wins(&mut ops);
        }
        self.engine.apply(&mut ops.into_iter())?;
        if move_now {
            self.nursery.moved();
        }
        Ok(Applied::Something)
    }

    /// Applies one large batch with the rows of its blocks. Nothing may be in the nursery.
    fn apply_large(&self, batch: &Batch) -> Result<Applied, EngineError> {
        let rows = BlockRows::new(batch.block_ops()).map_err(|Malformed(at)| {
            EngineError::Damaged(format!("changes of blocks are unreadable at byte {at}"))
        })?;
        let mut ops: Vec<Op<'_>> = batch.iter().chain(rows.iter()).collect();
        sort_last_wins(&mut ops);
        self.engine.apply(&mut ops.into_iter())?;
        Ok(Applied::Something)
    }
}

/// Whether there is something to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Applied {
    Nothing,
    Something,
}

/// When the blocks of the nursery get rows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moving {
    /// With this group, whatever they are.
    Now,
    /// When enough have gathered.
    IfFull,
}

/// Brings operations into key order and keeps the last one of each row. Neighbouring keys lie close together in the
/// engine's memory too, which makes inserting a large group cheaper.
fn sort_last_wins(ops: &mut Vec<Op<'_>>) {
    ops.sort_by(|a, b| (a.ks, a.key).cmp(&(b.ks, b.key)));
    // The sort is stable, so of equal rows the later operation stands later: hand it down to the one that stays.
    ops.dedup_by(|later, kept| {
        let same = (later.ks, later.key) == (kept.ks, kept.key);
        if same {
            kept.value = later.value;
        }
        same
    });
}

/// A panic of the engine or of a task must not leave callers waiting for ever.
struct PoisonOnPanic<'a>(&'a Queue);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason: Arc<str> = "the committer thread panicked".into();
            self.0.poison(&reason);
            refuse(std::mem::take(&mut self.0.state.lock().waiting), &reason);
        }
    }
}

fn refuse(group: VecDeque<Request>, reason: &Arc<str>) {
    for request in group {
        let (Request::Write(_, reply) | Request::Task(_, _, reply)) = request;
        let _ = reply.send(Err(CommitError::Poisoned(Arc::clone(reason))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::KeyspaceId;

    #[test]
    fn the_last_operation_on_a_row_wins() {
        let op = |ks, key, value| Op {
            ks: KeyspaceId(ks),
            key,
            value,
        };
        let mut ops = vec![
            op(1, &b"b"[..], Some(&b"1"[..])),
            op(1, b"a", Some(b"2")),
            op(0, b"b", None),
            op(1, b"b", None),
            op(1, b"a", None),
            op(1, b"a", Some(b"3")),
        ];
        sort_last_wins(&mut ops);
        assert_eq!(
            ops,
            [
                op(0, b"b", None),
                op(1, b"a", Some(b"3")),
                op(1, b"b", None)
            ]
        );
    }
}
