#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use ues_data::dag_cbor::{self, Reader, Writer};
use ues_data::{Ipld, atproto_json};

use super::rules::FieldRule;
use super::*;
use crate::crdt::{Dot, Origin, RuleKind};

fn rule(field: &str, kind: RuleKind) -> FieldRule {
    FieldRule {
        field: field.into(),
        kind,
        facets: None,
        min: None,
        max: None,
        graphemes: None,
    }
}

fn rules() -> Vec<FieldRule> {
    vec![
        rule(WHOLE, RuleKind::Fields),
        FieldRule {
            facets: Some("facets".into()),
            ..rule("body", RuleKind::Text)
        },
        rule("items", RuleKind::List),
        rule("tags", RuleKind::Set),
        rule("visits", RuleKind::Counter),
    ]
}

fn origin(writer: u32, seq: u64, time: u64) -> Origin {
    Origin {
        dot: Dot::new(writer, seq, 0),
        time,
        author: format!("did:key:{writer}").into(),
    }
}

fn record(json: serde_json::Value) -> Vec<u8> {
    dag_cbor::encode(&atproto_json::record_from_json(&json).unwrap()).unwrap()
}

fn json(record: &[u8]) -> serde_json::Value {
    atproto_json::to_json(&dag_cbor::decode(record).unwrap())
}

/// One device: what it has merged, and the record that its client sees.
#[derive(Clone, Default)]
struct Device {
    merges: MergeState,
    lineage: Option<LineageId>,
    record: Option<Vec<u8>>,
}

impl Device {
    fn write(&mut self, rules: &[FieldRule], after: &[u8], origin: &Origin) -> Option<Merge> {
        let before = Before {
            merges: &self.merges,
            lineage: self.lineage.and_then(|id| self.merges.lineage(id)),
            record: self.record.as_deref(),
            rules,
        };
        let merge = edits_of(&before, Some(after), origin)?;
        assert_eq!(Merge::decode(&merge.encode()).unwrap(), merge);
        self.lineage = self.merges.apply(origin, &merge);
        self.record = Some(after.to_vec());
        Some(merge)
    }

    /// Takes in what another device wrote at the same time.
    fn take(&mut self, origin: &Origin, merge: &Merge) {
        let lineage = self.merges.apply(origin, merge);
        self.lineage = self.lineage.or(lineage);
        let own = self.record.clone();
        if let Some(lineage) = self.lineage.and_then(|id| self.merges.lineage(id)) {
            self.record = own.map(|own| merged_record(lineage, &own).unwrap());
        }
    }
}

/// Two devices that have one record each write another one; what comes of it on both.
fn both(
    rules: &[FieldRule],
    start: serde_json::Value,
    one: serde_json::Value,
    other: serde_json::Value,
) -> serde_json::Value {
    let mut a = Device {
        record: Some(record(start)),
        ..Device::default()
    };
    let mut b = a.clone();
    let (first, second) = (origin(1, 1, 10), origin(2, 1, 20));
    let from_a = a.write(rules, &record(one), &first).unwrap();
    let from_b = b.write(rules, &record(other), &second).unwrap();
    a.take(&second, &from_b);
    b.take(&first, &from_a);
    assert_eq!(a.merges, b.merges);
    // The winner is the later one.
    let lineage = b.merges.lineage(b.lineage.unwrap()).unwrap();
    let merged = json(&merged_record(lineage, &b.record.clone().unwrap()).unwrap());
    assert_eq!(merged, json(&b.record.unwrap()));
    merged
}

#[test]
fn a_merge_beyond_a_limit_is_repaired() {
    let limited = |rule: FieldRule| vec![rule];
    let counter = FieldRule {
        min: Some(0),
        max: Some(10),
        ..rule("visits", RuleKind::Counter)
    };
    let visits = |n: i64| serde_json::json!({ "visits": n });
    let up = both(&limited(counter.clone()), visits(5), visits(9), visits(10));
    assert_eq!(up, visits(10));
    let down = both(&limited(counter), visits(5), visits(1), visits(0));
    assert_eq!(down, visits(0));
    let tags = FieldRule {
        min: Some(1),
        max: Some(3),
        ..rule("tags", RuleKind::Set)
    };
    let all = |tags: &[&str]| serde_json::json!({ "tags": tags });
    let more = both(
        &limited(tags.clone()),
        all(&["a"]),
        all(&["a", "b", "c"]),
        all(&["a", "d"]),
    );
    assert_eq!(more, all(&["a", "d", "b"]), "the winner's first");
    let none = both(&limited(tags), all(&["a", "b"]), all(&["a"]), all(&["b"]));
    assert_eq!(none, all(&["b"]), "as the winner wrote it");
    let body = FieldRule {
        facets: Some("facets".into()),
        max: Some(12),
        graphemes: Some(9),
        ..rule("body", RuleKind::Text)
    };
    let text = |body: &str| serde_json::json!({ "body": body });
    let long = both(
        &limited(body.clone()),
        text("abc"),
        text("abcdefgh"),
        text("12abc"),
    );
    assert_eq!(long, text("12abcdefg"));
    let wide = both(&limited(body), text("ö"), text("ö👩‍🚀"), text("ööö"));
    assert_eq!(wide, text("ö"), "not half a cluster");
}

#[test]
fn a_level_that_is_full_does_not_merge_and_the_next_one_does() {
    let rules = [rule("items", RuleKind::List)];
    let mut device = Device::default();
    let mut levels = std::collections::BTreeSet::new();
    for seq in 1..80 {
        let items: Vec<Ipld> = vec![Ipld::String(format!("{seq}").repeat(8000))];
        let map = BTreeMap::from([("items".to_owned(), Ipld::List(items))]);
        let after = dag_cbor::encode(&Ipld::Map(map)).unwrap();
        let merge = device.write(&rules, &after, &origin(1, seq, seq)).unwrap();
        levels.insert(device.merges.level);
        assert!(device.merges.weight <= MAX_WEIGHT / 2 + MAX_MERGE_BYTES as u64);
        if let Merge::Begin(begin) = merge {
            assert_eq!(begin.level, device.merges.level);
        }
    }
    assert!(levels.len() > 1, "what was deleted is let go of");
    // Somebody who does not look fills a level; nothing is kept of it then, in any order.
    let mut full = device.merges.clone();
    let begun = full.lineages[0].begun[0];
    let flood = |seq: u64| {
        let edit = crate::crdt::FieldsEdit {
            changes: Vec::new(),
        };
        let edit = FieldEdit {
            field: "x".repeat(60_000).into(),
            kind: RuleKind::Fields,
            edit: crate::crdt::Edit::encode(&edit).unwrap().into(),
        };
        let merge = Merge::Continue(Continue {
            begun,
            edits: vec![edit],
        });
        (origin(2, seq, seq), merge)
    };
    for seq in 1..40 {
        let (origin, merge) = flood(seq);
        full.apply(&origin, &merge);
    }
    assert_eq!((full.weight, full.lineages.len()), (MAX_WEIGHT + 1, 0));
    let mut again = Device {
        merges: full,
        lineage: None,
        record: device.record,
    };
    let level = again.merges.level;
    let after = record(serde_json::json!({ "items": [1] }));
    assert!(again.write(&rules, &after, &origin(1, 90, 90)).is_some());
    assert_eq!(again.merges.level, level + 1);
}

#[test]
fn what_a_rule_cannot_say_is_an_ordinary_write() {
    let rules = [rule("visits", RuleKind::Counter)];
    let mut device = Device::default();
    let bad = record(serde_json::json!({ "visits": "many" }));
    assert_eq!(device.write(&rules, &bad, &origin(1, 1, 1)), None);
    device.record = Some(bad);
    let good = record(serde_json::json!({ "visits": 3 }));
    let merge = device.write(&rules, &good, &origin(1, 2, 2)).unwrap();
    let Merge::Begin(begin) = merge else {
        panic!("a beginning")
    };
    assert_eq!((begin.level, begin.edits.len()), (1, 1));
}

#[test]
fn what_is_left_alone_is_no_edit() {
    let mut device = Device::default();
    let first = serde_json::json!({ "visits": 1, "tags": ["b", "a"], "body": "x", "title": "t" });
    device
        .write(&rules(), &record(first), &origin(1, 1, 1))
        .unwrap();
    let next = serde_json::json!({ "visits": 2, "tags": ["b", "a"], "body": "x", "title": "t" });
    let merge = device
        .write(&rules(), &record(next), &origin(1, 2, 2))
        .unwrap();
    let fields: Vec<&str> = merge.edits().iter().map(|edit| &*edit.field).collect();
    assert_eq!(fields, ["visits"]);
}

#[test]
fn what_an_operation_had_not_seen_it_cannot_refer_to() {
    let mut device = Device::default();
    let items = |items: &[i64]| record(serde_json::json!({ "items": items }));
    device
        .write(&rules(), &items(&[1, 2]), &origin(1, 4, 1))
        .unwrap();
    let merge = device
        .write(&rules(), &items(&[1, 3]), &origin(2, 7, 2))
        .unwrap();
    let clock = |pairs: &[(u32, u64)]| pairs.iter().copied().collect();
    assert!(merge.is_within(&clock(&[(1, 4), (2, 7)])));
    assert!(!merge.is_within(&clock(&[(1, 3), (2, 7)])));
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let features = prop::collection::vec((0..3usize, 0..8usize, 1..8usize), 0..4);
    let body = (
        prop::collection::vec(prop::sample::select(vec!['a', 'b', 'é', '€']), 0..12),
        features,
    );
    let items = prop::collection::vec(0..6i64, 0..8);
    let tags = prop::collection::vec(prop::sample::select(vec!["x", "y", "z", "w"]), 0..6);
    (body, items, tags, -5..9i64, prop::option::of(0..3i64)).prop_map(
        |((chars, features), items, tags, visits, title)| {
            let body: String = chars.iter().collect();
            let place = |n: usize| chars.iter().take(n).map(|c| c.len_utf8()).sum::<usize>();
            let facets: Vec<serde_json::Value> = features
                .iter()
                .map(|(kind, from, len)| {
                    let (from, to) = (place(*from), place(from + len));
                    serde_json::json!({
                        "index": { "byteStart": from, "byteEnd": to },
                        "features": [{ "$type": format!("x.y#{kind}"), "n": len }],
                    })
                })
                .collect();
            let mut out = serde_json::json!({
                "body": body, "items": items, "tags": tags, "visits": visits, "facets": facets,
            });
            if let Some(title) = title {
                out["title"] = title.into();
            }
            out
        },
    )
}

/// A record without what its rules do not keep: order and repetition in sets, and facets that overlap.
fn plain(record: &[u8]) -> serde_json::Value {
    let mut json = json(record);
    let mut tags: Vec<String> = serde_json::from_value(json["tags"].clone()).unwrap_or_default();
    tags.sort_unstable();
    tags.dedup();
    json["tags"] = tags.into();
    json["facets"] = serde_json::Value::Null;
    json
}

#[test]
fn several_stretches_of_a_text_are_replaced_at_once() {
    let mut device = Device::default();
    for (seq, body) in (1..).zip(["aaéééaéb", "éabbé", "", "bbé"]) {
        let after = record(serde_json::json!({ "body": body }));
        let origin = origin(1, seq, seq);
        let rule = [rule("body", RuleKind::Text)];
        if let Some(lineage) = device.lineage.and_then(|id| device.merges.lineage(id)) {
            let document = crate::crdt::Document::decode(RuleKind::Text, &lineage.documents[0]);
            let target = BTreeMap::from([("text".to_owned(), Ipld::String(body.to_owned()))]);
            let edit =
                super::difference::edit(&document.unwrap(), Some(&Ipld::Map(target)), &origin);
            assert!(edit.is_ok(), "{body}");
        }
        device.write(&rule, &after, &origin).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn edits_make_what_the_client_wrote(all in prop::collection::vec(values(), 1..6)) {
        let mut device = Device::default();
        for (seq, json) in (1..).zip(all) {
            let after = record(json);
            device.write(&rules(), &after, &origin(1, seq, seq)).unwrap();
            let lineage = device.merges.lineage(device.lineage.unwrap()).unwrap();
            let made = merged_record(lineage, &after).unwrap();
            prop_assert_eq!(plain(&made), plain(&after));
            // Marks that do not overlap are facets again.
            let again = Device { record: Some(made.clone()), ..device.clone() }
                .write(&rules(), &made, &origin(1, seq + 1, seq + 1)).unwrap();
            prop_assert!(again.edits().iter().all(|edit| &*edit.field != "body"));
        }
    }

    #[test]
    fn all_orders_give_one_state(
        acts in prop::collection::vec((0..3usize, prop::option::of(0..3usize), values()), 1..20),
        orders in prop::collection::vec(prop::collection::vec(any::<Index>(), 1..20), 3),
    ) {
        let mut devices = vec![Device::default(); 3];
        let mut seen = [[0u64; 3]; 3];
        let mut made: Vec<([u64; 3], Origin, Merge)> = Vec::new();
        for (time, (who, from, json)) in acts.into_iter().enumerate() {
            if let Some(from) = from.filter(|from| *from != who) {
                let theirs = seen[from];
                for (clock, origin, merge) in &made {
                    let writer = origin.dot.writer as usize;
                    if clock[writer] > seen[who][writer] && clock[writer] <= theirs[writer] {
                        devices[who].take(origin, merge);
                        seen[who][writer] = clock[writer];
                    }
                }
            }
            let origin = origin(who as u32, seen[who][who] + 1, time as u64 + 1);
            if let Some(merge) = devices[who].write(&rules(), &record(json), &origin) {
                seen[who][who] += 1;
                made.push((seen[who], origin, merge));
            }
        }
        let mut states = Vec::new();
        for choices in &orders {
            let mut state = MergeState::default();
            let (mut have, mut left) = ([0u64; 3], made.clone());
            let mut choices = choices.iter().cycle();
            while !left.is_empty() {
                let ready: Vec<usize> = (0..left.len())
                    .filter(|at| {
                        let (clock, origin, _) = &left[*at];
                        let own = origin.dot.writer as usize;
                        (0..3).all(|w| clock[w] <= have[w] + u64::from(w == own))
                    })
                    .collect();
                let at = ready[choices.next().unwrap().index(ready.len())];
                let (clock, origin, merge) = left.remove(at);
                state.apply(&origin, &merge);
                have[origin.dot.writer as usize] = clock[origin.dot.writer as usize];
            }
            let mut out = Writer::new();
            state.write(&mut out);
            let bytes = out.into_bytes();
            if !state.is_empty() {
                prop_assert_eq!(&MergeState::read(&mut Reader::new(&bytes)).unwrap(), &state);
                prop_assert!(state.check());
            }
            states.push(bytes);
        }
        prop_assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn bytes_that_are_read_are_written_again(
        json in values(), cut in any::<Index>(), with in any::<u8>(),
    ) {
        let mut device = Device::default();
        let merge = device.write(&rules(), &record(json), &origin(1, 1, 1)).unwrap();
        let mut bytes = merge.encode();
        let at = cut.index(bytes.len());
        bytes[at] = with;
        if let Ok(read) = Merge::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
