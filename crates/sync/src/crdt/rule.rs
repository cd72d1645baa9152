//! What every merge rule promises.

use std::cmp::Ordering;
use std::sync::Arc;

use ues_data::Ipld;
use ues_data::dag_cbor::{Reader, Writer};

use super::dot::Dot;
use super::error::{CodecError, CrdtError};
use super::wire;

/// Where an edit comes from, as its signed operation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The first dot of the edit.
    pub dot: Dot,
    /// The operation's hybrid time. A writer that has seen an operation gives its own a later one.
    pub time: u64,
    /// The DID of the writer; breaks ties of time, byte by byte.
    pub author: Arc<str>,
}

impl Origin {
    /// The same operation, `count` indices further.
    pub(crate) fn within(&self, count: u32) -> Self {
        Self {
            dot: self.dot.within(count),
            ..self.clone()
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.array(3);
        self.dot.write(out);
        out.uint(self.time);
        out.text(&self.author);
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        wire::tuple(input, 3)?;
        Ok(Self {
            dot: Dot::read(input)?,
            time: input.uint()?,
            author: input.text()?.into(),
        })
    }
}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Origin {
    /// Who wins: the later time, then the greater DID, then the greater dot.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, &self.author, self.dot).cmp(&(other.time, &other.author, other.dot))
    }
}

/// The payload of an operation under some merge rule.
pub trait Edit: Clone + Sized {
    /// How many successive indices of its operation the edit takes, at least one. A further edit in the same operation
    /// begins behind them.
    fn width(&self) -> u32;

    /// The dots that the edit refers to and that must have been applied before it.
    ///
    /// All of them must lie in the operation's own past: who takes an operation from another writer checks them against
    /// the operation's clock, or replicas may disagree about whether the edit can be applied. Dots of the edit's own
    /// operation may be among them.
    fn references(&self) -> Vec<Dot>;

    /// Canonical DAG-CBOR.
    ///
    /// # Errors
    /// If the edit is longer than [`MAX_EDIT_BYTES`](super::MAX_EDIT_BYTES) or one of its parts is out of bounds.
    fn encode(&self) -> Result<Vec<u8>, CodecError>;

    /// Reads what [`Edit::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// If the bytes are not canonical, of another shape or out of bounds.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

/// A value that several writers change at the same time.
///
/// The laws: edits are applied in causal order (after all that [`Edit::references`] names, and a writer's own edits in
/// the order of their dots), concurrent ones in any order. Then equal sets of edits give equal states, byte for byte as
/// [`Rule::encode`] has them. An edit that is applied again is refused with [`CrdtError::Applied`], and every edit that
/// is refused leaves the state as it was.
pub trait Rule: Clone + Default {
    /// What changes the value.
    type Edit: Edit;

    /// Applies one edit.
    ///
    /// # Errors
    /// If the edit was applied before, refers to what was not, or contradicts the rule.
    fn apply(&mut self, origin: &Origin, edit: &Self::Edit) -> Result<(), CrdtError>;

    /// What is left of an edit when some of what it refers to was taken back, because its writer lost the right to write.
    ///
    /// Removals and observations of what is not here are left out; a run whose neighbour is not here goes to the end; a
    /// mark with an end that is not here covers nothing. An edit that refers to what is here stays as it is. Indices stay
    /// the same in any case.
    #[must_use]
    fn mend(&self, origin: &Origin, edit: Self::Edit) -> Self::Edit;

    /// What a reader sees.
    fn value(&self) -> Ipld;

    /// Canonical DAG-CBOR of all that the state knows.
    fn encode(&self) -> Vec<u8>;

    /// Reads what [`Rule::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are not canonical, of another shape, or contradict themselves.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}
