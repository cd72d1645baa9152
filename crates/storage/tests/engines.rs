//! One suite for every engine: what the store relies on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;
use ues_storage::engine::{Engine, FjallEngine, KeyspaceId, MemoryEngine, Op, Reads, Shape};
use ues_storage::{Clock, StoreOptions};

/// Runs a test on an engine of each kind.
fn each(test: impl Fn(&dyn Engine)) {
    test(&MemoryEngine::new());
    let dir = tempfile::tempdir().unwrap();
    test(&FjallEngine::open(dir.path(), &StoreOptions::default()).unwrap());
}

fn rows(reads: &dyn Reads, ks: KeyspaceId) -> Vec<(Vec<u8>, Vec<u8>)> {
    let scan = reads.scan(ks, Bound::Unbounded, Bound::Unbounded);
    scan.map(|row| row.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap())
        .collect()
}

fn put<'a>(ks: KeyspaceId, key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op {
        ks,
        key,
        value: Some(value),
    }
}

fn delete(ks: KeyspaceId, key: &[u8]) -> Op<'_> {
    Op {
        ks,
        key,
        value: None,
    }
}

#[test]
fn keyspaces_are_apart_and_keep_their_number() {
    each(|engine| {
        let a = engine.keyspace("a", Shape::Small).unwrap();
        let b = engine.keyspace("b", Shape::Blobs).unwrap();
        assert_ne!(a, b);
        assert_eq!(engine.keyspace("a", Shape::Small).unwrap(), a);
        engine
            .apply(&mut [put(a, b"k", b"1"), put(b, b"k", b"2")].into_iter())
            .unwrap();
        assert_eq!(engine.get(a, b"k").unwrap().unwrap(), "1");
        assert_eq!(engine.get(b, b"k").unwrap().unwrap(), "2");
        assert!(engine.get(KeyspaceId(99), b"k").is_err());
        assert!(
            engine
                .apply(&mut [put(KeyspaceId(99), b"k", b"1")].into_iter())
                .is_err()
        );
        assert!(engine.disk_bytes().is_ok() && engine.keyspace_bytes(a).is_ok());
    });
}

#[test]
fn later_operations_of_a_batch_win() {
    each(|engine| {
        let ks = engine.keyspace("a", Shape::Small).unwrap();
        let ops = [
            put(ks, b"x", b"1"),
            delete(ks, b"x"),
            put(ks, b"y", b"1"),
            put(ks, b"y", b"2"),
            put(ks, b"z", b""),
        ];
        engine.apply(&mut ops.into_iter()).unwrap();
        assert_eq!(
            rows(engine, ks),
            [(b"y".to_vec(), b"2".to_vec()), (b"z".to_vec(), vec![])]
        );
        engine
            .apply(&mut [delete(ks, b"y"), put(ks, b"y", b"3")].into_iter())
            .unwrap();
        assert_eq!(engine.get(ks, b"y").unwrap().unwrap(), "3");
        assert!(engine.contains(ks, b"z").unwrap());
        assert!(!engine.contains(ks, b"x").unwrap());
        assert!(!engine.contains(ks, b"").unwrap());
    });
}

#[test]
fn snapshots_do_not_change() {
    each(|engine| {
        let ks = engine.keyspace("a", Shape::Small).unwrap();
        engine
            .apply(&mut [put(ks, b"x", b"1")].into_iter())
            .unwrap();
        let snapshot = engine.snapshot();
        engine
            .apply(&mut [put(ks, b"x", b"2"), put(ks, b"y", b"2")].into_iter())
            .unwrap();
        assert_eq!(rows(&*snapshot, ks), [(b"x".to_vec(), b"1".to_vec())]);
        assert!(!snapshot.contains(ks, b"y").unwrap());
        assert_eq!(snapshot.get(ks, b"x").unwrap().unwrap(), "1");
        assert_eq!(rows(engine, ks).len(), 2);
    });
}

#[test]
fn odd_ranges_have_no_rows() {
    each(|engine| {
        let ks = engine.keyspace("a", Shape::Small).unwrap();
        engine
            .apply(&mut [put(ks, b"b", b"1")].into_iter())
            .unwrap();
        let count = |from, to| engine.scan(ks, from, to).count();
        assert_eq!(count(Bound::Included(b"b"), Bound::Included(b"b")), 1);
        assert_eq!(count(Bound::Excluded(b"b"), Bound::Excluded(b"b")), 0);
        assert_eq!(count(Bound::Included(b"b"), Bound::Excluded(b"b")), 0);
        assert_eq!(count(Bound::Included(b"c"), Bound::Included(b"a")), 0);
        assert_eq!(count(Bound::Excluded(b"a"), Bound::Unbounded), 1);
        let mut both = engine.scan(ks, Bound::Unbounded, Bound::Unbounded);
        assert!(both.next_back().is_some() && both.next().is_none() && both.next_back().is_none());
    });
}

#[test]
fn tidying_up_changes_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let write = |engine: &dyn Engine, from: u32| {
        let small = engine.keyspace("small", Shape::Small).unwrap();
        let log = engine.keyspace("log", Shape::Log).unwrap();
        for n in from..from + 3000 {
            let (key, value) = (n.to_be_bytes(), vec![n as u8; 900]);
            engine
                .apply(&mut [put(small, &key, &key), put(log, &key, &value)].into_iter())
                .unwrap();
        }
        engine.sync().unwrap();
    };
    let expect = |engine: &dyn Engine, end: u32| {
        for name in ["small", "log"] {
            let ks = engine.keyspace(name, Shape::Small).unwrap();
            let keys: Vec<_> = rows(engine, ks).into_iter().map(|(key, _)| key).collect();
            let all: Vec<_> = (0..end).map(|n| n.to_be_bytes().to_vec()).collect();
            assert_eq!(keys, all, "{name}");
        }
    };
    // What a node at rest writes does not count as work.
    let tidy_up = |engine: &dyn Engine| {
        let small = engine.keyspace("small", Shape::Small).unwrap();
        let key = 0u32.to_be_bytes();
        for _ in 0..3 {
            engine.tidy_up().unwrap();
            let heartbeat = [put(small, &key, &key)];
            engine.apply(&mut heartbeat.into_iter()).unwrap();
        }
    };
    let memory = MemoryEngine::new();
    write(&memory, 0);
    tidy_up(&memory);
    expect(&memory, 3000);

    let open = || FjallEngine::open(dir.path(), &StoreOptions::default()).unwrap();
    let engine = open();
    write(&engine, 0);
    let log = engine.keyspace("log", Shape::Log).unwrap();
    let before = engine.keyspace_bytes(log).unwrap();
    tidy_up(&engine);
    expect(&engine, 3000);
    while engine.keyspace_bytes(log).unwrap() == before {
        std::thread::yield_now();
    }
    write(&engine, 3000);
    expect(&engine, 6000);
    tidy_up(&engine);
    drop(engine);
    expect(&open(), 6000);
}

#[test]
fn a_disk_keeps_what_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let opts = StoreOptions {
        clock: Clock::system(),
        ..StoreOptions::default()
    };
    let big = vec![9; 100_000];
    {
        let engine = FjallEngine::open(dir.path(), &opts).unwrap();
        let ks = engine.keyspace("a", Shape::Blobs).unwrap();
        engine
            .apply(&mut [put(ks, b"x", &big)].into_iter())
            .unwrap();
        engine.sync().unwrap();
    }
    let engine = FjallEngine::open(dir.path(), &opts).unwrap();
    let ks = engine.keyspace("a", Shape::Blobs).unwrap();
    assert_eq!(engine.get(ks, b"x").unwrap().unwrap(), big);
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(u8, Option<Vec<u8>>)>),
    Range(u8, u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let value = proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 0..20));
    prop_oneof![
        3 => proptest::collection::vec((any::<u8>(), value), 0..12).prop_map(Step::Write),
        1 => (any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(a, b, back)| Step::Range(a, b, back)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn engines_agree_with_a_map(steps in proptest::collection::vec(step(), 1..40)) {
        each(|engine| {
            let ks = engine.keyspace("a", Shape::Small).unwrap();
            let mut model = BTreeMap::<Vec<u8>, Vec<u8>>::new();
            for step in &steps {
                match step {
                    Step::Write(ops) => {
                        let ops: Vec<_> = ops.iter().map(|(k, v)| ([*k], v)).collect();
                        let mut iter = ops.iter().map(|(key, value)| Op { ks, key, value: value.as_deref() });
                        engine.apply(&mut iter).unwrap();
                        for (key, value) in &ops {
                            match value {
                                Some(value) => model.insert(key.to_vec(), value.clone()),
                                None => model.remove(&key[..]),
                            };
                        }
                    }
                    Step::Range(a, b, back) => {
                        let (a, b) = (*a.min(b), *a.max(b));
                        let scan = engine.scan(ks, Bound::Included(&[a]), Bound::Included(&[b]));
                        let got: Vec<_> = if *back { scan.rev().collect() } else { scan.collect() };
                        let got: Vec<_> = got.into_iter().map(|r| r.unwrap().0.to_vec()).collect();
                        let want = model.range(vec![a]..=vec![b]).map(|(k, _)| k.clone());
                        let want: Vec<_> = if *back { want.rev().collect() } else { want.collect() };
                        assert_eq!(got, want);
                    }
                }
            }
            assert_eq!(rows(engine, ks), model.into_iter().collect::<Vec<_>>());
        });
    }
}
