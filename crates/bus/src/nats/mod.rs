//! The bus of a service that is many processes: a client of NATS JetStream 2.10 or newer.
//!
//! **What is made there.** For the first two words of each subject one stream with work-queue retention
//! (`pin.assign.w1` lies in `PIN_ASSIGN`), for each queue one durable pull consumer of the queue's name, and the
//! stream `BUS_DEAD` of the dead letters. The program makes them at first use, brings them up to date, and makes
//! them anew when somebody deleted them.
//!
//! **Attempts.** The server delivers without limit; whoever takes a message that was delivered often enough moves it
//! to the dead letters. So nothing is dropped by the server in silence.
//!
//! **What differs from the embedded bus.** A message whose subject no queue takes is kept until it is too old. One
//! whose retry pause runs counts as in flight, so that [`max_in_flight`](crate::QueueSpec::max_in_flight) limits
//! those too. A verdict is sent, and not confirmed. When a process ends, its open deliveries come again after
//! `ack_wait`.

mod dead;
mod link;
mod names;
mod objects;
mod options;
mod publish;
mod request;
mod settle;
mod stats;
mod take;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use self::link::Link;
use self::names::Names;
use crate::limits::{check_spec, check_told};
use crate::message::{Message, Subject};
use crate::queue::{Bus, BusError, DeadLetter, QueueSpec, QueueStats, WorkQueue};

pub use options::{NatsOptions, NatsTls};

/// A bus on a NATS server or cluster. It reconnects by itself.
pub struct NatsBus(Arc<Core>);

/// What the bus, its queues and its receipts share.
struct Core {
    link: Link,
    names: Names,
    options: NatsOptions,
    /// Streams that were there when they were last used.
    streams: Mutex<HashSet<String>>,
}

impl NatsBus {
    /// Connects.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when no server answers, [`BusError::Refused`] when the options or the
    /// credentials are not accepted.
    pub async fn connect(options: NatsOptions) -> Result<Arc<Self>, BusError> {
        let names = Names::new(options.prefix.as_deref())?;
        let link = Link::connect(&options).await?;
        Ok(Arc::new(Self(Arc::new(Core {
            link,
            names,
            options,
            streams: Mutex::default(),
        }))))
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), BusError> {
        self.0.publish(&messages).await
    }

    async fn queue(&self, spec: QueueSpec) -> Result<Arc<dyn WorkQueue>, BusError> {
        check_spec(&spec)?;
        self.0.link.ready().await?;
        let queue = take::NatsQueue::open(Arc::clone(&self.0), spec).await?;
        Ok(Arc::new(queue))
    }

    async fn tell(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        check_told(subject, &payload)?;
        let subject = self.0.names.outside(subject.as_str());
        let told = self.0.link.client.publish(subject, payload).await;
        told.map_err(|e| BusError::Unavailable(e.to_string()))
    }

    async fn listen(&self, subject: &Subject) -> Result<BoxStream<'static, Bytes>, BusError> {
        check_told(subject, &[])?;
        self.0.link.ready().await?;
        let subject = self.0.names.outside(subject.as_str());
        let unavailable = |e: &dyn std::fmt::Display| BusError::Unavailable(e.to_string());
        let client = &self.0.link.client;
        let heard = client
            .subscribe(subject)
            .await
            .map_err(|e| unavailable(&e))?;
        // What is told from now on is heard: the server knows of it.
        client.flush().await.map_err(|e| unavailable(&e))?;
        Ok(heard.map(|message| message.payload).boxed())
    }

    async fn stats(&self) -> Result<Vec<QueueStats>, BusError> {
        self.0.link.ready().await?;
        self.0.stats().await
    }

    async fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, BusError> {
        self.0.link.ready().await?;
        self.0.dead_letters(after, limit).await
    }

    async fn replay(&self, id: u64) -> Result<bool, BusError> {
        self.0.link.ready().await?;
        self.0.replay(id).await
    }

    async fn discard(&self, id: u64) -> Result<bool, BusError> {
        self.0.link.ready().await?;
        self.0.discard(id).await
    }
}
