//! Records whose fields have merge rules.

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_data::{Cid, Ipld};
use ues_repo::repo::write::RecordPath;
use ues_sync::crdt::RuleKind;
use ues_sync::merge::{FieldRule, WHOLE};

use super::Rng;

/// Their collection.
pub const COLLECTION: &str = "com.example.sheet";

pub type Record = BTreeMap<String, Ipld>;

pub fn path(n: usize) -> RecordPath {
    RecordPath::parse(&format!("{COLLECTION}/{n}")).unwrap()
}

pub fn rule(field: &str, kind: RuleKind) -> FieldRule {
    FieldRule {
        field: field.into(),
        kind,
        facets: None,
        min: None,
        max: None,
        graphemes: None,
    }
}

/// What the lexicon declares.
pub fn rules() -> Vec<FieldRule> {
    vec![
        rule(WHOLE, RuleKind::Fields),
        FieldRule {
            facets: Some("facets".into()),
            max: Some(60),
            graphemes: Some(40),
            ..rule("body", RuleKind::Text)
        },
        FieldRule {
            max: Some(12),
            min: Some(1),
            ..rule("items", RuleKind::List)
        },
        rule("look", RuleKind::Fields),
        FieldRule {
            max: Some(5),
            ..rule("tags", RuleKind::Set)
        },
        FieldRule {
            min: Some(-20),
            max: Some(40),
            ..rule("visits", RuleKind::Counter)
        },
    ]
}

/// What an older lexicon declared.
pub fn older_rules() -> Vec<FieldRule> {
    rules()
        .into_iter()
        .filter(|rule| &*rule.field == "tags")
        .collect()
}

pub fn encode(record: &Record) -> (Cid, Bytes) {
    let bytes = Bytes::from(ues_data::dag_cbor::encode(&Ipld::Map(record.clone())).unwrap());
    (ues_data::dag_cbor_cid(&bytes), bytes)
}

pub fn text(text: impl Into<String>) -> Ipld {
    Ipld::String(text.into())
}

/// What a client makes of a record, that keeps all limits.
pub fn change(rng: &mut Rng, record: Option<Ipld>) -> Record {
    let mut record = match record {
        Some(Ipld::Map(record)) => record,
        _ => Record::from([("$type".to_owned(), text(COLLECTION))]),
    };
    for _ in 0..=rng.below(2) {
        match rng.below(6) {
            0 => {
                let now = match record.get("visits") {
                    Some(Ipld::Integer(now)) => *now,
                    _ => 0,
                };
                let next = (now + rng.below(7) as i128 - 3).clamp(-20, 40);
                record.insert("visits".to_owned(), Ipld::Integer(next));
            }
            1 => {
                let mut tags = items(&record, "tags");
                let tag = text(["tea", "milk", "oat", "rye", "fig"][rng.below(5)]);
                match tags.iter().position(|held| *held == tag) {
                    Some(at) => drop(tags.remove(at)),
                    None => tags.insert(rng.below(tags.len() + 1), tag),
                }
                record.insert("tags".to_owned(), Ipld::List(tags));
            }
            2 => {
                let mut list = items(&record, "items");
                if rng.chance(35) && list.len() > 1 {
                    list.remove(rng.below(list.len()));
                }
                while list.is_empty() || rng.chance(55) && list.len() < 12 {
                    let item = Ipld::Integer(rng.below(1000) as i128);
                    list.insert(rng.below(list.len() + 1), item);
                }
                record.insert("items".to_owned(), Ipld::List(list));
            }
            3 => change_text(rng, &mut record),
            4 => {
                let mut look = match record.remove("look") {
                    Some(Ipld::Map(look)) => look,
                    _ => Record::new(),
                };
                let name = ["colour", "size"][rng.below(2)].to_owned();
                match rng.chance(25) {
                    true => drop(look.remove(&name)),
                    false => drop(look.insert(name, Ipld::Integer(rng.below(100) as i128))),
                }
                record.insert("look".to_owned(), Ipld::Map(look));
            }
            _ => {
                let name = ["title", "note"][rng.below(2)].to_owned();
                record.insert(name, text(format!("{}", rng.below(1000))));
            }
        }
    }
    record
}

fn items(record: &Record, name: &str) -> Vec<Ipld> {
    match record.get(name) {
        Some(Ipld::List(items)) => items.clone(),
        _ => Vec::new(),
    }
}

fn change_text(rng: &mut Rng, record: &mut Record) {
    let mut body: Vec<char> = match record.get("body") {
        Some(Ipld::String(body)) => body.chars().collect(),
        _ => Vec::new(),
    };
    if rng.chance(30) && !body.is_empty() {
        let at = rng.below(body.len());
        let end = body.len().min(at + 1 + rng.below(4));
        body.drain(at..end);
    }
    let at = rng.below(body.len() + 1);
    for n in 0..=rng.below(5) {
        let place = (at + n).min(body.len());
        body.insert(place, ['a', 'b', 'é', ' ', 'z'][rng.below(5)]);
    }
    let mut text: String = body.iter().collect();
    while text.len() > 60 || text.chars().count() > 40 {
        text.pop();
    }
    // Facets that a client has computed anew, or forgot.
    if rng.chance(40) && !text.is_empty() {
        let mut places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        places.push(text.len());
        let from = rng.below(places.len() - 1);
        let to = from + 1 + rng.below(places.len() - 1 - from);
        let number = |n: usize| Ipld::Integer(n as i128);
        let index = [("byteStart", places[from]), ("byteEnd", places[to])];
        let index = index.map(|(name, n)| (name.to_owned(), number(n)));
        let kind = ["x.y#bold", "x.y#tag"][rng.below(2)];
        let feature = Record::from([
            ("$type".to_owned(), self::text(kind)),
            ("n".to_owned(), number(rng.below(3))),
        ]);
        let facet = Record::from([
            ("index".to_owned(), Ipld::Map(index.into())),
            ("features".to_owned(), Ipld::List(vec![Ipld::Map(feature)])),
        ]);
        record.insert("facets".to_owned(), Ipld::List(vec![Ipld::Map(facet)]));
    } else {
        record.remove("facets");
    }
    record.insert("body".to_owned(), Ipld::String(text));
}
