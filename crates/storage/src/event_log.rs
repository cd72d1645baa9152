//! The event log: payloads under contiguous sequence numbers from 1, with the newest in memory.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;

use crate::batch::Batch;
use crate::committer::Queue;
use crate::engine::Engine;
use crate::error::{OpenError, StorageError};
use crate::format::{META_LOG_FIRST, ks, read_u64};

/// Rows that one trimming batch removes, so that writers are not held up.
const TRIM_SLICE: u64 = 4096;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its sequence number. Numbers are contiguous; the first event ever has 1.
    pub seq: u64,
    /// What the writer appended.
    pub payload: Bytes,
}

/// The durable, ordered list of all events.
///
/// Readers see an event only after it is durable. The newest events are kept in a ring in memory, so that a reader
/// that keeps up never touches the disk.
pub struct EventLog {
    engine: Arc<dyn Engine>,
    queue: Arc<Queue>,
    tail: RwLock<Tail>,
    durable: watch::Sender<u64>,
    first: AtomicU64,
    trimming: Mutex<()>,
    closed: AtomicBool,
    gate: Mutex<()>,
    changed: Condvar,
}

/// The newest events, contiguous, at most so many bytes.
struct Tail {
    events: VecDeque<Event>,
    bytes: usize,
    max_bytes: usize,
}

/// What an event costs in the ring besides its payload.
const EVENT_OVERHEAD: usize = size_of::<Event>() + 32;

impl Tail {
    fn push(&mut self, event: Event) {
        self.bytes += event.payload.len() + EVENT_OVERHEAD;
        self.events.push_back(event);
        while self.bytes > self.max_bytes {
            let Some(old) = self.events.pop_front() else {
                break;
            };
            self.bytes -= old.payload.len() + EVENT_OVERHEAD;
        }
    }

    /// The events after a number, if the ring reaches back that far.
    fn read(&self, after: u64, max_events: usize, max_bytes: usize) -> Option<Vec<Event>> {
        let front = self.events.front()?.seq;
        let skip = usize::try_from(after.checked_add(1)?.checked_sub(front)?).ok()?;
        let mut room = Room {
            events: max_events,
            bytes: max_bytes,
            any: false,
        };
        Some(
            self.events
                .iter()
                .skip(skip)
                .take_while(|e| room.take(e.payload.len()))
                .cloned()
                .collect(),
        )
    }
}

/// How much a reader still accepts; the first event always fits.
struct Room {
    events: usize,
    bytes: usize,
    any: bool,
}

impl Room {
    fn take(&mut self, len: usize) -> bool {
        if self.events == 0 || (self.any && len > self.bytes) {
            return false;
        }
        self.any = true;
        self.events -= 1;
        self.bytes = self.bytes.saturating_sub(len);
        true
    }
}

impl EventLog {
    pub(crate) fn open(
        engine: Arc<dyn Engine>,
        queue: Arc<Queue>,
        tail_bytes: usize,
    ) -> Result<Self, OpenError> {
        let first = match engine.get(ks::META, META_LOG_FIRST)? {
            Some(row) => read_u64(&row)
                .ok_or_else(|| OpenError::Damaged("log_first has not 8 bytes".into()))?,
            None => 1,
        };
        let newest = engine
            .scan(ks::LOG, Bound::Unbounded, Bound::Unbounded)
            .next_back()
            .transpose()?;
        let last = match newest {
            Some((key, _)) => read_u64(&key)
                .filter(|&seq| seq >= first && seq < u64::MAX)
                .ok_or_else(|| {
                    OpenError::Damaged(format!(
                        "an event has the key {key:?} but the log begins at {first}"
                    ))
                })?,
            None => first.saturating_sub(1),
        };
        Ok(Self {
            engine,
            queue,
            tail: RwLock::new(Tail {
                events: VecDeque::new(),
                bytes: 0,
                max_bytes: tail_bytes,
            }),
            durable: watch::Sender::new(last),
            first: AtomicU64::new(first),
            trimming: Mutex::new(()),
            closed: AtomicBool::new(false),
            gate: Mutex::new(()),
            changed: Condvar::new(),
        })
    }

    /// The events after `after_seq` in order: at most `max_events`, and no more than `max_bytes` of payload unless
    /// the very first is larger. Empty when there is none yet. Events that were trimmed are skipped.
    pub fn read(
        &self,
        after_seq: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<Event>, StorageError> {
        let last = self.last_durable();
        let after = after_seq.max(self.first_seq().saturating_sub(1));
        if after >= last || max_events == 0 {
            return Ok(Vec::new());
        }
        if let Some(events) = self.tail.read().read(after, max_events, max_bytes) {
            return Ok(events);
        }
        let mut room = Room {
            events: max_events,
            bytes: max_bytes,
            any: false,
        };
        let mut out = Vec::new();
        let (from, to) = (after.to_be_bytes(), last.to_be_bytes());
        for row in self
            .engine
            .scan(ks::LOG, Bound::Excluded(&from), Bound::Included(&to))
        {
            let (key, payload) = row?;
            let seq = read_u64(&key).ok_or_else(|| StorageError::Damaged {
                keyspace: "log",
                what: format!("a key of 8 bytes expected, found {}", key.len()),
            })?;
            if !room.take(payload.len()) {
                break;
            }
            out.push(Event { seq, payload });
        }
        Ok(out)
    }

    /// Sequence number of the oldest event that is kept; one more than [`last_durable`](Self::last_durable) when
    /// none is.
    pub fn first_seq(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// Sequence number of the newest durable event; 0 when there was never one.
    pub fn last_durable(&self) -> u64 {
        *self.durable.borrow()
    }

    /// Follows [`last_durable`](Self::last_durable).
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// Removes the events before `before_seq` and returns how many there were. The sequence goes on as before.
    /// Blocks while it works.
    pub fn trim(&self, before_seq: u64) -> Result<u64, StorageError> {
        let _one_at_a_time = self.trimming.lock();
        let end = before_seq.min(self.last_durable().saturating_add(1));
        let start = self.first_seq();
        let mut from = start;
        while from < end {
            let to = end.min(from.saturating_add(TRIM_SLICE));
            let mut batch = Batch::new();
            for seq in from..to {
                batch.delete_row(ks::LOG, &seq.to_be_bytes());
            }
            batch.put_row(ks::META, META_LOG_FIRST, &to.to_be_bytes());
            self.queue.submit(batch)?.wait()?;
            self.first.store(to, Ordering::Release);
            from = to;
        }
        Ok(end.saturating_sub(start))
    }

    /// Makes events known that have just become durable.
    pub(crate) fn publish<'a>(&self, first: u64, payloads: impl Iterator<Item = &'a [u8]>) {
        let mut last = first.saturating_sub(1);
        {
            let mut tail = self.tail.write();
            for (payload, seq) in payloads.zip(first..) {
                tail.push(Event {
                    seq,
                    payload: Bytes::copy_from_slice(payload),
                });
                last = seq;
            }
        }
        if last >= first {
            self.durable.send_replace(last);
            drop(self.gate.lock());
            self.changed.notify_all();
        }
    }

    /// Blocks until there are events after `seq`, the log is closed or woken, or the time is over. Does not block
    /// when `busy` says that there is something else to do.
    pub(crate) fn wait_beyond(&self, seq: u64, timeout: Duration, busy: impl Fn() -> bool) {
        let mut gate = self.gate.lock();
        if self.last_durable() <= seq && !self.is_closed() && !busy() {
            self.changed.wait_for(&mut gate, timeout);
        }
    }

    /// Wakes all that wait, for good.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes all that wait, so that they look around.
    pub(crate) fn wake(&self) {
        drop(self.gate.lock());
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog")
            .field("first", &self.first_seq())
            .field("last", &self.last_durable())
            .finish()
    }
}
