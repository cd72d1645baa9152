//! What one operation on a tree costs, at several sizes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::hint::black_box;
use std::ops::Bound;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ues_data::mst::{Direction, MstError, Tree, diff, verify_proof};
use ues_data::source::NoBlocks;
use ues_data::{Cid, dag_cbor_cid};

fn key(n: u32) -> String {
    // Neighbouring numbers land far apart.
    format!("app.bsky.feed.post/3k{:010}", n.wrapping_mul(2_654_435_761))
}

fn tree(count: u32) -> Result<Tree, MstError> {
    let mut keys: Vec<String> = (0..count).map(key).collect();
    keys.sort_unstable();
    let mut tree = Tree::from_sorted(keys.iter().map(|k| (k, dag_cbor_cid(k.as_bytes()))))?;
    tree.flush();
    Ok(tree)
}

fn operations(c: &mut Criterion) -> Result<(), MstError> {
    let value = dag_cbor_cid(b"value");
    for count in [10_000, 100_000, 1_000_000] {
        let mut warm = tree(count)?;
        let mut group = c.benchmark_group("mst");
        let mut n = 0u32;
        group.bench_function(BenchmarkId::new("get", count), |b| {
            b.iter(|| {
                n = (n + 7919) % count;
                black_box(warm.get(&NoBlocks, key(n)))
            });
        });
        group.bench_function(BenchmarkId::new("range of 100", count), |b| {
            b.iter(|| {
                n = (n + 7919) % count;
                let low = key(n);
                let low = Bound::Included(low.as_bytes());
                let range = warm.range(NoBlocks, low, Bound::Unbounded, Direction::Forward);
                black_box(range.take(100).count())
            });
        });
        group.bench_function(BenchmarkId::new("proof and its check", count), |b| {
            b.iter(|| {
                n = (n + 7919) % count;
                let blocks: HashMap<Cid, Bytes> = warm
                    .proof(&NoBlocks, key(n))
                    .into_iter()
                    .flatten()
                    .collect();
                let root = warm.clean_root().unwrap_or_default();
                black_box(verify_proof(&root, key(n), &blocks))
            });
        });
        let mut other = warm.clone();
        other.put(&NoBlocks, key(count + 1), &value)?;
        other.flush();
        group.bench_function(BenchmarkId::new("diff of one record", count), |b| {
            b.iter(|| black_box(diff(&warm, NoBlocks, &other, NoBlocks)));
        });
        let mut next = count + 2;
        group.bench_function(BenchmarkId::new("put", count), |b| {
            b.iter(|| {
                next += 1;
                black_box(warm.put(&NoBlocks, key(next), &value))
            });
        });
        warm.flush();
        group.bench_function(BenchmarkId::new("one-op commit", count), |b| {
            b.iter(|| {
                next += 1;
                let old = warm.put(&NoBlocks, key(next), &value);
                black_box((old, warm.flush()))
            });
        });
        group.bench_function(BenchmarkId::new("delete and put back", count), |b| {
            b.iter_batched(
                || key(next % count),
                |key| {
                    let old = warm.delete(&NoBlocks, &key);
                    black_box((old, warm.put(&NoBlocks, &key, &value)))
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
    Ok(())
}

fn all(c: &mut Criterion) {
    if let Err(error) = operations(c) {
        eprintln!("the tree failed: {error}");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = all
}
criterion_main!(benches);
