//! Decoders under two million mutated inputs: no panic, and whatever is accepted is canonical. Those of the tree are in
//! `mst_mutations.rs`.
//!
//! Deterministic: each target has a seed of its own, so that a failure repeats.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod mutator;

use bytes::Bytes;
use ipld_core::ipld;
use mutator::{BINARY, Random};
use ues_data::car::{CarDecoder, CarLimits, write_block, write_header};
use ues_data::content_id::{cid_from_bytes, cid_from_prefix, parse_cid, write_cid};
use ues_data::dag_cbor::{self, Reader};
use ues_data::unixfs::{FileReader, ImportOptions, import_reader, list, open};
use ues_data::{
    Cid, HashAlgorithm, Ipld, atproto_json, cid_of, dag_json, dag_pb, raw_cid, sha256_multihash,
};

/// Characters that mean something in JSON and in CIDs.
const TEXT: &[u8] = b"{}[]\":,/\\u0123456789-+.eEtruefalsn bfzmQkZ= \x00\x1f\xc3\xa9$linkbyts";

fn values() -> Vec<Ipld> {
    let cid = raw_cid(b"x");
    vec![
        ipld!({ "$type": "a.b.c", "text": "é😀", "n": [0, 23, 24, -1, 256, 65536, 4294967296i64], "link": cid }),
        ipld!([null, true, false, { "bytes": Ipld::Bytes(vec![1, 2, 3]) }, [[[[]]]], {}]),
        Ipld::Link(Cid::new_v0(sha256_multihash(b"v0")).unwrap()),
        ipld!({ "$type": "blob", "ref": cid, "mimeType": "image/png", "size": 10 }),
    ]
}

#[test]
fn dag_cbor_inputs() {
    let mut seeds: Vec<Vec<u8>> = values()
        .iter()
        .map(|v| dag_cbor::encode(v).unwrap())
        .collect();
    seeds.push(dag_cbor::encode(&ipld!([1.5, -0.0, 1e300])).unwrap());
    let mut random = Random::new(0x5eed_0001);
    let mut accepted = 0;
    for _ in 0..900_000 {
        random.begin();
        let input = random.mutate(&seeds, BINARY);
        let skipped = Reader::new(&input).skip().map(<[u8]>::len);
        match dag_cbor::decode(&input) {
            Ok(value) => {
                accepted += 1;
                assert_eq!(dag_cbor::encode(&value).unwrap(), input);
                assert_eq!(skipped, Ok(input.len()));
            }
            Err(_) => assert_ne!(skipped, Ok(input.len())),
        }
    }
    assert!(accepted > 10_000, "only {accepted} inputs were accepted");
}

#[test]
fn json_inputs() {
    let seeds: Vec<Vec<u8>> = values()
        .iter()
        .map(|v| dag_json::encode(v).unwrap().into_bytes())
        .chain([atproto_json::to_json_string(&values()[0]).into_bytes()])
        .collect();
    let mut random = Random::new(0x5eed_0002);
    let mut accepted = 0;
    for _ in 0..400_000 {
        random.begin();
        let input = random.mutate(&seeds, TEXT);
        if let Ok(value) = dag_json::decode(&input) {
            accepted += 1;
            let text = dag_json::encode(&value).unwrap();
            assert_eq!(dag_json::decode_canonical(text.as_bytes()).unwrap(), value);
        }
        if let Ok(json) = serde_json::from_slice(&input)
            && let Ok(value) = atproto_json::from_json(&json)
        {
            let again = atproto_json::from_json(&atproto_json::to_json(&value));
            assert_eq!(again.unwrap(), value);
        }
    }
    assert!(accepted > 10_000, "only {accepted} inputs were accepted");
}

#[test]
fn cid_inputs() {
    let cids = [
        raw_cid(b"a"),
        cid_of(0x71, HashAlgorithm::Blake3, b"a"),
        cid_of(0x0129, HashAlgorithm::Sha2_512, b"a"),
        Cid::new_v0(sha256_multihash(b"a")).unwrap(),
    ];
    let bytes: Vec<Vec<u8>> = cids.iter().map(Cid::to_bytes).collect();
    let mut texts: Vec<Vec<u8>> = cids.iter().map(|c| c.to_string().into_bytes()).collect();
    for base in [
        multibase::Base::Base58Btc,
        multibase::Base::Base64Url,
        multibase::Base::Base36Lower,
    ] {
        texts.push(cids[0].to_string_of_base(base).unwrap().into_bytes());
    }
    let mut random = Random::new(0x5eed_0003);
    for _ in 0..200_000 {
        random.begin();
        let input = random.mutate(&bytes, BINARY);
        if let Ok(cid) = cid_from_bytes(&input) {
            let mut out = Vec::new();
            write_cid(&cid, &mut out);
            assert_eq!(out, input);
        }
        if let Ok((_, used)) = cid_from_prefix(&input) {
            assert!(used <= input.len());
        }
    }
    for _ in 0..100_000 {
        random.begin();
        let input = String::from_utf8_lossy(&random.mutate(&texts, TEXT)).into_owned();
        if let Ok(cid) = parse_cid(&input) {
            assert_eq!(parse_cid(&cid.to_string()), Ok(cid));
        }
    }
}

#[test]
fn car_inputs() {
    let blocks: Vec<(Cid, Vec<u8>)> = (0..4u8)
        .map(|i| vec![i; usize::from(i) * 7])
        .map(|b| (raw_cid(&b), b))
        .collect();
    let mut seed = Vec::new();
    write_header(&[blocks[0].0], &mut seed);
    for (cid, bytes) in &blocks {
        write_block(cid, bytes, &mut seed);
    }
    let mut random = Random::new(0x5eed_0004);
    for _ in 0..200_000 {
        random.begin();
        let input = random.mutate(std::slice::from_ref(&seed), BINARY);
        let whole = decode_car(&input, input.len().max(1));
        let cut = decode_car(&input, 1 + random.below(64));
        assert_eq!(whole, cut);
    }
}

/// How many good blocks an archive has, and whether it ends well.
fn decode_car(input: &[u8], chunk: usize) -> (u64, bool) {
    let mut decoder = CarDecoder::new(CarLimits::default());
    for part in input.chunks(chunk) {
        decoder.feed(Bytes::copy_from_slice(part));
        loop {
            match decoder.next() {
                Ok(Some((cid, bytes))) => assert!(ues_data::verify(&cid, &bytes).is_ok()),
                Ok(None) => break,
                Err(_) => return (decoder.blocks(), false),
            }
        }
    }
    (decoder.blocks(), decoder.finish().is_ok())
}

#[test]
fn unixfs_inputs() {
    let options = ImportOptions {
        chunk_size: 8,
        max_links: 3,
        raw_leaves: false,
        ..ImportOptions::cid_v1()
    };
    let mut blocks = std::collections::HashMap::new();
    import_reader(&[7u8; 100][..], options, &mut blocks).unwrap();
    let mut seeds: Vec<Vec<u8>> = blocks.values().map(|b| b.to_vec()).collect();
    seeds.sort();
    let mut random = Random::new(0x5eed_0005);
    for _ in 0..200_000 {
        random.begin();
        let input = Bytes::from(random.mutate(&seeds, BINARY));
        if let Ok(node) = dag_pb::decode(&input) {
            let again = Bytes::from(dag_pb::encode(&node));
            assert_eq!(dag_pb::decode(&again).unwrap(), node);
            assert_eq!(dag_pb::from_ipld(&dag_pb::to_ipld(&node)).unwrap(), node);
        }
        let cid = cid_of(0x70, HashAlgorithm::Sha2_256, &input);
        let mut source = std::collections::HashMap::from([(cid, input)]);
        let _ = open(&source, &cid, "");
        let _ = list(&source, &cid);
        source.extend(blocks.iter().take(3).map(|(c, b)| (*c, b.clone())));
        let mut reader = FileReader::new(&source, cid);
        while let Ok(Some(_)) = reader.next_chunk() {}
    }
}
