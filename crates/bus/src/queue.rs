//! The contract of a bus and its work queues.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::message::{Message, Subject};

/// Why the bus did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The bus cannot be reached or does not answer in time; trying again later may help.
    #[error("the bus does not answer: {0}")]
    Unavailable(String),
    /// The message is larger than the bus carries.
    #[error("a message may have at most {limit} bytes, found {found}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// What was found.
        found: usize,
    },
    /// The queue holds as much as it may; nothing of the call was published to it. Consumers must catch up first.
    #[error("queue {queue} is full: it may hold {limit}")]
    Full {
        /// The name of the queue.
        queue: String,
        /// What it may hold: a number of messages or of bytes.
        limit: String,
    },
    /// The queue cannot be made as asked, or what is stored is damaged.
    #[error("the bus refuses: {0}")]
    Refused(String),
}

/// How a queue behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its name; consumers of the same name share the work. Letters, digits, `_` and `-`.
    pub name: String,
    /// It takes messages whose subject is this one or lies below it. No two queues of different names may
    /// take the same message.
    pub subject: Subject,
    /// A delivery that is neither acknowledged nor reported in progress for so long is delivered again.
    pub ack_wait: Duration,
    /// After so many deliveries a message goes to the dead letters.
    pub max_attempts: u32,
    /// Deliveries that may be open at one time.
    pub max_in_flight: usize,
}

/// Publishes messages and opens queues.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes messages, in order; returns once all are durable.
    ///
    /// # Errors
    /// [`BusError`]; some of the messages may have been published nevertheless.
    async fn publish(&self, messages: Vec<Message>) -> Result<(), BusError>;

    /// Opens a queue, making it at first use. Messages that were published before it was first made may be missing.
    ///
    /// # Errors
    /// [`BusError`].
    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn WorkQueue>, BusError>;

    /// Tells it to whoever listens just now, once and without promise: nothing of it is kept.
    ///
    /// # Errors
    /// [`BusError`].
    async fn tell(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError>;

    /// Hears what is told under this very subject from now on, by whichever process. Who does not keep up misses some.
    ///
    /// # Errors
    /// [`BusError`].
    async fn listen(&self, subject: &Subject) -> Result<BoxStream<'static, Bytes>, BusError>;

    /// How full the queues are.
    ///
    /// # Errors
    /// [`BusError`].
    async fn stats(&self) -> Result<Vec<QueueStats>, BusError>;

    /// Messages that were given up, oldest first, from after the given id.
    ///
    /// # Errors
    /// [`BusError`].
    async fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, BusError>;

    /// Puts a dead letter back into its queue; `false` when there is none of this id.
    ///
    /// # Errors
    /// [`BusError`].
    async fn replay(&self, id: u64) -> Result<bool, BusError>;

    /// Forgets a dead letter; `false` when there is none of this id.
    ///
    /// # Errors
    /// [`BusError`].
    async fn discard(&self, id: u64) -> Result<bool, BusError>;
}

/// A queue that several consumers may share.
#[async_trait]
pub trait WorkQueue: Send + Sync + 'static {
    /// Takes up to `max` messages; waits up to `wait` for the first one, and returns none when it does not come.
    ///
    /// # Errors
    /// [`BusError`].
    async fn next(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError>;
}

/// A message that was taken from a queue and waits for a verdict. Dropping it is no verdict: it comes again after
/// the queue's `ack_wait`.
pub struct Delivery {
    /// Where it was sent to.
    pub subject: Subject,
    /// The content.
    pub payload: Bytes,
    /// The `traceparent` of who published it.
    pub trace: Option<String>,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// When it was published, in milliseconds since the Unix epoch.
    pub published_at_ms: u64,
    /// How to answer.
    pub receipt: Box<dyn Receipt>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("subject", &self.subject)
            .field("attempt", &self.attempt)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// The verdicts on a delivery.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// Done: it never comes again.
    async fn ack(&self) -> Result<(), BusError>;
    /// Not now: it comes again after this time.
    async fn retry_after(&self, pause: Duration) -> Result<(), BusError>;
    /// Still at it: the time until it would come again begins anew.
    async fn in_progress(&self) -> Result<(), BusError>;
    /// Never: it goes to the dead letters, with this reason.
    async fn give_up(&self, reason: &str) -> Result<(), BusError>;
}

/// How full a queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Its name.
    pub name: String,
    /// Messages that wait.
    pub waiting: u64,
    /// Deliveries without a verdict.
    pub in_flight: u64,
    /// Age of the oldest message that waits, in milliseconds.
    pub oldest_ms: u64,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its name in the list; rises with time.
    pub id: u64,
    /// The queue that gave it up.
    pub queue: String,
    /// Where it was sent to.
    pub subject: Subject,
    /// The content.
    pub payload: Bytes,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}
