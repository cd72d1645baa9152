//! Sums of items.

use super::item::{Item, Key};

/// A coded symbol: what is left of the items mapped to one index when they are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    /// The items, by exclusive or.
    pub sum: [u8; 16],
    /// Their hashes, by exclusive or.
    pub checksum: u64,
    /// How many there are. In a difference, those of the one side less those of the other.
    pub count: i64,
}

impl Symbol {
    /// Adds an item, or with `sign` -1 takes it away.
    pub(crate) fn change(&mut self, item: Item, hash: u64, sign: i64) {
        self.sum = xor(self.sum, item.0);
        self.checksum ^= hash;
        self.count = self.count.wrapping_add(sign);
    }

    /// This symbol without what is in the other. Counts wrap: those of a foreign symbol can be anything.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            sum: xor(self.sum, other.sum),
            checksum: self.checksum ^ other.checksum,
            count: self.count.wrapping_sub(other.count),
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The one item that is in it, with its hash and sign, if it is one.
    pub(crate) fn single(&self, key: &Key) -> Option<(Item, u64, i64)> {
        let item = Item(self.sum);
        let one = matches!(self.count, 1 | -1) && key.hash(item) == self.checksum;
        one.then_some((item, self.checksum, self.count))
    }
}

fn xor(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
    (u128::from_ne_bytes(a) ^ u128::from_ne_bytes(b)).to_ne_bytes()
}
