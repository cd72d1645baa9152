//! Tree nodes, proofs, archives and commits under three million mutations: no panic, no work without bound, and whatever
//! is accepted is right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mst_support;
mod mutator;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use mst_support::{key, tree_of, value};
use mutator::{BINARY, Random};
use ues_data::car::{CarDecoder, CarLimits, write_block, write_header};
use ues_data::mst::{Change, MstError, Tree, invert, verify_proof};
use ues_data::source::{FromFn, NoBlocks};
use ues_data::{BlockSourceError, Cid, Ipld, dag_cbor, dag_cbor_cid};

type Blocks = HashMap<Cid, Bytes>;
type Entries = Vec<(Vec<u8>, Cid)>;

/// A path has at most a node for each two bits of a SHA-256, and one more.
const LONGEST_PATH: usize = 129;

fn model(count: u32) -> BTreeMap<String, Cid> {
    (0..count).map(|n| (key(n * 7), value(n))).collect()
}

fn tree(count: u32) -> (Tree, Cid, Blocks) {
    let model = model(count);
    let mut tree = tree_of(model.iter().map(|(k, v)| (k.as_str(), *v)));
    let flush = tree.flush();
    (tree, flush.root, flush.new.into_iter().collect())
}

fn sorted(blocks: &Blocks) -> Vec<(Cid, Bytes)> {
    let mut list: Vec<(Cid, Bytes)> = blocks.iter().map(|(c, b)| (*c, b.clone())).collect();
    list.sort();
    list
}

/// What the root node says of a key, found without the tree's own reader: its value, or the link to follow.
fn naive(block: &[u8], key: &[u8]) -> (Option<Cid>, Option<Cid>) {
    let Ipld::Map(node) = dag_cbor::decode(block).expect("an accepted node is DAG-CBOR") else {
        panic!("an accepted node is a map");
    };
    let link = |value: &Ipld| match value {
        Ipld::Link(cid) => Some(*cid),
        _ => None,
    };
    let Ipld::List(entries) = &node["e"] else {
        panic!("an accepted node has entries");
    };
    let mut gap = link(&node["l"]);
    let mut current: Vec<u8> = Vec::new();
    for entry in entries {
        let Ipld::Map(entry) = entry else {
            panic!("an accepted entry is a map");
        };
        let (Ipld::Integer(prefix), Ipld::Bytes(suffix)) = (&entry["p"], &entry["k"]) else {
            panic!("an accepted entry has a prefix and a suffix");
        };
        current.truncate(usize::try_from(*prefix).unwrap());
        current.extend_from_slice(suffix);
        if current == key {
            return (link(&entry["v"]), None);
        }
        if current.as_slice() > key {
            break;
        }
        gap = link(&entry["t"]);
    }
    (None, gap)
}

/// Every node by itself, named by its own hash: what is accepted is canonical, and says what it says.
#[test]
fn nodes() {
    let (_, _, blocks) = tree(600);
    let seeds: Vec<Vec<u8>> = sorted(&blocks).iter().map(|(_, b)| b.to_vec()).collect();
    let keys: Vec<String> = model(600).into_keys().collect();
    let mut random = Random::new(0x5eed_0101);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..1_500_000 {
        random.begin();
        let input = Bytes::from(random.mutate(&seeds, BINARY));
        let wanted = keys[random.below(keys.len())].as_bytes();
        // The hash is not what is tested: any name but zero will do for the root.
        let root = value(0);
        let source = FromFn(|cid: &Cid| Ok((*cid == root).then(|| input.clone())));
        let found = Tree::load(root).get(&source, wanted);
        match found {
            Err(MstError::InvalidNode { .. }) => {
                refused += 1;
                continue;
            }
            Ok(found) => assert_eq!((found, None), naive(&input, wanted)),
            Err(MstError::MissingBlock(missing)) => {
                assert_eq!((None, Some(missing)), naive(&input, wanted));
            }
            Err(other) => panic!("an unexpected error: {other}"),
        }
        accepted += 1;
        let again = dag_cbor::encode(&dag_cbor::decode(&input).unwrap()).unwrap();
        assert_eq!(again, input, "an accepted node is canonical");
        let entries: Result<Entries, MstError> = Tree::load(root).entries(&source).collect();
        if let Ok(entries) = entries {
            let rebuilt = Tree::from_sorted(entries).unwrap().root();
            assert_eq!(rebuilt, dag_cbor_cid(&input));
        }
    }
    assert!(accepted > 10_000, "only {accepted} were accepted");
    assert!(refused > 100_000, "only {refused} were refused");
}

/// A source that answers every question with a changed node: however it lies, a search reads one path.
#[test]
fn sources_that_lie() {
    let (_, root, blocks) = tree(600);
    let list = sorted(&blocks);
    let seeds: Vec<Vec<u8>> = list.iter().map(|(_, b)| b.to_vec()).collect();
    let keys: Vec<String> = model(600).into_keys().collect();
    let mut random = Random::new(0x5eed_0102);
    for _ in 0..400_000 {
        random.begin();
        let changed = Bytes::from(random.mutate(&seeds, BINARY));
        let from = random.below(4);
        let read = Cell::new(0);
        let source = FromFn(|cid: &Cid| {
            read.set(read.get() + 1);
            let honest = blocks.get(cid).filter(|_| read.get() <= from);
            Ok::<_, BlockSourceError>(Some(honest.unwrap_or(&changed).clone()))
        });
        let wanted = keys[random.below(keys.len())].as_bytes();
        let mut tree = Tree::load(root);
        let _ = tree.get(&source, wanted);
        assert!(read.get() <= LONGEST_PATH, "{} nodes read", read.get());
        // A removal merges the two edges beside the key.
        read.set(0);
        let before = tree.resident_nodes();
        if tree.delete(&source, wanted).is_ok() {
            let _ = tree.put(&source, wanted, &value(1));
        }
        assert!(read.get() <= 4 * LONGEST_PATH, "{} nodes read", read.get());
        assert!(tree.resident_nodes() <= before + 4 * LONGEST_PATH);
    }
}

/// Proofs with a block changed: under its old name it is refused, under a new one the proof is of another tree.
#[test]
fn proofs() {
    let (tree, root, blocks) = tree(300);
    let model = model(300);
    let keys: Vec<String> = (0..2100).map(key).collect();
    let proofs: Vec<Blocks> = keys
        .iter()
        .map(|k| tree.proof(&blocks, k).unwrap().into_iter().collect())
        .collect();
    let mut random = Random::new(0x5eed_0103);
    let mut convinced = 0;
    for _ in 0..500_000 {
        random.begin();
        let at = random.below(keys.len());
        let (wanted, honest) = (keys[at].as_bytes(), &proofs[at]);
        let list = sorted(honest);
        let (cid, block) = &list[random.below(list.len())];
        let mut changed = block.to_vec();
        random.change(&mut changed, BINARY);
        let mut forged = honest.clone();
        forged.insert(*cid, changed.clone().into());
        let found = verify_proof(&root, wanted, &forged);
        if changed == *block {
            assert_eq!(found.unwrap(), model.get(&keys[at]).copied());
        } else {
            assert!(found.is_err(), "a forged block is noticed");
        }
        // The changed node as a root of its own.
        let named = dag_cbor_cid(&changed);
        forged.insert(named, changed.clone().into());
        if let Ok(found) = verify_proof(&named, wanted, &forged) {
            convinced += 1;
            let (mut said, mut next) = naive(&changed, wanted);
            while let Some(cid) = next {
                (said, next) = naive(&forged[&cid], wanted);
            }
            assert_eq!(found, said);
        }
    }
    assert!(convinced > 1_000, "only {convinced} were accepted");
}

/// Archives of whole trees, changed anywhere, or with a node changed and named anew: a tree that reads to its end has
/// the entries that its root names.
#[test]
fn archives() {
    let (_, root, blocks) = tree(24);
    let list = sorted(&blocks);
    let original: Entries = Tree::load(root)
        .entries(&blocks)
        .collect::<Result<_, _>>()
        .unwrap();
    let archive = |root: &Cid, list: &[(Cid, Bytes)]| {
        let mut out = Vec::new();
        write_header(&[*root], &mut out);
        for (cid, bytes) in list {
            write_block(cid, bytes, &mut out);
        }
        out
    };
    let seed = archive(&root, &list);
    let mut random = Random::new(0x5eed_0104);
    let (mut whole, mut other) = (0, 0);
    for round in 0..300_000 {
        random.begin();
        let input = if round % 2 == 0 {
            random.mutate(std::slice::from_ref(&seed), BINARY)
        } else {
            let mut list = list.clone();
            let at = random.below(list.len());
            let (old, mut bytes) = (list[at].0, list[at].1.to_vec());
            random.change(&mut bytes, BINARY);
            let new = dag_cbor_cid(&bytes);
            list[at] = (new, bytes.into());
            let root = if old == root || random.below(2) == 0 {
                new
            } else {
                root
            };
            archive(&root, &list)
        };
        let Some((root_found, blocks)) = read_archive(&input) else {
            continue;
        };
        let entries: Result<Entries, MstError> = Tree::load(root_found).entries(&blocks).collect();
        let Ok(entries) = entries else { continue };
        if root_found == root {
            whole += 1;
            assert_eq!(entries, original);
        } else {
            other += 1;
            let rebuilt = Tree::from_sorted(entries).unwrap().root();
            assert_eq!(rebuilt, root_found);
        }
    }
    assert!(whole > 100, "only {whole} archives were as before");
    assert!(other > 100, "only {other} archives were of other trees");
}

/// Root and blocks of an archive, as far as it reads well.
fn read_archive(input: &[u8]) -> Option<(Cid, Blocks)> {
    let limits = CarLimits {
        max_blocks: 64,
        max_bytes: 1 << 16,
        ..CarLimits::default()
    };
    let mut decoder = CarDecoder::new(limits);
    decoder.feed(Bytes::copy_from_slice(input));
    let root = *decoder.header().ok()??.roots.first()?;
    let mut blocks = Blocks::new();
    while let Ok(Some((cid, bytes))) = decoder.next() {
        blocks.insert(cid, bytes);
    }
    Some((root, blocks))
}

struct Commit {
    before: Cid,
    after: Cid,
    operations: Vec<Change>,
    proof: Blocks,
}

fn commits() -> Vec<Commit> {
    let (first, ..) = tree(200);
    (0..40u32)
        .map(|n| {
            let mut tree = first.clone();
            let before = tree.root();
            let mut operations = Vec::new();
            for i in 0..=n % 4 {
                let key = key((n * 211 + i * 37) % 1400);
                let after = (i % 3 != 2).then(|| value(5000 + n));
                let old = match &after {
                    Some(value) => tree.put(&NoBlocks, &key, value).unwrap(),
                    None => tree.delete(&NoBlocks, &key).unwrap(),
                };
                if old != after {
                    operations.push(Change {
                        key: key.into_bytes(),
                        before: old,
                        after,
                    });
                }
            }
            let after = tree.root();
            let keys: Vec<&[u8]> = operations.iter().map(|c| &c.key[..]).collect();
            let proof = tree.covering_proof(&NoBlocks, &keys).unwrap();
            Commit {
                before,
                after,
                operations,
                proof: proof.into_iter().collect(),
            }
        })
        .filter(|commit| !commit.operations.is_empty())
        .collect()
}

/// Commits told otherwise than they were: nothing but the truth leads back to the root before.
#[test]
fn commits_undone() {
    let commits = commits();
    let mut random = Random::new(0x5eed_0105);
    let (mut undone, mut refused) = (0, 0);
    for _ in 0..400_000 {
        random.begin();
        let commit = &commits[random.below(commits.len())];
        let mut operations = commit.operations.clone();
        let mut root = commit.after;
        let mut blocks = commit.proof.clone();
        match random.below(3) {
            0 => {
                let at = random.below(operations.len());
                let operation = &mut operations[at];
                match random.below(5) {
                    0 => random.change(&mut operation.key, b"/.abcpost3k0123456789"),
                    1 => operation.before = None,
                    2 => operation.before = Some(value(random.below(200) as u32)),
                    3 => operation.after = Some(value(5000 + random.below(40) as u32)),
                    _ => drop(operations.remove(at)),
                }
            }
            kind => {
                let list = sorted(&blocks);
                let (cid, block) = &list[random.below(list.len())];
                let mut changed = block.to_vec();
                random.change(&mut changed, BINARY);
                if kind == 2 {
                    // Named anew, as the root that the commit claims.
                    root = dag_cbor_cid(&changed);
                    blocks.insert(root, changed.into());
                } else {
                    blocks.insert(*cid, changed.into());
                }
            }
        }
        match invert(&root, &blocks, &operations) {
            Ok(before) if before == commit.before => {
                undone += 1;
                let said: BTreeSet<_> = operations.iter().map(told).collect();
                let true_ones: BTreeSet<_> = commit.operations.iter().map(told).collect();
                assert_eq!(said, true_ones);
                assert_eq!(root, commit.after);
            }
            _ => refused += 1,
        }
    }
    assert!(undone > 1_000, "only {undone} were undone");
    assert!(refused > 100_000, "only {refused} were refused");
}

fn told(change: &Change) -> (Vec<u8>, Option<Cid>, Option<Cid>) {
    (change.key.clone(), change.before, change.after)
}
