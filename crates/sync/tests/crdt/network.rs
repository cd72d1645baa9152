//! Several writers that edit and exchange at random, and any causal order in which their edits can arrive.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use ues_sync::crdt::{Dot, Edit, Origin, Rule};

/// What a writer does, from the state it sees and three random numbers.
pub type Author<R> = fn(&R, &Origin, [u64; 3]) -> <R as Rule>::Edit;

#[derive(Clone, Debug)]
pub enum Act {
    /// A writer makes an edit.
    Edit(Index, [u64; 3]),
    /// A writer takes all that another has.
    Pull(Index, Index),
    /// A writer is stopped and begins again from its stored state.
    Restart(Index),
}

pub fn acts(most: usize) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (any::<Index>(), any::<[u64; 3]>()).prop_map(|(writer, random)| Act::Edit(writer, random)),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(to, from)| Act::Pull(to, from)),
        1 => any::<Index>().prop_map(Act::Restart),
    ];
    prop::collection::vec(act, 1..most)
}

/// One operation, and how many operations of each writer it has seen.
#[derive(Clone)]
pub struct Operation<E> {
    pub origin: Origin,
    pub past: Vec<usize>,
    pub edit: E,
}

struct Replica<R> {
    state: R,
    seen: Vec<usize>,
    time: u64,
}

/// Lets the writers act; gives all operations, in an order in which they were made.
pub fn play<R: Rule>(writers: usize, acts: &[Act], author: Author<R>) -> Vec<Operation<R::Edit>> {
    let mut replicas: Vec<Replica<R>> = (0..writers)
        .map(|_| Replica {
            state: R::default(),
            seen: vec![0; writers],
            time: 0,
        })
        .collect();
    let mut made: Vec<Operation<R::Edit>> = Vec::new();
    for act in acts {
        match act {
            Act::Edit(writer, random) => {
                let writer = writer.index(writers);
                let replica = &mut replicas[writer];
                replica.time += 1;
                let origin = Origin {
                    dot: Dot::new(
                        writer as u32,
                        replica.seen[writer] as u64,
                        (random[2] % 3) as u32,
                    ),
                    time: replica.time,
                    author: name(writer),
                };
                let edit = author(&replica.state, &origin, *random);
                let bytes = edit.encode().unwrap();
                let edit = R::Edit::decode(&bytes).unwrap();
                assert_eq!(edit.encode().unwrap(), bytes);
                replica.state.apply(&origin, &edit).unwrap();
                let past = replica.seen.clone();
                replica.seen[writer] += 1;
                made.push(Operation { origin, past, edit });
            }
            Act::Pull(to, from) => {
                let (to, from) = (to.index(writers), from.index(writers));
                let (known, time) = (replicas[from].seen.clone(), replicas[from].time);
                let replica = &mut replicas[to];
                for operation in &made {
                    let writer = operation.origin.dot.writer as usize;
                    let seq = operation.origin.dot.seq as usize;
                    if seq < known[writer] && seq >= replica.seen[writer] {
                        replica
                            .state
                            .apply(&operation.origin, &operation.edit)
                            .unwrap();
                        replica.seen[writer] = seq + 1;
                    }
                }
                replica.time = replica.time.max(time);
            }
            Act::Restart(writer) => {
                let replica = &mut replicas[writer.index(writers)];
                replica.state = reread(&replica.state);
            }
        }
    }
    made
}

/// The state, written and read again.
pub fn reread<R: Rule>(state: &R) -> R {
    let bytes = state.encode();
    let read = R::decode(&bytes).unwrap();
    assert_eq!(read.encode(), bytes);
    assert_eq!(read.value(), state.value());
    read
}

/// Some writers have the same time, and one DID for two of them, so that every tie is met.
fn name(writer: usize) -> Arc<str> {
    format!("did:example:{}", (7 - writer) / 2).into()
}

/// Applies all operations in an order that the numbers choose among those that respect what each operation has seen.
/// Every `again`-th is offered twice, and the second time must be refused.
pub fn deliver<R: Rule>(made: &[Operation<R::Edit>], choices: &[Index], writers: usize) -> R {
    let mut state = R::default();
    let mut seen = vec![0; writers];
    let mut left: Vec<&Operation<R::Edit>> = made.iter().collect();
    let mut choices = choices.iter().cycle();
    while !left.is_empty() {
        let ready: Vec<usize> = (0..left.len())
            .filter(|at| {
                let operation = left[*at];
                let own = operation.origin.dot.writer as usize;
                seen[own] == operation.past[own]
                    && operation.past.iter().zip(&seen).all(|(a, b)| a <= b)
            })
            .collect();
        let chosen = ready[choices.next().unwrap().index(ready.len())];
        let operation = left.remove(chosen);
        state.apply(&operation.origin, &operation.edit).unwrap();
        seen[operation.origin.dot.writer as usize] += 1;
        if left.len().is_multiple_of(5) {
            let before = state.encode();
            assert!(state.apply(&operation.origin, &operation.edit).is_err());
            assert_eq!(state.encode(), before);
        }
        if left.len().is_multiple_of(7) {
            state = reread(&state);
        }
    }
    state
}

/// The law: all orders give one state.
pub fn check<R: Rule>(
    writers: usize,
    acts: &[Act],
    orders: &[Vec<Index>],
    author: Author<R>,
) -> (R, Vec<Operation<R::Edit>>) {
    let made = play::<R>(writers, acts, author);
    let mut first = R::default();
    for operation in &made {
        first.apply(&operation.origin, &operation.edit).unwrap();
    }
    let expected = first.encode();
    for choices in orders {
        let state = deliver::<R>(&made, choices, writers);
        assert_eq!(state.encode(), expected);
    }
    (first, made)
}

pub fn orders() -> impl Strategy<Value = Vec<Vec<Index>>> {
    prop::collection::vec(prop::collection::vec(any::<Index>(), 1..40), 3)
}
