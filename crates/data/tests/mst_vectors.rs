//! The tree against the interoperability vectors of AT Protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mst_support;

use mst_support::{height, reference, tree_of, value, vector};
use serde_json::Value;
use ues_data::mst::{Tree, common_prefix_len, key_height};
use ues_data::source::NoBlocks;
use ues_data::{Cid, parse_cid};

fn json(path: &str) -> Vec<Value> {
    serde_json::from_str(&vector(path)).unwrap()
}

#[test]
fn key_heights() {
    for case in json("atproto-interop/mst/key_heights.json") {
        let key = case["key"].as_str().unwrap();
        assert_eq!(
            u64::from(key_height(key.as_bytes())),
            case["height"].as_u64().unwrap(),
            "{key}"
        );
    }
}

#[test]
fn common_prefixes() {
    for case in json("atproto-interop/mst/common_prefix.json") {
        let (left, right) = (
            case["left"].as_str().unwrap(),
            case["right"].as_str().unwrap(),
        );
        let len = common_prefix_len(left.as_bytes(), right.as_bytes());
        assert_eq!(len as u64, case["len"].as_u64().unwrap(), "{left} {right}");
    }
}

#[test]
fn example_keys_lie_on_the_layer_that_their_name_says() {
    let text = vector("atproto-interop/mst/example_keys.txt");
    let mut entries = std::collections::BTreeMap::new();
    for (n, key) in text.lines().enumerate() {
        let layer = key[1..2].parse::<u8>().unwrap();
        assert_eq!(key_height(key.as_bytes()), layer, "{key}");
        assert_eq!(height(key), usize::from(layer), "{key}");
        entries.insert(key.to_owned(), value(n as u32));
    }
    assert_eq!(entries.len(), 156);
    let mut tree = tree_of(entries.iter().map(|(k, v)| (k.as_str(), *v)));
    assert_eq!(tree.root(), reference(&entries).0);
}

const LEAF: &str = "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454";

/// Roots that other implementations agree on.
#[test]
fn known_roots() {
    let leaf: Cid = parse_cid(LEAF).unwrap();
    let cases: [(&str, &[&str]); 5] = [
        (
            "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
            &[],
        ),
        (
            "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu",
            &["com.example.record/3jqfcqzm3fo2j"],
        ),
        (
            "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai",
            &["com.example.record/3jqfcqzm3fx2j"],
        ),
        (
            "bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m",
            &[
                "com.example.record/3jqfcqzm3fp2j",
                "com.example.record/3jqfcqzm3fr2j",
                "com.example.record/3jqfcqzm3fs2j",
                "com.example.record/3jqfcqzm3ft2j",
                "com.example.record/3jqfcqzm4fc2j",
            ],
        ),
        (
            "bafyreiettyludka6fpgp33stwxfuwhkzlur6chs4d2v4nkmq2j3ogpdjem",
            &TWO_LAYERS,
        ),
    ];
    for (root, keys) in cases {
        let mut tree = tree_of(keys.iter().map(|k| (*k, leaf)));
        assert_eq!(tree.root().to_string(), root, "{keys:?}");
    }
    assert_eq!(Tree::empty().root().to_string(), cases[0].0);
}

const TWO_LAYERS: [&str; 11] = [
    "com.example.record/3jqfcqzm3fo2j",
    "com.example.record/3jqfcqzm3fp2j",
    "com.example.record/3jqfcqzm3fr2j",
    "com.example.record/3jqfcqzm3fs2j",
    "com.example.record/3jqfcqzm3ft2j",
    "com.example.record/3jqfcqzm3fz2j",
    "com.example.record/3jqfcqzm4fc2j",
    "com.example.record/3jqfcqzm4fd2j",
    "com.example.record/3jqfcqzm4ff2j",
    "com.example.record/3jqfcqzm4fg2j",
    "com.example.record/3jqfcqzm4fh2j",
];

/// The reference implementation's edge cases: trimming the top, and a key that parts two layers.
#[test]
fn edge_cases() {
    let leaf: Cid = parse_cid(LEAF).unwrap();
    let keys = ["fn2j", "fo2j", "fp2j", "fs2j", "ft2j", "fu2j"]
        .map(|end| format!("com.example.record/3jqfcqzm3{end}"));
    let mut tree = tree_of(keys.iter().map(|k| (k.as_str(), leaf)));
    let tall = "bafyreifnqrwbk6ffmyaz5qtujqrzf5qmxf7cbxvgzktl4e3gabuxbtatv4";
    assert_eq!(tree.root().to_string(), tall);
    tree.delete(&NoBlocks, &keys[3]).unwrap();
    let trimmed = "bafyreie4kjuxbwkhzg2i5dljaswcroeih4dgiqq6pazcmunwt2byd725vi";
    assert_eq!(tree.root().to_string(), trimmed);

    let mut tree = tree_of(TWO_LAYERS.map(|k| (k, leaf)));
    let before = tree.root();
    let parting = "com.example.record/3jqfcqzm3fx2j";
    tree.put(&NoBlocks, parting, &leaf).unwrap();
    let parted = "bafyreid2x5eqs4w4qxvc5jiwda4cien3gw2q6cshofxwnvv7iucrmfohpm";
    assert_eq!(tree.root().to_string(), parted);
    tree.delete(&NoBlocks, parting).unwrap();
    assert_eq!(tree.root(), before);
}
