//! Which items one of two sets has and the other has not, at the cost of the difference and not of the sets.
//!
//! Rateless set reconciliation (Yang, Gilad, Alizadeh: "Practical Rateless Set Reconciliation", SIGCOMM 2024). A set has
//! an endless sequence of [coded symbols](Symbol). Symbols of two sets, subtracted, are those of their difference, and
//! about 1.35 times as many of them as there are differing items are enough to find them all. Nobody has to know
//! beforehand how many that will be: who asks goes on asking until it is enough.
//!
//! | type | what it does |
//! |---|---|
//! | [`Sketch`] | the first symbols of a set, kept as items come and go; one for all peers |
//! | [`Batch`] | symbols on the wire |
//! | [`Decoder`] | remote symbols in, difference out |
//! | [`Inquiry`] | how many symbols to ask for, until the difference is known |
//!
//! `docs/sync-reconcile.md` has the formats for other implementations.

mod batch;
mod decoder;
mod inquiry;
mod item;
mod mapping;
mod sketch;
mod symbol;

pub use batch::{Batch, BatchError};
pub use decoder::{DecodeError, Decoder, Difference};
pub use inquiry::{Inquiry, InquiryError, Request, Step, symbols_for};
pub use item::{Item, Key};
pub use mapping::{MAX_INDEX, Mapping};
pub use sketch::{GrowError, MAX_SYMBOLS, Sketch};
pub use symbol::Symbol;
