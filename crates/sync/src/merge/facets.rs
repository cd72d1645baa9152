//! What a client changed in a text and its facets.

use std::collections::{BTreeMap, BTreeSet};

use ues_data::Ipld;

use crate::crdt::{Expand, Origin, Rule as _, Text, TextEdit, TextStep, Value};

use super::rules::Unsayable;
use super::sequences::replaced;

/// Most facets that are looked at; of a text with more, the rest is not merged.
const MAX_FACETS: usize = 1024;

/// A feature and the characters that have it.
struct Span {
    from: usize,
    to: usize,
    key: String,
    value: Value,
}

/// Each stretch of characters: its insertion, then its deletion; then the marks, by key and place.
pub(super) fn text_edit(
    text: &Text,
    target: Option<&Ipld>,
    origin: &Origin,
) -> Result<Option<TextEdit>, Unsayable> {
    let (wanted, facets) = match target {
        None => ("", None),
        Some(Ipld::Map(map)) => match map.get("text") {
            Some(Ipld::String(text)) => (text.as_str(), map.get("facets")),
            _ => return Err(Unsayable),
        },
        Some(_) => return Err(Unsayable),
    };
    let before: Vec<char> = text.text().chars().collect();
    let after: Vec<char> = wanted.chars().collect();
    let mut steps = Vec::new();
    for stretch in replaced(&before, &after) {
        let (at, len) = (stretch.at as u64, stretch.len as u64);
        let new: String = after.get(stretch.by).unwrap_or_default().iter().collect();
        if !new.is_empty() {
            steps.push(text.insert(at + len, &new).map_err(|_| Unsayable)?);
        }
        steps.extend(text.delete(at, len).map_err(|_| Unsayable)?);
    }
    let mut changed = text.clone();
    if !steps.is_empty() {
        let edit = TextEdit {
            steps: steps.clone(),
        };
        changed.apply(origin, &edit).map_err(|_| Unsayable)?;
    }
    if changed.text() != wanted {
        return Err(Unsayable);
    }
    steps.extend(marks(&changed, wanted, facets)?);
    Ok((!steps.is_empty()).then_some(TextEdit { steps }))
}

/// The marks after which a text has the facets that are wanted.
fn marks(text: &Text, chars: &str, facets: Option<&Ipld>) -> Result<Vec<TextStep>, Unsayable> {
    let value = text.value();
    let now = match &value {
        Ipld::Map(map) => map.get("facets"),
        _ => None,
    };
    let (now, wanted) = (spans(chars, now), spans(chars, facets));
    let keys: BTreeSet<&str> = now.iter().chain(&wanted).map(|s| s.key.as_str()).collect();
    let mut out = Vec::new();
    for key in keys {
        let mut edges: BTreeSet<usize> = BTreeSet::new();
        for span in now.iter().chain(&wanted).filter(|span| span.key == key) {
            edges.extend([span.from, span.to]);
        }
        let edges: Vec<usize> = edges.into_iter().collect();
        let mut pending: Option<(usize, usize, Option<&Value>)> = None;
        for pair in edges.windows(2) {
            let &[from, to] = pair else { continue };
            let (is, should) = (at(&now, key, from), at(&wanted, key, from));
            pending = match pending {
                Some((start, end, value)) if is != should && end == from && value == should => {
                    Some((start, to, value))
                }
                other => {
                    out.extend(other.map(|mark| (key, mark)));
                    (is != should).then_some((from, to, should))
                }
            };
        }
        out.extend(pending.map(|mark| (key, mark)));
    }
    let steps = out.into_iter().map(|(key, (from, to, value))| {
        let range = (from as u64, to as u64);
        text.mark(range, Expand::Neither, key, value.cloned())
            .map_err(|_| Unsayable)
    });
    steps.collect()
}

/// What a character has under a key: of several facets the last one counts.
fn at<'a>(spans: &'a [Span], key: &str, place: usize) -> Option<&'a Value> {
    let covers = |span: &&Span| span.key == key && span.from <= place && place < span.to;
    spans.iter().rev().find(covers).map(|span| &span.value)
}

/// Facets as spans of characters. What is no facet, or does not begin and end between characters, is left out.
fn spans(chars: &str, facets: Option<&Ipld>) -> Vec<Span> {
    let Some(Ipld::List(facets)) = facets else {
        return Vec::new();
    };
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    for (count, (byte, _)) in chars.char_indices().enumerate() {
        places.insert(byte, count);
    }
    places.insert(chars.len(), chars.chars().count());
    let mut out = Vec::new();
    for facet in facets.iter().take(MAX_FACETS) {
        out.extend(features(facet, &places).unwrap_or_default());
    }
    out
}

fn features(facet: &Ipld, places: &BTreeMap<usize, usize>) -> Option<Vec<Span>> {
    let field = |value: &Ipld, name: &str| match value {
        Ipld::Map(map) => map.get(name).cloned(),
        _ => None,
    };
    let index = field(facet, "index")?;
    let place = |name: &str| match field(&index, name)? {
        Ipld::Integer(byte) => places.get(&usize::try_from(byte).ok()?).copied(),
        _ => None,
    };
    let (from, to) = (place("byteStart")?, place("byteEnd")?);
    let Some(Ipld::List(features)) = field(facet, "features") else {
        return None;
    };
    let spans = features.into_iter().filter_map(|feature| {
        let Ipld::Map(mut map) = feature else {
            return None;
        };
        let Some(Ipld::String(key)) = map.remove(super::TYPE) else {
            return None;
        };
        let fits = !key.is_empty() && key.len() <= crate::crdt::MAX_KEY_BYTES && from < to;
        let value = Value::new(&Ipld::Map(map)).ok().filter(|_| fits)?;
        Some(Span {
            from,
            to,
            key,
            value,
        })
    });
    Some(spans.collect())
}
