//! Publishing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ues_storage::{Batch, Ticket};

use super::rows::{StoredMessage, id_key, key};
use super::{Core, EmbeddedOptions, Queue, commit};
use crate::limits::{DEDUPLICATION, check_message, millis, trace};
use crate::message::Message;
use crate::queue::BusError;

/// Bytes of payload from which on a call is published in several commits.
const COMMIT_BYTES: usize = 16 << 20;

/// What was handed to the store, and up to where in which queue.
struct Sent {
    ticket: Ticket,
    queues: Vec<(Arc<Queue>, u64)>,
}

/// What a publish adds to one queue.
struct Addition<'a> {
    queue: Arc<Queue>,
    messages: Vec<&'a Message>,
}

impl Core {
    pub(super) async fn publish(&self, messages: &[Message]) -> Result<(), BusError> {
        messages.iter().try_for_each(check_message)?;
        let mut rest = messages;
        while !rest.is_empty() {
            let mut bytes = 0usize;
            let fits = rest.iter().take_while(|m| {
                let fits = bytes < COMMIT_BYTES;
                bytes = bytes.saturating_add(m.payload.len());
                fits
            });
            let (now, later) = rest.split_at(fits.count());
            rest = later;
            self.store.ready().await;
            let Some(sent) = self.enqueue(now)? else {
                continue;
            };
            sent.ticket.await.map_err(commit)?;
            for (queue, next) in sent.queues {
                queue.inner.lock().ledger.ids_visible(next);
            }
        }
        Ok(())
    }

    /// Numbers the messages and hands them to the store; all of them or, with an error, none.
    fn enqueue(&self, messages: &[Message]) -> Result<Option<Sent>, BusError> {
        let additions = self.route(messages);
        if additions.is_empty() {
            return Ok(None);
        }
        // In the order of their numbers, so that two publishers never wait for each other.
        let mut guards: Vec<_> = additions.iter().map(|a| a.queue.inner.lock()).collect();
        let now = self.now_ms();
        let mut batch = Batch::with_capacity(
            messages.len() + additions.len(),
            messages.iter().map(|m| m.payload.len() + 128).sum(),
        );
        let mut row = Vec::new();
        let mut after = Vec::with_capacity(additions.len());
        for (addition, inner) in additions.iter().zip(&guards) {
            let ledger = &inner.ledger;
            if ledger.removed {
                return Err(addition.queue.was_removed());
            }
            let mut marks = ledger.marks();
            let mut ids = Vec::new();
            let mut seen = HashSet::new();
            for message in &addition.messages {
                if let Some(id) = &message.id {
                    if ledger.has_id(id)
                        || seen.contains(id)
                        || self.id_is_stored(addition.queue.number, id)?
                    {
                        continue;
                    }
                    seen.insert(id);
                    ids.push((marks.next, id));
                    batch.put_with_ttl(
                        &self.spaces.ids,
                        id_key(addition.queue.number, id),
                        [],
                        now.saturating_add(millis(DEDUPLICATION)),
                    );
                }
                row.clear();
                let trace = trace(message.trace.as_deref());
                StoredMessage::write(&mut row, now, &message.subject, trace, &message.payload);
                let key = key(addition.queue.number, marks.next);
                batch.put(&self.spaces.messages, key, &row);
                marks.next += 1;
                marks.count += 1;
                marks.bytes += row.len() as u64;
            }
            addition.queue.check_room(&self.options, &marks)?;
            // Also when all were there already: with this row the commit waits for them to be durable.
            let number = addition.queue.number.to_be_bytes();
            batch.put(&self.spaces.marks, number, marks.encode());
            after.push((marks, ids));
        }
        let ticket = self.store.submit(batch).map_err(commit)?;
        let mut queues = Vec::with_capacity(additions.len());
        for ((addition, inner), (marks, ids)) in additions.iter().zip(&mut guards).zip(after) {
            let ledger = &mut inner.ledger;
            ledger.marks.next = marks.next;
            ledger.marks.count = marks.count;
            ledger.marks.bytes = marks.bytes;
            for (seq, id) in ids {
                ledger.remember_id(seq, id);
            }
            queues.push((Arc::clone(&addition.queue), marks.next));
        }
        drop(guards);
        // Already now, so that nobody sleeps on when this publisher is cancelled: who wakes waits for the commit.
        for (queue, _) in &queues {
            queue.wake.notify_waiters();
        }
        Ok(Some(Sent { ticket, queues }))
    }

    /// The messages of each queue that takes some.
    fn route<'a>(&self, messages: &'a [Message]) -> Vec<Addition<'a>> {
        let routes = self.routes.read();
        let mut additions: HashMap<u32, Addition<'a>> = HashMap::new();
        for message in messages {
            let Some(route) = routes.iter().find(|r| message.subject.is_under(&r.subject)) else {
                tracing::debug!(subject = %message.subject, "no queue takes this message");
                continue;
            };
            let addition = additions
                .entry(route.queue.number)
                .or_insert_with(|| Addition {
                    queue: Arc::clone(&route.queue),
                    messages: Vec::new(),
                });
            addition.messages.push(message);
        }
        let mut additions: Vec<_> = additions.into_values().collect();
        additions.sort_by_key(|a| a.queue.number);
        additions
    }
}

impl Queue {
    /// What is answered to those who still use a queue that was removed.
    pub(super) fn was_removed(&self) -> BusError {
        BusError::Refused(format!("queue {} was removed", self.name))
    }

    /// Whether a queue may become so large.
    pub(super) fn check_room(
        &self,
        options: &EmbeddedOptions,
        marks: &super::rows::Marks,
    ) -> Result<(), BusError> {
        let limit = if marks.count > options.max_messages {
            format!("{} messages", options.max_messages)
        } else if marks.bytes > options.max_bytes {
            format!("{} bytes", options.max_bytes)
        } else {
            return Ok(());
        };
        Err(BusError::Full {
            queue: self.name.clone(),
            limit,
        })
    }
}
