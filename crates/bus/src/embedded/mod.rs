//! The bus of a service that is one process: durable queues in a store of `ues-storage`.
//!
//! **What is where.** Messages lie in the store and are read when their turn comes; a [`Ledger`](ledger::Ledger)
//! for each queue keeps in memory what is open, about 100 bytes a message. So a million messages may wait.
//!
//! **Order.** A queue's sequence numbers are given under its lock, and batches are handed to the store under the same
//! lock. The store applies batches in that order, so that a row is never visible before one with a lower number,
//! and reading onwards from a cursor misses none.
//!
//! **Attempts.** Before a delivery is handed out, it is durable that it was: the cursor for first deliveries, a row
//! for each later one. So a message that crashes the process at every delivery reaches the dead letters too.
//!
//! **Verdicts** are not waited for: losing one in a crash only brings a message again. A store that takes no more
//! writes is reported by the next call.
//!
//! **No queue, no message.** Queues are remembered; a message whose subject no queue takes is dropped.

mod dead;
mod ledger;
mod publish;
mod queues;
mod rows;
mod settle;
mod take;
mod told;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use ues_storage::{Clock, CommitError, StorageError, Store};

use self::dead::DeadIndex;
use self::ledger::Ledger;
use self::queues::Route;
use self::rows::Spaces;
use self::told::Told;
use crate::limits::check_told;
use crate::message::{Message, Subject};
use crate::queue::{Bus, BusError, DeadLetter, QueueSpec, QueueStats, WorkQueue};

/// Limits of an [`EmbeddedBus`], and its clock.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Messages that one queue may hold, delivered ones without a verdict included; [`BusError::Full`] above it.
    pub max_messages: u64,
    /// Bytes that the messages of one queue may take; [`BusError::Full`] above it.
    pub max_bytes: u64,
    /// Dead letters of all queues; the oldest are dropped above it.
    pub max_dead_letters: usize,
    /// Bytes of all dead letters; the oldest are dropped above it.
    pub max_dead_bytes: u64,
    /// Where the present time comes from. Ids of messages are forgotten by the clock of the store.
    pub clock: Clock,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            max_messages: 2_000_000,
            max_bytes: 4 << 30,
            max_dead_letters: 10_000,
            max_dead_bytes: 256 << 20,
            clock: Clock::system(),
        }
    }
}

/// A bus in a store. It needs no thread and no task of its own.
pub struct EmbeddedBus(Arc<Core>);

/// What the bus, its queues and its receipts share.
struct Core {
    store: Store,
    spaces: Spaces,
    options: EmbeddedOptions,
    routes: RwLock<Vec<Route>>,
    dead: Mutex<DeadIndex>,
    told: Told,
    /// Held while queues are made or removed.
    changing: tokio::sync::Mutex<()>,
}

/// A queue.
struct Queue {
    name: String,
    /// The number that its rows carry.
    number: u32,
    inner: Mutex<Inner>,
    /// Told when there may be something to take.
    wake: Notify,
}

struct Inner {
    spec: QueueSpec,
    ledger: Ledger,
}

impl EmbeddedBus {
    /// Opens the bus in a store, with the queues that were made before. One store has room for one bus, which must be
    /// open only once.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when the store cannot be read, [`BusError::Refused`] when its rows are damaged.
    pub fn open(store: Store, options: EmbeddedOptions) -> Result<Arc<Self>, BusError> {
        let spaces = Spaces::open(&store).map_err(storage)?;
        let routes = queues::load(&spaces)?;
        let dead = DeadIndex::load(&spaces)?;
        Ok(Arc::new(Self(Arc::new(Core {
            store,
            spaces,
            options,
            routes: RwLock::new(routes),
            dead: Mutex::new(dead),
            told: Told::default(),
            changing: tokio::sync::Mutex::default(),
        }))))
    }

    /// Forgets a queue with all its messages, so that another may take its subject; `false` when there is none of
    /// this name. Its consumers get [`BusError::Refused`].
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when the store cannot be read or written.
    pub async fn remove_queue(&self, name: &str) -> Result<bool, BusError> {
        self.0.remove_queue(name).await
    }
}

#[async_trait]
impl Bus for EmbeddedBus {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), BusError> {
        self.0.publish(&messages).await
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn WorkQueue>, BusError> {
        let queue = self.0.open_queue(spec).await?;
        Ok(Arc::new(take::Consumer::new(Arc::clone(&self.0), queue)))
    }

    async fn tell(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        check_told(subject, &payload)?;
        self.0.told.tell(subject, payload);
        Ok(())
    }

    async fn listen(&self, subject: &Subject) -> Result<BoxStream<'static, Bytes>, BusError> {
        check_told(subject, &Bytes::new())?;
        Ok(self.0.told.listen(subject))
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BusError> {
        self.0.stats()
    }

    async fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, BusError> {
        self.0.dead_letters(after, limit)
    }

    async fn replay(&self, id: u64) -> Result<bool, BusError> {
        self.0.replay(id).await
    }

    async fn discard(&self, id: u64) -> Result<bool, BusError> {
        self.0.discard(id).await
    }
}

impl Core {
    fn now_ms(&self) -> u64 {
        self.options.clock.now_ms()
    }
}

impl Inner {
    /// Whether as many deliveries are open as may be.
    fn is_full(&self) -> bool {
        self.ledger.in_flight() >= self.spec.max_in_flight
    }
}

impl Queue {
    /// Hands a batch with the queue's marks in it to the store. To be called under the queue's lock.
    fn submit(
        &self,
        core: &Core,
        ledger: &Ledger,
        mut batch: ues_storage::Batch,
    ) -> Result<ues_storage::Ticket, BusError> {
        batch.put(
            &core.spaces.marks,
            self.number.to_be_bytes(),
            ledger.marks().encode(),
        );
        core.store.submit(batch).map_err(commit)
    }
}

fn storage(error: StorageError) -> BusError {
    match error {
        StorageError::Commit(error) => commit(error),
        StorageError::Engine(error) => BusError::Unavailable(error.to_string()),
        other => BusError::Refused(other.to_string()),
    }
}

fn commit(error: CommitError) -> BusError {
    match error {
        CommitError::Invalid(error) => BusError::Refused(error.to_string()),
        other => BusError::Unavailable(other.to_string()),
    }
}

fn damaged(what: &str, key: &[u8]) -> BusError {
    BusError::Refused(format!(
        "the row of {what} {} is damaged",
        key.escape_ascii()
    ))
}
