//! Operations as bytes, and what becomes of them: `tests/vectors/operations.json` is for other implementations too.
//!
//! `UES_WRITE_VECTORS=1` writes the file anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "the support is shared")]

mod support;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use support::{Device, World, admit, path};
use ues_sync::log::{Change, Incoming, Replica};
use ues_sync::operation::{Action, Operation, Payload};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/operations.json");
const NOW: u64 = 1_700_000_000_000;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect::<Vec<_>>()
        .into()
}

/// A device that has nothing but what stood in the repository before the log.
fn fresh(root: &ues_repo::crypto::VerifyingKey) -> Device {
    let mut device = Device::new(99);
    let (replica, change) = Replica::begin(support::repo(), root, device.key.verifying_key());
    device.replica = Some(replica);
    device.commit(change);
    device
}

fn records(device: &Device) -> Value {
    let records = device.records().iter();
    let map: Map<String, Value> = records
        .map(|(path, cid)| (path.clone(), json!(cid.to_string())))
        .collect();
    Value::Object(map)
}

/// Two devices that write at the same time, one that contradicts itself, one that is revoked.
fn make() -> Value {
    let mut world = World::new(1);
    let root = world.root.clone();
    let mut first = fresh(root.verifying_key());
    let mut keys = vec![json!({"writer": 0, "did": root.did_key()})];
    let mut devices: Vec<Device> = Vec::new();
    for n in 1..=4u64 {
        let device = Device::new(n);
        let mut change = Change::default();
        let replica = first.replica.as_mut().unwrap();
        let key = device.key.verifying_key();
        let number = replica
            .grant(
                &first.rows,
                key,
                &format!("device {n}"),
                NOW + n,
                &root,
                &mut change,
            )
            .unwrap();
        first.commit(change);
        keys.push(json!({"writer": number, "did": device.did_key()}));
        devices.push(device);
    }
    let mut operations: Vec<(Operation, Bytes)> = Vec::new();
    let mut put = |log: &mut Device,
                   device: &Device,
                   writer: u32,
                   n: usize,
                   text: Option<&str>,
                   now: u64,
                   deps: Option<&[(u32, u64)]>| {
        let replica = log.replica.as_ref().unwrap();
        let tip = replica.roster().get(writer).unwrap().tip.clone();
        let mut seen: ues_sync::clock::VectorClock = match deps {
            Some(deps) => deps.iter().copied().collect(),
            None => replica.clock(),
        };
        seen.set(writer, 0);
        let record = text.map(support::content);
        let payload = Payload {
            repo: support::repo(),
            writer,
            seq: tip.as_ref().map_or(1, |t| t.seq + 1),
            prev: tip.map(|t| t.id),
            deps: seen,
            time: ues_sync::hybrid_time::HybridTime::from_ms(now),
            action: match &record {
                Some((value, _)) => Action::Put {
                    path: path(n),
                    value: *value,
                    update: deps.is_none(),
                    merge: None,
                },
                None => Action::Delete {
                    path: path(n),
                    merge: None,
                },
            },
        };
        let operation = payload.sign(&device.key);
        let value = record.map(|(_, bytes)| bytes);
        admit(
            log,
            Incoming {
                operation: operation.clone(),
                value: value.clone(),
            },
            now,
        )
        .unwrap();
        operations.push((operation, value.unwrap_or_default()));
    };
    let granted: &[(u32, u64)] = &[(0, 4)];
    put(
        &mut first,
        &devices[0],
        1,
        1,
        Some("at the same time, earlier"),
        NOW + 100,
        Some(granted),
    );
    put(
        &mut first,
        &devices[1],
        2,
        1,
        Some("at the same time, later"),
        NOW + 200,
        Some(granted),
    );
    put(
        &mut first,
        &devices[0],
        1,
        2,
        Some("kept from a deletion"),
        NOW + 300,
        Some(granted),
    );
    put(
        &mut first,
        &devices[1],
        2,
        2,
        None,
        NOW + 400,
        Some(granted),
    );
    put(
        &mut first,
        &devices[0],
        1,
        3,
        Some("replaced"),
        NOW + 500,
        Some(granted),
    );
    put(
        &mut first,
        &devices[1],
        2,
        3,
        Some("replaces"),
        NOW + 400_000,
        None,
    );
    put(
        &mut first,
        &devices[2],
        3,
        4,
        Some("before the fork"),
        NOW + 600,
        Some(granted),
    );
    let mut twin = first.clone();
    put(
        &mut first,
        &devices[2],
        3,
        5,
        Some("one of two"),
        NOW + 700,
        Some(granted),
    );
    put(
        &mut twin,
        &devices[2],
        3,
        5,
        Some("two of two"),
        NOW + 700,
        Some(granted),
    );
    put(
        &mut first,
        &devices[3],
        4,
        6,
        Some("within the cut"),
        NOW + 800,
        Some(granted),
    );
    let mut late = first.clone();
    put(
        &mut late,
        &devices[3],
        4,
        7,
        Some("seen by writer 1"),
        NOW + 900,
        Some(granted),
    );
    put(
        &mut late,
        &devices[0],
        1,
        8,
        Some("a witness"),
        NOW + 1000,
        Some(&[(0, 4), (4, 2)]),
    );
    put(
        &mut late,
        &devices[3],
        4,
        9,
        Some("seen by nobody"),
        NOW + 1100,
        Some(granted),
    );
    let mut change = Change::default();
    let replica = first.replica.as_mut().unwrap();
    replica
        .revoke_writer(&first.rows, 4, NOW + 1200, &root, &mut change)
        .unwrap();
    first.commit(change);
    let roots = 1..=first.replica.as_ref().unwrap().clock().get(0);
    let replica = first.replica.as_ref().unwrap();
    let of_root = roots.map(|seq| {
        (
            replica.operation(&first.rows, 0, seq).unwrap().unwrap(),
            Bytes::new(),
        )
    });
    let mut all: Vec<(Operation, Bytes)> = of_root.collect();
    all.extend(operations);
    world.now_ms = NOW;
    let list: Vec<Value> = all
        .iter()
        .map(|(op, value)| {
            json!({
                "writer": op.payload.writer,
                "seq": op.payload.seq,
                "act": op.payload.action.name(),
                "block": hex(op.block()),
                "record": hex(value),
                "id": op.id().to_string(),
            })
        })
        .collect();
    let done = apply(&root.did_key(), &list, false);
    json!({
        "about": "All of these operations, in any order, give these heads and records. Each operation is offered again \
                  until no more come in; the records begin empty.",
        "repo": support::repo().as_str(),
        "now": NOW + 500_000,
        "keys": keys,
        "operations": list,
        "heads": heads(&done),
        "log": hex(&done.replica.as_ref().unwrap().summary().fingerprint()),
        "records": records(&done),
    })
}

fn heads(device: &Device) -> Value {
    let summary = device.replica.as_ref().unwrap().summary();
    let heads = summary
        .heads
        .iter()
        .map(|h| json!({"writer": h.writer, "seq": h.seq, "fork": h.fork}));
    heads.collect()
}

fn apply(root: &str, list: &[Value], backwards: bool) -> Device {
    let root = ues_repo::crypto::VerifyingKey::from_did_key(root).unwrap();
    let mut device = fresh(&root);
    for _ in 0..list.len() {
        let mut order: Vec<&Value> = list.iter().collect();
        if backwards {
            order.reverse();
        }
        for one in order {
            let operation = Operation::decode(unhex(one["block"].as_str().unwrap())).unwrap();
            let value = operation.payload.action.value();
            let value = value.map(|_| unhex(one["record"].as_str().unwrap()));
            let _ = admit(&mut device, Incoming { operation, value }, NOW + 500_000);
        }
    }
    device
}

#[test]
fn the_vectors_are_what_comes_out() {
    if std::env::var_os("UES_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&make()).unwrap() + "\n").unwrap();
    }
    let file: Value = serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
    let list = file["operations"].as_array().unwrap();
    for one in list {
        let operation = Operation::decode(unhex(one["block"].as_str().unwrap())).unwrap();
        assert_eq!(operation.id().to_string(), one["id"]);
        assert_eq!(operation.payload.action.name(), one["act"]);
        assert_eq!(operation.payload.seq, one["seq"]);
        let keys = file["keys"].as_array().unwrap();
        let key = keys
            .iter()
            .find(|key| key["writer"] == one["writer"])
            .unwrap();
        let key =
            ues_repo::crypto::VerifyingKey::from_did_key(key["did"].as_str().unwrap()).unwrap();
        assert!(operation.verify(&key));
    }
    for backwards in [false, true] {
        let device = apply(file["keys"][0]["did"].as_str().unwrap(), list, backwards);
        assert_eq!(heads(&device), file["heads"]);
        assert_eq!(records(&device), file["records"]);
        let log = device.replica.as_ref().unwrap().summary().fingerprint();
        assert_eq!(hex(&log), file["log"]);
    }
    assert_eq!(make(), file, "what is made now is what was written");
}
