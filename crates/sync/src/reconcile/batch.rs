//! Coded symbols on the wire.

use ues_data::varint::{self, VarintError};

use super::symbol::Symbol;

/// Successive coded symbols of one set.
///
/// On the wire: the index of the first symbol, the number of items in the set and the number of symbols, each as an
/// unsigned LEB128 varint; then of each symbol its sum (16 bytes), its checksum (8 bytes, the lowest first) and its count.
/// As a count is never far from its expected value `e = ⌊2n/(i+2)⌋`, for `n` items and index `i`, what is written is
/// `d = count − e` as the varint of `2d`, or of `−2d − 1` if it is negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The index of the first symbol.
    pub start: usize,
    /// How many items the set has.
    pub items: u64,
    /// The symbols.
    pub symbols: Vec<Symbol>,
}

/// Why bytes are not a batch that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A number is malformed.
    #[error("a number in a batch of symbols: {0}")]
    Varint(#[from] VarintError),
    /// The bytes end inside a symbol, or go on behind the last.
    #[error("{expected} symbols expected, found {found} bytes for them")]
    Length {
        /// The number of symbols announced.
        expected: u64,
        /// The bytes that follow, or that are too many.
        found: usize,
    },
    /// More symbols than were asked for.
    #[error("at most {max} symbols allowed, found {found}")]
    TooMany {
        /// The limit.
        max: usize,
        /// How many were announced.
        found: u64,
    },
    /// Another part of the sequence.
    #[error("symbols from index {expected} on expected, found {found}")]
    Start {
        /// The index asked for.
        expected: usize,
        /// The index found.
        found: usize,
    },
    /// A set or a count is larger than any can be.
    #[error("a set of {items} items has no symbol with count {found}")]
    Items {
        /// The announced size of the set.
        items: u64,
        /// The count.
        found: i64,
    },
}

/// No set is larger than this.
const MAX_ITEMS: u64 = 1 << 48;

/// Sum and checksum.
const FIXED: usize = 24;

impl Batch {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + (FIXED + 2) * self.symbols.len());
        varint::write(self.start as u64, &mut out);
        varint::write(self.items, &mut out);
        varint::write(self.symbols.len() as u64, &mut out);
        for (index, symbol) in (self.start..).zip(&self.symbols) {
            out.extend_from_slice(&symbol.sum);
            out.extend_from_slice(&symbol.checksum.to_le_bytes());
            let away = symbol.count.wrapping_sub(expected(self.items, index));
            varint::write((away << 1 ^ away >> 63) as u64, &mut out);
        }
        out
    }

    /// Reads a batch of `max` symbols at most.
    ///
    /// # Errors
    /// If the bytes are malformed, announce more, or say what no set can have.
    pub fn decode(bytes: &[u8], max: usize) -> Result<Self, BatchError> {
        let mut input = bytes;
        let start = number(&mut input)?;
        let items = number(&mut input)?;
        let count = number(&mut input)?;
        if count > max as u64 {
            return Err(BatchError::TooMany { max, found: count });
        }
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        if items > MAX_ITEMS {
            return Err(BatchError::Items { items, found: 0 });
        }
        if (input.len() as u64) < count * (FIXED as u64 + 1) {
            return Err(BatchError::Length {
                expected: count,
                found: input.len(),
            });
        }
        let mut symbols = Vec::with_capacity(count as usize);
        for index in (start..).take(count as usize) {
            let short = BatchError::Length {
                expected: count,
                found: input.len(),
            };
            let (sum, rest) = input.split_first_chunk::<16>().ok_or(short.clone())?;
            let (checksum, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
            input = rest;
            let folded = number(&mut input)?;
            let away = (folded >> 1) as i64 ^ -((folded & 1) as i64);
            let count = expected(items, index).saturating_add(away);
            if count.unsigned_abs() > 2 * MAX_ITEMS {
                let found = count;
                return Err(BatchError::Items { items, found });
            }
            symbols.push(Symbol {
                sum: *sum,
                checksum: u64::from_le_bytes(*checksum),
                count,
            });
        }
        if !input.is_empty() {
            return Err(BatchError::Length {
                expected: count,
                found: input.len(),
            });
        }
        Ok(Self {
            start,
            items,
            symbols,
        })
    }
}

fn number(input: &mut &[u8]) -> Result<u64, VarintError> {
    let (number, length) = varint::read(input)?;
    *input = input.get(length..).unwrap_or_default();
    Ok(number)
}

fn expected(items: u64, index: usize) -> i64 {
    let index = index as u64;
    (2 * items.min(MAX_ITEMS) / index.saturating_add(2)) as i64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn symbol()(sum: [u8; 16], checksum: u64, count in -(1_i64 << 40)..1 << 40) -> Symbol {
            Symbol { sum, checksum, count }
        }
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(
            start in 0_usize..1 << 31,
            items in 0..=MAX_ITEMS,
            symbols in prop::collection::vec(symbol(), 0..20),
        ) {
            let batch = Batch { start, items, symbols };
            let bytes = batch.encode();
            let count = batch.symbols.len();
            prop_assert_eq!(Batch::decode(&bytes, count), Ok(batch));
            if count > 0 {
                prop_assert!(Batch::decode(&bytes, count - 1).is_err());
            }
            prop_assert!(Batch::decode(&bytes[..bytes.len() - 1], count).is_err());
        }

        #[test]
        fn foreign_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(batch) = Batch::decode(&bytes, 10) {
                prop_assert_eq!(batch.encode(), bytes);
            }
        }
    }
}
