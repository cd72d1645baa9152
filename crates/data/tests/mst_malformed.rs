//! Trees that no honest writer makes: each is refused with the error that says why, and none makes the reader panic or
//! work without bound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mst_support;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use mst_support::{height, tree_of, value};
use proptest::prelude::*;
use ues_data::mst::{MAX_NODE_BYTES, MstError, NodeFault, Preorder, Tree, invert, verify_proof};
use ues_data::{Cid, Ipld, dag_cbor, dag_cbor_cid, raw_cid};

/// An entry to be written as it is: prefix length, suffix, right link, value.
struct Raw<'a>(i128, &'a str, Ipld, Ipld);

fn node(left: Ipld, entries: Vec<Raw<'_>>) -> Bytes {
    let entries = entries
        .into_iter()
        .map(|Raw(p, k, t, v)| {
            Ipld::Map(BTreeMap::from([
                ("p".into(), Ipld::Integer(p)),
                ("k".into(), Ipld::Bytes(k.into())),
                ("t".into(), t),
                ("v".into(), v),
            ]))
        })
        .collect();
    let map = BTreeMap::from([("l".into(), left), ("e".into(), Ipld::List(entries))]);
    dag_cbor::encode(&Ipld::Map(map)).unwrap().into()
}

fn link() -> Ipld {
    Ipld::Link(value(1))
}

/// Keys on a layer, in order.
fn keys_on(layer: usize, count: usize) -> Vec<String> {
    (0..)
        .map(|n| format!("com.example.a/{n:06}"))
        .filter(|k| height(k) == layer)
        .take(count)
        .collect()
}

/// What reading the whole tree says; all other ways to read it must fail too.
fn fault(blocks: &[Bytes]) -> MstError {
    let source: HashMap<Cid, Bytes> = blocks
        .iter()
        .map(|b| (dag_cbor_cid(b), b.clone()))
        .collect();
    let root = dag_cbor_cid(&blocks[0]);
    let error = Preorder::new(&source, root)
        .find_map(Result::err)
        .expect("the tree is refused");
    assert!(Tree::load(root).load_all(&source).is_err());
    assert!(Tree::load(root).entries(&source).any(|e| e.is_err()));
    error
}

fn node_fault(blocks: &[Bytes]) -> NodeFault {
    match fault(blocks) {
        MstError::InvalidNode { fault, .. } => *fault,
        other => panic!("expected a malformed node, found {other}"),
    }
}

#[test]
fn keys_that_do_not_rise() {
    let keys = keys_on(0, 2);
    let entries = vec![
        Raw(0, &keys[1], Ipld::Null, link()),
        Raw(0, &keys[0], Ipld::Null, link()),
    ];
    // Without front coding the prefix length is what is wrong first.
    assert!(matches!(
        node_fault(&[node(Ipld::Null, entries)]),
        NodeFault::WrongPrefix { entry: 1, .. }
    ));

    let shared = keys[0]
        .bytes()
        .zip(keys[1].bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let entries = vec![
        Raw(0, &keys[1], Ipld::Null, link()),
        Raw(shared as i128, &keys[0][shared..], Ipld::Null, link()),
    ];
    assert_eq!(
        node_fault(&[node(Ipld::Null, entries)]),
        NodeFault::Unsorted { entry: 1 }
    );

    let twice = vec![
        Raw(0, &keys[0], Ipld::Null, link()),
        Raw(keys[0].len() as i128, "", Ipld::Null, link()),
    ];
    assert_eq!(
        node_fault(&[node(Ipld::Null, twice)]),
        NodeFault::Unsorted { entry: 1 }
    );
}

#[test]
fn wrong_prefix_lengths() {
    let keys = keys_on(0, 2);
    for (prefix, suffix) in [(1000, "x"), (1, &keys[1][1..]), (0, &keys[1][..])] {
        let entries = vec![
            Raw(0, &keys[0], Ipld::Null, link()),
            Raw(prefix, suffix, Ipld::Null, link()),
        ];
        let fault = node_fault(&[node(Ipld::Null, entries)]);
        assert!(
            matches!(fault, NodeFault::WrongPrefix { entry: 1, .. }),
            "{prefix}: {fault}"
        );
    }
    for prefix in [-1, 1025, i128::from(u64::MAX)] {
        let fault = node_fault(&[node(
            Ipld::Null,
            vec![Raw(prefix, &keys[0], Ipld::Null, link())],
        )]);
        assert!(
            matches!(fault, NodeFault::Encoding { .. }),
            "{prefix}: {fault}"
        );
    }
}

#[test]
fn keys_that_are_none() {
    for key in ["", "a", "a/b/c", "a/ b", "/b"] {
        let fault = node_fault(&[node(Ipld::Null, vec![Raw(0, key, Ipld::Null, link())])]);
        assert_eq!(fault, NodeFault::InvalidKey { entry: 0 }, "{key}");
    }
    let long = format!("a/{}", "b".repeat(1023));
    let fault = node_fault(&[node(Ipld::Null, vec![Raw(0, &long, Ipld::Null, link())])]);
    assert!(matches!(fault, NodeFault::Encoding { .. }), "{fault}");
}

#[test]
fn keys_on_the_wrong_layer() {
    let (low, high) = (&keys_on(0, 1)[0], &keys_on(2, 1)[0]);
    let child = node(Ipld::Null, vec![Raw(0, low, Ipld::Null, link())]);
    let to_child = Ipld::Link(dag_cbor_cid(&child));
    // The child of a node on layer 2 must be on layer 1.
    let (left, right) = if low < high {
        (to_child, Ipld::Null)
    } else {
        (Ipld::Null, to_child)
    };
    let root = node(left, vec![Raw(0, high, right, link())]);
    let fault = node_fault(&[root, child]);
    assert_eq!(
        fault,
        NodeFault::WrongLayer {
            entry: 0,
            expected: 1,
            found: 0
        }
    );
}

#[test]
fn keys_out_of_range() {
    let upper = &keys_on(1, 1)[0];
    for (wrong, on_the_left) in [
        ("z.example/".to_owned(), true),
        ("a.example/".to_owned(), false),
    ] {
        let key = (0..)
            .map(|n| format!("{wrong}{n}"))
            .find(|k| height(k) == 0)
            .unwrap();
        let child = node(Ipld::Null, vec![Raw(0, &key, Ipld::Null, link())]);
        let to_child = Ipld::Link(dag_cbor_cid(&child));
        let (left, right) = if on_the_left {
            (to_child, Ipld::Null)
        } else {
            (Ipld::Null, to_child)
        };
        let root = node(left, vec![Raw(0, upper, right, link())]);
        assert_eq!(node_fault(&[root, child]), NodeFault::OutOfRange);
    }
}

#[test]
fn one_subtree_twice() {
    let (low, upper) = (keys_on(0, 1), keys_on(1, 3));
    let child = node(Ipld::Null, vec![Raw(0, &low[0], Ipld::Null, link())]);
    let to_child = Ipld::Link(dag_cbor_cid(&child));
    let key = upper.iter().find(|k| **k > low[0]).unwrap();
    let root = node(to_child.clone(), vec![Raw(0, key, to_child, link())]);
    assert_eq!(node_fault(&[root, child]), NodeFault::OutOfRange);
}

#[test]
fn a_cycle_ends_at_the_lowest_layer() {
    // Hashes forbid cycles; a source that lies about them does not.
    let key = &keys_on(2, 1)[0];
    let looped = node(link(), vec![]);
    let root = node(link(), vec![Raw(0, key, Ipld::Null, link())]);
    let source = HashMap::from([(dag_cbor_cid(&root), root.clone()), (value(1), looped)]);
    let error = Preorder::new(&source, dag_cbor_cid(&root))
        .find_map(Result::err)
        .unwrap();
    let MstError::InvalidNode { fault, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(*fault, NodeFault::TooDeep);
}

#[test]
fn empty_nodes() {
    let empty = node(Ipld::Null, vec![]);
    let key = &keys_on(1, 1)[0];
    let root = node(
        Ipld::Link(dag_cbor_cid(&empty)),
        vec![Raw(0, key, Ipld::Null, link())],
    );
    assert_eq!(node_fault(&[root, empty.clone()]), NodeFault::Empty);

    let untrimmed = node(Ipld::Link(dag_cbor_cid(&empty)), vec![]);
    assert_eq!(node_fault(&[untrimmed, empty]), NodeFault::Untrimmed);

    let deep = node(Ipld::Null, vec![Raw(0, &keys_on(0, 1)[0], link(), link())]);
    assert_eq!(node_fault(&[deep]), NodeFault::TooDeep);
}

#[test]
fn missing_nodes_are_named() {
    let key = &keys_on(1, 1)[0];
    let root = node(link(), vec![Raw(0, key, Ipld::Null, link())]);
    assert!(matches!(fault(&[root]), MstError::MissingBlock(cid) if cid == value(1)));
}

#[test]
fn a_root_that_names_no_node() {
    let source: HashMap<Cid, Bytes> = HashMap::new();
    let root = raw_cid(b"a record");
    let mut tree = Tree::load(root);
    for error in [
        tree.get(&source, "a/b").unwrap_err(),
        tree.put(&source, "a/b", &root).unwrap_err(),
        tree.delete(&source, "a/b").unwrap_err(),
        verify_proof(&root, "a/b", &source).unwrap_err(),
        invert(&root, &source, &[]).unwrap_err(),
    ] {
        assert!(matches!(error, MstError::NotANode), "{error}");
    }
}

#[test]
fn links_that_name_no_node() {
    let key = &keys_on(1, 1)[0];
    for wrong in [
        Ipld::Link(raw_cid(b"x")),
        Ipld::Integer(0),
        Ipld::Bool(false),
    ] {
        let root = node(wrong, vec![Raw(0, key, Ipld::Null, link())]);
        assert!(matches!(node_fault(&[root]), NodeFault::Encoding { .. }));
    }
    for wrong in [Ipld::Null, Ipld::Integer(0), Ipld::String("v".into())] {
        let root = node(Ipld::Null, vec![Raw(0, key, Ipld::Null, wrong)]);
        assert!(matches!(node_fault(&[root]), NodeFault::Encoding { .. }));
    }
}

#[test]
fn encodings_that_are_not_canonical() {
    let key = &keys_on(0, 1)[0];
    let good = node(Ipld::Null, vec![Raw(0, key, Ipld::Null, link())]);
    let mut trailing = good.to_vec();
    trailing.push(0xf6);
    assert!(matches!(
        node_fault(&[trailing.into()]),
        NodeFault::TrailingBytes { .. }
    ));

    // The number of entries, and a prefix length, with a needless byte.
    let mut long_count = good.to_vec();
    long_count.splice(3..4, [0x98, 1]);
    let mut endless = good.to_vec();
    endless[3] = 0x9f;
    let mut huge = good.to_vec();
    huge.splice(3..4, [0x9a, 0xff, 0xff, 0xff, 0xff]);
    let mut swapped = b"\xa2\x61l\xf6\x61e\x80".to_vec();
    swapped.truncate(7);
    for bytes in [long_count, endless, huge, swapped, Vec::new()] {
        assert!(matches!(
            node_fault(&[bytes.into()]),
            NodeFault::Encoding { .. }
        ));
    }
    let large = Bytes::from(vec![0; MAX_NODE_BYTES + 1]);
    assert!(matches!(node_fault(&[large]), NodeFault::TooLarge { .. }));
    for end in 0..good.len() {
        assert!(matches!(
            node_fault(&[good.slice(..end)]),
            NodeFault::Encoding { .. }
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// A node with some bytes changed either reads back as exactly these bytes, or is refused.
    #[test]
    fn mutated_nodes_are_canonical_or_refused(
        count in 0..12usize,
        layer in 0..2usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let keys = keys_on(layer, count);
        let mut tree = tree_of(keys.iter().map(|k| (k.as_str(), value(1))));
        let flush = tree.flush();
        let mut bytes = flush.new.last().unwrap().1.to_vec();
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len().max(1));
            match kind {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        let bytes = Bytes::from(bytes);
        let root = dag_cbor_cid(&bytes);
        let source = HashMap::from([(root, bytes.clone())]);
        let entries: Result<Vec<(Vec<u8>, Cid)>, MstError> =
            Tree::load(root).entries(&source).collect();
        if let Ok(entries) = entries {
            prop_assert_eq!(Tree::from_sorted(entries).unwrap().root(), root);
            let value = dag_cbor::decode(&bytes).unwrap();
            prop_assert_eq!(dag_cbor::encode(&value).unwrap(), bytes.to_vec());
        }
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let root = dag_cbor_cid(&noise);
        let source = HashMap::from([(root, Bytes::from(noise))]);
        prop_assert!(Tree::load(root).load_all(&source).is_err());
    }
}
