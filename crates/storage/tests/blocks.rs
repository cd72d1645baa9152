//! Blocks: references, collection, large objects, checking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use proptest::prelude::*;
use ues_storage::engine::{Engine, Fault, KeyspaceId, MemoryEngine, Op, Shape};
use ues_storage::multihash::Multihash;
use ues_storage::{BlockRef, Damage, Store, StoreOptions};

fn options() -> StoreOptions {
    StoreOptions {
        housekeeping: None,
        ..StoreOptions::default()
    }
}

fn each(test: impl Fn(&Store)) {
    test(&Store::with_engine(Arc::new(MemoryEngine::new()), options()).unwrap());
    let dir = tempfile::tempdir().unwrap();
    test(&Store::open(dir.path(), options()).unwrap());
}

fn mh(bytes: &[u8]) -> Multihash<64> {
    Multihash::wrap(0x1e, blake3::hash(bytes).as_bytes()).unwrap()
}

fn by(owner: u64) -> BlockRef {
    BlockRef { owner, slot: 0 }
}

fn put(store: &Store, bytes: &[u8], r: BlockRef) {
    let mut batch = store.batch();
    batch.put_block(&mh(bytes), bytes, r);
    store.commit_blocking(batch).unwrap();
}

fn release(store: &Store, bytes: &[u8], r: BlockRef) {
    let mut batch = store.batch();
    batch.release_block(&mh(bytes), r);
    store.commit_blocking(batch).unwrap();
}

/// Gives recent blocks rows of their own.
fn settle(store: &Store) {
    store.collect(0).unwrap();
}

#[test]
fn blocks_that_come_and_go_are_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    put(&store, b"kept", by(1));
    put(&store, b"young", by(1));
    let before = store.snapshot();
    release(&store, b"young", by(1));
    settle(&store);
    assert!(store.has_block(&mh(b"kept")).unwrap());
    assert!(!store.has_block(&mh(b"young")).unwrap());
    assert_eq!(store.collect(u64::MAX).unwrap().examined, 0);
    assert_eq!(
        before.block(&mh(b"young")).unwrap().as_deref(),
        Some(&b"young"[..]),
        "an earlier state keeps what it needs"
    );
    // A reference that was written twice, once before the blocks moved, must go for good.
    put(&store, b"kept", by(1));
    release(&store, b"kept", by(1));
    assert_eq!(store.collect(u64::MAX).unwrap().freed, 1);
    let report = store.check(&mut |_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.blocks, report.references), (0, 0));
}

#[test]
fn recent_blocks_survive_a_stop_and_move_when_there_are_many() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        nursery_bytes: 20_000,
        ..options()
    };
    let content = |n: u32| [n.to_be_bytes(); 30].concat();
    for round in 0..4u32 {
        let store = Store::open(dir.path(), options.clone()).unwrap();
        for n in (0..200 * round).filter(|n| n % 3 != 0) {
            let found = store.snapshot().block(&mh(&content(n))).unwrap();
            assert_eq!(found.as_deref(), Some(&*content(n)), "{n} in round {round}");
        }
        for n in 200 * round..200 * (round + 1) {
            put(&store, &content(n), by(1));
            if n % 3 == 0 {
                release(&store, &content(n), by(1));
            }
        }
        if round < 3 {
            store.close();
            continue;
        }
        store.collect(u64::MAX).unwrap();
        let report = store.check(&mut |_| ()).unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(
            report.blocks,
            (0..800).filter(|n| n % 3 != 0).count() as u64
        );
    }
}

#[test]
fn the_last_release_frees_a_block() {
    each(|store| {
        put(store, b"shared", by(1));
        put(store, b"shared", by(2));
        put(store, b"alone", by(1));
        settle(store);
        release(store, b"shared", by(1));
        release(store, b"alone", by(1));
        assert!(
            store.has_block(&mh(b"alone")).unwrap(),
            "freed only by the collector"
        );
        let done = store.collect(u64::MAX).unwrap();
        assert_eq!((done.examined, done.freed, done.finished), (2, 1, true));
        assert!(store.has_block(&mh(b"shared")).unwrap());
        assert!(!store.has_block(&mh(b"alone")).unwrap());
        release(store, b"shared", by(2));
        put(store, b"alone", by(3));
        assert_eq!(store.collect(u64::MAX).unwrap().freed, 1);
        assert_eq!(store.collect(u64::MAX).unwrap().examined, 0);
        assert!(store.has_block(&mh(b"alone")).unwrap());
        assert!(store.check(&mut |_| ()).unwrap().is_sound());
    });
}

#[test]
fn many_releases_are_collected_in_slices() {
    each(|store| {
        let mut batch = store.batch();
        for n in 0..10_000u32 {
            batch.put_block(&mh(&n.to_be_bytes()), n.to_be_bytes(), by(u64::from(n % 3)));
        }
        store.commit_blocking(batch).unwrap();
        settle(store);
        let mut batch = store.batch();
        for n in (0..10_000u32).filter(|n| n % 7 != 0) {
            batch.release_block(&mh(&n.to_be_bytes()), by(u64::from(n % 3)));
        }
        store.commit_blocking(batch).unwrap();
        let part = store.collect(5000).unwrap();
        assert_eq!((part.examined, part.finished), (5000, false));
        store.collect(u64::MAX).unwrap();
        for n in 0..10_000u32 {
            assert_eq!(
                store.has_block(&mh(&n.to_be_bytes())).unwrap(),
                n % 7 == 0,
                "{n}"
            );
        }
    });
}

#[test]
fn collecting_never_takes_a_block_that_is_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3u64)
            .map(|owner| {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..300u32 {
                        // Few blocks, so that the writers meet each other and the collector.
                        let bytes = ((round * 7 + owner as u32) % 5).to_be_bytes();
                        put(store, &bytes, by(owner));
                        assert!(
                            store.block(&mh(&bytes)).unwrap().is_some(),
                            "round {round} of {owner}"
                        );
                        release(store, &bytes, by(owner));
                    }
                })
            })
            .collect();
        while !writers.iter().all(|w| w.is_finished()) {
            store.collect(u64::MAX).unwrap();
        }
    });
    store.collect(u64::MAX).unwrap();
    let report = store.check(&mut |_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.blocks, report.references), (0, 0));
}

/// Content without repetition, the same for the same seed.
fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_be_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

#[test]
fn large_objects_stream_and_share_chunks() {
    each(|store| {
        let objects = store.objects();
        let first = content(1, 3_000_000);
        let mut second = first.clone();
        second.splice(1_000_000..1_000_000, *b"a few bytes more");
        let (id, len) = objects.put(by(1), &mut Cursor::new(&first)).unwrap();
        assert_eq!(len, first.len() as u64);
        assert_eq!(id.0, *blake3::hash(&first).as_bytes());
        let before = store.check(&mut |_| ()).unwrap();
        let (other, _) = objects.put(by(1), &mut Cursor::new(&second)).unwrap();
        let after = store.check(&mut |_| ()).unwrap();
        assert!(
            after.block_bytes - before.block_bytes < 1_500_000,
            "most chunks are shared: {after:?}"
        );

        let mut out = Vec::new();
        objects
            .open(&id)
            .unwrap()
            .unwrap()
            .read_to_end(&mut out)
            .unwrap();
        assert!(out == first);
        let mut reader = objects.open(&other).unwrap().unwrap();
        assert_eq!(reader.size(), second.len() as u64);
        reader.seek(SeekFrom::Start(999_990)).unwrap();
        let mut some = [0; 40];
        reader.read_exact(&mut some).unwrap();
        assert_eq!(some, second[999_990..1_000_030]);
        assert_eq!(reader.seek(SeekFrom::End(0)).unwrap(), second.len() as u64);
        assert_eq!(reader.read(&mut some).unwrap(), 0);

        assert!(objects.delete(&id, by(1)).unwrap());
        assert!(!objects.delete(&id, by(1)).unwrap());
        store.collect(u64::MAX).unwrap();
        assert!(!objects.contains(&id).unwrap());
        out.clear();
        objects
            .open(&other)
            .unwrap()
            .unwrap()
            .read_to_end(&mut out)
            .unwrap();
        assert!(out == second);
        assert!(objects.delete(&other, by(1)).unwrap());
        store.collect(u64::MAX).unwrap();
        let report = store.check(&mut |_| ()).unwrap();
        assert_eq!(
            (
                report.blocks,
                report.references,
                report.objects,
                report.is_sound()
            ),
            (0, 0, 0, true)
        );
    });
}

#[test]
fn an_object_has_holders() {
    each(|store| {
        let objects = store.objects();
        let bytes = content(2, 200_000);
        for holder in [by(1), by(2), by(2)] {
            objects.put(holder, &mut Cursor::new(&bytes)).unwrap();
        }
        let (empty, len) = objects.put(by(1), &mut std::io::empty()).unwrap();
        assert_eq!(
            (
                len,
                objects.open(&empty).unwrap().unwrap().next_chunk().unwrap()
            ),
            (0, None)
        );
        let id = ues_storage::ObjectId(*blake3::hash(&bytes).as_bytes());
        objects.delete(&id, by(1)).unwrap();
        store.collect(u64::MAX).unwrap();
        assert!(objects.contains(&id).unwrap());
        objects.delete(&id, by(2)).unwrap();
        store.collect(u64::MAX).unwrap();
        assert_eq!(store.check(&mut |_| ()).unwrap().blocks, 0);
    });
}

#[test]
fn chunks_do_not_depend_on_how_content_arrives() {
    let store = Store::with_engine(Arc::new(MemoryEngine::new()), options()).unwrap();
    let bytes = content(3, 5_000_000);
    let mut blocks = Vec::new();
    for step in [5_000_000, 1 << 20, 4095] {
        let mut writer = store.objects().writer(by(step as u64));
        for part in bytes.chunks(step) {
            writer.push(part).unwrap();
        }
        writer.finish().unwrap();
        blocks.push(store.check(&mut |_| ()).unwrap().blocks);
    }
    assert_eq!(blocks, [blocks[0]; 3]);
}

#[test]
fn an_unfinished_object_is_released() {
    let engine = MemoryEngine::new();
    {
        let store = Store::with_engine(Arc::new(engine.clone()), options()).unwrap();
        let mut writer = store.objects().writer(by(1));
        writer.push(&content(4, 6_000_000)).unwrap();
        drop(writer);
        store.collect(u64::MAX).unwrap();
        assert_eq!(store.check(&mut |_| ()).unwrap().blocks, 0, "dropped");
        let mut writer = store.objects().writer(by(1));
        writer.push(&content(4, 6_000_000)).unwrap();
        engine.inject(1, Fault::TornWrite);
        assert!(writer.finish().is_err());
    }
    let store = Store::with_engine(Arc::new(engine.crash(0)), options()).unwrap();
    store.collect(u64::MAX).unwrap();
    let report = store.check(&mut |_| ()).unwrap();
    assert_eq!(
        (report.blocks, report.is_sound()),
        (0, true),
        "after a crash"
    );
}

#[test]
fn a_check_names_what_is_damaged() {
    let engine = MemoryEngine::new();
    let store = Store::with_engine(Arc::new(engine.clone()), options()).unwrap();
    for n in 0..10u8 {
        let mut batch = store.batch();
        batch.put_block(&mh(&[n]), [n], by(7));
        batch.append_event([n]);
        store.commit_blocking(batch).unwrap();
    }
    settle(&store);
    let ks = |name| engine.keyspace(name, Shape::Small).unwrap();
    let key = |n: u8| mh(&[n]).to_bytes();
    let digest = |n: u8| -> [u8; 16] { mh(&[n]).digest()[..16].try_into().unwrap() };
    let remove = |ks: KeyspaceId, key: &[u8]| {
        engine
            .apply(
                &mut [Op {
                    ks,
                    key,
                    value: None,
                }]
                .into_iter(),
            )
            .unwrap()
    };
    remove(ks("blocks"), &key(1));
    remove(
        ks("refs"),
        &[&digest(2)[..], &7u64.to_be_bytes(), &0u64.to_be_bytes()].concat(),
    );
    remove(ks("log"), &4u64.to_be_bytes());
    remove(ks("log"), &5u64.to_be_bytes());
    assert!(engine.flip_bit("blocks", &key(3)));
    let mut calls = 0;
    let report = store.check(&mut |_| calls += 1).unwrap();
    let expected = [
        Damage::MissingBlock {
            digest: digest(1),
            by: by(7),
        },
        Damage::OrphanedBlock {
            multihash: mh(&[2]),
        },
        Damage::LogGap { first: 4, last: 5 },
        Damage::BlockContent {
            multihash: mh(&[3]),
        },
    ];
    assert_eq!(report.damage.len(), expected.len(), "{:?}", report.damage);
    for damage in expected {
        assert!(
            report.damage.contains(&damage),
            "{damage}: {:?}",
            report.damage
        );
    }
    assert!(calls >= 3);
}

/// What a random run does to the store.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Refer(u8, u8),
    Release(u8, u8),
    /// A batch that passes the nursery by: all blocks, and a large one.
    Large(u8),
    Collect,
    Crash,
}

const LARGE: u8 = 99;

/// A byte, or for one of them as much as makes its batch a large one.
fn bytes_of(block: u8) -> Vec<u8> {
    let mut bytes = vec![block; if block == LARGE { 600_000 } else { 1 }];
    if block == LARGE {
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    }
    bytes
}

fn step() -> impl Strategy<Value = Step> {
    let (block, owner) = (prop_oneof![20 => 0..12u8, 1 => Just(LARGE)], 0..3u8);
    prop_oneof![
        6 => (block.clone(), owner.clone()).prop_map(|(b, o)| Step::Put(b, o)),
        1 => (block.clone(), owner.clone()).prop_map(|(b, o)| Step::Refer(b, o)),
        6 => (block, owner).prop_map(|(b, o)| Step::Release(b, o)),
        1 => (0..3u8).prop_map(Step::Large),
        1 => Just(Step::Collect),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 300 }))]

    /// Whatever came, went, moved and crashed: a block is there as long as somebody refers to it, and no longer
    /// after the next collection.
    #[test]
    fn blocks_live_as_long_as_their_references(
        steps in proptest::collection::vec(step(), 1..120),
        nursery_bytes in 0..4000usize,
    ) {
        let mut engine = MemoryEngine::new();
        let options = StoreOptions { nursery_bytes, ..options() };
        let open = |engine: &MemoryEngine| {
            Store::with_engine(Arc::new(engine.clone()), options.clone()).unwrap()
        };
        let mut store = open(&engine);
        let mut refs: BTreeSet<(u8, u8)> = BTreeSet::new();
        let held = |refs: &BTreeSet<(u8, u8)>, b: u8| refs.iter().any(|r| r.0 == b);
        for step in steps {
            let mut batch = store.batch();
            match step {
                Step::Put(b, o) => {
                    refs.insert((b, o));
                    batch.put_block(&mh(&bytes_of(b)), bytes_of(b), by(o.into()));
                }
                Step::Large(o) => {
                    for b in (0..12).chain([LARGE]) {
                        refs.insert((b, o));
                        batch.put_block(&mh(&bytes_of(b)), bytes_of(b), by(o.into()));
                    }
                }
                // Only a block that is there may be referred to.
                Step::Refer(b, o) if held(&refs, b) => {
                    refs.insert((b, o));
                    batch.add_ref(&mh(&bytes_of(b)), by(o.into()));
                }
                Step::Release(b, o) => {
                    refs.remove(&(b, o));
                    batch.release_block(&mh(&bytes_of(b)), by(o.into()));
                }
                Step::Refer(..) => continue,
                Step::Collect => {
                    store.collect(u64::MAX).unwrap();
                    continue;
                }
                Step::Crash => {
                    engine = engine.crash(0);
                    store = open(&engine);
                    continue;
                }
            }
            store.commit_blocking(batch).unwrap();
            let snapshot = store.snapshot();
            for b in refs.iter().map(|r| r.0).collect::<BTreeSet<u8>>() {
                let content = bytes_of(b);
                prop_assert!(store.has_block(&mh(&content)).unwrap());
                let found = snapshot.block(&mh(&content)).unwrap();
                prop_assert_eq!(found.as_deref(), Some(&content[..]));
            }
        }
        store.collect(u64::MAX).unwrap();
        let report = store.check(&mut |_| ()).unwrap();
        prop_assert!(report.is_sound(), "{:?}", report);
        let blocks: BTreeSet<u8> = refs.iter().map(|r| r.0).collect();
        prop_assert_eq!((report.blocks, report.references), (blocks.len() as u64, refs.len() as u64));
    }
}

#[test]
fn a_snapshot_tells_who_holds_a_block() {
    each(|store| {
        let slot = |owner, slot| BlockRef { owner, slot };
        put(store, b"one", slot(1, 0));
        put(store, b"one", slot(3, u64::MAX));
        put(store, b"two", slot(2, 77));
        let holders = |bytes: &[u8]| {
            let snapshot = store.snapshot();
            let held = |owner: &u64| snapshot.is_held_by(&mh(bytes), *owner).unwrap();
            let held: Vec<_> = (0..5).filter(held).collect();
            let references = snapshot.references(&mh(bytes), 0..=4);
            let mut owners: Vec<_> = references.map(|r| r.unwrap().owner).collect();
            owners.sort_unstable();
            assert_eq!(owners, held);
            held
        };
        assert_eq!(holders(b"one"), [1, 3]);
        assert_eq!(holders(b"two"), [2]);
        assert_eq!(holders(b"three"), []);
        release(store, b"one", slot(3, u64::MAX));
        assert_eq!(holders(b"one"), [1]);
        settle(store);
        assert_eq!((holders(b"one"), holders(b"two")), (vec![1], vec![2]));
        release(store, b"two", slot(2, 77));
        put(store, b"two", slot(2, 78));
        assert_eq!(holders(b"two"), [2]);
        release(store, b"two", slot(2, 78));
        assert_eq!(holders(b"two"), []);
    });
}
