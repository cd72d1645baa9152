//! How fast an archive of small records is read and verified on one core, and written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ues_data::car::{CarDecoder, CarLimits, CarReader, write_block, write_header};
use ues_data::{Cid, dag_cbor_cid};

const BLOCKS: usize = 100_000;

/// Blocks as repositories have them: likes and follows of about 200 bytes.
fn blocks() -> Vec<(Cid, Vec<u8>)> {
    (0..BLOCKS)
        .map(|i| {
            let mut bytes = vec![0xa5; 180 + i % 40];
            bytes[..8].copy_from_slice(&(i as u64).to_le_bytes());
            (dag_cbor_cid(&bytes), bytes)
        })
        .collect()
}

fn archive(blocks: &[(Cid, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(&[blocks[0].0], &mut out);
    for (cid, bytes) in blocks {
        write_block(cid, bytes, &mut out);
    }
    out
}

fn car(c: &mut Criterion) {
    let blocks = blocks();
    let input = Bytes::from(archive(&blocks));
    let mut group = c.benchmark_group("car");
    group.sample_size(20);
    group.throughput(Throughput::Elements(BLOCKS as u64));
    group.bench_function("read and verify, from memory", |b| {
        b.iter(|| {
            let mut decoder = CarDecoder::new(CarLimits::default());
            decoder.feed(input.clone());
            while let Ok(Some(block)) = decoder.next() {
                black_box(block);
            }
            assert_eq!(decoder.blocks(), BLOCKS as u64);
        });
    });
    group.bench_function("read and verify, from an input", |b| {
        b.iter(|| {
            let reader = CarReader::new(&input[..], CarLimits::default());
            let count = reader.into_iter().flatten().filter(Result::is_ok).count();
            assert_eq!(count, BLOCKS);
        });
    });
    group.bench_function("write", |b| {
        b.iter_batched(
            || (),
            |()| archive(black_box(&blocks)),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, car);
criterion_main!(benches);
