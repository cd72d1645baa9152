//! The first things that everything else relies on: batches, keys, blocks, events, reopening.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use ues_storage::engine::{Engine as _, FjallEngine, Op, Reads as _, Shape};
use ues_storage::multihash::Multihash;
use ues_storage::{BlockRef, CommitError, FORMAT_VERSION, OpenError, Store, StoreOptions};

fn mh(bytes: &[u8]) -> Multihash<64> {
    Multihash::wrap(0x1e, blake3::hash(bytes).as_bytes()).unwrap()
}

const REF: BlockRef = BlockRef { owner: 1, slot: 0 };

#[test]
fn a_batch_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let block = vec![7u8; 5000];
    {
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let users = store.keyspace("users").unwrap();
        let mut batch = store.batch();
        batch.put_block(&mh(&block), &block, REF);
        batch.put(&users, "ada", "1815");
        batch.append_event("first");
        batch.append_event("second");
        let done = store.commit_blocking(batch).unwrap();
        assert_eq!((done.first_seq, done.last_seq), (Some(1), Some(2)));
    }
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let users = store.keyspace("users").unwrap();
    assert_eq!(store.block(&mh(&block)).unwrap().unwrap(), block);
    assert!(!store.has_block(&mh(b"absent")).unwrap());
    assert_eq!(users.get("ada").unwrap().unwrap(), "1815");
    let events = store.log().read(0, 10, 1 << 20).unwrap();
    let payloads: Vec<_> = events.iter().map(|e| (e.seq, &e.payload[..])).collect();
    assert_eq!(payloads, [(1, &b"first"[..]), (2, b"second")]);
    let mut batch = store.batch();
    batch.append_event("third");
    assert_eq!(store.commit_blocking(batch).unwrap().first_seq, Some(3));
    assert_eq!(store.log().read(1, 10, 1 << 20).unwrap().len(), 2);
}

#[test]
fn a_snapshot_does_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let ks = store.keyspace("k").unwrap();
    for n in 0..10u8 {
        let mut batch = store.batch();
        batch.put(&ks, [b'a', n], [n]);
        store.commit_blocking(batch).unwrap();
    }
    let snapshot = store.snapshot();
    let mut batch = store.batch();
    batch.delete(&ks, [b'a', 3]);
    batch.put(&ks, [b'a', 77], "late");
    store.commit_blocking(batch).unwrap();
    assert_eq!(snapshot.prefix(&ks, "a").count(), 10);
    assert!(snapshot.contains(&ks, [b'a', 3]).unwrap());
    assert!(!ks.contains([b'a', 3]).unwrap());
    let last = ks.prefix("a").next_back().unwrap().unwrap();
    assert_eq!(last.1, "late");
    let some: Vec<_> = ks
        .range([b'a', 2]..[b'a', 5])
        .map(|r| r.unwrap().1[0])
        .collect();
    assert_eq!(some, [2, 4]);
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let second = Store::open(dir.path(), StoreOptions::default());
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
    store.close();
    Store::open(dir.path(), StoreOptions::default()).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("FORMAT"), "ues-store 9\n").unwrap();
    let error = Store::open(dir.path(), StoreOptions::default()).unwrap_err();
    assert!(error.to_string().contains("format version 9"), "{error}");
    assert!(!dir.path().join("engine").exists());
    std::fs::write(dir.path().join("FORMAT"), "something else").unwrap();
    assert!(matches!(
        Store::open(dir.path(), StoreOptions::default()),
        Err(OpenError::NotAStore { .. })
    ));
}

#[test]
fn an_older_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let engine = || FjallEngine::open(&dir.path().join("engine"), &StoreOptions::default());
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let ks = store.keyspace("k").unwrap();
    let mut batch = store.batch();
    batch.put(&ks, "key", "value");
    store.commit_blocking(batch).unwrap();
    drop(ks);
    store.close();

    // What version 1 leaves, but for the keyspaces that it does not know.
    let row = |engine: &FjallEngine| {
        let meta = engine.keyspace("meta", Shape::Small).unwrap();
        (meta, engine.get(meta, b"format").unwrap().unwrap())
    };
    let old = engine().unwrap();
    let (meta, version) = row(&old);
    assert_eq!(version[..], FORMAT_VERSION.to_be_bytes());
    let one = 1u32.to_be_bytes();
    let op = Op {
        ks: meta,
        key: b"format",
        value: Some(&one),
    };
    old.apply(&mut [op].into_iter()).unwrap();
    old.sync().unwrap();
    drop(old);
    std::fs::write(dir.path().join("FORMAT"), "ues-store 1\n").unwrap();

    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let ks = store.keyspace("k").unwrap();
    assert_eq!(ks.get("key").unwrap().unwrap(), "value");
    drop(ks);
    store.close();
    let marker = std::fs::read_to_string(dir.path().join("FORMAT")).unwrap();
    assert_eq!(marker, format!("ues-store {FORMAT_VERSION}\n"));
    assert_eq!(row(&engine().unwrap()).1[..], FORMAT_VERSION.to_be_bytes());
}

#[test]
fn a_closed_store_and_a_bad_batch_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let ks = store.keyspace("k").unwrap();
    let mut batch = store.batch();
    batch.put(&ks, "", "empty key");
    assert!(matches!(
        store.commit_blocking(batch),
        Err(CommitError::Invalid(_))
    ));
    assert!(store.keyspace("blocks").is_err());
    assert!(store.keyspace("No").is_err());
    let clone = store.clone();
    store.close();
    let mut batch = clone.batch();
    batch.put(&ks, "k", "v");
    assert!(matches!(
        clone.commit_blocking(batch),
        Err(CommitError::Closed)
    ));
}

#[test]
fn concurrent_writers_get_contiguous_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8u8 {
            let store = &store;
            scope.spawn(move || {
                let mut last = 0;
                for n in 0..50u8 {
                    let mut batch = store.batch();
                    batch.append_event([writer, n]);
                    let seq = store.commit_blocking(batch).unwrap().first_seq.unwrap();
                    assert!(seq > last);
                    last = seq;
                    assert!(store.log().last_durable() >= seq);
                }
            });
        }
    });
    let events = store.log().read(0, 1000, usize::MAX).unwrap();
    assert!(events.iter().map(|e| e.seq).eq(1..=400));
}
