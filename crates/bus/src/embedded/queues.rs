//! Making, finding and removing queues.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use ues_storage::Batch;

use super::ledger::Ledger;
use super::rows::{Definition, Marks, Spaces, id_key, key};
use super::{Core, Inner, Queue, commit, damaged, storage};
use crate::limits::{check_spec, millis};
use crate::message::Subject;
use crate::queue::{BusError, QueueSpec, QueueStats};

/// Rows that one batch removes.
const SLICE: usize = 1_000;

/// Which messages go to a queue.
pub(super) struct Route {
    pub subject: Subject,
    pub queue: Arc<Queue>,
}

/// The queues that the store knows.
pub(super) fn load(spaces: &Spaces) -> Result<Vec<Route>, BusError> {
    let mut routes = Vec::new();
    for row in spaces.queues.prefix("") {
        let (name, definition) = row.map_err(storage)?;
        let bad = || damaged("queue", &name);
        let definition: Definition = serde_json::from_slice(&definition).map_err(|_| bad())?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| bad())?;
        let marks = spaces
            .marks
            .get(definition.number.to_be_bytes())
            .map_err(storage)?;
        let marks = marks.map_or(Some(Marks::NEW), |row| Marks::decode(&row));
        let subject = Subject::new(&*definition.subject).ok();
        let (Some(marks), Some(subject)) = (marks, subject) else {
            return Err(damaged("queue", name.as_bytes()));
        };
        let spec = QueueSpec {
            name,
            subject: subject.clone(),
            ack_wait: Duration::from_millis(definition.ack_wait_ms),
            max_attempts: definition.max_attempts,
            max_in_flight: usize::try_from(definition.max_in_flight).unwrap_or(usize::MAX),
        };
        let queue = Queue::new(definition.number, spec, marks);
        routes.push(Route { subject, queue });
    }
    Ok(routes)
}

impl Queue {
    fn new(number: u32, spec: QueueSpec, marks: Marks) -> Arc<Self> {
        Arc::new(Self {
            name: spec.name.clone(),
            number,
            inner: Mutex::new(Inner {
                spec,
                ledger: Ledger::new(marks),
            }),
            wake: Notify::new(),
        })
    }
}

impl Core {
    /// Finds or makes a queue, and takes over what has changed in its specification.
    pub(super) async fn open_queue(&self, spec: QueueSpec) -> Result<Arc<Queue>, BusError> {
        check_spec(&spec)?;
        let _changing = self.changing.lock().await;
        self.store.ready().await;
        let (queue, ticket) = {
            let mut routes = self.routes.write();
            let overlaps = |r: &&Route| {
                r.queue.name != spec.name
                    && (r.subject.is_under(&spec.subject) || spec.subject.is_under(&r.subject))
            };
            if let Some(other) = routes.iter().find(overlaps) {
                return Err(BusError::Refused(format!(
                    "queue {} would take messages of queue {}, which takes {}",
                    spec.name, other.queue.name, other.subject
                )));
            }
            let found = routes.iter_mut().find(|r| r.queue.name == spec.name);
            if let Some(route) = found {
                let queue = Arc::clone(&route.queue);
                let mut inner = queue.inner.lock();
                if inner.spec == spec {
                    drop(inner);
                    return Ok(queue);
                }
                let ticket = self.define(queue.number, &spec)?;
                route.subject = spec.subject.clone();
                inner.spec = spec;
                drop(inner);
                queue.wake.notify_waiters();
                (queue, ticket)
            } else {
                let last = routes.iter().map(|r| r.queue.number).max();
                let number = last.unwrap_or(0).saturating_add(1);
                let ticket = self.define(number, &spec)?;
                let queue = Queue::new(number, spec.clone(), Marks::NEW);
                routes.push(Route {
                    subject: spec.subject,
                    queue: Arc::clone(&queue),
                });
                (queue, ticket)
            }
        };
        ticket.await.map_err(commit)?;
        Ok(queue)
    }

    fn define(&self, number: u32, spec: &QueueSpec) -> Result<ues_storage::Ticket, BusError> {
        let definition = Definition {
            number,
            subject: spec.subject.as_str().to_owned(),
            ack_wait_ms: millis(spec.ack_wait),
            max_attempts: spec.max_attempts,
            max_in_flight: u64::try_from(spec.max_in_flight).unwrap_or(u64::MAX),
        };
        let row = serde_json::to_vec(&definition).map_err(|e| BusError::Refused(e.to_string()))?;
        let mut batch = Batch::new();
        batch.put(&self.spaces.queues, &spec.name, row);
        self.store.submit(batch).map_err(commit)
    }

    /// The rows go first and the definition last, so that a removal that was cut short can be repeated.
    pub(super) async fn remove_queue(&self, name: &str) -> Result<bool, BusError> {
        let _changing = self.changing.lock().await;
        let queue = {
            let mut routes = self.routes.write();
            let Some(at) = routes.iter().position(|r| r.queue.name == name) else {
                return Ok(false);
            };
            routes.remove(at).queue
        };
        queue.inner.lock().ledger.removed = true;
        queue.wake.notify_waiters();
        let number = queue.number;
        for space in [
            &self.spaces.messages,
            &self.spaces.attempts,
            &self.spaces.ids,
        ] {
            loop {
                let mut batch = Batch::new();
                for row in space.prefix(number.to_be_bytes()).take(SLICE) {
                    batch.delete(space, row.map_err(storage)?.0);
                }
                if batch.is_empty() {
                    break;
                }
                self.store.commit(batch).await.map_err(commit)?;
            }
        }
        let mut batch = Batch::new();
        batch.delete(&self.spaces.marks, number.to_be_bytes());
        batch.delete(&self.spaces.queues, name);
        self.store.commit(batch).await.map_err(commit)?;
        Ok(true)
    }

    /// How full the queues are.
    pub(super) fn stats(&self) -> Result<Vec<QueueStats>, BusError> {
        let now = self.now_ms();
        let routes = self.routes.read();
        let mut all = Vec::with_capacity(routes.len());
        for Route { queue, .. } in &*routes {
            let inner = queue.inner.lock();
            let ledger = &inner.ledger;
            let in_flight = u64::try_from(ledger.in_flight()).unwrap_or(u64::MAX);
            let returning = ledger.oldest_waiting().map(|open| open.published_at_ms);
            let fresh = self.first_fresh(queue.number, ledger.marks.cursor)?;
            let oldest = returning.into_iter().chain(fresh).min();
            all.push(QueueStats {
                name: queue.name.clone(),
                waiting: ledger.marks.count.saturating_sub(in_flight),
                in_flight,
                oldest_ms: oldest.map_or(0, |at| now.saturating_sub(at)),
            });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// When the oldest message that was not read yet was published.
    fn first_fresh(&self, number: u32, cursor: u64) -> Result<Option<u64>, BusError> {
        let mut rows = self
            .spaces
            .messages
            .range(key(number, cursor)..=key(number, u64::MAX));
        let row = rows.next().transpose().map_err(storage)?;
        Ok(row
            .and_then(|(_, row)| super::rows::StoredMessage::decode(&row))
            .map(|message| message.published_at_ms))
    }

    /// Whether the store shows an id of this queue.
    pub(super) fn id_is_stored(&self, number: u32, id: &str) -> Result<bool, BusError> {
        self.spaces
            .ids
            .contains(id_key(number, id))
            .map_err(storage)
    }
}
