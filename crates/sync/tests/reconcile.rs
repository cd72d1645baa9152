//! Two sets, and the way from one to the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use ues_sync::reconcile::*;

const KEY: Key = Key(*b"sixteen bytes ok");

fn item(number: u64) -> Item {
    Item::of(&number.to_le_bytes())
}

fn sketch(items: &BTreeSet<Item>, length: usize) -> Sketch {
    let mut sketch = Sketch::new(KEY, length);
    for item in items {
        sketch.add(*item);
    }
    sketch
}

fn set(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Item> {
    numbers.into_iter().map(item).collect()
}

fn sorted(items: &[Item]) -> BTreeSet<Item> {
    let set: BTreeSet<Item> = items.iter().copied().collect();
    assert_eq!(set.len(), items.len(), "each once");
    set
}

/// Runs an inquiry; gives the difference, round trips and bytes of the answers.
fn inquire(
    local: &BTreeSet<Item>,
    remote: &BTreeSet<Item>,
    estimate: Option<u64>,
) -> (Difference, u32, usize) {
    let mut here = Arc::new(sketch(local, 8));
    let mut there = sketch(remote, 8);
    let (mut inquiry, mut step) = Inquiry::new(Arc::clone(&here), estimate, 1 << 20);
    let (mut rounds, mut bytes) = (0, 0);
    loop {
        step = match step {
            Step::Grow(length) => {
                Arc::make_mut(&mut here)
                    .grow(length, local.iter().copied())
                    .unwrap();
                inquiry.lengthen(Arc::clone(&here)).unwrap()
            }
            Step::Ask(request) => {
                there
                    .grow(request.start + request.count, remote.iter().copied())
                    .unwrap();
                let answer = there.batch(request.start, request.count).encode();
                rounds += 1;
                bytes += answer.len();
                inquiry.answer(&answer).unwrap()
            }
            Step::Done(difference) => return (difference, rounds, bytes),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_difference_is_found(
        common in 0_u64..300,
        local in 0_u64..60,
        remote in 0_u64..60,
        estimate in prop::option::of(0_u64..200),
        salt in any::<u32>(),
    ) {
        let salt = u64::from(salt) << 20;
        let both = (0..common).map(|n| salt + n);
        let a = set(both.clone().chain((1000..1000 + local).map(|n| salt + n)));
        let b = set(both.chain((2000..2000 + remote).map(|n| salt + n)));
        let (difference, ..) = inquire(&a, &b, estimate);
        let only = |x: &BTreeSet<Item>, y: &BTreeSet<Item>| x.difference(y).copied().collect::<BTreeSet<_>>();
        prop_assert_eq!(sorted(&difference.only_local), only(&a, &b));
        prop_assert_eq!(sorted(&difference.only_remote), only(&b, &a));
        prop_assert_eq!(difference.len() as u64, local + remote);
    }

    #[test]
    fn a_kept_sketch_is_the_one_made_anew(
        steps in prop::collection::vec((0_u64..40, any::<bool>()), 0..120),
        lengths in prop::collection::vec(1_usize..300, 0..4),
    ) {
        let mut items = BTreeSet::new();
        let mut kept = Sketch::new(KEY, 3);
        let mut lengths = lengths.into_iter();
        for (step, (number, grow)) in steps.into_iter().enumerate() {
            let item = item(number);
            if items.insert(item) {
                kept.add(item);
            } else {
                items.remove(&item);
                kept.remove(item);
            }
            if grow && step % 7 == 0 && let Some(length) = lengths.next() {
                kept.grow(length, items.iter().copied()).unwrap();
                prop_assert!(kept.symbols().len() >= length);
            }
        }
        prop_assert_eq!(&kept, &sketch(&items, kept.symbols().len()));
        prop_assert_eq!(kept.items(), items.len() as u64);
        prop_assert_eq!(Sketch::decode(KEY, &kept.encode()), Ok(kept.clone()));
        let before = kept.clone();
        items.insert(item(1000));
        prop_assert!(kept.grow(10_000, items.iter().copied()).is_err());
        prop_assert_eq!(kept, before);
    }

    /// Whatever a peer sends, the work ends, and what is found is never more than was sent.
    #[test]
    fn hostile_symbols_are_bounded(
        seeds in prop::collection::vec((0_u64..30, 0_u64..30, -3_i64..4, any::<bool>()), 1..200),
    ) {
        let symbols: Vec<Symbol> = seeds
            .into_iter()
            .map(|(a, b, count, single)| {
                let (a, b) = (item(a), item(b));
                let b = if single { Item([0; 16]) } else { b };
                let mut sum = a.0;
                for (byte, other) in sum.iter_mut().zip(b.0) {
                    *byte ^= other;
                }
                let checksum = KEY.hash(a) ^ if single { 0 } else { KEY.hash(b) };
                Symbol { sum, checksum, count }
            })
            .collect();
        let own = vec![Symbol::default(); symbols.len()];
        let mut decoder = Decoder::new(KEY, 150);
        if let Err(error) = decoder.push(&symbols, &own) {
            prop_assert!(matches!(error, DecodeError::Limit(150) | DecodeError::NoSet(_)), "{error}");
        }
        prop_assert!(decoder.received() <= 150);
        prop_assert!(decoder.difference().len() <= decoder.received() + 1);
    }

    #[test]
    fn answers_of_other_shapes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let here = Arc::new(sketch(&set(0..10), 64));
        let (mut inquiry, _) = Inquiry::new(here, Some(1), 64);
        // One symbol was asked for. To guess one that leads anywhere takes a checksum of 64 bits.
        prop_assert!(!matches!(inquiry.answer(&bytes), Ok(Step::Done(_))));
    }
}

#[test]
fn equal_sets_take_one_symbol() {
    let items = set(0..1000);
    let (difference, rounds, bytes) = inquire(&items, &items, Some(0));
    assert!(difference.is_empty());
    assert_eq!(rounds, 1);
    assert!(bytes <= 30, "{bytes}");
}

#[test]
fn two_round_trips_and_sixty_bytes_an_item() {
    for (differing, tries) in [(1, 50), (100, 20), (3000, 3)] {
        for number in 0..tries {
            let base = number << 32;
            let a = set(base..base + 5000);
            let b = set(base + differing / 2..base + 5000 + differing - differing / 2);
            // Exact, and a quarter off to both sides.
            for estimate in [differing, differing * 3 / 4, differing * 5 / 4] {
                let (difference, rounds, bytes) = inquire(&a, &b, Some(estimate));
                assert_eq!(difference.len() as u64, differing);
                assert!(
                    rounds <= 2,
                    "{rounds} rounds for {differing}, estimate {estimate}"
                );
                // A second request is made by guess, and generous.
                let most = if estimate == differing { 60 } else { 75 };
                if differing > 1 || estimate == 1 {
                    assert!(
                        bytes as u64 <= most * differing,
                        "{bytes} bytes for {differing}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_set_that_never_ends_is_given_up() {
    // Symbols of one set under another key: nothing ever comes out single.
    let mut there = Sketch::new(Key([1; 16]), 256);
    for number in 0..1000 {
        there.add(item(number));
    }
    let here = Arc::new(sketch(&set(0..1000), 256));
    let (mut inquiry, mut step) = Inquiry::new(here, None, 200);
    let error = loop {
        let Step::Ask(request) = step else {
            panic!("a request expected, found {step:?}");
        };
        match inquiry.answer(&there.batch(request.start, request.count).encode()) {
            Ok(next) => step = next,
            Err(error) => break error,
        }
    };
    assert_eq!(error, InquiryError::Decode(DecodeError::Limit(200)));
    assert_eq!(inquiry.received(), 200);
}

#[test]
fn an_item_that_returns_is_an_error_and_no_loop() {
    // At index 0 the item is there once, and at its next one twice: taken out there, it is left alone with the other sign.
    let wanted = item(5);
    let mut mapping = Mapping::new(KEY.hash(wanted));
    mapping.advance();
    let next = mapping.index() as usize;
    let one = Symbol {
        sum: wanted.0,
        checksum: KEY.hash(wanted),
        count: 1,
    };
    let mut symbols = vec![one; next + 1];
    symbols[0] = Symbol {
        sum: [0; 16],
        checksum: 0,
        count: 2,
    };
    symbols[1..next].fill(Symbol::default());
    let own = vec![Symbol::default(); next + 1];
    let mut decoder = Decoder::new(KEY, 1000);
    assert!(matches!(
        decoder.push(&symbols, &own),
        Err(DecodeError::NoSet(_))
    ));
}
