//! The laws of the merge rules, against slow versions of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod network;
mod reference;
mod runs;
mod vectors;

use std::collections::BTreeMap;

use proptest::prelude::*;
use ues_data::Ipld;
use ues_sync::crdt::*;

use network::{Act, Author, acts, check, orders};
use reference::{Tree, slow_text};

const WRITERS: usize = 4;

fn value(number: u64) -> Value {
    Value::new(&Ipld::Integer(number.into())).unwrap()
}

fn edit_counter(_: &Counter, _: &Origin, [a, ..]: [u64; 3]) -> CounterEdit {
    CounterEdit {
        amount: a as i64 >> 8,
    }
}

fn edit_set(set: &Set, _: &Origin, [a, b, c]: [u64; 3]) -> SetEdit {
    let mut changes = Vec::new();
    for random in [a, b, c].into_iter().take(1 + (c % 3) as usize) {
        let value = value(random % 5);
        changes.push(match random % 2 {
            0 => SetChange::Add(value),
            _ => set.remove(&value),
        });
    }
    SetEdit { changes }
}

fn edit_fields(fields: &Fields, _: &Origin, [a, b, c]: [u64; 3]) -> FieldsEdit {
    let mut changes = Vec::new();
    for random in [a, b].into_iter().take(1 + (c % 2) as usize) {
        let field = ["a", "b", "cc"][(random % 3) as usize];
        let written = (random % 4 != 0).then(|| value(random % 1000));
        changes.push(fields.change(field, written));
    }
    FieldsEdit { changes }
}

fn edit_list(list: &List, _: &Origin, [a, b, c]: [u64; 3]) -> ListEdit {
    let len = list.len();
    if b % 3 == 0 && len > 0 {
        let position = a % len;
        let count = 1 + c % (len - position).min(4);
        let steps = list.delete(position, count).unwrap();
        return ListEdit { steps };
    }
    let values = (0..1 + c % 4).map(|n| value(c % 100 + n)).collect();
    let mut steps = vec![list.insert(a % (len + 1), values).unwrap()];
    if len > 0 && b % 4 == 0 {
        steps.extend(list.delete(a % len, 1).unwrap());
    }
    ListEdit { steps }
}

fn edit_text(text: &Text, _: &Origin, [a, b, c]: [u64; 3]) -> TextEdit {
    let len = text.len();
    let position = a % (len + 1);
    let room = len - position;
    let mut steps = Vec::new();
    if b % 4 == 0 && room > 0 {
        steps.extend(text.delete(position, 1 + c % room.min(5)).unwrap());
    }
    if b % 4 == 1 && room > 0 {
        let expand = [Expand::Neither, Expand::After, Expand::Before, Expand::Both];
        let expand = expand[(c % 4) as usize];
        let key = ["x.y#bold", "x.y#link"][(b / 4 % 2) as usize];
        let map = BTreeMap::from([("n".to_owned(), Ipld::Integer((c % 3).into()))]);
        let value = (c % 5 != 0).then(|| Value::new(&Ipld::Map(map)).unwrap());
        let range = (position, position + 1 + b % room);
        steps.push(text.mark(range, expand, key, value).unwrap());
    }
    if b % 4 > 1 || steps.is_empty() || c % 7 == 0 {
        let alphabet = ['a', 'ß', '€', '𝄞', 'z'];
        let run = (0..1 + c % 6).map(|n| alphabet[((c / 8 + n) % 5) as usize]);
        steps.push(text.insert(position, &run.collect::<String>()).unwrap());
    }
    TextEdit { steps }
}

/// Places that no honest author would choose, but that can be applied.
fn edit_wild(text: &Text, origin: &Origin, [a, b, c]: [u64; 3]) -> TextEdit {
    let len = text.len();
    let element =
        |n: u64| (len > 0 && !n.is_multiple_of(5)).then(|| text.element(n / 5 % len).unwrap());
    let place = match (element(a), b % 2) {
        (Some(parent), 0) => Place::Before { parent },
        (parent, _) => Place::After {
            parent,
            next: element(c),
        },
    };
    let run = ["x", "yz", "1234"][(c % 3) as usize];
    let edit = TextEdit {
        steps: vec![TextStep::Insert(place, run.into())],
    };
    match text.clone().apply(origin, &edit) {
        Ok(()) => edit,
        Err(_) => edit_text(text, origin, [a, b, c]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn counters_converge(acts in acts(60), orders in orders()) {
        let (state, made) = check::<Counter>(WRITERS, &acts, &orders, edit_counter);
        prop_assert_eq!(Ipld::Integer(state.total()), reference::counter(&made));
    }

    #[test]
    fn sets_converge(acts in acts(60), orders in orders()) {
        let (state, made) = check::<Set>(WRITERS, &acts, &orders, edit_set);
        prop_assert_eq!(state.value(), reference::set(&made));
    }

    #[test]
    fn fields_converge(acts in acts(60), orders in orders()) {
        let (state, made) = check::<Fields>(WRITERS, &acts, &orders, edit_fields);
        prop_assert_eq!(state.value(), reference::fields(&made));
    }

    #[test]
    fn lists_converge(acts in acts(80), orders in orders()) {
        let (state, made) = check::<List>(WRITERS, &acts, &orders, edit_list);
        let mut tree = Tree::new();
        for operation in &made {
            let mut dot = operation.origin.dot;
            for step in &operation.edit.steps {
                match step {
                    ListStep::Insert(place, values) => {
                        tree.insert(dot, *place, values.clone());
                        dot = dot.plus(values.len() as u32).unwrap();
                    }
                    ListStep::Delete(first, count) => tree.delete(*first, *count),
                }
            }
        }
        let values: Vec<Ipld> = tree.values().iter().map(Value::to_ipld).collect();
        prop_assert_eq!(state.value(), Ipld::List(values));
        for position in 0..state.len() {
            let plain = state.values().nth(position as usize);
            prop_assert_eq!(state.get(position), plain);
        }
    }

    #[test]
    fn texts_converge(acts in acts(80), orders in orders()) {
        let (state, made) = check::<Text>(WRITERS, &acts, &orders, edit_text);
        prop_assert_eq!(state.value(), slow_text(&made));
    }

    #[test]
    fn texts_with_odd_places_converge(acts in acts(80), orders in orders()) {
        let (state, made) = check::<Text>(WRITERS, &acts, &orders, edit_wild);
        prop_assert_eq!(state.value(), slow_text(&made));
    }

    #[test]
    fn foreign_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fn edit<E: Edit>(bytes: &[u8]) {
            if let Ok(edit) = E::decode(bytes) {
                assert_eq!(edit.encode().unwrap(), bytes);
            }
        }
        fn state<R: Rule>(bytes: &[u8]) {
            if let Ok(state) = R::decode(bytes) {
                assert_eq!(state.encode(), bytes);
            }
        }
        edit::<CounterEdit>(&bytes);
        edit::<SetEdit>(&bytes);
        edit::<FieldsEdit>(&bytes);
        edit::<ListEdit>(&bytes);
        edit::<TextEdit>(&bytes);
        state::<Counter>(&bytes);
        state::<Set>(&bytes);
        state::<Fields>(&bytes);
        state::<List>(&bytes);
        state::<Text>(&bytes);
    }

    /// One byte of a true state or edit changed: what is still accepted is canonical and can be worked with.
    #[test]
    fn damage_is_refused_or_canonical(
        acts in acts(25),
        rule in 0..5,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        match rule {
            0 => damage::<Counter>(&acts, at, byte, edit_counter),
            1 => damage::<Set>(&acts, at, byte, edit_set),
            2 => damage::<Fields>(&acts, at, byte, edit_fields),
            3 => damage::<List>(&acts, at, byte, edit_list),
            _ => damage::<Text>(&acts, at, byte, edit_text),
        }
    }
}

fn damage<R: Rule>(acts: &[Act], at: prop::sample::Index, byte: u8, author: Author<R>) {
    let made = network::play::<R>(WRITERS, acts, author);
    let mut state = R::default();
    for operation in &made {
        state.apply(&operation.origin, &operation.edit).unwrap();
    }
    let stranger = |seq| Origin {
        dot: Dot::new(99, seq, 0),
        time: 1,
        author: "did:example:z".into(),
    };
    let mut bytes = state.encode();
    let place = at.index(bytes.len());
    bytes[place] = byte;
    if let Ok(mut read) = R::decode(&bytes) {
        assert_eq!(read.encode(), bytes);
        let edit = author(&read, &stranger(0), [at.index(1000) as u64, byte.into(), 3]);
        read.apply(&stranger(0), &edit).unwrap();
        network::reread(&read);
    }
    for (seq, operation) in (0..).zip(&made) {
        let mut bytes = operation.edit.encode().unwrap();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let Ok(edit) = R::Edit::decode(&bytes) else {
            continue;
        };
        assert_eq!(edit.encode().unwrap(), bytes);
        let before = state.encode();
        match state.apply(&stranger(seq), &edit) {
            Ok(()) => drop(network::reread(&state)),
            Err(_) => assert_eq!(state.encode(), before),
        }
    }
}
