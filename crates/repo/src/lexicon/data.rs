//! One view of the two forms in which values come: `Ipld` (records) and JSON (bodies of methods).

use std::collections::BTreeMap;

use serde_json::Value;
use ues_data::Ipld;

use super::error::preview;
use super::format;

/// A value that the validator can look at.
pub(super) trait Data: Sized + 'static {
    /// Its objects.
    type Map: Entries<Self>;

    /// What the value is.
    fn view(&self) -> View<'_, Self>;
}

/// The properties of an object.
pub(super) trait Entries<D: 'static> {
    fn get(&self, key: &str) -> Option<&D>;
    fn len(&self) -> usize;
    fn entries(&self) -> impl Iterator<Item = (&str, &D)>;
}

/// What a value is.
pub(super) enum View<'a, D: Data> {
    Null,
    Boolean(bool),
    Integer(i64),
    Text(&'a str),
    /// With the length.
    Bytes(usize),
    Link,
    List(&'a [D]),
    Map(&'a D::Map),
    /// Something that the data model of AT Protocol does not have.
    Foreign(&'static str),
}

impl<D: Data> View<'_, D> {
    /// A short picture for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            View::Null => "null".into(),
            View::Boolean(flag) => flag.to_string(),
            View::Integer(number) => number.to_string(),
            View::Text(text) => preview(text),
            View::Bytes(_) => "bytes".into(),
            View::Link => "cid".into(),
            View::List(items) => {
                let mut shown: Vec<String> =
                    items.iter().take(2).map(|i| i.view().name()).collect();
                if items.len() > 2 {
                    shown.push("...".into());
                }
                format!("[{}]", shown.join(", "))
            }
            View::Map(map) => {
                let mut shown: Vec<String> = map
                    .entries()
                    .take(2)
                    .map(|(key, _)| format!("{}: ...", preview(key)))
                    .collect();
                if map.len() > 2 {
                    shown.push("...".into());
                }
                format!("{{{}}}", shown.join(", "))
            }
            View::Foreign(what) => (*what).into(),
        }
    }

    /// Like [`View::describe`], but of containers only the kind, so that messages stay short.
    fn name(&self) -> String {
        match self {
            View::List(_) => "[...]".into(),
            View::Map(_) => "{...}".into(),
            other => other.describe(),
        }
    }
}

impl Data for Ipld {
    type Map = BTreeMap<String, Ipld>;

    fn view(&self) -> View<'_, Ipld> {
        match self {
            Ipld::Null => View::Null,
            Ipld::Bool(flag) => View::Boolean(*flag),
            Ipld::Integer(number) => match i64::try_from(*number) {
                Ok(number) => View::Integer(number),
                Err(_) => View::Foreign("an integer of more than 64 bits"),
            },
            Ipld::Float(_) => View::Foreign("float"),
            Ipld::String(text) => View::Text(text),
            Ipld::Bytes(bytes) => View::Bytes(bytes.len()),
            Ipld::List(items) => View::List(items),
            Ipld::Map(map) => View::Map(map),
            Ipld::Link(_) => View::Link,
        }
    }
}

impl Entries<Ipld> for BTreeMap<String, Ipld> {
    fn get(&self, key: &str) -> Option<&Ipld> {
        BTreeMap::get(self, key)
    }

    fn len(&self) -> usize {
        BTreeMap::len(self)
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &Ipld)> {
        self.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl Data for Value {
    type Map = serde_json::Map<String, Value>;

    fn view(&self) -> View<'_, Value> {
        match self {
            Value::Null => View::Null,
            Value::Bool(flag) => View::Boolean(*flag),
            Value::Number(number) => match number.as_i64() {
                Some(number) => View::Integer(number),
                None => View::Foreign("float"),
            },
            Value::String(text) => View::Text(text),
            Value::Array(items) => View::List(items),
            Value::Object(map) => special(map).unwrap_or(View::Map(map)),
        }
    }
}

/// The two objects that stand for values that JSON does not have.
fn special(map: &serde_json::Map<String, Value>) -> Option<View<'_, Value>> {
    if map.len() != 1 {
        return None;
    }
    let (key, value) = map.iter().next()?;
    match (key.as_str(), value.as_str()?) {
        ("$link", cid) => Some(match format::is_cid(cid) {
            true => View::Link,
            false => View::Foreign("a $link that is no CID"),
        }),
        ("$bytes", base64) => Some(match base64_length(base64) {
            Some(length) => View::Bytes(length),
            None => View::Foreign("$bytes that are not base64"),
        }),
        _ => None,
    }
}

/// The number of bytes that base64 text stands for, with or without padding.
fn base64_length(text: &str) -> Option<usize> {
    let body = text.trim_end_matches('=');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let fits = text.len() - body.len() <= 2 && body.len() % 4 != 1 && body.bytes().all(plain);
    fits.then_some(body.len() * 3 / 4)
}

impl Entries<Value> for serde_json::Map<String, Value> {
    fn get(&self, key: &str) -> Option<&Value> {
        serde_json::Map::get(self, key)
    }

    fn len(&self) -> usize {
        serde_json::Map::len(self)
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.iter().map(|(key, value)| (key.as_str(), value))
    }
}
