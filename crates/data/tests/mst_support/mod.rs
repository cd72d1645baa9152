//! What the tests of the tree share: a slow, obvious tree built from the definition, and sources of blocks.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use ues_data::mst::{Flush, Tree};
use ues_data::source::NoBlocks;
use ues_data::{BlockSource, BlockSourceError, Cid, Ipld, dag_cbor, dag_cbor_cid};

/// Layer of a key, counted bit by bit.
pub fn height(key: &str) -> usize {
    let hash = Sha256::digest(key.as_bytes());
    let bits: Vec<u8> = hash
        .iter()
        .flat_map(|b| (0..8).rev().map(move |i| b >> i & 1))
        .collect();
    bits.chunks(2).take_while(|pair| **pair == [0, 0]).count()
}

/// The tree of these entries as the specification defines it: root, and all blocks.
pub fn reference(entries: &BTreeMap<String, Cid>) -> (Cid, BTreeMap<Cid, Bytes>) {
    let mut blocks = BTreeMap::new();
    let list: Vec<(&str, Cid)> = entries.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let top = list.iter().map(|(k, _)| height(k)).max().unwrap_or(0);
    let root = reference_node(&list, top, &mut blocks);
    (root, blocks)
}

fn reference_subtree(
    list: &[(&str, Cid)],
    above: usize,
    blocks: &mut BTreeMap<Cid, Bytes>,
) -> Ipld {
    if list.is_empty() {
        return Ipld::Null;
    }
    Ipld::Link(reference_node(list, above - 1, blocks))
}

fn reference_node(list: &[(&str, Cid)], layer: usize, blocks: &mut BTreeMap<Cid, Bytes>) -> Cid {
    let here: Vec<usize> = (0..list.len())
        .filter(|i| height(list[*i].0) == layer)
        .collect();
    let first = here.first().copied().unwrap_or(list.len());
    let left = reference_subtree(&list[..first], layer, blocks);
    let mut items = Vec::new();
    let mut previous = "";
    for (n, &i) in here.iter().enumerate() {
        let (key, value) = list[i];
        let end = here.get(n + 1).copied().unwrap_or(list.len());
        let shared = key
            .bytes()
            .zip(previous.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        items.push(Ipld::Map(BTreeMap::from([
            ("p".into(), Ipld::Integer(shared as i128)),
            ("k".into(), Ipld::Bytes(key.as_bytes()[shared..].to_vec())),
            ("v".into(), Ipld::Link(value)),
            (
                "t".into(),
                reference_subtree(&list[i + 1..end], layer, blocks),
            ),
        ])));
        previous = key;
    }
    let node = BTreeMap::from([("l".into(), left), ("e".into(), Ipld::List(items))]);
    let bytes = dag_cbor::encode(&Ipld::Map(node)).expect("a node encodes");
    let cid = dag_cbor_cid(&bytes);
    blocks.insert(cid, bytes.into());
    cid
}

/// A store kept in step with flushes, which checks that each flush says the truth.
#[derive(Default)]
pub struct Shelf {
    pub blocks: HashMap<Cid, Bytes>,
}

impl Shelf {
    pub fn apply(&mut self, flush: &Flush) {
        for (cid, bytes) in &flush.new {
            assert_eq!(*cid, dag_cbor_cid(bytes), "a new block has its own hash");
            assert!(
                self.blocks.insert(*cid, bytes.clone()).is_none(),
                "{cid} was there already"
            );
        }
        for cid in &flush.retired {
            assert!(
                self.blocks.remove(cid).is_some(),
                "{cid} is retired but was not there"
            );
        }
    }

    pub fn assert_holds_exactly(&self, entries: &BTreeMap<String, Cid>) {
        let (_, expected) = reference(entries);
        let have: BTreeMap<Cid, Bytes> = self.blocks.clone().into_iter().collect();
        assert_eq!(
            have, expected,
            "the shelf holds the nodes of the tree and no others"
        );
    }
}

impl BlockSource for Shelf {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        Ok(self.blocks.get(cid).cloned())
    }
}

/// A source that remembers what was read.
pub struct Recording<S> {
    pub inner: S,
    pub read: RefCell<BTreeSet<Cid>>,
}

impl<S> Recording<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            read: RefCell::default(),
        }
    }
}

impl<S: BlockSource> BlockSource for Recording<S> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        self.read.borrow_mut().insert(*cid);
        self.inner.block(cid)
    }
}

/// A tree of these entries, put one by one.
pub fn tree_of<'k>(entries: impl IntoIterator<Item = (&'k str, Cid)>) -> Tree {
    let mut tree = Tree::empty();
    for (key, value) in entries {
        tree.put(&NoBlocks, key, &value)
            .expect("the whole tree is in memory");
    }
    tree
}

/// A value that differs by number.
pub fn value(n: u32) -> Cid {
    dag_cbor_cid(&n.to_be_bytes())
}

/// A repository-like key out of a small space, so that random ones meet.
pub fn key(n: u32) -> String {
    let collection = ["app.bsky.feed.post", "app.bsky.feed.like", "com.example.a"][n as usize % 3];
    format!("{collection}/3k{:05}", n / 3)
}

/// Text of a file of the shared vectors.
pub fn vector(path: &str) -> String {
    let full = format!(
        "{}/../../../shared/vectors/{path}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&full)
        .unwrap_or_else(|e| panic!("the shared test vectors are needed at {full}: {e}"))
}
