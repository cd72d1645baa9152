//! The record that comes of edits which did not know each other.

use std::collections::BTreeMap;

use ues_data::{Ipld, Limits, dag_cbor};
use ues_repo::repo::write::MAX_RECORD_BYTES;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::crdt::{Document, Rule as _, Value};

use super::rules::{FieldRule, is_free};
use super::state::Lineage;
use super::{TYPE, WHOLE};

type Record = BTreeMap<String, Ipld>;

/// The winner's record with what all edits of its lineage made of the ruled fields; none if that is no record, in which
/// case the winner's stands as it is.
///
/// A value beyond a limit of its rule is repaired: a counter goes to the limit, of a set or list the first items stay, of
/// a text the first characters; what is too short or too few is as the winner wrote it.
pub fn merged_record(lineage: &Lineage, winner: &[u8]) -> Option<Vec<u8>> {
    let Ok(Ipld::Map(own)) = dag_cbor::decode_with(winner, Limits::RECORD) else {
        return None;
    };
    let mut record = own.clone();
    for (rule, document) in lineage.rules.iter().zip(&lineage.documents) {
        let document = Document::decode(rule.kind, document).ok()?;
        place(rule, &lineage.rules, &document, &own, &mut record);
    }
    let encoded = dag_cbor::encode_with(&Ipld::Map(record), Limits::RECORD).ok()?;
    (encoded.len() <= MAX_RECORD_BYTES).then_some(encoded)
}

fn place(
    rule: &FieldRule,
    all: &[FieldRule],
    document: &Document,
    own: &Record,
    record: &mut Record,
) {
    let field = &*rule.field;
    match document {
        Document::Counter(counter) => {
            let least = rule.min.unwrap_or(i64::MIN);
            let most = rule.max.unwrap_or(i64::MAX).max(least);
            let total = counter.total().clamp(least.into(), most.into());
            set(record, field, Ipld::Integer(total), total == 0);
        }
        Document::Set(members) => {
            let mut items: Vec<&Value> = Vec::new();
            // The winner's order, then that of the encodings.
            let own: Vec<Value> = match own.get(field) {
                Some(Ipld::List(own)) => own.iter().filter_map(|v| Value::new(v).ok()).collect(),
                _ => Vec::new(),
            };
            let mut seen = std::collections::BTreeSet::new();
            for value in own.iter().filter(|value| members.contains(value)) {
                if seen.insert(value) {
                    items.push(value);
                }
            }
            items.extend(members.values().filter(|value| !seen.contains(value)));
            let items = items.into_iter().map(Value::to_ipld).collect();
            set_items(rule, items, record);
        }
        Document::List(list) => {
            let items = list.values().map(Value::to_ipld).collect();
            set_items(rule, items, record);
        }
        Document::Fields(fields) => {
            let Ipld::Map(values) = fields.value() else {
                return;
            };
            if field == WHOLE {
                record.retain(|name, _| !is_free(all, name));
                let free = |(name, _): &(String, Ipld)| is_free(all, name) && name != TYPE;
                record.extend(values.into_iter().filter(free));
            } else {
                let empty = values.is_empty();
                set(record, field, Ipld::Map(values), empty);
            }
        }
        Document::Text(text) => set_text(rule, text.value(), record),
    }
}

/// A field that the winner does not have stays away while its value is the one before all edits.
fn set(record: &mut Record, field: &str, value: Ipld, is_nothing: bool) {
    let there = matches!(record.get(field), Some(value) if *value != Ipld::Null);
    if there || !is_nothing {
        record.insert(field.to_owned(), value);
    }
}

fn set_items(rule: &FieldRule, mut items: Vec<Ipld>, record: &mut Record) {
    if let Some(most) = rule.max.and_then(|max| usize::try_from(max).ok()) {
        items.truncate(most);
    }
    if rule.min.is_some_and(|min| (items.len() as i64) < min) {
        return;
    }
    let empty = items.is_empty();
    set(record, &rule.field, Ipld::List(items), empty);
}

fn set_text(rule: &FieldRule, value: Ipld, record: &mut Record) {
    let Ipld::Map(mut value) = value else {
        return;
    };
    let Some(Ipld::String(mut text)) = value.remove("text") else {
        return;
    };
    let mut facets = match value.remove("facets") {
        Some(Ipld::List(facets)) => facets,
        _ => Vec::new(),
    };
    let end = fitting(rule, &text);
    if end < text.len() {
        text.truncate(end);
        facets = facets
            .into_iter()
            .filter_map(|facet| cut(facet, end))
            .collect();
    }
    if rule.min.is_some_and(|min| (text.len() as i64) < min) {
        return;
    }
    let empty = text.is_empty();
    set(record, &rule.field, Ipld::String(text), empty);
    if let Some(name) = &rule.facets {
        let empty = facets.is_empty();
        set(record, name, Ipld::List(facets), empty);
    }
}

/// How many bytes of a text its limits allow, up to the end of a grapheme cluster.
fn fitting(rule: &FieldRule, text: &str) -> usize {
    let bytes = rule.max.and_then(|max| usize::try_from(max).ok());
    let bytes = bytes.unwrap_or(usize::MAX);
    let graphemes = rule.graphemes.and_then(|max| usize::try_from(max).ok());
    let graphemes = graphemes.unwrap_or(usize::MAX);
    if text.len() <= bytes.min(graphemes) {
        return text.len();
    }
    let ends = text
        .grapheme_indices(true)
        .map(|(at, cluster)| at + cluster.len());
    let fits = ends.take(graphemes).take_while(|end| *end <= bytes);
    fits.last().unwrap_or(0)
}

/// A facet of a text that ends earlier; none if nothing is left of it.
fn cut(facet: Ipld, end: usize) -> Option<Ipld> {
    let Ipld::Map(mut facet) = facet else {
        return None;
    };
    let Some(Ipld::Map(index)) = facet.get_mut("index") else {
        return None;
    };
    let end = end as i128;
    let place = |index: &Record, name: &str| match index.get(name) {
        Some(Ipld::Integer(place)) => Some(*place),
        _ => None,
    };
    if place(index, "byteStart")? >= end {
        return None;
    }
    if place(index, "byteEnd")? > end {
        index.insert("byteEnd".to_owned(), Ipld::Integer(end));
    }
    Some(Ipld::Map(facet))
}
