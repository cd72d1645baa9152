//! The vectors for other implementations.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::ops::Range;

use serde_json::Value as Json;
use ues_sync::reconcile::*;

const VECTORS: &str = include_str!("vectors/reconcile.json");

fn vectors() -> Json {
    serde_json::from_str(VECTORS).unwrap()
}

fn bytes(json: &Json) -> Vec<u8> {
    let digits = json.as_str().unwrap().as_bytes();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn block(json: &Json) -> [u8; 16] {
    bytes(json).try_into().unwrap()
}

fn number(json: &Json) -> u64 {
    u64::from_str_radix(json.as_str().unwrap(), 16).unwrap()
}

fn indices(json: &Json) -> Vec<u32> {
    let indices = json.as_array().unwrap().iter();
    indices
        .map(|index| index.as_u64().unwrap() as u32)
        .collect()
}

/// A set of items made from numbers of 32 bits, the lowest byte first.
fn sketch(json: &Json, key: Key) -> Sketch {
    let range = indices(&json["items"]);
    let range: Range<u32> = range[0]..range[1];
    let mut sketch = Sketch::new(key, 16);
    for number in range {
        sketch.add(Item::of(&number.to_le_bytes()));
    }
    sketch
}

#[test]
fn hashes_and_mappings() {
    let vectors = vectors();
    let key = Key(block(&vectors["key"]));
    let mappings = vectors["mappings"].as_array().unwrap();
    let whole = vectors["whole mappings"].as_array().unwrap();
    assert_eq!((mappings.len(), whole.len()), (5, 4));
    for case in mappings {
        let hash = number(&case["hash"]);
        assert_eq!(key.hash(Item(block(&case["item"]))), hash);
    }
    for case in mappings.iter().chain(whole) {
        let mut mapping = Mapping::new(number(&case["hash"]));
        for index in indices(&case["indices"]) {
            assert_eq!(mapping.index(), index);
            mapping.advance();
        }
    }
    for case in whole {
        assert_eq!(indices(&case["indices"]).last(), Some(&MAX_INDEX));
    }
}

#[test]
fn symbols_and_batches() {
    let vectors = vectors();
    let key = Key(block(&vectors["key"]));
    let (local, remote) = (&vectors["local"], &vectors["remote"]);
    let (here, there) = (sketch(local, key), sketch(remote, key));
    let symbols = local["symbols"].as_array().unwrap();
    assert_eq!(symbols.len(), here.symbols().len());
    for (expected, symbol) in symbols.iter().zip(here.symbols()) {
        assert_eq!(symbol.sum, block(&expected["sum"]));
        assert_eq!(symbol.checksum, number(&expected["checksum"]));
        assert_eq!(symbol.count, expected["count"].as_i64().unwrap());
    }
    assert_eq!(here.batch(0, 16).encode(), bytes(&local["batch 0..16"]));
    assert_eq!(here.batch(5, 3).encode(), bytes(&local["batch 5..8"]));
    assert_eq!(there.batch(0, 16).encode(), bytes(&remote["batch 0..16"]));

    let batch = Batch::decode(&bytes(&remote["batch 0..16"]), 16).unwrap();
    let mut decoder = Decoder::new(key, 16);
    decoder.push(&batch.symbols, here.symbols()).unwrap();
    assert!(decoder.is_complete());
    assert_eq!(
        decoder.received() as u64,
        vectors["needed"].as_u64().unwrap()
    );
    let difference = decoder.into_difference();
    for (found, side) in [
        (difference.only_local, "only local"),
        (difference.only_remote, "only remote"),
    ] {
        let mut found: Vec<[u8; 16]> = found.iter().map(|item| item.0).collect();
        found.sort_unstable();
        let expected: Vec<[u8; 16]> = vectors[side]
            .as_array()
            .unwrap()
            .iter()
            .map(block)
            .collect();
        assert_eq!(found, expected);
    }
}
