//! What a comparison finds.

use std::fmt;

/// The kind of a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The document has another NSID.
    Renamed,
    /// A definition, field, parameter or body is gone.
    Removed,
    /// A field or parameter that did not exist is required.
    NewRequired,
    /// A type, a reference, or the kind of a method is another one.
    Type,
    /// The keys of a collection's records are of another kind.
    RecordKey,
    /// Concurrent changes of a property become one in another way.
    MergeRule,
    /// The encoding of a body is another one.
    Encoding,
    /// What was valid is valid no more.
    Tightened,
    /// What was invalid becomes valid.
    Loosened,
}

impl ChangeKind {
    /// A word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Renamed => "renamed",
            ChangeKind::Removed => "removed",
            ChangeKind::NewRequired => "new-required",
            ChangeKind::Type => "type",
            ChangeKind::RecordKey => "record-key",
            ChangeKind::MergeRule => "merge-rule",
            ChangeKind::Encoding => "encoding",
            ChangeKind::Tightened => "tightened",
            ChangeKind::Loosened => "loosened",
        }
    }
}

/// A change that breaks old data or old programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakingChange {
    /// The place in the document, as in `$.defs.main.record.properties.text`.
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

/// Who writes and who reads the part that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Anyone writes and anyone reads, at any time.
    Both,
    /// Callers of any age write, the updated server reads.
    Input,
    /// The updated server writes, callers of any age read.
    Output,
}

#[derive(Default)]
pub(super) struct Comparison {
    pub(super) changes: Vec<BreakingChange>,
}

impl Comparison {
    pub(super) fn add(&mut self, path: &str, kind: ChangeKind, explanation: impl Into<String>) {
        self.changes.push(BreakingChange {
            path: path.to_owned(),
            kind,
            explanation: explanation.into(),
        });
    }

    /// What was valid is valid no more; it matters where old data meets the new document.
    pub(super) fn tightened(&mut self, path: &str, flow: Flow, what: &str) {
        let whom = match flow {
            Flow::Both => "records that exist would not be valid any more",
            Flow::Input => "callers that have not been updated would be refused",
            Flow::Output => return,
        };
        self.add(path, ChangeKind::Tightened, format!("{what}: {whom}"));
    }

    /// What was invalid becomes valid; it matters where new data meets the old document.
    pub(super) fn loosened(&mut self, path: &str, flow: Flow, what: &str) {
        let whom = match flow {
            Flow::Both => "programs that have not been updated would refuse new records",
            Flow::Output => "callers that have not been updated would refuse new answers",
            Flow::Input => return,
        };
        self.add(path, ChangeKind::Loosened, format!("{what}: {whom}"));
    }

    pub(super) fn type_changed(&mut self, path: &str, old: &str, new: &str) {
        self.add(
            path,
            ChangeKind::Type,
            format!("the type was {old} and would be {new}: a type never changes"),
        );
    }
}
