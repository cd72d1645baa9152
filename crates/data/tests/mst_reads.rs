//! Ranges, walks, differences, batches and builds, each against what a map says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mst_support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use mst_support::{Recording, Shelf, key, reference, tree_of, value};
use proptest::prelude::*;
use ues_data::Cid;
use ues_data::mst::{
    Change, Direction, MstError, Op, Preorder, PreorderItem, Tree, build_sorted, diff,
};
use ues_data::source::NoBlocks;

type Model = BTreeMap<String, Cid>;

fn model() -> impl Strategy<Value = Model> {
    let numbers = prop_oneof![
        prop::collection::btree_map(0..40u32, 0..3u32, 0..20),
        prop::collection::btree_map(0..5000u32, 0..3u32, 0..250),
    ];
    numbers.prop_map(|m| m.into_iter().map(|(k, v)| (key(k), value(v))).collect())
}

/// A stored tree: its shelf, and the tree with nothing in memory.
fn stored(model: &Model) -> (Shelf, Tree) {
    let mut shelf = Shelf::default();
    let mut tree = tree_of(model.iter().map(|(k, v)| (k.as_str(), *v)));
    let flush = tree.flush();
    shelf.apply(&flush);
    (shelf, Tree::load(flush.root))
}

fn bound(kind: u8, key: &str) -> Bound<&[u8]> {
    match kind {
        0 => Bound::Unbounded,
        1 => Bound::Included(key.as_bytes()),
        _ => Bound::Excluded(key.as_bytes()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn ranges_both_ways(
        model in model(),
        (low, low_kind, high, high_kind) in (0..5000u32, 0..3u8, 0..5000u32, 0..3u8),
        in_memory in any::<bool>(),
    ) {
        let (shelf, mut tree) = stored(&model);
        if in_memory {
            tree.load_all(&shelf).unwrap();
        }
        let (low, high) = (key(low), key(high));
        let bounds = (bound(low_kind, &low), bound(high_kind, &high));
        let inside = |k: &str| {
            let k = k.as_bytes();
            (match bounds.0 {
                Bound::Included(b) => k >= b,
                Bound::Excluded(b) => k > b,
                Bound::Unbounded => true,
            }) && (match bounds.1 {
                Bound::Included(b) => k <= b,
                Bound::Excluded(b) => k < b,
                Bound::Unbounded => true,
            })
        };
        let mut expected: Vec<(Vec<u8>, Cid)> = model
            .iter()
            .filter(|(k, _)| inside(k))
            .map(|(k, v)| (k.clone().into_bytes(), *v))
            .collect();
        let forward: Result<Vec<_>, _> =
            tree.range(&shelf, bounds.0, bounds.1, Direction::Forward).collect();
        prop_assert_eq!(forward.unwrap(), expected.clone());
        expected.reverse();
        let backward: Result<Vec<_>, _> =
            tree.range(&shelf, bounds.0, bounds.1, Direction::Backward).collect();
        prop_assert_eq!(backward.unwrap(), expected);
        prop_assert_eq!(tree.len(&shelf).unwrap(), model.len());
        prop_assert_eq!(tree.is_empty(&shelf).unwrap(), model.is_empty());
    }

    #[test]
    fn prefixes_both_ways(model in model(), prefix in 0..5000u32, cut in 0..24usize) {
        let (shelf, tree) = stored(&model);
        let whole = key(prefix);
        let prefix = &whole[..cut.min(whole.len())];
        let expected: Vec<Vec<u8>> = model
            .keys()
            .filter(|k| k.starts_with(prefix))
            .map(|k| k.clone().into_bytes())
            .collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let mut found: Vec<Vec<u8>> =
                tree.prefix(&shelf, prefix, direction).map(|e| e.unwrap().0).collect();
            if direction == Direction::Backward {
                found.reverse();
            }
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn preorder_is_the_order_of_the_definition(model in model()) {
        let (shelf, tree) = stored(&model);
        let root = tree.clean_root().unwrap();
        let items: Vec<PreorderItem> =
            Preorder::new(&shelf, root).collect::<Result<_, _>>().unwrap();
        let mut expected = Vec::new();
        expected_preorder(root, &shelf.blocks, &mut String::new(), &mut expected);
        prop_assert_eq!(items, expected);
    }

    #[test]
    fn diff_names_what_changed_and_reads_little_else(
        old in model(),
        edits in prop::collection::vec((0..5000u32, prop::option::of(0..5u32)), 0..12),
        unrelated in prop::option::weighted(0.2, model()),
    ) {
        let mut new = old.clone();
        for (k, v) in edits {
            match v {
                Some(v) => new.insert(key(k), value(v)),
                None => new.remove(&key(k)),
            };
        }
        let new = unrelated.unwrap_or(new);
        let ((old_shelf, old_tree), (new_shelf, new_tree)) = (stored(&old), stored(&new));
        let (a, b) = (Recording::new(old_shelf), Recording::new(new_shelf));
        let found = diff(&old_tree, &a, &new_tree, &b).unwrap();

        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let expected: Vec<Change> = keys
            .into_iter()
            .filter(|k| old.get(*k) != new.get(*k))
            .map(|k| Change {
                key: k.clone().into_bytes(),
                before: old.get(k).copied(),
                after: new.get(k).copied(),
            })
            .collect();
        prop_assert_eq!(&found.changes, &expected);

        let only = |x: &HashMap<Cid, Bytes>, y: &HashMap<Cid, Bytes>| -> BTreeSet<Cid> {
            x.keys().filter(|c| !y.contains_key(c)).copied().collect()
        };
        let removed = only(&a.inner.blocks, &b.inner.blocks);
        let added = only(&b.inner.blocks, &a.inner.blocks);
        prop_assert_eq!(found.removed_nodes.iter().copied().collect::<BTreeSet<_>>(), removed.clone());
        prop_assert_eq!(found.new_nodes.iter().copied().collect::<BTreeSet<_>>(), added.clone());

        // What both trees have is read only on the way to a difference.
        let common_read = a.read.borrow().iter().filter(|c| !removed.contains(c)).count();
        prop_assert!(common_read <= 2 + 12 * expected.len(), "{common_read} for {}", expected.len());
    }

    #[test]
    fn a_batch_is_its_operations_one_by_one(
        old in model(),
        wanted in prop::collection::vec((0..60u32, prop::option::of(0..5u32)), 0..80),
    ) {
        let (shelf, mut tree) = stored(&old);
        let mut one_by_one = tree.clone();
        let ops: Vec<Op> = wanted
            .iter()
            .map(|(k, v)| match v {
                Some(v) => Op::Put { key: key(*k).into_bytes(), value: value(*v) },
                None => Op::Delete { key: key(*k).into_bytes() },
            })
            .collect();
        let expected: Vec<Option<Cid>> = wanted
            .iter()
            .map(|(k, v)| match v {
                Some(v) => one_by_one.put(&shelf, key(*k), &value(*v)).unwrap(),
                None => one_by_one.delete(&shelf, key(*k)).unwrap(),
            })
            .collect();
        prop_assert_eq!(tree.apply(&shelf, &ops).unwrap(), expected);
        prop_assert_eq!(tree.root(), one_by_one.root());
    }

    #[test]
    fn a_sorted_build_is_the_same_tree(model in model(), extra in 0..5000u32) {
        let (root, blocks) = reference(&model);
        let mut tree = Tree::from_sorted(model.iter().map(|(k, v)| (k, *v))).unwrap();
        prop_assert_eq!(tree.resident_nodes(), blocks.len());
        let mut shelf = Shelf::default();
        let flush = tree.flush();
        shelf.apply(&flush);
        prop_assert_eq!(flush.root, root);
        shelf.assert_holds_exactly(&model);

        let mut emitted = BTreeMap::new();
        let streamed = build_sorted(model.iter().map(|(k, v)| (k, *v)), |cid, bytes| {
            emitted.insert(cid, bytes);
        });
        prop_assert_eq!(streamed.unwrap(), root);
        prop_assert_eq!(emitted, blocks);

        // It goes on as any other tree.
        tree.put(&NoBlocks, key(extra), &value(9)).unwrap();
        let mut model = model;
        model.insert(key(extra), value(9));
        prop_assert_eq!(tree.root(), reference(&model).0);
    }

    #[test]
    fn unloading_forgets_only_what_can_be_read_again(
        old in model(),
        changes in prop::collection::vec((0..5000u32, any::<bool>()), 0..20),
        limit in 0..60usize,
    ) {
        let (mut shelf, mut tree) = stored(&old);
        tree.load_all(&shelf).unwrap();
        prop_assert_eq!(tree.resident_nodes(), shelf.blocks.len());
        let mut model = old;
        for (n, (k, put)) in changes.iter().enumerate() {
            if *put {
                tree.put(&shelf, key(*k), &value(7)).unwrap();
                model.insert(key(*k), value(7));
            } else {
                tree.delete(&shelf, key(*k)).unwrap();
                model.remove(&key(*k));
            }
            if n % 3 == 0 {
                tree.unload_to(limit);
            }
        }
        prop_assert_eq!(tree.root(), reference(&model).0);
        let (_, blocks) = reference(&model);
        shelf.apply(&tree.flush());
        tree.unload_to(limit);
        prop_assert!(tree.resident_nodes() <= limit.min(blocks.len()));
    }
}

#[test]
fn unsorted_input_is_refused() {
    for second in ["com.example.a/1", "com.example.a/2"] {
        let entries = [("com.example.a/2", value(1)), (second, value(2))];
        let error = Tree::from_sorted(entries).unwrap_err();
        assert!(matches!(error, MstError::UnsortedKeys { .. }), "{error}");
    }
}

#[test]
fn a_batch_that_fails_changes_nothing() {
    let mut tree = tree_of([("com.example.a/1", value(1))]);
    let before = tree.root();
    let ops = [
        Op::Put {
            key: b"com.example.a/2".to_vec(),
            value: value(2),
        },
        Op::Put {
            key: b"no key".to_vec(),
            value: value(3),
        },
    ];
    let error = tree.apply(&NoBlocks, &ops).unwrap_err();
    assert!(matches!(error, MstError::InvalidKey { .. }), "{error}");
    assert_eq!(tree.root(), before);
}

fn expected_preorder(
    cid: Cid,
    blocks: &HashMap<Cid, Bytes>,
    last: &mut String,
    out: &mut Vec<PreorderItem>,
) {
    use ues_data::{Ipld, dag_cbor};
    let bytes = blocks[&cid].clone();
    let Ipld::Map(node) = dag_cbor::decode(&bytes).unwrap() else {
        panic!("a node is a map")
    };
    out.push(PreorderItem::Node { cid, bytes });
    if let Ipld::Link(left) = &node["l"] {
        expected_preorder(*left, blocks, last, out);
    }
    let Ipld::List(entries) = &node["e"] else {
        panic!("entries are a list")
    };
    let mut key = String::new();
    for entry in entries {
        let Ipld::Map(entry) = entry else {
            panic!("an entry is a map")
        };
        let (Ipld::Integer(p), Ipld::Bytes(k), Ipld::Link(v)) =
            (&entry["p"], &entry["k"], &entry["v"])
        else {
            panic!("an entry has p, k and v")
        };
        key.truncate(*p as usize);
        key.push_str(std::str::from_utf8(k).unwrap());
        assert!(key > *last);
        last.clone_from(&key);
        out.push(PreorderItem::Value {
            key: key.clone().into_bytes(),
            cid: *v,
        });
        if let Ipld::Link(right) = &entry["t"] {
            expected_preorder(*right, blocks, last, out);
        }
    }
}
