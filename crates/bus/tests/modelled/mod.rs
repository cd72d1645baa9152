//! The model of a queue, and what drives model and bus together.

mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ues_bus::{
    Bus, BusError, Delivery, EmbeddedBus, EmbeddedOptions, Message, QueueSpec, Subject, WorkQueue,
};
use ues_storage::engine::{Fault, MemoryEngine};
use ues_storage::{Clock, Store, StoreOptions};

pub use state::Model;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Publishes so many messages.
    Publish(usize),
    /// Publishes a message with one of a few ids.
    PublishOnce(u8),
    /// Takes up to so many messages.
    Next(usize),
    /// Verdicts on one of the deliveries of this process, be it the present one of its message or not.
    Ack(usize),
    Retry(usize, u64),
    GiveUp(usize),
    Progress(usize),
    /// One of the dead letters.
    Replay(usize),
    Discard(usize),
    /// So many milliseconds pass.
    Pass(u64),
    /// Closes and opens.
    Restart,
    /// Ends at once; of what was not synced so many writes survive.
    Crash(usize),
    /// The n-th write or sync from now on fails.
    Fail(u64, Fault),
}

/// A bus, its model and its clock.
pub struct Harness {
    engine: MemoryEngine,
    clock: Arc<AtomicU64>,
    process: Option<(Arc<EmbeddedBus>, Arc<dyn WorkQueue>)>,
    deliveries: Vec<(usize, u64, Delivery)>,
    model: Model,
    taken: u64,
    /// A write may have failed unseen.
    faulty: bool,
}

impl Harness {
    pub async fn new() -> Self {
        let mut harness = Self {
            engine: MemoryEngine::new(),
            clock: Arc::new(AtomicU64::new(1_000_000)),
            process: None,
            deliveries: Vec::new(),
            model: Model::default(),
            taken: 0,
            faulty: false,
        };
        harness.start().await;
        harness
    }

    async fn start(&mut self) {
        let clock = Clock::new({
            let clock = Arc::clone(&self.clock);
            move || clock.load(Ordering::SeqCst)
        });
        let options = StoreOptions {
            housekeeping: None,
            clock: clock.clone(),
            ..StoreOptions::default()
        };
        let store = Store::with_engine(Arc::new(self.engine.clone()), options).unwrap();
        let options = EmbeddedOptions {
            clock,
            ..EmbeddedOptions::default()
        };
        let bus = EmbeddedBus::open(store, options).unwrap();
        let spec = QueueSpec {
            name: "w".to_owned(),
            subject: Subject::new("pin.assign").unwrap(),
            ack_wait: Duration::from_millis(Model::ACK_WAIT_MS),
            max_attempts: Model::MAX_ATTEMPTS,
            max_in_flight: Model::MAX_IN_FLIGHT,
        };
        let queue = bus.queue(spec).await.unwrap();
        self.process = Some((bus, queue));
    }

    pub fn bus(&self) -> &EmbeddedBus {
        &self.process.as_ref().unwrap().0
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub async fn apply(&mut self, op: Op) -> Result<(), BusError> {
        match op {
            Op::Publish(count) => self.publish(count, None).await,
            Op::PublishOnce(id) => self.publish(1, Some(id)).await,
            Op::Next(max) => self.next(max).await.map(drop),
            Op::Pass(ms) => {
                self.clock.fetch_add(ms, Ordering::SeqCst);
                Ok(())
            }
            // Whether everything was written is not known then.
            Op::Restart if self.faulty => {
                self.crash(1).await;
                Ok(())
            }
            Op::Restart => {
                self.deliveries.clear();
                self.process = None;
                self.model.restart(self.now());
                self.start().await;
                Ok(())
            }
            Op::Crash(survivors) => {
                self.crash(survivors).await;
                Ok(())
            }
            Op::Fail(nth, fault) => {
                self.engine.inject(nth, fault);
                self.faulty = true;
                Ok(())
            }
            Op::Replay(at) | Op::Discard(at) => self.revive(at, matches!(op, Op::Replay(_))).await,
            Op::Ack(at) | Op::Retry(at, _) | Op::GiveUp(at) | Op::Progress(at) => {
                self.answer(at, op).await
            }
        }
    }

    /// The process ends without a word.
    pub async fn crash(&mut self, survivors: usize) {
        let after = self.engine.crash(survivors);
        self.deliveries.clear();
        self.process = None;
        self.engine = after;
        self.faulty = false;
        self.model.crash();
        self.start().await;
    }

    async fn publish(&mut self, count: usize, id: Option<u8>) -> Result<(), BusError> {
        let first = self.model.messages();
        let messages = (first..first + count).map(|n| Message {
            id: id.map(|id| id.to_string()),
            ..Message::new(Subject::new("pin.assign.w1").unwrap(), n.to_string())
        });
        let messages = messages.collect();
        let result = self.bus().publish(messages).await;
        let now = self.now();
        for _ in 0..count {
            self.model.published(id, now, result.is_ok());
        }
        if result.is_ok() {
            self.model.synced();
        }
        result
    }

    async fn next(&mut self, max: usize) -> Result<usize, BusError> {
        let queue = Arc::clone(&self.process.as_ref().unwrap().1);
        let now = self.now();
        self.model.before_take(now);
        let taken = match queue.next(max, Duration::ZERO).await {
            Ok(taken) => taken,
            Err(e) => {
                self.model.take_failed();
                return Err(e);
            }
        };
        assert!(taken.len() <= max);
        let count = taken.len();
        for delivery in taken {
            let n = number(&delivery.payload);
            self.taken += 1;
            self.model.taken(n, self.taken, delivery.attempt, now);
            self.deliveries.push((n, self.taken, delivery));
        }
        self.model.after_take(count, max, now);
        Ok(count)
    }

    async fn answer(&mut self, at: usize, op: Op) -> Result<(), BusError> {
        if self.deliveries.is_empty() {
            return Ok(());
        }
        let (n, name, delivery) = &self.deliveries[at % self.deliveries.len()];
        let now = self.clock.load(Ordering::SeqCst);
        let receipt = &delivery.receipt;
        let result = match op {
            Op::Ack(_) => receipt.ack().await,
            Op::Retry(_, pause) => receipt.retry_after(Duration::from_millis(pause)).await,
            Op::GiveUp(_) => receipt.give_up("bad").await,
            _ => receipt.in_progress().await,
        };
        self.model.answered(*n, *name, op, now, result.is_ok());
        result
    }

    async fn revive(&mut self, at: usize, replay: bool) -> Result<(), BusError> {
        let dead = self.bus().dead_letters(0, 1_000).await?;
        if dead.is_empty() {
            return Ok(());
        }
        let letter = &dead[at % dead.len()];
        let result = if replay {
            self.bus().replay(letter.id).await
        } else {
            self.bus().discard(letter.id).await
        };
        if let Ok(found) = result {
            assert!(found);
        }
        self.model
            .revived(number(&letter.payload), self.taken, replay, result.is_ok());
        result.map(drop)
    }

    /// What the bus lists is what the model has buried.
    pub async fn check_dead_letters(&mut self) {
        let dead = self.bus().dead_letters(0, 1_000).await.unwrap();
        let dead: Vec<usize> = dead.iter().map(|d| number(&d.payload)).collect();
        self.model.dead_letters(&dead);
    }

    /// Everything that is left comes out.
    pub async fn finish(mut self) {
        self.engine.inject(1 << 40, Fault::DiskFull);
        self.clock.fetch_add(10_000_000, Ordering::SeqCst);
        let mut attempts = BTreeMap::new();
        loop {
            let count = match self.next(100).await {
                Ok(count) => count,
                // A write failed earlier, and nobody had noticed.
                Err(_) => {
                    self.crash(0).await;
                    continue;
                }
            };
            if count == 0 {
                break;
            }
            for (n, name, delivery) in std::mem::take(&mut self.deliveries) {
                *attempts.entry(n).or_insert(0) += 1;
                let result = delivery.receipt.ack().await;
                self.model
                    .answered(n, name, Op::Ack(0), self.now(), result.is_ok());
            }
        }
        self.check_dead_letters().await;
        self.model.all_came();
        let stats = self.bus().stats().await.unwrap();
        assert_eq!((stats[0].waiting, stats[0].in_flight), (0, 0), "{stats:?}");
    }
}

fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}
