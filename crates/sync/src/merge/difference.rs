//! The edit that makes a field what a client wants it to be.

use std::collections::BTreeMap;

use ues_data::Ipld;

use crate::crdt::{
    Counter, CounterEdit, Document, Edit as _, Fields, FieldsEdit, Origin, Set, SetChange, SetEdit,
    Value,
};

use super::rules::Unsayable;
use super::{facets, sequences};

/// The encoded edit after which `document` is `target`, made at `origin`; none if it is that already. A target of none is
/// the value before all edits.
pub(super) fn edit(
    document: &Document,
    target: Option<&Ipld>,
    origin: &Origin,
) -> Result<Option<Vec<u8>>, Unsayable> {
    let encoded = match document {
        Document::Counter(counter) => counter_edit(counter, target)?.map(|edit| edit.encode()),
        Document::Set(set) => set_edit(set, target)?.map(|edit| edit.encode()),
        Document::Fields(fields) => fields_edit(fields, target)?.map(|edit| edit.encode()),
        Document::List(list) => sequences::list_edit(list, target)?.map(|edit| edit.encode()),
        Document::Text(text) => facets::text_edit(text, target, origin)?.map(|edit| edit.encode()),
    };
    match encoded {
        None => Ok(None),
        Some(Ok(encoded)) => Ok(Some(encoded)),
        Some(Err(_)) => Err(Unsayable),
    }
}

fn counter_edit(
    counter: &Counter,
    target: Option<&Ipld>,
) -> Result<Option<CounterEdit>, Unsayable> {
    let target = match target {
        None => 0,
        Some(Ipld::Integer(number)) => *number,
        Some(_) => return Err(Unsayable),
    };
    match i64::try_from(target - counter.total()) {
        Ok(0) => Ok(None),
        Ok(amount) => Ok(Some(CounterEdit { amount })),
        Err(_) => Err(Unsayable),
    }
}

/// The items of a list, encoded.
pub(super) fn values(target: Option<&Ipld>) -> Result<Vec<Value>, Unsayable> {
    match target {
        None => Ok(Vec::new()),
        Some(Ipld::List(items)) => items.iter().map(value).collect(),
        Some(_) => Err(Unsayable),
    }
}

fn value(value: &Ipld) -> Result<Value, Unsayable> {
    Value::new(value).map_err(|_| Unsayable)
}

/// Removals by encoded value, then additions in the order of the target.
fn set_edit(set: &Set, target: Option<&Ipld>) -> Result<Option<SetEdit>, Unsayable> {
    let mut wanted: BTreeMap<Value, usize> = BTreeMap::new();
    for (at, value) in values(target)?.into_iter().enumerate() {
        wanted.entry(value).or_insert(at);
    }
    let gone = set.values().filter(|value| !wanted.contains_key(value));
    let mut changes: Vec<SetChange> = gone.map(|value| set.remove(value)).collect();
    let mut added: Vec<(usize, Value)> = wanted
        .into_iter()
        .filter(|(value, _)| !set.contains(value))
        .map(|(value, at)| (at, value))
        .collect();
    added.sort_unstable();
    changes.extend(added.into_iter().map(|(_, value)| SetChange::Add(value)));
    Ok((!changes.is_empty()).then_some(SetEdit { changes }))
}

/// Changes by name, byte by byte.
fn fields_edit(fields: &Fields, target: Option<&Ipld>) -> Result<Option<FieldsEdit>, Unsayable> {
    let empty = BTreeMap::new();
    let target = match target {
        None => &empty,
        Some(Ipld::Map(map)) => map,
        Some(_) => return Err(Unsayable),
    };
    let mut changes = Vec::new();
    for name in fields.names().filter(|name| !target.contains_key(*name)) {
        changes.push(fields.change(name, None));
    }
    for (name, wanted) in target {
        let wanted = value(wanted)?;
        if fields.get(name) != Some(&wanted) {
            changes.push(fields.change(name, Some(wanted)));
        }
    }
    changes.sort_by(|a, b| a.field.cmp(&b.field));
    Ok((!changes.is_empty()).then_some(FieldsEdit { changes }))
}

/// Whether a document has the value that a client wants, as far as its rule can say it.
pub(super) fn is(document: &Document, target: Option<&Ipld>) -> bool {
    match (document, target) {
        (Document::Set(set), target) => values(target).is_ok_and(|wanted| {
            wanted.iter().all(|value| set.contains(value))
                && set.values().all(|value| wanted.contains(value))
        }),
        (Document::Text(text), None) => text.is_empty(),
        (Document::Text(text), Some(Ipld::Map(map))) => {
            matches!(map.get("text"), Some(Ipld::String(wanted)) if *wanted == text.text())
        }
        (Document::Counter(counter), None) => counter.total() == 0,
        (Document::List(list), None) => list.is_empty(),
        (Document::Fields(fields), None) => fields.names().next().is_none(),
        (document, Some(target)) => document.value() == *target,
    }
}
