//! Marks as AT Protocol's facets.

use std::collections::{BTreeMap, BTreeSet};

use ues_data::Ipld;

use crate::crdt::rule::Origin;
use crate::crdt::value::Value;

use super::Text;
use super::mark::{Anchor, Mark};

/// The most features that one facet shows; further keys, in their order, are left out.
const MAX_FEATURES: usize = 32;

/// The marks that cover some place, by key. The last of each set counts.
#[derive(Default)]
struct Cover<'a> {
    active: BTreeMap<&'a str, BTreeSet<(&'a Origin, Option<&'a Value>)>>,
    shown: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Cover<'a> {
    fn change(&mut self, origin: &'a Origin, mark: &'a Mark, begins: bool) {
        let marks = self.active.entry(&mark.key).or_default();
        let entry = (origin, mark.value.as_ref());
        if begins {
            marks.insert(entry);
        } else {
            marks.remove(&entry);
        }
        match marks.last() {
            Some((_, Some(value))) => self.shown.insert(&mark.key, value),
            _ => self.shown.remove(mark.key.as_str()),
        };
    }

    fn features(&self) -> Vec<(&'a str, &'a Value)> {
        let shown = self.shown.iter().take(MAX_FEATURES);
        shown.map(|(key, value)| (*key, *value)).collect()
    }
}

impl Text {
    /// The facets: ranges of UTF-8 bytes that do not overlap, each with the marks that are on all of it.
    pub(super) fn facets(&self, text: &str) -> Vec<Ipld> {
        let mut edges: Vec<(u64, bool, &Origin, &Mark)> = Vec::new();
        for (origin, mark) in self.marks.values() {
            let (start, end) = (self.offset(mark.start), self.offset(mark.end));
            if start < end {
                edges.push((start, true, origin, mark));
                edges.push((end, false, origin, mark));
            }
        }
        edges.sort_by_key(|(at, ..)| *at);
        let mut offsets = ByteOffsets::new(text);
        let mut cover = Cover::default();
        let mut facets = Vec::new();
        let mut open: Option<(usize, Vec<(&str, &Value)>)> = None;
        for group in edges.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(at, ..)) = group.first() else {
                continue;
            };
            for &(_, begins, origin, mark) in group {
                cover.change(origin, mark, begins);
            }
            let (byte, features) = (offsets.seek(at), cover.features());
            if let Some((from, before)) = open.take() {
                if before == features {
                    open = Some((from, before));
                    continue;
                }
                if !before.is_empty() {
                    facets.push(facet(from, byte, &before));
                }
            }
            open = Some((byte, features));
        }
        facets
    }

    /// How many characters that a reader sees stand before an anchor.
    fn offset(&self, anchor: Anchor) -> u64 {
        let place = |dot| self.chars.position(dot).unwrap_or_default();
        match anchor {
            Anchor::Start => 0,
            Anchor::End => self.chars.len(),
            Anchor::Before(dot) => place(dot).0,
            Anchor::After(dot) => {
                let (before, there) = place(dot);
                before + u64::from(there)
            }
        }
    }
}

fn facet(from: usize, to: usize, features: &[(&str, &Value)]) -> Ipld {
    let number = |number: usize| Ipld::Integer(number as i128);
    let index = BTreeMap::from([
        ("byteStart".to_owned(), number(from)),
        ("byteEnd".to_owned(), number(to)),
    ]);
    let features = features.iter().map(|(key, value)| {
        let mut map = match value.to_ipld() {
            Ipld::Map(map) => map,
            _ => BTreeMap::new(),
        };
        map.insert("$type".to_owned(), Ipld::String((*key).to_owned()));
        Ipld::Map(map)
    });
    Ipld::Map(BTreeMap::from([
        ("index".to_owned(), Ipld::Map(index)),
        ("features".to_owned(), Ipld::List(features.collect())),
    ]))
}

/// Byte offsets of characters, asked for in rising order.
struct ByteOffsets<'a> {
    chars: std::str::CharIndices<'a>,
    passed: u64,
    len: usize,
}

impl<'a> ByteOffsets<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            chars: text.char_indices(),
            passed: 0,
            len: text.len(),
        }
    }

    fn seek(&mut self, char: u64) -> usize {
        while self.passed < char {
            if self.chars.next().is_none() {
                return self.len;
            }
            self.passed += 1;
        }
        self.chars.offset()
    }
}
