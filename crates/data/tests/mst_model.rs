//! Random operations on the tree, against a map and against a tree built from the definition.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mst_support;

use std::collections::BTreeMap;

use mst_support::{Shelf, key, reference, tree_of, value};
use proptest::prelude::*;
use ues_data::Cid;
use ues_data::mst::Tree;
use ues_data::source::NoBlocks;

#[derive(Clone, Debug)]
enum Step {
    Put(u32, u32),
    Delete(u32),
    Get(u32),
    Root,
    Flush,
    Reload,
    Fork,
    /// Put this many keys, each greater than all others.
    Rise(u32),
    DeleteGreatest,
}

fn step(space: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..space, 0..4u32).prop_map(|(k, v)| Step::Put(k, v)),
        6 => (0..space).prop_map(Step::Delete),
        2 => (0..space).prop_map(Step::Get),
        1 => Just(Step::Root),
        2 => Just(Step::Flush),
        1 => Just(Step::Reload),
        1 => Just(Step::Fork),
        2 => (1..40u32).prop_map(Step::Rise),
        1 => Just(Step::DeleteGreatest),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![
        prop::collection::vec(step(12), 1..60),
        prop::collection::vec(step(150), 1..200),
        prop::collection::vec(step(3000), 1..300),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map_and_flushes_the_truth(steps in steps()) {
        let mut model: BTreeMap<String, Cid> = BTreeMap::new();
        let mut shelf = Shelf::default();
        let mut tree = Tree::empty();
        shelf.apply(&tree.flush());
        let mut forks = Vec::new();
        let mut risen = 20_000;
        for step in steps {
            match step {
                Step::Put(k, v) => {
                    let old = tree.put(&shelf, key(k), &value(v)).unwrap();
                    prop_assert_eq!(old, model.insert(key(k), value(v)));
                }
                Step::Delete(k) => {
                    let old = tree.delete(&shelf, key(k)).unwrap();
                    prop_assert_eq!(old, model.remove(&key(k)));
                }
                Step::Get(k) => {
                    let found = tree.get(&shelf, key(k)).unwrap();
                    prop_assert_eq!(found, model.get(&key(k)).copied());
                }
                Step::Root => {
                    prop_assert_eq!(tree.root(), reference(&model).0);
                }
                Step::Flush => {
                    shelf.apply(&tree.flush());
                    shelf.assert_holds_exactly(&model);
                }
                Step::Reload => {
                    let flush = tree.flush();
                    shelf.apply(&flush);
                    tree = Tree::load(flush.root);
                }
                Step::Rise(count) => {
                    for n in risen..risen + count {
                        let key = key(3 * n + 2);
                        prop_assert!(model.keys().all(|k| *k < key));
                        let old = tree.put(&shelf, &key, &value(n)).unwrap();
                        prop_assert_eq!(old, model.insert(key, value(n)));
                    }
                    risen += count;
                }
                Step::DeleteGreatest => {
                    if let Some((key, last)) = model.pop_last() {
                        prop_assert_eq!(tree.delete(&shelf, key).unwrap(), Some(last));
                    }
                }
                Step::Fork => forks.push((tree.clone(), model.clone())),
            }
        }
        prop_assert_eq!(tree.root(), reference(&model).0);
        shelf.apply(&tree.flush());
        shelf.assert_holds_exactly(&model);
        // What happened to the tree later happened to none of its clones.
        for (mut fork, model) in forks {
            prop_assert_eq!(fork.root(), reference(&model).0);
        }
    }

    #[test]
    fn any_order_gives_the_same_root(
        numbers in prop::collection::btree_set(0..100_000u32, 0..300),
        seed in any::<u64>(),
    ) {
        let mut shuffled: Vec<u32> = numbers.iter().copied().collect();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let model: BTreeMap<String, Cid> = numbers.iter().map(|n| (key(*n), value(*n))).collect();
        let keys: Vec<(String, Cid)> = shuffled.iter().map(|n| (key(*n), value(*n))).collect();
        let mut tree = tree_of(keys.iter().map(|(k, v)| (k.as_str(), *v)));
        prop_assert_eq!(tree.root(), reference(&model).0);
        for (key, value) in &keys {
            prop_assert_eq!(tree.delete(&NoBlocks, key).unwrap(), Some(*value));
        }
        prop_assert_eq!(tree.root(), Tree::empty().root());
    }
}
