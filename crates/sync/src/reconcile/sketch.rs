//! The coded symbols of a set, kept up to date.

use super::batch::{Batch, BatchError};
use super::item::{Item, Key};
use super::mapping::indices;
use super::symbol::Symbol;

/// The most symbols that a sketch keeps: 16 million, which are 512 MB.
pub const MAX_SYMBOLS: usize = 1 << 24;

/// Why a sketch does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrowError {
    /// More symbols than a sketch keeps.
    #[error("at most {MAX_SYMBOLS} symbols allowed, {0} asked for")]
    TooLong(usize),
    /// The items given are not those of the sketch.
    #[error("the set of {expected} items expected, found {found}")]
    OtherSet {
        /// How many items the sketch has.
        expected: u64,
        /// How many were given.
        found: u64,
    },
}

/// The first coded symbols of a set. One sketch serves every peer: an item that comes or goes changes about
/// `2 ln(length)` of its symbols, and the set itself is gone over only when more symbols are needed than there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    key: Key,
    items: u64,
    symbols: Vec<Symbol>,
}

impl Sketch {
    /// The sketch of an empty set, with `length` symbols ([`MAX_SYMBOLS`] at most, one at least).
    #[must_use]
    pub fn new(key: Key, length: usize) -> Self {
        Self {
            key,
            items: 0,
            symbols: vec![Symbol::default(); length.clamp(1, MAX_SYMBOLS)],
        }
    }

    /// The number of items.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }

    /// The symbols.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Adds an item, which must not be in the set: that is for the caller to know.
    pub fn add(&mut self, item: Item) {
        self.items = self.items.saturating_add(1);
        self.change(item, 1);
    }

    /// Takes an item away, which must be in the set.
    pub fn remove(&mut self, item: Item) {
        self.items = self.items.saturating_sub(1);
        self.change(item, -1);
    }

    fn change(&mut self, item: Item, sign: i64) {
        let hash = self.key.hash(item);
        for index in indices(hash, self.symbols.len()) {
            self.symbols[index].change(item, hash, sign);
        }
    }

    /// Makes the sketch at least `length` long, doubling what there is, from all items of the set.
    ///
    /// # Errors
    /// If there would be too many symbols, or other items are given than the sketch has; it is then as it was.
    pub fn grow(
        &mut self,
        length: usize,
        items: impl IntoIterator<Item = Item>,
    ) -> Result<(), GrowError> {
        let before = self.symbols.len();
        if length <= before {
            return Ok(());
        }
        if length > MAX_SYMBOLS {
            return Err(GrowError::TooLong(length));
        }
        let length = length.max(2 * before).min(MAX_SYMBOLS);
        let mut more = vec![Symbol::default(); length - before];
        let mut whole = Symbol::default();
        let mut found = 0_u64;
        for item in items {
            let hash = self.key.hash(item);
            found += 1;
            whole.change(item, hash, 1);
            for index in indices(hash, length) {
                if let Some(index) = index.checked_sub(before) {
                    more[index].change(item, hash, 1);
                }
            }
        }
        // The first symbol has every item, and tells whether they are the same.
        if self.symbols.first() != Some(&whole) {
            let expected = self.items;
            return Err(GrowError::OtherSet { expected, found });
        }
        self.symbols.append(&mut more);
        Ok(())
    }

    /// The symbols from `start` on, `count` of them or as many as there are, for a peer.
    #[must_use]
    pub fn batch(&self, start: usize, count: usize) -> Batch {
        let end = start.saturating_add(count).min(self.symbols.len());
        Batch {
            start: start.min(end),
            items: self.items,
            symbols: self.symbols.get(start..end).unwrap_or_default().to_vec(),
        }
    }

    /// The sketch for the disk: as one batch of all symbols. The key is not in it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.batch(0, self.symbols.len()).encode()
    }

    /// Reads what [`Sketch::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are not a batch, or not one from the first symbol on.
    pub fn decode(key: Key, bytes: &[u8]) -> Result<Self, BatchError> {
        let batch = Batch::decode(bytes, MAX_SYMBOLS)?;
        if batch.start != 0 {
            return Err(BatchError::Start {
                expected: 0,
                found: batch.start,
            });
        }
        let (items, symbols) = (batch.items, batch.symbols);
        match symbols.first().map(|whole| whole.count) {
            Some(count) if u64::try_from(count) == Ok(items) => Ok(Self {
                key,
                items,
                symbols,
            }),
            found => Err(BatchError::Items {
                items,
                found: found.unwrap_or_default(),
            }),
        }
    }
}
