//! The slow, obvious version of merging records: all operations of a path at once, without any state.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ues_data::Ipld;
use ues_sync::clock::VectorClock;
use ues_sync::crdt::{
    Anchor, CounterEdit, Dot, Edit, FieldChange, FieldsEdit, ListEdit, ListStep, Mark, Origin,
    Place, RuleKind, SetChange, SetEdit, TextEdit, TextStep, Value,
};
use ues_sync::merge::{Begin, FieldRule, Merge, WHOLE};
use ues_sync::operation::Operation;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::network::Operation as Made;
use crate::reference::{self, Tree, facets};
use crate::support::sheet::{Record, text};

/// The lineage that operations begin or go on with, if it counts: that of the highest level. `all` are in order.
struct Lineages<'a> {
    of: BTreeMap<(u32, u64), [u8; 32]>,
    begins: BTreeMap<[u8; 32], &'a Begin>,
}

fn lineages<'a>(all: &[&'a Operation]) -> Lineages<'a> {
    let said = |op: &&'a Operation| Some((*op, op.payload.action.merge()?));
    let level = all
        .iter()
        .filter_map(said)
        .filter_map(|(_, merge)| match merge {
            Merge::Begin(begin) => Some(begin.level),
            Merge::End(level) => Some(*level),
            Merge::Continue(_) => None,
        });
    let level = level.max().unwrap_or(0);
    let mut out = Lineages {
        of: BTreeMap::new(),
        begins: BTreeMap::new(),
    };
    for (op, merge) in all.iter().filter_map(said) {
        if let Merge::Begin(begin) = merge
            && begin.level == level
        {
            let id = begin.id().0;
            out.of.insert((op.payload.writer, op.payload.seq), id);
            out.begins.insert(id, begin);
        }
    }
    let begun = out.of.clone();
    for (at, (op, merge)) in all.iter().filter_map(said).enumerate() {
        if let Merge::Continue(more) = merge
            && let Some(id) = begun.get(&more.begun)
            && all
                .iter()
                .filter_map(said)
                .take(at)
                .any(|(begin, _)| (begin.payload.writer, begin.payload.seq) == more.begun)
        {
            out.of.insert((op.payload.writer, op.payload.seq), *id);
        }
    }
    out
}

/// The record, if others than the winner have a part in it. `snapshots` are what each counts, in order.
pub fn record(
    all: &[&Operation],
    snapshots: &[VectorClock],
    candidates: usize,
    winner: &Operation,
    own: &Bytes,
    author: &dyn Fn(u32) -> String,
) -> Option<Bytes> {
    let mut all = all.to_vec();
    all.sort_by_key(|op| {
        let payload = &op.payload;
        let counts = |counted: &&VectorClock| !counted.covers(payload.writer, payload.seq);
        // Whoever had seen another one has a greater clock.
        (
            snapshots.iter().filter(counts).count(),
            payload.clock().total(),
        )
    });
    let lineages = lineages(&all);
    let id = lineages
        .of
        .get(&(winner.payload.writer, winner.payload.seq))?;
    if candidates == 1 {
        return None;
    }
    let begin = lineages.begins[id];
    let of = |op: &&&Operation| lineages.of.get(&(op.payload.writer, op.payload.seq)) == Some(id);
    let members: Vec<&Operation> = all.iter().filter(of).copied().collect();
    let Ok(Ipld::Map(own)) = ues_data::dag_cbor::decode(own) else {
        panic!("a record");
    };
    let base: Vec<Ipld> = match &begin.base {
        Some(base) => match ues_data::dag_cbor::decode(base) {
            Ok(Ipld::List(parts)) => parts,
            other => panic!("{other:?}"),
        },
        None => vec![Ipld::Null; begin.rules.len()],
    };
    let mut record = own.clone();
    for (rule, base) in begin.rules.iter().zip(base) {
        let edits = Edits {
            members: &members,
            rule,
            author,
        };
        edits.place(base, &begin.rules, &own, &mut record);
    }
    Some(
        ues_data::dag_cbor::encode(&Ipld::Map(record))
            .unwrap()
            .into(),
    )
}

struct Edits<'a> {
    members: &'a [&'a Operation],
    rule: &'a FieldRule,
    author: &'a dyn Fn(u32) -> String,
}

fn base_origin() -> Origin {
    Origin {
        dot: Dot::new(0, 0, 0),
        time: 0,
        author: "".into(),
    }
}

impl Edits<'_> {
    /// The edits of the field, those that others had seen first, behind what was there at the beginning.
    fn all<E: Edit>(&self, base: Option<E>) -> Vec<Made<E>> {
        let mut out: Vec<Made<E>> = Vec::new();
        out.extend(base.map(|edit| Made {
            origin: base_origin(),
            past: Vec::new(),
            edit,
        }));
        for op in self.members {
            let payload = &op.payload;
            let edits = payload.action.merge().unwrap().edits().iter();
            for edit in edits.filter(|edit| edit.field == self.rule.field) {
                assert_eq!(edit.kind, self.rule.kind);
                out.push(Made {
                    origin: Origin {
                        dot: Dot::new(payload.writer, payload.seq, 0),
                        time: payload.time.0,
                        author: Arc::from((self.author)(payload.writer)),
                    },
                    past: Vec::new(),
                    edit: E::decode(&edit.edit).unwrap(),
                });
            }
        }
        out
    }

    fn place(&self, base: Ipld, rules: &[FieldRule], own: &Record, record: &mut Record) {
        let field = &*self.rule.field;
        match self.rule.kind {
            RuleKind::Counter => {
                let amount = match base {
                    Ipld::Integer(n) => i64::try_from(n).unwrap(),
                    _ => 0,
                };
                let made = self.all(Some(CounterEdit { amount }));
                let Ipld::Integer(total) = reference::counter(&made) else {
                    panic!("a number");
                };
                let total = total.clamp(
                    self.rule.min.unwrap_or(i64::MIN).into(),
                    self.rule.max.unwrap_or(i64::MAX).into(),
                );
                if own.contains_key(field) || total != 0 {
                    record.insert(field.to_owned(), Ipld::Integer(total));
                }
            }
            RuleKind::Set => {
                let mut distinct = Vec::new();
                for value in list(&base) {
                    if !distinct.contains(&value) {
                        distinct.push(value);
                    }
                }
                let changes = distinct.into_iter().map(SetChange::Add).collect();
                let made = self.all(Some(SetEdit { changes }));
                let mut left = list(&reference::set(&made));
                let mut items = Vec::new();
                for value in own.get(field).map(list).unwrap_or_default() {
                    if let Some(at) = left.iter().position(|other| *other == value) {
                        items.push(left.remove(at));
                    }
                }
                items.extend(left);
                self.place_items(items, own, record);
            }
            RuleKind::List => {
                let values = list(&base);
                let start = Place::After {
                    parent: None,
                    next: None,
                };
                let steps = match values.is_empty() {
                    true => Vec::new(),
                    false => vec![ListStep::Insert(start, values)],
                };
                let mut tree = Tree::new();
                for made in self.all(Some(ListEdit { steps })) {
                    let mut dot = made.origin.dot;
                    for step in made.edit.steps {
                        match step {
                            ListStep::Insert(place, values) => {
                                let count = values.len();
                                tree.insert(dot, there(&tree, place), values);
                                dot = dot.plus(count as u32).unwrap();
                            }
                            ListStep::Delete(first, count) if tree.contains(first) => {
                                tree.delete(first, count);
                            }
                            ListStep::Delete(..) => {}
                        }
                    }
                }
                self.place_items(tree.values(), own, record);
            }
            RuleKind::Fields => {
                let map = match base {
                    Ipld::Map(map) => map,
                    _ => Record::new(),
                };
                let changes = map.into_iter().map(|(field, value)| FieldChange {
                    field,
                    value: Some(Value::new(&value).unwrap()),
                    observed: Vec::new(),
                });
                let changes = changes.collect();
                let made = self.all(Some(FieldsEdit { changes }));
                let Ipld::Map(values) = reference::fields(&made) else {
                    panic!("a map");
                };
                if field == WHOLE {
                    let ruled = |name: &str| {
                        name == "$type"
                            || rules.iter().any(|rule| {
                                &*rule.field == name || rule.facets.as_deref() == Some(name)
                            })
                    };
                    record.retain(|name, _| ruled(name));
                    record.extend(values);
                } else if own.contains_key(field) || !values.is_empty() {
                    record.insert(field.to_owned(), Ipld::Map(values));
                }
            }
            RuleKind::Text => self.place_text(base, own, record),
        }
    }

    fn place_items(&self, items: Vec<Value>, own: &Record, record: &mut Record) {
        let field = &*self.rule.field;
        let most = self.rule.max.unwrap_or(i64::MAX) as usize;
        let items: Vec<Ipld> = items.iter().take(most).map(Value::to_ipld).collect();
        let enough = items.len() as i64 >= self.rule.min.unwrap_or(0);
        if enough && (own.contains_key(field) || !items.is_empty()) {
            record.insert(field.to_owned(), Ipld::List(items));
        }
    }

    fn place_text(&self, base: Ipld, own: &Record, record: &mut Record) {
        let (mut tree, mut marks) = (Tree::new(), Vec::new());
        for made in self.all(Some(base_text(&base))) {
            let mut dot = made.origin.dot;
            for step in made.edit.steps {
                match step {
                    TextStep::Insert(place, text) => {
                        let chars: Vec<char> = text.chars().collect();
                        let count = chars.len();
                        tree.insert(dot, there(&tree, place), chars);
                        dot = dot.plus(count as u32).unwrap();
                    }
                    TextStep::Delete(first, count) if tree.contains(first) => {
                        tree.delete(first, count);
                    }
                    TextStep::Delete(..) => {}
                    TextStep::Mark(mark) => {
                        let known = |anchor: Anchor| match anchor {
                            Anchor::Before(dot) | Anchor::After(dot) => tree.contains(dot),
                            Anchor::Start | Anchor::End => true,
                        };
                        if known(mark.start) && known(mark.end) {
                            let origin = Origin {
                                dot,
                                ..made.origin.clone()
                            };
                            marks.push((origin, mark));
                        }
                        dot = dot.plus(1).unwrap();
                    }
                }
            }
        }
        // Graphemes go as long as both limits allow.
        let marked = tree.marked(&marks);
        let whole: String = marked.iter().map(|(char, _)| char).collect();
        let (bytes, graphemes) = (self.rule.max.unwrap(), self.rule.graphemes.unwrap());
        let mut end = 0;
        for (count, cluster) in whole.graphemes(true).enumerate() {
            if (end + cluster.len()) as i64 > bytes || count as u64 >= graphemes {
                break;
            }
            end += cluster.len();
        }
        let kept = whole[..end].chars().count();
        let found = facets(&marked[..kept]);
        let there = |name: &str| own.contains_key(name);
        if there("body") || end > 0 {
            record.insert("body".to_owned(), text(&whole[..end]));
        }
        if there("facets") || !found.is_empty() {
            record.insert("facets".to_owned(), Ipld::List(found));
        }
    }
}

/// A place whose element was taken back is the end.
fn there<T: Clone>(tree: &Tree<T>, place: Place) -> Place {
    let end = Place::After {
        parent: None,
        next: None,
    };
    match place {
        Place::Before { parent } if !tree.contains(parent) => end,
        Place::After {
            parent: Some(parent),
            ..
        } if !tree.contains(parent) => end,
        Place::After {
            parent,
            next: Some(next),
        } if !tree.contains(next) => Place::After { parent, next: None },
        place => place,
    }
}

fn list(value: &Ipld) -> Vec<Value> {
    match value {
        Ipld::List(items) => items.iter().map(|item| Value::new(item).unwrap()).collect(),
        _ => Vec::new(),
    }
}

/// What was there at the beginning, as one author would have made it.
fn base_text(base: &Ipld) -> TextEdit {
    let mut steps = Vec::new();
    let Ipld::Map(map) = base else {
        return TextEdit { steps };
    };
    let Some(Ipld::String(text)) = map.get("text") else {
        panic!("a text");
    };
    if !text.is_empty() {
        let start = Place::After {
            parent: None,
            next: None,
        };
        steps.push(TextStep::Insert(start, text.as_str().into()));
    }
    let Some(Ipld::List(facets)) = map.get("facets") else {
        return TextEdit { steps };
    };
    for facet in facets {
        let get = |value: &Ipld, name: &str| match value {
            Ipld::Map(map) => map[name].clone(),
            other => panic!("{other:?}"),
        };
        let index = get(facet, "index");
        let place = |name: &str| match get(&index, name) {
            Ipld::Integer(byte) => text[..byte as usize].chars().count() as u32,
            other => panic!("{other:?}"),
        };
        let (from, to) = (place("byteStart"), place("byteEnd"));
        let Ipld::List(features) = get(facet, "features") else {
            panic!("features");
        };
        for feature in features {
            let Ipld::Map(mut feature) = feature else {
                panic!("a feature");
            };
            let Some(Ipld::String(key)) = feature.remove("$type") else {
                panic!("a type");
            };
            steps.push(TextStep::Mark(Mark {
                key,
                value: Some(Value::new(&Ipld::Map(feature)).unwrap()),
                start: Anchor::Before(Dot::new(0, 0, from)),
                end: Anchor::After(Dot::new(0, 0, to - 1)),
            }));
        }
    }
    TextEdit { steps }
}
