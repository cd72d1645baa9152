//! Merging as bytes: `tests/vectors/merge.json` is for other implementations too.
//!
//! Each case has signed operations on one path, each after those that it had seen, with the records that their clients
//! wrote; the state that they make (`merges` of docs/sync-crdt.md); and the record, which is that of the last operation
//! with what the others changed. `UES_WRITE_VECTORS=1` writes the file anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "the support is shared")]

mod support;

use bytes::Bytes;
use serde_json::{Value, json};
use support::{Device, sheet};
use ues_data::{Ipld, atproto_json, dag_cbor};
use ues_repo::crypto::SigningKey;
use ues_sync::clock::VectorClock;
use ues_sync::crdt::{Dot, Origin, RuleKind};
use ues_sync::hybrid_time::HybridTime;
use ues_sync::log::TargetState;
use ues_sync::merge::{Before, FieldRule, edits_of, merged_record};
use ues_sync::operation::{Action, Operation, OperationId, Payload};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/merge.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(json: &Value) -> Bytes {
    let digits: Vec<u32> = json
        .as_str()
        .unwrap()
        .chars()
        .map(|c| c.to_digit(16).unwrap())
        .collect();
    let bytes = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8);
    bytes.collect::<Vec<_>>().into()
}

fn record(json: &Value) -> Bytes {
    let ipld = atproto_json::record_from_json(json).unwrap();
    dag_cbor::encode(&ipld).unwrap().into()
}

fn show(record: &[u8]) -> Value {
    atproto_json::to_json(&dag_cbor::decode(record).unwrap())
}

fn key(writer: u32) -> SigningKey {
    Device::new(writer.into()).key
}

/// One side of a case.
#[derive(Clone, Default)]
struct Side {
    state: TargetState,
    record: Option<Bytes>,
    clock: VectorClock,
    tips: std::collections::BTreeMap<u32, OperationId>,
}

fn author(writer: u32) -> String {
    key(writer).did_key()
}

impl Side {
    fn take(&mut self, operation: &Operation, value: Option<Bytes>) {
        let payload = &operation.payload;
        self.state.insert(operation, &author(payload.writer));
        self.clock.set(payload.writer, payload.seq);
        self.tips.insert(payload.writer, operation.id());
        self.record = value;
    }

    fn write(
        &mut self,
        writer: u32,
        rules: &[FieldRule],
        after: Option<&Value>,
    ) -> (Operation, Option<Bytes>) {
        let names: Vec<String> = (0..4).map(author).collect();
        let name = |writer: u32| names[writer as usize].as_str();
        let seq = self.clock.get(writer) + 1;
        let time = HybridTime::from_ms(
            1_700_000_000_000 + 10 * self.clock.total() + 1000 * u64::from(writer),
        );
        let after = after.map(record);
        let origin = Origin {
            dot: Dot::new(writer, seq, 0),
            time: time.0,
            author: author(writer).into(),
        };
        let before = Before {
            merges: &self.state.merges,
            lineage: self.state.lineage(name),
            record: self.record.as_deref(),
            rules,
        };
        let merge = edits_of(&before, after.as_deref(), &origin).map(Box::new);
        assert!(merge.is_some());
        let mut deps = self.clock.clone();
        deps.set(writer, 0);
        let path = sheet::path(1);
        let payload = Payload {
            repo: support::repo(),
            writer,
            seq,
            prev: self.tips.get(&writer).copied(),
            deps,
            time,
            action: match &after {
                Some(after) => Action::Put {
                    path,
                    value: ues_data::dag_cbor_cid(after),
                    update: self.record.is_some(),
                    merge,
                },
                None => Action::Delete { path, merge },
            },
        };
        let operation = payload.sign(&key(writer));
        self.take(&operation, after.clone());
        (operation, after)
    }
}

/// A record from before, what two devices write at the same time, and what a third writes that has seen both.
fn case(
    name: &str,
    rules: &[FieldRule],
    start: Option<Value>,
    one: &[Value],
    other: &[Value],
) -> Value {
    let mut made = Vec::new();
    let mut first = Side {
        record: start.as_ref().map(record),
        ..Side::default()
    };
    if start.is_none() {
        made.push(first.write(1, rules, Some(&one[0])));
    }
    let one = &one[usize::from(start.is_none())..];
    let mut second = first.clone();
    let write = |side: &mut Side, writer: u32, after: &Value| {
        side.write(writer, rules, Some(after).filter(|after| !after.is_null()))
    };
    let here: Vec<_> = one
        .iter()
        .map(|after| write(&mut first, 1, after))
        .collect();
    let there: Vec<_> = other
        .iter()
        .map(|after| write(&mut second, 2, after))
        .collect();
    for (operation, value) in &there {
        first.take(operation, value.clone());
    }
    made.extend(here);
    made.extend(there);
    let operations = made.iter().map(|(operation, value)| {
        json!({
            "block": hex(operation.block()),
            "record": value.as_ref().map(|value| show(value)),
        })
    });
    let record = outcome(&first.state, &made.last().unwrap().1.clone().unwrap());
    json!({
        "name": name, "before": start, "operations": operations.collect::<Vec<_>>(),
        "state": hex(&first.state.encode()),
        "record": show(&record), "cid": ues_data::dag_cbor_cid(&record).to_string(),
    })
}

fn outcome(state: &TargetState, own: &[u8]) -> Bytes {
    let names: Vec<String> = (0..4).map(author).collect();
    let shown = state
        .shown(|writer| names[writer as usize].as_str())
        .unwrap();
    assert_eq!(
        shown.value,
        ues_data::dag_cbor_cid(own),
        "the last one wins"
    );
    match shown.lineage {
        Some(lineage) => merged_record(lineage, own).unwrap().into(),
        None => Bytes::copy_from_slice(own),
    }
}

fn make() -> Value {
    let rules = sheet::rules();
    let start = || {
        json!({"$type": "com.example.sheet", "visits": 5, "tags": ["oat", "rye"], "items": [1, 2],
        "body": "the quick fox", "title": "a", "note": "b", "look": {"size": 1}})
    };
    let with = |changes: Value| {
        let mut out = start();
        for (name, value) in changes.as_object().unwrap() {
            out[name] = value.clone();
        }
        out
    };
    let bold = json!([{"index": {"byteStart": 4, "byteEnd": 9}, "features": [{"$type": "x.y#bold", "n": 1}]}]);
    let cases = [
        case(
            "all rules, from a record that was there before the log",
            &rules,
            Some(start()),
            &[with(
                json!({"visits": 8, "tags": ["oat", "tea"], "items": [1, 7, 2], "title": "c", "body": "the brown fox"}),
            )],
            &[with(
                json!({"visits": 4, "tags": ["oat", "rye", "fig"], "items": [1, 2, 9], "note": "d",
                "body": "the quick fox jumps", "facets": bold, "look": {"size": 1, "colour": 2}}),
            )],
        ),
        case(
            "a record that one of them made, and several writes",
            &rules,
            None,
            &[
                start(),
                with(json!({"visits": 6})),
                with(json!({"visits": 9, "items": [2]})),
            ],
            &[with(json!({"visits": 7, "items": [3, 1, 2]}))],
        ),
        case(
            "limits",
            &rules,
            None,
            &[
                start(),
                with(
                    json!({"visits": 30, "tags": ["oat", "rye", "a", "b", "c"], "body": "0123456789012345678901234567890"}),
                ),
            ],
            &[with(
                json!({"visits": 40, "tags": ["oat", "rye", "d"], "body": "the quick fox jumps and jumps again"}),
            )],
        ),
        case(
            "a deletion and a change",
            &rules,
            None,
            &[start(), Value::Null],
            &[with(json!({"visits": 6, "tags": ["rye"]}))],
        ),
    ];
    json!({"cases": cases, "keys": (1..3).map(|w| json!({"writer": w, "did": author(w)})).collect::<Vec<_>>()})
}

#[test]
fn the_vectors_hold() {
    if std::env::var_os("UES_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&make()).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    let file: Value = serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
    for case in file["cases"].as_array().unwrap() {
        let name = &case["name"];
        let mut state = TargetState::default();
        let mut last = Bytes::new();
        let operations = case["operations"].as_array().unwrap();
        for operation in operations {
            let block = unhex(&operation["block"]);
            let read = Operation::decode(block.clone()).unwrap();
            assert!(
                read.verify(key(read.payload.writer).verifying_key()),
                "{name}"
            );
            assert_eq!(
                *read.payload.clone().sign(&key(read.payload.writer)).block(),
                block,
                "{name}"
            );
            state.insert(&read, &author(read.payload.writer));
            if let Some(value) = read.payload.action.value() {
                last = record(&operation["record"]);
                assert_eq!(ues_data::dag_cbor_cid(&last), *value, "{name}");
            }
        }
        assert_eq!(
            hex(&state.encode()),
            case["state"].as_str().unwrap(),
            "{name}"
        );
        assert_eq!(
            TargetState::decode(&state.encode()).unwrap(),
            state,
            "{name}"
        );
        let merged = outcome(&state, &last);
        assert_eq!(show(&merged), case["record"], "{name}");
        assert_eq!(
            ues_data::dag_cbor_cid(&merged).to_string(),
            case["cid"].as_str().unwrap()
        );
    }
    assert_eq!(make(), file, "what is made here is what the file has");
}

#[test]
fn versions_and_actions_do_not_mix() {
    let rules = [sheet::rule("visits", RuleKind::Counter)];
    let mut side = Side::default();
    let (operation, _) = side.write(
        1,
        &rules,
        Some(&json!({"$type": "com.example.sheet", "visits": 1})),
    );
    let (deletion, _) = side.write(1, &rules, None);
    // The payload of each, with the other's action.
    for (operation, act) in [(&operation, "delete"), (&deletion, "update")] {
        let Ipld::List(parts) = dag_cbor::decode(operation.block()).unwrap() else {
            panic!("a list");
        };
        let Ipld::Map(mut payload) = parts[0].clone() else {
            panic!("a map");
        };
        assert_eq!(payload["v"], Ipld::Integer(2));
        let refused = |payload: &std::collections::BTreeMap<String, Ipld>| {
            let block = Ipld::List(vec![Ipld::Map(payload.clone()), parts[1].clone()]);
            Operation::decode(dag_cbor::encode(&block).unwrap().into())
                .unwrap_err()
                .to_string()
        };
        let mut first = payload.clone();
        first.insert("v".to_owned(), Ipld::Integer(1));
        assert!(refused(&first).contains("version 2"));
        first.remove("mrg");
        first.insert("v".to_owned(), Ipld::Integer(2));
        assert!(refused(&first).contains("version 2"));
        payload.insert("act".to_owned(), Ipld::String(act.to_owned()));
        match act {
            "delete" => drop(payload.remove("val")),
            _ => drop(payload.insert("val".to_owned(), Ipld::Link(ues_data::dag_cbor_cid(b"x")))),
        }
        assert!(refused(&payload).contains("mrg is not what"), "{act}");
    }
}
