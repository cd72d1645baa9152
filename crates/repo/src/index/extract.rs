//! What the index takes from a record: its time of creation, its text, and the values that its
//! lexicon declares as indexed.

use ues_data::Ipld;

use crate::lexicon::{IndexDef, IndexKind};
use crate::syntax::Datetime;

/// Text of one record that is indexed, at most.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Values of one declared index in one record, at most.
const MAX_VALUES: usize = 64;
/// Bytes of one declared value; longer ones are cut at a character.
const MAX_VALUE_BYTES: usize = 512;

/// Fields whose text a person would search for.
const TEXT_FIELDS: [&str; 8] = [
    "text",
    "title",
    "name",
    "displayName",
    "description",
    "alt",
    "body",
    "tags",
];

/// One value of a declared index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text, compared bytewise.
    Text(String),
    /// A number, or a time in milliseconds.
    Number(i64),
}

/// `createdAt` in milliseconds since 1970, if the record has a valid one.
pub(super) fn created_ms(record: &Ipld) -> Option<i64> {
    let Ipld::Map(map) = record else { return None };
    match map.get("createdAt") {
        Some(Ipld::String(text)) => Datetime::parse(text).ok().map(|t| t.unix_millis()),
        _ => None,
    }
}

/// All text of the record under a name that carries text, wherever it stands.
pub(super) fn text(record: &Ipld) -> String {
    let mut out = String::new();
    collect_text(record, false, &mut out);
    out
}

fn collect_text(value: &Ipld, wanted: bool, out: &mut String) {
    match value {
        Ipld::String(text) if wanted && out.len() + text.len() < MAX_TEXT_BYTES => {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(text);
        }
        Ipld::List(items) => items
            .iter()
            .for_each(|item| collect_text(item, wanted, out)),
        Ipld::Map(map) => {
            for (key, item) in map {
                collect_text(item, TEXT_FIELDS.contains(&key.as_str()), out);
            }
        }
        _ => {}
    }
}

/// The values of a declared index in a record.
pub(super) fn declared(record: &Ipld, index: &IndexDef) -> Vec<Value> {
    let mut out = Vec::new();
    index.values(record, &mut |value| {
        if out.len() < MAX_VALUES {
            out.extend(convert(value, index.kind));
        }
    });
    out
}

fn convert(value: &Ipld, kind: IndexKind) -> Option<Value> {
    match (kind, value) {
        (IndexKind::Text, Ipld::String(text)) => {
            let mut end = text.len().min(MAX_VALUE_BYTES);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.get(..end).map(|t| Value::Text(t.to_owned()))
        }
        (IndexKind::Text, Ipld::Link(cid)) => Some(Value::Text(cid.to_string())),
        (IndexKind::Text, Ipld::Bool(b)) => Some(Value::Text(b.to_string())),
        (IndexKind::Integer, Ipld::Integer(n)) => i64::try_from(*n).ok().map(Value::Number),
        (IndexKind::Datetime, Ipld::String(text)) => Datetime::parse(text)
            .ok()
            .map(|t| Value::Number(t.unix_millis())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: serde_json::Value) -> Ipld {
        ues_data::atproto_json::from_json(&json).unwrap()
    }

    #[test]
    fn text_is_found_at_any_depth_but_not_in_identifiers() {
        let r = record(serde_json::json!({
            "$type": "app.bsky.feed.post", "text": "hello", "langs": ["en"],
            "embed": {"images": [{"alt": "a cat", "url": "https://x.test"}]},
        }));
        let mut lines: Vec<String> = text(&r).lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, ["a cat", "hello"]);
    }
}
