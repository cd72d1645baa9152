//! Proofs and inversion: the official fixtures, and random commits seen by a stranger.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mst_support;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use mst_support::{Recording, Shelf, key, tree_of, value, vector};
use proptest::prelude::*;
use serde_json::Value;
use ues_data::mst::{Change, MstError, Tree, invert, verify_proof};
use ues_data::source::NoBlocks;
use ues_data::{Cid, parse_cid};

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap();
    list.iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn commit_proof_fixtures() {
    let text = vector("atproto-interop/firehose/commit-proof-fixtures.json");
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = case["comment"].as_str().unwrap();
        let leaf = parse_cid(case["leafValue"].as_str().unwrap()).unwrap();
        let (keys, adds, dels) = (
            strings(&case["keys"]),
            strings(&case["adds"]),
            strings(&case["dels"]),
        );
        let mut tree = tree_of(keys.iter().map(|k| (k.as_str(), leaf)));
        let before = tree.root();
        assert_eq!(before.to_string(), case["rootBeforeCommit"], "{name}");
        let mut operations = Vec::new();
        for key in &adds {
            tree.put(&NoBlocks, key, &leaf).unwrap();
            operations.push(change(key, None, Some(leaf)));
        }
        for key in &dels {
            tree.delete(&NoBlocks, key).unwrap();
            operations.push(change(key, Some(leaf), None));
        }
        let after = tree.root();
        assert_eq!(after.to_string(), case["rootAfterCommit"], "{name}");

        let touched: Vec<&String> = adds.iter().chain(&dels).collect();
        let proof = tree.covering_proof(&NoBlocks, &touched).unwrap();
        let found: BTreeSet<String> = proof.iter().map(|(cid, _)| cid.to_string()).collect();
        let expected: BTreeSet<String> = strings(&case["blocksInProof"]).into_iter().collect();
        assert_eq!(found, expected, "{name}");

        let blocks: HashMap<Cid, Bytes> = proof.into_iter().collect();
        assert_eq!(
            invert(&after, &blocks, &operations).unwrap(),
            before,
            "{name}"
        );
    }
}

fn change(key: &str, before: Option<Cid>, after: Option<Cid>) -> Change {
    Change {
        key: key.as_bytes().to_vec(),
        before,
        after,
    }
}

type Model = BTreeMap<String, Cid>;

fn model() -> impl Strategy<Value = Model> {
    let numbers = prop_oneof![
        prop::collection::btree_map(0..40u32, 0..3u32, 0..20),
        prop::collection::btree_map(0..5000u32, 0..3u32, 0..250),
    ];
    numbers.prop_map(|m| m.into_iter().map(|(k, v)| (key(k), value(v))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_stranger_undoes_a_commit_with_its_covering_proof(
        model in model(),
        edits in prop::collection::btree_map(0..5000u32, prop::option::of(3..6u32), 1..10),
        victims in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        order in any::<bool>(),
    ) {
        let mut tree = tree_of(model.iter().map(|(k, v)| (k.as_str(), *v)));
        let before = tree.root();
        let mut wanted: BTreeMap<String, Option<Cid>> =
            edits.into_iter().map(|(k, v)| (key(k), v.map(value))).collect();
        let existing: Vec<&String> = model.keys().collect();
        if !existing.is_empty() {
            for victim in victims {
                wanted.insert(victim.get(&existing).to_string(), None);
            }
        }
        let mut operations = Vec::new();
        for (key, after) in wanted {
            let old = match after {
                Some(value) => tree.put(&NoBlocks, &key, &value).unwrap(),
                None => tree.delete(&NoBlocks, &key).unwrap(),
            };
            if old != after {
                operations.push(change(&key, old, after));
            }
        }
        if order {
            operations.reverse();
        }
        let after = tree.root();
        let keys: Vec<&[u8]> = operations.iter().map(|c| &c.key[..]).collect();
        let proof = tree.covering_proof(&NoBlocks, &keys).unwrap();
        let blocks: HashMap<Cid, Bytes> = proof.into_iter().collect();
        if operations.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(invert(&after, &blocks, &operations).unwrap(), before);

        // No operation can be left out or told otherwise.
        let root = invert(&after, &blocks, &operations[1..]);
        prop_assert!(root.is_err() || root.unwrap() != before);
        let mut lie = operations.clone();
        lie[0].after = Some(value(99));
        let error = invert(&after, &blocks, &lie).unwrap_err();
        let told = matches!(error, MstError::OperationMismatch { .. });
        prop_assert!(told, "{}", error);

        // No block that was read can be left out, and none can be another.
        let recording = Recording::new(&blocks);
        invert(&after, &recording, &operations).unwrap();
        for cid in recording.read.borrow().iter() {
            let mut fewer = blocks.clone();
            fewer.remove(cid);
            let error = invert(&after, &fewer, &operations).unwrap_err();
            let missing = matches!(error, MstError::MissingBlock(missing) if missing == *cid);
            prop_assert!(missing, "{}", error);
            let mut forged = blocks.clone();
            forged.insert(*cid, Bytes::from_static(b"\xa2\x61e\x80\x61l\xf6"));
            let refused = invert(&after, &forged, &operations).is_err();
            prop_assert!(refused || blocks[cid] == forged[cid]);
        }
    }

    #[test]
    fn proofs_convince_a_stranger(model in model(), probe in 0..5000u32, other in any::<prop::sample::Index>()) {
        let mut shelf = Shelf::default();
        let mut tree = tree_of(model.iter().map(|(k, v)| (k.as_str(), *v)));
        let flush = tree.flush();
        shelf.apply(&flush);
        let mut probes = vec![key(probe)];
        if !model.is_empty() {
            probes.push(other.get(&model.keys().collect::<Vec<_>>()).to_string());
        }
        for probe in probes {
            for tree in [&tree, &Tree::load(flush.root)] {
                let proof = tree.proof(&shelf, &probe).unwrap();
                let blocks: HashMap<Cid, Bytes> = proof.iter().cloned().collect();
                let proven = verify_proof(&flush.root, &probe, &blocks).unwrap();
                prop_assert_eq!(proven, model.get(&probe).copied());
                for (cid, bytes) in &proof {
                    let mut fewer = blocks.clone();
                    fewer.remove(cid);
                    prop_assert!(verify_proof(&flush.root, &probe, &fewer).is_err());
                    let mut forged = bytes.to_vec();
                    *forged.last_mut().unwrap() ^= 1;
                    fewer.insert(*cid, forged.into());
                    prop_assert!(verify_proof(&flush.root, &probe, &fewer).is_err());
                }
            }
        }
    }
}

#[test]
fn repeated_operations_are_refused() {
    let mut tree = tree_of([("com.example.a/1", value(1))]);
    let root = tree.root();
    let proof: HashMap<Cid, Bytes> = tree
        .covering_proof(&NoBlocks, &["com.example.a/1"])
        .unwrap()
        .into_iter()
        .collect();
    let op = change("com.example.a/1", None, Some(value(1)));
    let error = invert(&root, &proof, &[op.clone(), op]).unwrap_err();
    assert!(
        matches!(error, MstError::RepeatedOperation { .. }),
        "{error}"
    );
}

#[test]
fn nodes_are_not_handed_out_before_a_flush() {
    let mut tree = tree_of([("com.example.a/1", value(1))]);
    let error = tree.proof(&NoBlocks, "com.example.a/1").unwrap_err();
    assert!(matches!(error, MstError::Unflushed), "{error}");
    tree.flush();
    assert_eq!(tree.proof(&NoBlocks, "com.example.a/1").unwrap().len(), 1);
}
