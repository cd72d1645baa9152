//! Every write fails once at every place where it can: what was acknowledged stays, what was not is whole or absent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use ues_storage::engine::{Fault, MemoryEngine};
use ues_storage::multihash::Multihash;
use ues_storage::{BlockRef, CommitError, Damage, Store, StoreOptions};

fn options() -> StoreOptions {
    StoreOptions {
        housekeeping: None,
        ..StoreOptions::default()
    }
}

fn mh(bytes: &[u8]) -> Multihash<64> {
    Multihash::wrap(0x1e, blake3::hash(bytes).as_bytes()).unwrap()
}

/// Writes pairs that must stay equal, an event and a block each time, until the store refuses; the acknowledged ones.
fn write_until_refused(store: &Store, rounds: &[u8]) -> Result<BTreeMap<u8, usize>, CommitError> {
    let (a, b) = (store.keyspace("a").unwrap(), store.keyspace("b").unwrap());
    let mut acknowledged = BTreeMap::new();
    for (n, key) in rounds.iter().enumerate() {
        let mut batch = store.batch();
        let value = n.to_be_bytes();
        batch.put(&a, [*key], value);
        batch.put(&b, [*key], value);
        batch.put_block(
            &mh(&value),
            value,
            BlockRef {
                owner: 1,
                slot: n as u64,
            },
        );
        batch.append_event(value);
        match store.commit_blocking(batch) {
            Ok(done) => {
                assert_eq!(done.first_seq, Some(n as u64 + 1));
                acknowledged.insert(*key, n);
            }
            Err(CommitError::Poisoned(_)) => break,
            Err(other) => return Err(other),
        }
    }
    Ok(acknowledged)
}

fn verify(engine: MemoryEngine, acknowledged: &BTreeMap<u8, usize>) {
    let store = Store::with_engine(Arc::new(engine), options()).unwrap();
    let (a, b) = (store.keyspace("a").unwrap(), store.keyspace("b").unwrap());
    let rows = |ks| -> BTreeMap<u8, usize> {
        let snapshot = store.snapshot();
        let scan = snapshot.prefix(ks, "");
        scan.map(|r| {
            r.map(|(k, v)| (k[0], usize::from_be_bytes(v[..].try_into().unwrap())))
                .unwrap()
        })
        .collect()
    };
    assert_eq!(rows(&a), rows(&b), "a batch is whole or absent");
    for (key, n) in acknowledged {
        assert!(
            rows(&a).get(key).is_some_and(|found| found >= n),
            "acknowledged {key} {n}"
        );
        assert!(store.has_block(&mh(&n.to_be_bytes())).unwrap());
    }
    let events = store.log().read(0, usize::MAX, usize::MAX).unwrap();
    assert!(events.iter().map(|e| e.seq).eq(1..=events.len() as u64));
    assert!(events.len() as u64 >= acknowledged.values().max().map_or(0, |n| *n as u64 + 1));
    let report = store.check(&mut |_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    let mut batch = store.batch();
    batch.append_event("goes on");
    assert_eq!(
        store.commit_blocking(batch).unwrap().first_seq,
        Some(events.len() as u64 + 1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_fault_at_any_call(
        rounds in proptest::collection::vec(0u8..6, 1..8),
        fault in prop_oneof![Just(Fault::TornWrite), Just(Fault::FailedSync), Just(Fault::DiskFull)],
        survivors in 0usize..3,
    ) {
        for nth in 1..=rounds.len() as u64 * 2 + 1 {
            let engine = MemoryEngine::new();
            let store = Store::with_engine(Arc::new(engine.clone()), options()).unwrap();
            engine.inject(nth, fault);
            let acknowledged = write_until_refused(&store, &rounds).unwrap();
            drop(store);
            verify(engine.crash(survivors), &acknowledged);
        }
    }
}

#[test]
fn a_failed_sync_poisons() {
    let engine = MemoryEngine::new();
    let store = Store::with_engine(Arc::new(engine.clone()), options()).unwrap();
    let ks = store.keyspace("k").unwrap();
    engine.inject(2, Fault::FailedSync);
    for _ in 0..3 {
        let mut batch = store.batch();
        batch.put(&ks, "k", "v");
        batch.append_event("e");
        let error = store.commit_blocking(batch).unwrap_err();
        assert!(matches!(error, CommitError::Poisoned(_)));
        assert!(error.to_string().contains("sync failed"), "{error}");
    }
    assert_eq!(store.log().last_durable(), 0);
    assert!(store.stats().unwrap().poisoned.is_some());
}

#[test]
fn a_full_disk_is_named() {
    let engine = MemoryEngine::new();
    let store = Store::with_engine(Arc::new(engine.clone()), options()).unwrap();
    let ks = store.keyspace("k").unwrap();
    engine.inject(1, Fault::DiskFull);
    let mut batch = store.batch();
    batch.put(&ks, "k", "v");
    assert!(
        store
            .commit_blocking(batch)
            .unwrap_err()
            .to_string()
            .contains("disk is full")
    );
    assert_eq!(ks.get("k").unwrap(), None);
}

#[test]
fn a_flipped_bit_is_found_and_nothing_else() {
    let engine = MemoryEngine::new();
    let at_once = StoreOptions {
        nursery_bytes: 0,
        ..options()
    };
    let store = Store::with_engine(Arc::new(engine.clone()), at_once).unwrap();
    for n in 0..50u8 {
        if n == 20 {
            engine.inject(1, Fault::BitFlip);
        }
        let mut batch = store.batch();
        batch.put_block(&mh(&[n; 100]), [n; 100], BlockRef { owner: 1, slot: 0 });
        store.commit_blocking(batch).unwrap();
    }
    let report = store.check(&mut |_| ()).unwrap();
    assert_eq!(
        report.damage,
        [Damage::BlockContent {
            multihash: mh(&[20; 100])
        }]
    );
    assert_eq!(report.blocks, 50);
}
