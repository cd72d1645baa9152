//! What the edits of one record have made.

use bytes::Bytes;
use ues_data::dag_cbor::{Reader, Writer};

use crate::clock::WriterId;
use crate::crdt::{CodecError, Document, Dot, Origin};

use super::difference;
use super::payload::{Begin, FieldEdit, Merge};
use super::rules::FieldRule;

/// Most bytes that the operations of one level may say about merging. Beyond, nothing of the level merges.
pub const MAX_WEIGHT: u64 = 1 << 20;

/// The name of a lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineageId(pub [u8; 32]);

/// Edits that merge with each other, because they go back to one beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Its name, which follows from how it began.
    pub id: LineageId,
    /// The rules, by field.
    pub rules: Vec<FieldRule>,
    /// The operations that began it, by writer and number.
    pub begun: Vec<(WriterId, u64)>,
    /// The state of each field, in the order of the rules, encoded.
    pub documents: Vec<Bytes>,
}

/// What the edits of one record have made: the lineages of the highest level. Equal sets of operations give equal states,
/// in any order in which each comes after those that it had seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeState {
    /// The highest level of any operation.
    pub level: u64,
    /// Bytes that operations of the level said; beyond [`MAX_WEIGHT`] it is full, and has no lineages.
    pub weight: u64,
    /// By name.
    pub lineages: Vec<Lineage>,
}

impl MergeState {
    /// Whether nothing was ever said about merging.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A lineage of the highest level.
    pub fn lineage(&self, id: LineageId) -> Option<&Lineage> {
        let at = self.find(id).ok()?;
        self.lineages.get(at)
    }

    fn find(&self, id: LineageId) -> Result<usize, usize> {
        self.lineages.binary_search_by_key(&id, |l| l.id)
    }

    /// Takes in what an operation says. Answers the lineage in which it merges; none if it does not, now or any more.
    pub fn apply(&mut self, origin: &Origin, merge: &Merge) -> Option<LineageId> {
        let (id, edits) = match merge {
            Merge::End(level) => {
                self.raise(*level);
                return None;
            }
            Merge::Begin(begin) => {
                self.raise(begin.level);
                if begin.level < self.level || !self.add_weight(merge) {
                    return None;
                }
                let id = begin.id();
                self.begin(id, begin, (origin.dot.writer, origin.dot.seq));
                (id, &begin.edits)
            }
            Merge::Continue(more) => {
                let mut all = self.lineages.iter();
                let id = all.find(|l| l.begun.contains(&more.begun))?.id;
                if !self.add_weight(merge) {
                    return None;
                }
                (id, &more.edits)
            }
        };
        let at = self.find(id).ok()?;
        for edit in edits {
            self.lineages.get_mut(at)?.edit(origin, edit);
        }
        Some(id)
    }

    /// A higher level ends all lineages.
    fn raise(&mut self, level: u64) {
        if level > self.level {
            *self = Self {
                level,
                ..Self::default()
            };
        }
    }

    fn add_weight(&mut self, merge: &Merge) -> bool {
        if self.weight <= MAX_WEIGHT {
            self.weight = self.weight.saturating_add(merge.encode().len() as u64);
        }
        if self.weight <= MAX_WEIGHT {
            return true;
        }
        // The same number whatever came last.
        self.weight = MAX_WEIGHT + 1;
        self.lineages.clear();
        false
    }

    fn begin(&mut self, id: LineageId, begin: &Begin, by: (WriterId, u64)) {
        let at = match self.find(id) {
            Ok(at) => at,
            Err(at) => {
                let lineage = Lineage {
                    id,
                    rules: begin.rules.clone(),
                    begun: Vec::new(),
                    documents: documents(begin),
                };
                self.lineages.insert(at, lineage);
                at
            }
        };
        if let Some(lineage) = self.lineages.get_mut(at)
            && let Err(place) = lineage.begun.binary_search(&by)
        {
            lineage.begun.insert(place, by);
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.array(3);
        out.uint(self.level);
        out.uint(self.weight);
        out.array(self.lineages.len() as u64);
        for lineage in &self.lineages {
            out.array(4);
            out.bytes(&lineage.id.0);
            FieldRule::write_all(&lineage.rules, out);
            out.array(lineage.begun.len() as u64);
            for (writer, seq) in &lineage.begun {
                out.array(2);
                out.uint((*writer).into());
                out.uint(*seq);
            }
            out.array(lineage.documents.len() as u64);
            for document in &lineage.documents {
                out.bytes(document);
            }
        }
    }

    /// Reads a state. The documents are read when they are needed, see [`check`](Self::check).
    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let tuple = |input: &mut Reader<'_>, expected| match input.array()? {
            found if found == expected => Ok(()),
            found => Err(CodecError::Length { expected, found }),
        };
        tuple(input, 3)?;
        let mut state = Self {
            level: input.uint()?,
            weight: input.uint()?,
            lineages: Vec::new(),
        };
        for _ in 0..input.array()? {
            tuple(input, 4)?;
            let id = input
                .bytes()?
                .try_into()
                .map_err(|_| CodecError::NotCanonical)?;
            let mut lineage = Lineage {
                id: LineageId(id),
                rules: FieldRule::read_all(input)?,
                begun: Vec::new(),
                documents: Vec::new(),
            };
            for _ in 0..input.array()? {
                tuple(input, 2)?;
                let number = input.uint()?;
                let writer = WriterId::try_from(number).map_err(|_| CodecError::NotCanonical)?;
                lineage.begun.push((writer, input.uint()?));
            }
            tuple(input, lineage.rules.len())?;
            for _ in 0..lineage.rules.len() {
                lineage
                    .documents
                    .push(Bytes::copy_from_slice(input.bytes()?));
            }
            let sorted = lineage.begun.is_sorted_by(|a, b| a < b);
            if !sorted || state.lineages.last().is_some_and(|l| l.id >= lineage.id) {
                return Err(CodecError::Order("lineages"));
            }
            state.lineages.push(lineage);
        }
        match state.is_empty() || state.weight > MAX_WEIGHT + 1 {
            true => Err(CodecError::NotCanonical),
            false => Ok(state),
        }
    }

    /// Whether all documents are states of their rules.
    pub(crate) fn check(&self) -> bool {
        self.lineages.iter().all(|lineage| {
            let mut all = lineage.rules.iter().zip(&lineage.documents);
            all.all(|(rule, document)| Document::decode(rule.kind, document).is_ok())
        })
    }
}

impl Lineage {
    /// Applies an edit. One that cannot be applied even without what was taken back changes nothing.
    fn edit(&mut self, origin: &Origin, edit: &FieldEdit) {
        let rule = self.rules.iter().position(|rule| rule.field == edit.field);
        let Some((at, rule)) = rule.and_then(|at| Some((at, self.rules.get(at)?))) else {
            return;
        };
        let Some(slot) = self
            .documents
            .get_mut(at)
            .filter(|_| rule.kind == edit.kind)
        else {
            return;
        };
        if let Ok(mut document) = Document::decode(rule.kind, slot)
            && document.apply_mended(origin, &edit.edit).is_ok()
        {
            *slot = document.encode().into();
        }
    }
}

/// The documents of a lineage that begins. The elements of what the fields were have the dots `[0, 0, n]`.
pub(super) fn documents(begin: &Begin) -> Vec<Bytes> {
    let parts = begin.parts().unwrap_or_default();
    let rules = begin.rules.iter().zip(parts);
    rules
        .map(|(rule, part)| {
            let mut document = Document::new(rule.kind);
            let origin = Origin {
                dot: Dot::new(crate::clock::ROOT, 0, 0),
                time: 0,
                author: "".into(),
            };
            let part = Some(&part).filter(|part| **part != ues_data::Ipld::Null);
            // What cannot be said is as if it were not there.
            if let Ok(Some(edit)) = difference::edit(&document, part, &origin)
                && document.apply(&origin, &edit).is_err()
            {
                document = Document::new(rule.kind);
            }
            document.encode().into()
        })
        .collect()
}
