//! What a client's write becomes: the difference between the record that it replaced and the new one.

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_data::dag_cbor::Writer;
use ues_data::{Ipld, Limits, dag_cbor};

use crate::crdt::{Document, Origin};

use super::difference;
use super::payload::{Begin, Continue, FieldEdit, MAX_MERGE_BYTES, Merge};
use super::rules::FieldRule;
use super::state::{Lineage, MAX_WEIGHT, MergeState, documents};

/// What stood at a path before a write.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// What edits have made.
    pub merges: &'a MergeState,
    /// The lineage of the record that counts, if it has one.
    pub lineage: Option<&'a Lineage>,
    /// The record's block; none if there was none.
    pub record: Option<&'a [u8]>,
    /// The rules that the lexicon declares, by field. They count only where a lineage begins.
    pub rules: &'a [FieldRule],
}

type Record = BTreeMap<String, Ipld>;

fn read(record: &[u8]) -> Option<Record> {
    match dag_cbor::decode_with(record, Limits::RECORD) {
        Ok(Ipld::Map(map)) => Some(map),
        _ => None,
    }
}

/// What the operation of a write says about merging; none where nothing merges, or the rules cannot say it. `after` is the
/// new record, none for a deletion.
pub fn edits_of(before: &Before<'_>, after: Option<&[u8]>, origin: &Origin) -> Option<Merge> {
    let merges = before.merges;
    let Some(after) = after else {
        let level = merges.level.saturating_add(1);
        return (!merges.is_empty()).then_some(Merge::End(level));
    };
    if before.rules.is_empty() && merges.lineages.is_empty() {
        return None;
    }
    let after = read(after)?;
    let was = before.record.and_then(read);
    // A level that has become heavy is begun anew, which lets go of what was deleted.
    let lineage = before.lineage.filter(|_| merges.weight <= MAX_WEIGHT / 2);
    let more = lineage.and_then(|lineage| go_on(lineage, was.as_ref(), &after, origin));
    more.or_else(|| begin(before, was.as_ref(), &after, origin))
}

fn go_on(
    lineage: &Lineage,
    was: Option<&Record>,
    after: &Record,
    origin: &Origin,
) -> Option<Merge> {
    let begun = *lineage.begun.first()?;
    let edits = edits(&lineage.rules, &lineage.documents, was, after, origin)?;
    bounded(Merge::Continue(Continue { begun, edits }))
}

fn begin(
    before: &Before<'_>,
    was: Option<&Record>,
    after: &Record,
    origin: &Origin,
) -> Option<Merge> {
    let merges = before.merges;
    // What a record began with stays its rule, whatever a later lexicon says, where there is no other.
    let known = before.lineage.or(merges.lineages.first());
    let rules = match before.rules {
        [] => known.map(|lineage| lineage.rules.clone())?,
        declared => declared.to_vec(),
    };
    let is_clean = merges.lineages.is_empty() && merges.weight == 0;
    let level = match was.is_none() && is_clean {
        true => merges.level,
        false => merges.level.checked_add(1)?,
    };
    let base = was.map(|was| base(&rules, was));
    let mut begin = Begin {
        level,
        rules,
        base,
        edits: Vec::new(),
    };
    if begin
        .base
        .as_ref()
        .is_some_and(|b| b.len() > MAX_MERGE_BYTES)
    {
        return None;
    }
    begin.edits = edits(&begin.rules, &documents(&begin), None, after, origin)?;
    bounded(Merge::Begin(begin))
}

fn base(rules: &[FieldRule], was: &Record) -> Bytes {
    let mut out = Writer::new();
    out.array(rules.len() as u64);
    for rule in rules {
        let part = rule.part(rules, was).ok().flatten();
        match part.and_then(|part| dag_cbor::encode(&part).ok()) {
            Some(part) => out.raw(&part),
            None => out.null(),
        }
    }
    out.into_bytes().into()
}

/// The edits that make all fields what they are in the new record.
fn edits(
    rules: &[FieldRule],
    documents: &[Bytes],
    was: Option<&Record>,
    after: &Record,
    origin: &Origin,
) -> Option<Vec<FieldEdit>> {
    let mut out = Vec::new();
    for (rule, document) in rules.iter().zip(documents) {
        let target = rule.part(rules, after).ok()?;
        // What the client left as it was is no edit, also where a limit shows it otherwise than edits made it.
        if was.is_some_and(|was| rule.part(rules, was).is_ok_and(|part| part == target)) {
            continue;
        }
        let mut document = Document::decode(rule.kind, document).ok()?;
        let edit = difference::edit(&document, target.as_ref(), origin).ok()?;
        let Some(edit) = edit else { continue };
        document.apply(origin, &edit).ok()?;
        if !difference::is(&document, target.as_ref()) {
            return None;
        }
        out.push(FieldEdit {
            field: rule.field.clone(),
            kind: rule.kind,
            edit: edit.into(),
        });
    }
    Some(out)
}

fn bounded(merge: Merge) -> Option<Merge> {
    (merge.encode().len() <= MAX_MERGE_BYTES).then_some(merge)
}
