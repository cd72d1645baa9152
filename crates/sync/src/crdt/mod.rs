//! Merge rules beyond the last writer of a whole record.
//!
//! Each is a pure data structure: edits go in, in causal order, and whatever the order of concurrent ones, the same
//! state comes out, byte for byte ([`Rule`] has the laws). Storage, signatures and clocks are the business of others.
//!
//! | rule | what merges |
//! |---|---|
//! | [`Counter`] | sums of each writer |
//! | [`Set`] | additions win against concurrent removals |
//! | [`Fields`] | each field of a record by itself: last writer, and a write wins against a deletion |
//! | [`List`] | values in an order; runs of different writers do not mingle |
//! | [`Text`] | the same for characters, with marks on ranges |
//!
//! [`Document`] is a state under any of them, for callers that only have the rule's name and encoded edits.
//!
//! `docs/sync-crdt.md` has the formats for other implementations.

mod counter;
mod document;
mod dot;
mod error;
mod fields;
mod list;
mod rule;
mod sequence;
mod set;
mod text;
mod value;
mod wire;

pub use counter::{Counter, CounterEdit};
pub use document::{ApplyError, Document, RuleKind, UnknownRule, inspect};
pub use dot::Dot;
pub use error::{CodecError, CrdtError};
pub use fields::{FieldChange, Fields, FieldsEdit, MAX_FIELD_BYTES};
pub use list::{List, ListEdit, ListStep};
pub use rule::{Edit, Origin, Rule};
pub use sequence::Place;
pub use set::{Set, SetChange, SetEdit};
pub use text::{Anchor, Expand, MAX_KEY_BYTES, Mark, Text, TextEdit, TextStep};
pub use value::Value;
pub use wire::{MAX_EDIT_BYTES, MAX_STATE_BYTES};
