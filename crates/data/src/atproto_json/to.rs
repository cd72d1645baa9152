//! From the data model to JSON.

use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;
use serde_json::{Map, Number, Value, json};

/// Writes a value as JSON.
///
/// What the data model of AT Protocol does not have comes out as JSON knows it: floats as numbers (null if not
/// finite), integers beyond 64 bits as texts.
#[must_use]
pub fn to_json(value: &Ipld) -> Value {
    match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(b) => Value::Bool(*b),
        Ipld::Integer(i) => match (i64::try_from(*i), u64::try_from(*i)) {
            (Ok(i), _) => Value::Number(i.into()),
            (_, Ok(u)) => Value::Number(u.into()),
            _ => Value::String(i.to_string()),
        },
        Ipld::Float(f) => Number::from_f64(*f).map_or(Value::Null, Value::Number),
        Ipld::String(s) => Value::String(s.clone()),
        Ipld::Bytes(bytes) => json!({ "$bytes": BASE64_NOPAD.encode(bytes) }),
        Ipld::Link(cid) => json!({ "$link": cid.to_string() }),
        Ipld::List(items) => Value::Array(items.iter().map(to_json).collect()),
        Ipld::Map(map) => Value::Object(
            map.iter()
                .map(|(key, item)| (key.clone(), to_json(item)))
                .collect::<Map<_, _>>(),
        ),
    }
}

/// Writes a value as compact JSON text.
#[must_use]
pub fn to_json_string(value: &Ipld) -> String {
    to_json(value).to_string()
}
