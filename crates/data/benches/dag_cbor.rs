//! How fast a record is encoded, decoded, checked and named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ipld_core::ipld;
use ues_data::dag_cbor::{self, Limits, Reader};
use ues_data::{Ipld, dag_cbor_cid, raw_cid};

fn post() -> Ipld {
    let cid = raw_cid(b"parent");
    ipld!({
        "$type": "app.bsky.feed.post",
        "text": "Two hundred characters are about what a post has, with a link or a name here and there, and an emoji 🦋.",
        "langs": ["en", "de"],
        "createdAt": "2026-01-02T03:04:05.678Z",
        "reply": {
            "root": { "cid": cid, "uri": "at://did:plc:abcdefghijklmnopqrstuvwx/app.bsky.feed.post/3kabcdefghijk" },
            "parent": { "cid": cid, "uri": "at://did:plc:abcdefghijklmnopqrstuvwx/app.bsky.feed.post/3kabcdefghijk" }
        },
        "facets": [{ "index": { "byteStart": 10, "byteEnd": 30 }, "features": [{ "$type": "app.bsky.richtext.facet#tag", "tag": "x" }] }]
    })
}

fn records(c: &mut Criterion) {
    let value = post();
    let encoded = dag_cbor::encode(&value).unwrap_or_default();
    let mut group = c.benchmark_group("post");
    group.throughput(Throughput::Bytes(encoded.len() as u64));
    group.bench_function("encode", |b| b.iter(|| dag_cbor::encode(black_box(&value))));
    group.bench_function("decode", |b| {
        b.iter(|| dag_cbor::decode_with(black_box(&encoded), Limits::RECORD));
    });
    group.bench_function("check only", |b| {
        b.iter(|| Reader::new(black_box(&encoded)).skip().map(<[u8]>::len))
    });
    group.bench_function("cid", |b| b.iter(|| dag_cbor_cid(black_box(&encoded))));
    group.finish();
}

criterion_group!(benches, records);
criterion_main!(benches);
