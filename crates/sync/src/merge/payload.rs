//! What an operation says about merging.

use bytes::Bytes;
use ues_data::Ipld;
use ues_data::dag_cbor::{Limits, Reader, Writer};

use crate::clock::{ROOT, VectorClock, WriterId};
use crate::crdt::{CodecError, Dot, RuleKind, inspect};

use super::rules::{FieldRule, read_kind};
use super::state::LineageId;

/// Most bytes of all that one operation says about merging.
pub const MAX_MERGE_BYTES: usize = 64 << 10;

/// What an operation says about merging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Begins a lineage, or joins one that begins in the same way.
    Begin(Begin),
    /// Goes on with a lineage.
    Continue(Continue),
    /// With a deletion: ends all lineages below this level.
    End(u64),
}

/// The beginning of a lineage: the rules, and what the fields were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Lineages of a lower level do not merge any more.
    pub level: u64,
    /// The rules, by field.
    pub rules: Vec<FieldRule>,
    /// What the ruled fields were before, in the order of the rules, as a DAG-CBOR list with null for nothing; none for a
    /// record that was not there.
    pub base: Option<Bytes>,
    /// What the operation changes.
    pub edits: Vec<FieldEdit>,
}

/// Edits of a lineage that began before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continue {
    /// An operation that began the lineage.
    pub begun: (WriterId, u64),
    /// What the operation changes.
    pub edits: Vec<FieldEdit>,
}

/// What an operation changes in one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldEdit {
    /// The field; [`WHOLE`](super::WHOLE) for those without a rule of their own.
    pub field: Box<str>,
    /// The rule.
    pub kind: RuleKind,
    /// The edit, encoded.
    pub edit: Bytes,
}

impl Begin {
    /// The name of the lineage: BLAKE3 of the DAG-CBOR list `[level, rules, base]`.
    pub fn id(&self) -> LineageId {
        let mut out = Writer::new();
        out.array(3);
        out.uint(self.level);
        FieldRule::write_all(&self.rules, &mut out);
        write_base(self.base.as_ref(), &mut out);
        LineageId(*blake3::hash(out.as_bytes()).as_bytes())
    }

    /// What the fields were, in the order of the rules.
    pub(super) fn parts(&self) -> Option<Vec<Ipld>> {
        let Some(base) = &self.base else {
            return Some(vec![Ipld::Null; self.rules.len()]);
        };
        match ues_data::dag_cbor::decode_with(base, Limits::RECORD) {
            Ok(Ipld::List(parts)) if parts.len() == self.rules.len() => Some(parts),
            _ => None,
        }
    }
}

fn write_base(base: Option<&Bytes>, out: &mut Writer) {
    match base {
        Some(base) => out.bytes(base),
        None => out.null(),
    }
}

impl Merge {
    /// Canonical DAG-CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Begin(begin) => {
                out.array(4);
                out.uint(begin.level);
                FieldRule::write_all(&begin.rules, &mut out);
                write_base(begin.base.as_ref(), &mut out);
                FieldEdit::write_all(&begin.edits, &mut out);
            }
            Self::Continue(more) => {
                out.array(3);
                out.uint(more.begun.0.into());
                out.uint(more.begun.1);
                FieldEdit::write_all(&more.edits, &mut out);
            }
            Self::End(level) => {
                out.array(1);
                out.uint(*level);
            }
        }
        out.into_bytes()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else. Edits and the base are checked too.
    ///
    /// # Errors
    /// If the bytes are not canonical, of another shape or out of bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > MAX_MERGE_BYTES {
            return Err(CodecError::TooLong {
                what: "what an operation says about merging",
                max: MAX_MERGE_BYTES,
                found: bytes.len(),
            });
        }
        let mut input = Reader::new(bytes);
        let merge = match input.array()? {
            4 => {
                let begin = Begin {
                    level: input.uint()?,
                    rules: FieldRule::read_all(&mut input)?,
                    base: match input.try_null()? {
                        true => None,
                        false => Some(Bytes::copy_from_slice(input.bytes()?)),
                    },
                    edits: FieldEdit::read_all(&mut input)?,
                };
                if begin.parts().is_none() {
                    return Err(CodecError::NotCanonical);
                }
                Self::Begin(begin)
            }
            3 => {
                let number = input.uint()?;
                let writer = WriterId::try_from(number).map_err(|_| CodecError::Number {
                    what: "a writer",
                    found: number,
                })?;
                Self::Continue(Continue {
                    begun: (writer, input.uint()?),
                    edits: FieldEdit::read_all(&mut input)?,
                })
            }
            1 => Self::End(input.uint()?),
            found => return Err(CodecError::Length { expected: 4, found }),
        };
        input.finish()?;
        Ok(merge)
    }

    /// What the operation changes.
    pub fn edits(&self) -> &[FieldEdit] {
        match self {
            Self::Begin(begin) => &begin.edits,
            Self::Continue(more) => &more.edits,
            Self::End(_) => &[],
        }
    }

    /// Whether all that it refers to lies in what an operation with this clock had seen. Nobody can then apply the
    /// operation before what it refers to.
    pub fn is_within(&self, clock: &VectorClock) -> bool {
        let begun = match self {
            Self::Continue(more) => clock.covers(more.begun.0, more.begun.1),
            _ => true,
        };
        let seen = |dot: &Dot| match dot.writer {
            // What the fields were at the beginning.
            ROOT => dot.seq == 0,
            writer => clock.covers(writer, dot.seq),
        };
        begun
            && self.edits().iter().all(|edit| {
                inspect(edit.kind, &edit.edit).is_ok_and(|(_, dots)| dots.iter().all(seen))
            })
    }
}

impl FieldEdit {
    fn write_all(edits: &[Self], out: &mut Writer) {
        out.array(edits.len() as u64);
        for edit in edits {
            out.array(3);
            out.text(&edit.field);
            out.text(edit.kind.name());
            out.bytes(&edit.edit);
        }
    }

    fn read_all(input: &mut Reader<'_>) -> Result<Vec<Self>, CodecError> {
        let mut edits: Vec<Self> = Vec::new();
        for _ in 0..input.array()? {
            let items = input.array()?;
            if items != 3 {
                let (expected, found) = (3, items);
                return Err(CodecError::Length { expected, found });
            }
            let edit = Self {
                field: input.text()?.into(),
                kind: read_kind(input)?,
                edit: Bytes::copy_from_slice(input.bytes()?),
            };
            inspect(edit.kind, &edit.edit)?;
            if edits.last().is_some_and(|last| last.field >= edit.field) {
                return Err(CodecError::Order("edits"));
            }
            edits.push(edit);
        }
        Ok(edits)
    }
}
