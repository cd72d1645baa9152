//! From JSON to the data model.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use data_encoding::{BASE64_NOPAD, Encoding};
use ipld_core::ipld::Ipld;
use serde_json::{Map, Number, Value};

use crate::content_id::{CidError, parse_atproto_cid};

/// How deep lists and objects may nest.
pub const MAX_DEPTH: usize = 128;

/// The largest integer that every JSON reader keeps exactly.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// Why JSON is not of the data model; `path` names the place, such as `/embed/images/0`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// A record is an object.
    #[error("a record is an object, found {0}")]
    NotAnObject(&'static str),
    /// A number with a fraction, or too large.
    #[error("{path}: a whole number within 64 bits expected, found {found}")]
    Number {
        /// Where.
        path: String,
        /// The number.
        found: String,
    },
    /// `$link` with something else beside it, or not a text.
    #[error("{path}: $link stands alone and holds a CID")]
    LinkShape {
        /// Where.
        path: String,
    },
    /// `$link` with a text that is no CID of AT Protocol.
    #[error("{path}: {reason}")]
    LinkCid {
        /// Where.
        path: String,
        /// What is wrong with it.
        reason: CidError,
    },
    /// `$bytes` with something else beside it, not a text, or not base64.
    #[error("{path}: $bytes stands alone and holds base64")]
    Bytes {
        /// Where.
        path: String,
    },
    /// `$type` that is not a text, or empty.
    #[error("{path}: $type is a text that is not empty")]
    Type {
        /// Where.
        path: String,
    },
    /// A blob without a link, a media type or a size.
    #[error("{path}: a blob has ref (a link), mimeType (a text) and size (a number not negative)")]
    Blob {
        /// Where.
        path: String,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// Reads a record: an object, with everything in it by the rules of the data model.
pub fn record_from_json(json: &Value) -> Result<Ipld, JsonError> {
    match json {
        Value::Object(_) => match from_json(json)? {
            map @ Ipld::Map(_) => Ok(map),
            _ => Err(JsonError::NotAnObject("a link or bytes")),
        },
        other => Err(JsonError::NotAnObject(kind(other))),
    }
}

/// Reads any value by the rules of the data model.
pub fn from_json(json: &Value) -> Result<Ipld, JsonError> {
    value(json, &mut Path(Vec::new()))
}

/// Where in the document we are; written out for errors only.
struct Path<'a>(Vec<Step<'a>>);

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        let mut out = String::new();
        for step in &self.0 {
            out.push('/');
            match step {
                Step::Key(key) => out.extend(key.chars().take(64)),
                Step::Index(index) => out.push_str(&index.to_string()),
            }
        }
        if out.is_empty() { "/".to_owned() } else { out }
    }
}

fn value<'a>(json: &'a Value, path: &mut Path<'a>) -> Result<Ipld, JsonError> {
    if path.0.len() > MAX_DEPTH {
        return Err(JsonError::TooDeep);
    }
    Ok(match json {
        Value::Null => Ipld::Null,
        Value::Bool(b) => Ipld::Bool(*b),
        Value::Number(n) => Ipld::Integer(integer(n).ok_or_else(|| JsonError::Number {
            path: path.text(),
            found: n.to_string(),
        })?),
        Value::String(s) => Ipld::String(s.clone()),
        Value::Array(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                path.0.push(Step::Index(index));
                list.push(value(item, path)?);
                path.0.pop();
            }
            Ipld::List(list)
        }
        Value::Object(object) => self::object(object, path)?,
    })
}

fn integer(number: &Number) -> Option<i128> {
    if let Some(i) = number.as_i64() {
        return Some(i128::from(i));
    }
    // Written as 123.0: whole, and exact in every reader.
    let float = number.as_f64()?;
    (!number.is_u64() && float.fract() == 0.0 && float.abs() <= MAX_SAFE).then_some(float as i128)
}

fn object<'a>(object: &'a Map<String, Value>, path: &mut Path<'a>) -> Result<Ipld, JsonError> {
    if let Some(link) = object.get("$link") {
        return match link {
            Value::String(text) if object.len() == 1 => match parse_atproto_cid(text) {
                Ok(cid) => Ok(Ipld::Link(cid)),
                Err(reason) => Err(JsonError::LinkCid {
                    path: path.text(),
                    reason,
                }),
            },
            _ => Err(JsonError::LinkShape { path: path.text() }),
        };
    }
    if let Some(bytes) = object.get("$bytes") {
        let decoded = match bytes {
            Value::String(text) if object.len() == 1 => base64(text),
            _ => None,
        };
        return match decoded {
            Some(bytes) => Ok(Ipld::Bytes(bytes)),
            None => Err(JsonError::Bytes { path: path.text() }),
        };
    }
    let mut map = BTreeMap::new();
    for (key, item) in object {
        path.0.push(Step::Key(key));
        map.insert(key.clone(), value(item, path)?);
        path.0.pop();
    }
    match map.get("$type") {
        None => {}
        Some(Ipld::String(name)) if name == "blob" => check_blob(&map, path)?,
        Some(Ipld::String(name)) if !name.is_empty() => {}
        Some(_) => return Err(JsonError::Type { path: path.text() }),
    }
    Ok(Ipld::Map(map))
}

fn check_blob(map: &BTreeMap<String, Ipld>, path: &Path<'_>) -> Result<(), JsonError> {
    let good = matches!(map.get("ref"), Some(Ipld::Link(_)))
        && matches!(map.get("mimeType"), Some(Ipld::String(_)))
        && matches!(map.get("size"), Some(Ipld::Integer(size)) if *size >= 0);
    if good {
        Ok(())
    } else {
        Err(JsonError::Blob { path: path.text() })
    }
}

/// Base64 without padding, as the network reads it: a last character may hold bits of no byte.
static LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = BASE64_NOPAD.specification();
    specification.check_trailing_bits = false;
    specification.encoding().unwrap_or(BASE64_NOPAD)
});

/// Base64 is written without padding; with padding it is accepted.
fn base64(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text.trim_end_matches('=').as_bytes()).ok()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
