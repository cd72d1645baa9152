//! Paths across links and codecs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;

use bytes::Bytes;
use ipld_core::ipld;
use ues_data::block;
use ues_data::content_id::{DAG_CBOR, DAG_JSON, cid_of, identity_cid};
use ues_data::path::{PathError, PathLimits, resolve};
use ues_data::unixfs::{DirectoryBuilder, ImportOptions, import_reader};
use ues_data::{Cid, HashAlgorithm, Ipld};

type Blocks = HashMap<Cid, Bytes>;

fn put(blocks: &mut Blocks, codec: u64, value: &Ipld) -> Cid {
    let bytes = block::encode(codec, value).unwrap();
    let cid = cid_of(codec, HashAlgorithm::Blake3, &bytes);
    blocks.insert(cid, bytes.into());
    cid
}

#[test]
fn a_path_crosses_links_and_codecs() {
    let mut blocks = Blocks::new();
    let leaf = put(&mut blocks, DAG_JSON, &ipld!({ "name": ["x", "y"] }));
    let inline = identity_cid(
        DAG_CBOR,
        &block::encode(DAG_CBOR, &ipld!({ "in": leaf })).unwrap(),
    );
    let root = put(
        &mut blocks,
        DAG_CBOR,
        &ipld!({ "a": { "b": [0, Ipld::Link(inline.unwrap())] } }),
    );
    let found = resolve(&blocks, &root, "/a/b/1/in/name/1", PathLimits::default()).unwrap();
    assert_eq!(found.value, Ipld::String("y".into()));
    assert_eq!((found.cid, found.within.as_str()), (leaf, "name/1"));
    let link = resolve(&blocks, &root, "a/b/1/in", PathLimits::default()).unwrap();
    assert_eq!(link.value, Ipld::Link(leaf));
    let all = resolve(&blocks, &root, "", PathLimits::default()).unwrap();
    assert!(matches!(all.value, Ipld::Map(_)));
}

#[test]
fn names_of_files_are_segments() {
    let mut blocks = Blocks::new();
    let options = ImportOptions::cid_v1();
    let file = import_reader(&b"text"[..], options, &mut blocks).unwrap();
    let mut directory = DirectoryBuilder::new(options);
    directory.add("readme", file).unwrap();
    let root = directory.finish(&mut blocks).unwrap().cid;
    let found = resolve(&blocks, &root, "readme", PathLimits::default()).unwrap();
    assert_eq!(found.value, Ipld::Link(file.cid));
    let size = resolve(&blocks, &root, "Links/0/Tsize", PathLimits::default()).unwrap();
    assert_eq!(size.value, Ipld::Integer(4));
}

#[test]
fn dead_ends_are_named() {
    let mut blocks = Blocks::new();
    let gone = cid_of(DAG_CBOR, HashAlgorithm::Sha2_256, b"gone");
    let root = put(
        &mut blocks,
        DAG_CBOR,
        &ipld!({ "gone": gone, "list": [1], "Links": [{ "Name": "n", "Hash": gone }] }),
    );
    let path = |path: &str| resolve(&blocks, &root, path, PathLimits::default()).unwrap_err();
    assert!(matches!(path("gone/x"), PathError::Missing(cid) if cid == gone));
    for dead in [
        "nothing", "list/1", "list/00", "list/+0", "list/-1", "list/0/x", "n",
    ] {
        assert!(matches!(path(dead), PathError::NotFound { .. }), "{dead}");
    }
    assert!(matches!(path(&"a/".repeat(300)), PathError::TooLong { .. }));

    let mut chain = put(&mut blocks, DAG_CBOR, &ipld!({ "n": 0 }));
    for _ in 0..300 {
        chain = put(&mut blocks, DAG_CBOR, &ipld!({ "n": chain }));
    }
    let limits = PathLimits {
        max_segments: 1000,
        ..PathLimits::default()
    };
    let far = resolve(&blocks, &chain, &"n/".repeat(300), limits);
    assert!(matches!(far, Err(PathError::TooManyBlocks(256))));

    blocks.insert(root, Bytes::from_static(b"wrong"));
    let wrong = resolve(&blocks, &root, "list", PathLimits::default());
    assert!(matches!(wrong, Err(PathError::Hash(_))));
}
