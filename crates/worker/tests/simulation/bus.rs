//! A bus that loses, doubles, delays and reorders, and that may be wiped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use ues_bus::{
    Bus, BusError, DeadLetter, Delivery, Message, QueueSpec, QueueStats, Receipt, Subject,
    WorkQueue,
};

use crate::chance::Chance;

/// How bad things are, in cases of a thousand.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub lose: u64,
    pub double: u64,
    pub fail: u64,
    pub delay_ms: u64,
}

#[derive(Clone)]
pub struct SimBus(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    arrived: Notify,
    chance: Chance,
}

#[derive(Default)]
struct State {
    faults: Faults,
    next: u64,
    specs: BTreeMap<String, QueueSpec>,
    /// By queue and number.
    waiting: BTreeMap<(String, u64), Waiting>,
    longest: usize,
}

#[derive(Clone)]
struct Waiting {
    message: Message,
    from: Instant,
    attempt: u32,
    published_at_ms: u64,
}

impl SimBus {
    pub fn new(chance: Chance) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            arrived: Notify::new(),
            chance,
        }))
    }

    pub fn set_faults(&self, faults: Faults) {
        self.0.state.lock().faults = faults;
    }

    pub fn wipe(&self) {
        self.0.state.lock().waiting.clear();
    }

    /// The longest that all queues together ever were.
    pub fn longest(&self) -> usize {
        self.0.state.lock().longest
    }
}

#[async_trait]
impl Bus for SimBus {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), BusError> {
        let chance = &self.0.chance;
        let faults = self.0.state.lock().faults;
        tokio::time::sleep(Duration::from_millis(chance.below(3))).await;
        let fail = chance.permille(faults.fail);
        if fail && chance.permille(500) {
            return Err(BusError::Unavailable("before".to_owned()));
        }
        let mut state = self.0.state.lock();
        for message in messages {
            let copies = if chance.permille(faults.lose) {
                0
            } else {
                1 + u64::from(chance.permille(faults.double))
            };
            let queue = state
                .specs
                .values()
                .find(|s| message.subject.is_under(&s.subject));
            let Some(queue) = queue.map(|spec| spec.name.clone()) else {
                continue;
            };
            for _ in 0..copies {
                let delay = chance.below(faults.delay_ms + 1);
                let number = state.next;
                state.next += 1;
                let waiting = Waiting {
                    message: message.clone(),
                    from: Instant::now() + Duration::from_millis(delay),
                    attempt: 0,
                    published_at_ms: crate::world::now_ms(),
                };
                state.waiting.insert((queue.clone(), number), waiting);
            }
        }
        state.longest = state.longest.max(state.waiting.len());
        drop(state);
        self.0.arrived.notify_waiters();
        if fail {
            return Err(BusError::Unavailable("after".to_owned()));
        }
        Ok(())
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn WorkQueue>, BusError> {
        self.0
            .state
            .lock()
            .specs
            .insert(spec.name.clone(), spec.clone());
        Ok(Arc::new(SimQueue(self.clone(), spec)))
    }

    async fn tell(&self, _: &Subject, _: Bytes) -> Result<(), BusError> {
        Ok(())
    }

    async fn listen(&self, _: &Subject) -> Result<BoxStream<'static, Bytes>, BusError> {
        Ok(futures::stream::pending().boxed())
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BusError> {
        Ok(Vec::new())
    }

    async fn dead_letters(&self, _: u64, _: usize) -> Result<Vec<DeadLetter>, BusError> {
        Ok(Vec::new())
    }

    async fn replay(&self, _: u64) -> Result<bool, BusError> {
        Ok(false)
    }

    async fn discard(&self, _: u64) -> Result<bool, BusError> {
        Ok(false)
    }
}

struct SimQueue(SimBus, QueueSpec);

#[async_trait]
impl WorkQueue for SimQueue {
    async fn next(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        let until = Instant::now() + wait;
        loop {
            let arrived = self.0.0.arrived.notified();
            let taken = self.take(max);
            if !taken.is_empty() || Instant::now() >= until {
                return Ok(taken);
            }
            let soonest = self.soonest().unwrap_or(until).min(until);
            tokio::select! {
                biased;
                () = arrived => {}
                () = tokio::time::sleep_until(soonest) => {}
            }
        }
    }
}

impl SimQueue {
    fn soonest(&self) -> Option<Instant> {
        let state = self.0.0.state.lock();
        let mine = state
            .waiting
            .iter()
            .filter(|((name, _), _)| *name == self.1.name);
        mine.map(|(_, waiting)| waiting.from).min()
    }

    /// What is there now, in any order; it comes again unless it is acknowledged in time.
    fn take(&self, max: usize) -> Vec<Delivery> {
        let (now, chance) = (Instant::now(), &self.0.0.chance);
        let mut state = self.0.0.state.lock();
        let ready =
            |((name, _), w): &(&(String, u64), &Waiting)| *name == self.1.name && w.from <= now;
        let mut numbers: Vec<u64> = state
            .waiting
            .iter()
            .filter(ready)
            .map(|((_, n), _)| *n)
            .collect();
        for i in (1..numbers.len()).rev() {
            if chance.permille(if state.faults.delay_ms > 0 { 500 } else { 0 }) {
                let j = usize::try_from(chance.below(i as u64 + 1)).unwrap();
                numbers.swap(i, j);
            }
        }
        numbers.truncate(max);
        let mut taken = Vec::new();
        for number in numbers {
            let key = (self.1.name.clone(), number);
            let waiting = state.waiting.get_mut(&key).unwrap();
            waiting.attempt += 1;
            waiting.from = now + self.1.ack_wait;
            let w = waiting.clone();
            if w.attempt > self.1.max_attempts {
                state.waiting.remove(&key);
                continue;
            }
            taken.push(Delivery {
                subject: w.message.subject,
                payload: w.message.payload,
                trace: None,
                attempt: w.attempt,
                published_at_ms: w.published_at_ms,
                receipt: Box::new(SimReceipt(self.0.clone(), key, self.1.ack_wait)),
            });
        }
        taken
    }
}

struct SimReceipt(SimBus, (String, u64), Duration);

#[async_trait]
impl Receipt for SimReceipt {
    async fn ack(&self) -> Result<(), BusError> {
        let mut state = self.0.0.state.lock();
        if !self.0.0.chance.permille(state.faults.lose) {
            state.waiting.remove(&self.1);
        }
        Ok(())
    }

    async fn retry_after(&self, pause: Duration) -> Result<(), BusError> {
        if let Some(waiting) = self.0.0.state.lock().waiting.get_mut(&self.1) {
            waiting.from = Instant::now() + pause;
        }
        Ok(())
    }

    async fn in_progress(&self) -> Result<(), BusError> {
        self.retry_after(self.2).await
    }

    async fn give_up(&self, reason: &str) -> Result<(), BusError> {
        panic!("a message that cannot be read: {reason}");
    }
}
