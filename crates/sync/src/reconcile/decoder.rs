//! From two sequences of coded symbols to the items that differ.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::item::{Item, Key};
use super::mapping::{Mapping, indices};
use super::symbol::Symbol;

/// Items that only one side has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Here and not there.
    pub only_local: Vec<Item>,
    /// There and not here.
    pub only_remote: Vec<Item>,
}

impl Difference {
    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.only_local.len() + self.only_remote.len()
    }

    /// Whether the sets are equal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why decoding ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The difference is not found within the limit: too large, or the symbols are not those of a set.
    #[error("no difference found in {0} symbols")]
    Limit(usize),
    /// The symbols contradict each other: no set has them.
    #[error("the symbols are not those of a set: {0}")]
    NoSet(&'static str),
    /// There are fewer own symbols than remote ones.
    #[error("{expected} own symbols needed, found {found}")]
    Local {
        /// How many remote symbols there are.
        expected: usize,
        /// How many own ones.
        found: usize,
    },
}

/// An item that was found, to be taken out of symbols to come.
#[derive(Clone, Copy)]
struct Found {
    item: Item,
    hash: u64,
    sign: i64,
    /// Stands at the next symbol that the item is part of.
    mapping: Mapping,
}

/// Takes the difference of two sequences of symbols and peels it: where one item alone is left, it is taken out of all
/// other symbols it is part of, and so on.
///
/// Each item is found once and there are never more of them than symbols, or the symbols are refused. So the work is
/// bounded by the symbols, whoever made them, and those are bounded by a limit.
#[derive(Clone)]
pub struct Decoder {
    key: Key,
    limit: usize,
    symbols: Vec<Symbol>,
    /// Symbols in which something is left.
    open: usize,
    found: Vec<Found>,
    /// What was found by the next symbol it is part of.
    upcoming: BinaryHeap<Reverse<(u32, usize)>>,
    known: HashSet<Item>,
    difference: Difference,
    spread: Spread,
}

impl Decoder {
    /// A decoder that gives up when `limit` symbols are not enough.
    #[must_use]
    pub fn new(key: Key, limit: usize) -> Self {
        Self {
            key,
            limit,
            symbols: Vec::new(),
            open: 0,
            found: Vec::new(),
            upcoming: BinaryHeap::new(),
            known: HashSet::new(),
            difference: Difference::default(),
            spread: Spread::default(),
        }
    }

    /// How many symbols it has taken.
    #[must_use]
    pub fn received(&self) -> usize {
        self.symbols.len()
    }

    /// Whether the difference is found: at least one symbol was taken, and nothing is left in any.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.symbols.is_empty() && self.open == 0
    }

    /// The size of the difference, guessed from the counts of the symbols so far; the more of them the better.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        self.spread.estimate()
    }

    /// What was found so far: all of the difference once [`Decoder::is_complete`] says so.
    #[must_use]
    pub fn difference(&self) -> &Difference {
        &self.difference
    }

    /// The difference, by value.
    #[must_use]
    pub fn into_difference(self) -> Difference {
        self.difference
    }

    /// Takes the next remote symbols. `local` is the whole of the own sketch, the same at every call.
    ///
    /// # Errors
    /// If there are not as many own symbols, the limit is reached, or the remote symbols contradict each other. After an
    /// error nothing more is to be had from this decoder.
    pub fn push(&mut self, remote: &[Symbol], local: &[Symbol]) -> Result<(), DecodeError> {
        for symbol in remote {
            if self.is_complete() {
                // What is left to come is for a difference that was not there.
                return Ok(());
            }
            let index = self.symbols.len();
            if index >= self.limit {
                return Err(DecodeError::Limit(self.limit));
            }
            let Some(own) = local.get(index) else {
                return Err(DecodeError::Local {
                    expected: index + 1,
                    found: local.len(),
                });
            };
            self.push_one(symbol.minus(own))?;
        }
        Ok(())
    }

    fn push_one(&mut self, difference: Symbol) -> Result<(), DecodeError> {
        let index = self.symbols.len();
        self.spread.note(index, difference.count);
        let mut symbol = difference;
        while let Some(&Reverse((next, place))) = self.upcoming.peek() {
            if next as usize > index {
                break;
            }
            self.upcoming.pop();
            if let Some(found) = self.found.get_mut(place) {
                symbol.change(found.item, found.hash, -found.sign);
                found.mapping.advance();
                let next = found.mapping.index();
                self.upcoming.push(Reverse((next, place)));
            }
        }
        self.open += usize::from(!symbol.is_empty());
        self.symbols.push(symbol);
        let mut singles = vec![index];
        while let Some(index) = singles.pop() {
            self.peel(index, &mut singles)?;
        }
        Ok(())
    }

    /// Takes the item that is left alone in a symbol out of all of them; `singles` gets the symbols where one is left then.
    fn peel(&mut self, index: usize, singles: &mut Vec<usize>) -> Result<(), DecodeError> {
        let Some((item, hash, sign)) = self.symbols[index].single(&self.key) else {
            return Ok(());
        };
        let received = self.symbols.len();
        let places: Vec<usize> = indices(hash, received).collect();
        if !places.contains(&index) {
            // Several items look like one that does not belong here.
            return Ok(());
        }
        if !self.known.insert(item) {
            return Err(DecodeError::NoSet("an item comes out of them twice"));
        }
        if self.known.len() > received {
            return Err(DecodeError::NoSet("more items than symbols"));
        }
        for place in places {
            let symbol = &mut self.symbols[place];
            self.open -= usize::from(!symbol.is_empty());
            symbol.change(item, hash, -sign);
            self.open += usize::from(!symbol.is_empty());
            if matches!(symbol.count, 1 | -1) {
                singles.push(place);
            }
        }
        let mut mapping = Mapping::new(hash);
        while (mapping.index() as usize) < received {
            mapping.advance();
        }
        let next = mapping.index();
        self.upcoming.push(Reverse((next, self.found.len())));
        self.found.push(Found {
            item,
            hash,
            sign,
            mapping,
        });
        if sign < 0 {
            self.difference.only_local.push(item);
        } else {
            self.difference.only_remote.push(item);
        }
        Ok(())
    }
}

/// How far counts lie from what they would be if all items were on one side.
///
/// The count of symbol `i` is a sum of `±1` over the items that differ, each there with probability `p = 2/(i+2)`. Less its
/// mean `p·c₀`, its square is `p(1−p)` times their number on average.
#[derive(Clone, Copy, Default)]
struct Spread {
    net: i128,
    sum: u128,
    samples: u128,
}

impl Spread {
    fn note(&mut self, index: usize, count: i64) {
        // So that squares of counts that are not true stay in range.
        let count = i128::from(count.clamp(-(1 << 40), 1 << 40));
        if index == 0 {
            self.net = count;
            return;
        }
        let index = index as i128;
        let away = (count * (index + 2) - 2 * self.net).unsigned_abs();
        self.sum = self
            .sum
            .saturating_add(away.saturating_mul(away) / (2 * index.unsigned_abs()));
        self.samples += 1;
    }

    fn estimate(&self) -> u64 {
        let mean = self.sum / self.samples.max(1);
        u64::try_from(mean.max(self.net.unsigned_abs())).unwrap_or(u64::MAX)
    }
}
