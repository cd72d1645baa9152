//! Durable work queues between the parts of the pin service.
//!
//! A [`Bus`] carries work; it is not where truth lives. Every message may be lost, doubled, late or out of order, and
//! all of the bus may be wiped: whoever publishes can publish the same again from the state store, and whoever
//! consumes does the same thing twice without harm.
//!
//! Two buses stand behind the one contract: [`EmbeddedBus`] keeps its rows in a store of `ues-storage`, for a service
//! that is one process, and [`NatsBus`] is a client of NATS JetStream, for one that is many. One conformance suite
//! runs over both.

mod embedded;
mod limits;
mod message;
mod nats;
mod queue;

pub use embedded::{EmbeddedBus, EmbeddedOptions};
pub use limits::{DEDUPLICATION, MAX_ID, MAX_PAYLOAD};
pub use message::{Message, Subject, SubjectError};
pub use nats::{NatsBus, NatsOptions, NatsTls};
pub use queue::{Bus, BusError, DeadLetter, Delivery, QueueSpec, QueueStats, Receipt, WorkQueue};
