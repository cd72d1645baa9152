//! Group commit by 1, 16 and 64 writers, and reads of blocks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ues_storage::multihash::Multihash;
use ues_storage::{Batch, BlockRef, Keyspace, Store, StoreOptions};

fn mh(bytes: &[u8]) -> Multihash<64> {
    Multihash::wrap(0x1e, blake3::hash(bytes).as_bytes()).unwrap_or_default()
}

/// Bytes that look like a hash, so that nothing compresses them.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_be_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// What one record in a repository writes: five blocks, four released ones, one key and one event; 3 KB.
fn record(keys: &Keyspace, n: u64) -> Batch {
    let mut batch = Batch::with_capacity(20, 4096);
    let r = BlockRef {
        owner: n % 64,
        slot: 0,
    };
    for i in 0..5 {
        let block = noise(n * 5 + i, 300);
        batch.put_block(&mh(&block), &block, r);
        if i > 0 && n >= 64 {
            batch.release_block(&mh(&noise((n - 64) * 5 + i, 300)), r);
        }
    }
    batch.put(keys, n.to_be_bytes(), [7; 40]);
    batch.append_event(noise(n, 1200));
    batch
}

/// So many batches by so many writers; the time it took.
fn write(
    store: &Store,
    keys: &Keyspace,
    writers: u64,
    batches: u64,
    counter: &AtomicU64,
) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let share = batches / writers + u64::from(writer < batches % writers);
            scope.spawn(move || {
                for _ in 0..share {
                    let batch = record(keys, counter.fetch_add(1, Ordering::Relaxed));
                    assert!(store.commit_blocking(batch).is_ok());
                }
            });
        }
    });
    start.elapsed()
}

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    for writers in [1, 16, 64] {
        let Ok(dir) = tempfile::tempdir() else { return };
        let Ok(store) = Store::open(dir.path(), StoreOptions::default()) else {
            return;
        };
        let Ok(keys) = store.keyspace("keys") else {
            return;
        };
        let counter = AtomicU64::new(0);
        group.throughput(Throughput::Elements(1)).sample_size(10);
        group.bench_function(BenchmarkId::new("writers", writers), |b| {
            b.iter_custom(|batches| write(&store, &keys, writers, batches, &counter));
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let Ok(store) = Store::open(dir.path(), StoreOptions::default()) else {
        return;
    };
    let count = 100_000u64;
    let r = BlockRef { owner: 1, slot: 0 };
    for chunk in 0..count / 1000 {
        let mut batch = Batch::new();
        for n in 0..1000 {
            let block = noise(chunk * 1000 + n, 300);
            batch.put_block(&mh(&block), &block, r);
        }
        assert!(store.commit_blocking(batch).is_ok());
    }
    let keys: Vec<_> = (0..count).map(|n| mh(&noise(n, 300))).collect();
    let absent: Vec<_> = (0..count).map(|n| mh(&n.to_be_bytes())).collect();
    let mut group = c.benchmark_group("block");
    for (name, keys) in [("present", &keys), ("absent", &absent)] {
        let mut at = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                at = (at + 7919) % keys.len();
                black_box(keys.get(at).map(|mh| store.block(mh)))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commit, read);
criterion_main!(benches);
