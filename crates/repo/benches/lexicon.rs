//! How long it takes to load the official documents and to validate what a node sees most.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented items; a benchmark fails by panicking"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use ues_data::{Ipld, atproto_json};
use ues_repo::lexicon::Lexicons;

const CID: &str = "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq";

fn post() -> Value {
    let link = |path: &str| json!({"uri": format!("at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/{path}"), "cid": CID});
    json!({
        "$type": "app.bsky.feed.post",
        "text": "The quick brown fox jumps over the lazy dog, says @alice.test in a reply of usual length.",
        "createdAt": "2026-01-01T12:34:56.789Z",
        "langs": ["en"],
        "reply": {"root": link("3kznmn7xqxl22"), "parent": link("3kznmn7xqxl23")},
        "facets": [{
            "$type": "app.bsky.richtext.facet",
            "index": {"byteStart": 50, "byteEnd": 61},
            "features": [{
                "$type": "app.bsky.richtext.facet#mention", "did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
            }],
        }],
    })
}

fn benches(c: &mut Criterion) {
    let lexicons = Lexicons::official();
    let bench = |c: &mut Criterion, name: &str, collection: &str, record: &Ipld| {
        lexicons.validate_record(collection, record).unwrap();
        c.bench_function(name, |b| {
            b.iter(|| lexicons.validate_record(collection, black_box(record)))
        });
    };
    let record = atproto_json::from_json(&post()).unwrap();
    bench(
        c,
        "validate reply with a mention",
        "app.bsky.feed.post",
        &record,
    );
    let like = atproto_json::from_json(&json!({
        "$type": "app.bsky.feed.like",
        "createdAt": "2026-01-01T12:34:56.789Z",
        "subject": {
            "uri": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3kznmn7xqxl22", "cid": CID,
        },
    }));
    bench(c, "validate like", "app.bsky.feed.like", &like.unwrap());
    let input = json!({"repo": "alice.test", "collection": "app.bsky.feed.post", "record": post()});
    c.bench_function("validate createRecord input", |b| {
        b.iter(|| lexicons.validate_input("com.atproto.repo.createRecord", black_box(&input)))
    });
    c.bench_function("official catalog, nothing parsed", |b| {
        b.iter(Lexicons::official)
    });
    c.bench_function("official catalog, first post validated", |b| {
        b.iter(|| Lexicons::official().validate_record("app.bsky.feed.post", &record))
    });
    c.bench_function("official catalog, every document parsed", |b| {
        b.iter(|| {
            let lexicons = Lexicons::official();
            let ids = lexicons.documents();
            ids.iter().filter_map(|id| lexicons.document(id)).count()
        })
    });
}

criterion_group!(lexicon, benches);
criterion_main!(lexicon);
