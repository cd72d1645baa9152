//! How many operations of others one core checks and takes in, and how much of that is signatures.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented items; a benchmark fails by panicking"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ues_data::Ipld;
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Did;
use ues_sync::log::{Change, Incoming, LocalChange, MemoryRows, Replica, Rows as _};
use ues_sync::operation::Operation;

const OPERATIONS: usize = 10_000;
const BATCH: usize = 512;
const NOW: u64 = 1_700_000_000_000;

fn write(rows: &mut MemoryRows, change: Change) {
    for (key, value) in change.rows {
        match value {
            Some(value) => rows.rows.insert(key, value),
            None => rows.rows.remove(&key),
        };
    }
}

fn record(n: usize) -> Bytes {
    let text = format!("The quick brown fox jumps over the lazy dog, number {n}");
    let map = [("$type", "app.bsky.feed.post".to_owned()), ("text", text)];
    let map: BTreeMap<String, Ipld> = map
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Ipld::String(value)))
        .collect();
    ues_data::dag_cbor::encode(&Ipld::Map(map)).unwrap().into()
}

/// A log with one writer granted, and what that writer then wrote: as blocks with their records.
fn made() -> (Replica, MemoryRows, Vec<(Bytes, Bytes)>, SigningKey) {
    let root = SigningKey::from_bytes(KeyKind::K256, &[9; 32]).unwrap();
    let device = SigningKey::from_bytes(KeyKind::Ed25519, &[7; 32]).unwrap();
    let repo = Did::parse("did:plc:yk4dd2qkboz2yv6tpubpc6co").unwrap();
    let key = device.verifying_key();
    let (mut replica, change) = Replica::begin(repo, root.verifying_key(), key);
    let mut rows = MemoryRows::default();
    write(&mut rows, change);
    let mut change = Change::default();
    let me = replica
        .grant(&rows, key, "d", NOW, &root, &mut change)
        .unwrap();
    write(&mut rows, change);
    let (mut writer, mut writer_rows) = (replica.clone(), rows.clone());
    let mut out = Vec::new();
    for n in 0..OPERATIONS {
        let bytes = record(n);
        let local = LocalChange {
            path: RecordPath::parse(&format!("app.bsky.feed.post/{n:013}")).unwrap(),
            before: None,
            after: Some((ues_data::dag_cbor_cid(&bytes), bytes.clone())),
            rules: Vec::new(),
        };
        let mut change = Change::default();
        writer
            .record(
                &writer_rows,
                vec![local],
                &|_| Ok(None),
                NOW,
                &device,
                &mut change,
            )
            .unwrap();
        write(&mut writer_rows, change);
        let seq = writer.clock().get(me);
        let operation = writer.operation(&writer_rows, me, seq).unwrap().unwrap();
        out.push((operation.block().clone(), bytes));
    }
    assert!(writer_rows.get(b"m").unwrap().is_some());
    (replica, rows, out, device)
}

fn apply(c: &mut Criterion) {
    let (replica, rows, made, device) = made();
    let mut group = c.benchmark_group("operations");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    group.bench_function("decode, check and take in", |b| {
        b.iter_batched(
            || (replica.clone(), rows.clone()),
            |(mut replica, mut rows)| {
                for batch in made.chunks(BATCH) {
                    let mut change = Change::default();
                    for (block, value) in batch {
                        let operation = Operation::decode(block.clone()).unwrap();
                        let incoming = Incoming {
                            operation,
                            value: Some(value.clone()),
                        };
                        replica
                            .admit(&rows, incoming, NOW, &mut change)
                            .unwrap()
                            .unwrap();
                    }
                    write(&mut rows, change);
                }
                (replica, rows)
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("decode", |b| {
        b.iter(|| {
            for (block, _) in &made {
                black_box(Operation::decode(block.clone()).unwrap());
            }
        });
    });
    let decoded: Vec<Operation> = made
        .iter()
        .map(|(block, _)| Operation::decode(block.clone()).unwrap())
        .collect();
    group.bench_function("check the signature", |b| {
        b.iter(|| {
            for operation in &decoded {
                assert!(operation.verify(device.verifying_key()));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
