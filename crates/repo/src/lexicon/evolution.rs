//! Whether a new version of a document keeps faith with the old one.

use std::fmt;

use super::rules::Document;

/// The kind of a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// Something is gone.
    Removed,
}

/// A change that breaks old data or old programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakingChange {
    /// The place.
    pub path: String,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// What changed, and whom it breaks.
    pub explanation: String,
}

impl fmt::Display for BreakingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.explanation)
    }
}

/// Compares.
pub fn compare(_old: &Document, _new: &Document) -> Vec<BreakingChange> {
    Vec::new()
}
