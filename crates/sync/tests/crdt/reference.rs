//! Slow and obvious versions of every rule: a value is computed from the set of all operations, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use ues_data::Ipld;
use ues_sync::crdt::{
    Anchor, CounterEdit, Dot, FieldsEdit, Mark, Origin, Place, SetChange, SetEdit, TextEdit,
    TextStep, Value,
};

use crate::network::Operation;

pub fn counter(made: &[Operation<CounterEdit>]) -> Ipld {
    Ipld::Integer(made.iter().map(|o| i128::from(o.edit.amount)).sum())
}

/// All additions that no removal has observed and no later addition of the same value by the same writer replaces.
pub fn set(made: &[Operation<SetEdit>]) -> Ipld {
    let mut added: BTreeSet<(Value, u32, (u64, u32))> = BTreeSet::new();
    let mut gone: BTreeSet<(Value, Dot)> = BTreeSet::new();
    for operation in made {
        let mut dot = operation.origin.dot;
        let mut here: Vec<(Value, Dot)> = Vec::new();
        for change in &operation.edit.changes {
            match change {
                SetChange::Add(value) => {
                    added.insert((value.clone(), dot.writer, (dot.seq, dot.index)));
                    here.push((value.clone(), dot));
                    dot = dot.plus(1).unwrap();
                }
                SetChange::Remove(value, observed) => {
                    gone.extend(observed.iter().map(|dot| (value.clone(), *dot)));
                }
            }
        }
    }
    let mut last: BTreeMap<(Value, u32), (u64, u32)> = BTreeMap::new();
    for (value, writer, place) in added {
        let held = last.entry((value, writer)).or_insert(place);
        *held = place.max(*held);
    }
    let mut values: BTreeSet<Value> = BTreeSet::new();
    for ((value, writer), (seq, index)) in last {
        if !gone.contains(&(value.clone(), Dot::new(writer, seq, index))) {
            values.insert(value);
        }
    }
    Ipld::List(values.iter().map(Value::to_ipld).collect())
}

/// Who wins.
type Rank = (u64, std::sync::Arc<str>, Dot);

/// Of all writes that were not observed by another change of the field: the greatest by time, author and dot.
pub fn fields(made: &[Operation<FieldsEdit>]) -> Ipld {
    let mut changes = Vec::new();
    for operation in made {
        for (index, change) in operation.edit.changes.iter().enumerate() {
            let dot = operation.origin.dot.plus(index as u32).unwrap();
            changes.push((
                operation.origin.time,
                operation.origin.author.clone(),
                dot,
                change,
            ));
        }
    }
    let mut best: BTreeMap<String, (Rank, Value)> = BTreeMap::new();
    for (time, author, dot, change) in &changes {
        let Some(value) = &change.value else { continue };
        let replaced = changes.iter().any(|(_, _, other, later)| {
            later.field == change.field
                && (later.observed.contains(dot) || (other.writer == dot.writer && other > dot))
        });
        if replaced {
            continue;
        }
        let rank = (*time, author.clone(), *dot);
        let held = best
            .entry(change.field.clone())
            .or_insert((rank.clone(), value.clone()));
        if rank > held.0 {
            *held = (rank, value.clone());
        }
    }
    let map = best
        .into_iter()
        .map(|(field, (_, value))| (field, value.to_ipld()));
    Ipld::Map(map.collect())
}

/// A node for each single element, as the paper draws it.
struct Node<T> {
    dot: Dot,
    value: Option<T>,
    next: Option<Dot>,
    left: Vec<Dot>,
    right: Vec<Dot>,
}

/// FugueMax, element by element.
pub struct Tree<T> {
    nodes: BTreeMap<Dot, Node<T>>,
    roots: Vec<Dot>,
}

impl<T: Clone> Tree<T> {
    pub fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            roots: Vec::new(),
        }
    }

    /// Puts elements in as a chain of right children.
    pub fn insert(&mut self, first: Dot, place: Place, values: Vec<T>) {
        let order = self.order();
        let mut place = place;
        for (offset, value) in values.into_iter().enumerate() {
            let dot = first.plus(offset as u32).unwrap();
            self.insert_one(dot, place, value, &order);
            let next = match place {
                Place::After { next, .. } => next,
                Place::Before { parent } => Some(parent),
            };
            place = Place::After {
                parent: Some(dot),
                next,
            };
        }
    }

    fn insert_one(&mut self, dot: Dot, place: Place, value: T, order: &[Dot]) {
        let rank = |dot: Option<Dot>| match dot {
            Some(dot) => order.iter().position(|other| *other == dot).unwrap(),
            None => usize::MAX,
        };
        let (siblings, next) = match place {
            Place::Before { parent } => {
                let mut siblings = self.nodes[&parent].left.clone();
                siblings.push(dot);
                siblings.sort();
                self.nodes.get_mut(&parent).unwrap().left = siblings;
                (None, None)
            }
            Place::After { parent, next } => {
                let siblings = match parent {
                    Some(parent) => self.nodes[&parent].right.clone(),
                    None => self.roots.clone(),
                };
                (Some((parent, siblings)), next)
            }
        };
        if let Some((parent, mut siblings)) = siblings {
            siblings.push(dot);
            siblings.sort_by_key(|sibling| {
                let next = if *sibling == dot {
                    next
                } else {
                    self.nodes[sibling].next
                };
                (std::cmp::Reverse(rank(next)), *sibling)
            });
            match parent {
                Some(parent) => self.nodes.get_mut(&parent).unwrap().right = siblings,
                None => self.roots = siblings,
            }
        }
        let node = Node {
            dot,
            value: Some(value),
            next,
            left: Vec::new(),
            right: Vec::new(),
        };
        self.nodes.insert(dot, node);
    }

    #[allow(dead_code, reason = "the simulation needs it")]
    pub fn contains(&self, dot: Dot) -> bool {
        self.nodes.contains_key(&dot)
    }

    pub fn delete(&mut self, first: Dot, count: u32) {
        for offset in 0..count {
            let dot = first.plus(offset).unwrap();
            self.nodes.get_mut(&dot).unwrap().value = None;
        }
    }

    /// All elements in their order, deleted ones too.
    pub fn order(&self) -> Vec<Dot> {
        let mut order = Vec::new();
        self.visit(&self.roots, &mut order);
        order
    }

    fn visit(&self, siblings: &[Dot], order: &mut Vec<Dot>) {
        for dot in siblings {
            let node = &self.nodes[dot];
            self.visit(&node.left, order);
            order.push(node.dot);
            self.visit(&node.right, order);
        }
    }

    pub fn values(&self) -> Vec<T> {
        let order = self.order();
        order
            .iter()
            .filter_map(|dot| self.nodes[dot].value.clone())
            .collect()
    }
}

impl Tree<char> {
    /// Of each character that is there, the marks on it.
    pub fn marked(&self, marks: &[(Origin, Mark)]) -> Vec<(char, BTreeMap<String, Value>)> {
        let order = self.order();
        let place = |anchor: Anchor| match anchor {
            Anchor::Start => 0,
            Anchor::End => order.len(),
            Anchor::Before(dot) => order.iter().position(|other| *other == dot).unwrap(),
            Anchor::After(dot) => 1 + order.iter().position(|other| *other == dot).unwrap(),
        };
        let mut marks: Vec<&(Origin, Mark)> = marks.iter().collect();
        marks.sort_by(|a, b| a.0.cmp(&b.0));
        let mut text = Vec::new();
        for (at, dot) in order.iter().enumerate() {
            let Some(char) = self.nodes[dot].value else {
                continue;
            };
            let mut on = BTreeMap::new();
            for (_, mark) in &marks {
                if place(mark.start) <= at && at < place(mark.end) {
                    match &mark.value {
                        Some(value) => on.insert(mark.key.clone(), value.clone()),
                        None => on.remove(&mark.key),
                    };
                }
            }
            text.push((char, on));
        }
        text
    }
}

/// What the slow tree makes of all operations.
pub fn slow_text(made: &[Operation<TextEdit>]) -> Ipld {
    let mut tree = Tree::new();
    let mut marks = Vec::new();
    for operation in made {
        let mut dot = operation.origin.dot;
        for step in &operation.edit.steps {
            match step {
                TextStep::Insert(place, text) => {
                    tree.insert(dot, *place, text.chars().collect());
                    dot = dot.plus(text.chars().count() as u32).unwrap();
                }
                TextStep::Delete(first, count) => tree.delete(*first, *count),
                TextStep::Mark(mark) => {
                    let origin = Origin {
                        dot,
                        ..operation.origin.clone()
                    };
                    marks.push((origin, mark.clone()));
                    dot = dot.plus(1).unwrap();
                }
            }
        }
    }
    let marked = tree.marked(&marks);
    let text: String = marked.iter().map(|(char, _)| char).collect();
    let mut expected = BTreeMap::from([("text".to_owned(), Ipld::String(text))]);
    let facets = facets(&marked);
    if !facets.is_empty() {
        expected.insert("facets".to_owned(), Ipld::List(facets));
    }
    Ipld::Map(expected)
}

/// Facets as the naive version of the text has them: equal neighbours together, in bytes.
pub fn facets(marked: &[(char, BTreeMap<String, Value>)]) -> Vec<Ipld> {
    let mut facets = Vec::new();
    let mut byte = 0;
    for group in marked.chunk_by(|a, b| a.1 == b.1) {
        let start = byte;
        byte += group.iter().map(|(char, _)| char.len_utf8()).sum::<usize>();
        let features: Vec<Ipld> = group[0]
            .1
            .iter()
            .map(|(key, value)| {
                let Ipld::Map(mut map) = value.to_ipld() else {
                    panic!("a map")
                };
                map.insert("$type".to_owned(), Ipld::String(key.clone()));
                Ipld::Map(map)
            })
            .collect();
        if !features.is_empty() {
            let index = [("byteStart", start), ("byteEnd", byte)];
            let index = index.map(|(key, n)| (key.to_owned(), Ipld::Integer(n as i128)));
            facets.push(Ipld::Map(BTreeMap::from([
                ("index".to_owned(), Ipld::Map(index.into())),
                ("features".to_owned(), Ipld::List(features)),
            ])));
        }
    }
    facets
}
