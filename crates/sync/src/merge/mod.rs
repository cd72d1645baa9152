//! Merge rules in operations: how the fields of a record that devices change at the same time become one.
//!
//! A client writes whole records. What it changed becomes edits ([`edits_of`]), which its operation carries
//! ([`Merge`]) together with all that others need to know of the rules, so that merging never looks at a lexicon. The
//! state of a record keeps what the edits make ([`MergeState`]), and from it comes the record ([`merged_record`]).
//!
//! `docs/sync-crdt.md` specifies all of it.

mod difference;
mod facets;
mod payload;
mod record;
mod rules;
mod sequences;
mod state;
#[cfg(test)]
mod tests;
mod write;

pub use payload::{Begin, Continue, FieldEdit, MAX_MERGE_BYTES, Merge};
pub use record::merged_record;
pub use rules::{FieldRule, MAX_RULES, rules_of};
pub use state::{Lineage, LineageId, MAX_WEIGHT, MergeState};
pub use write::{Before, edits_of};

/// What the record itself is called among its fields: all of them that have no rule of their own.
pub const WHOLE: &str = "";
/// What a record says of its own type; it is never merged.
pub(crate) const TYPE: &str = "$type";
