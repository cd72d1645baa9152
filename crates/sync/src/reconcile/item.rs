//! What is reconciled, and the hash that goes with it.

use std::fmt;

use siphasher::sip::SipHasher24;

/// One element of a set: sixteen bytes that name an operation or an entry, evenly spread, as the front of a BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item(pub [u8; 16]);

impl Item {
    /// The item of some content: the first sixteen bytes of its BLAKE3 hash.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let hash = blake3::hash(content);
        let mut front = [0; 16];
        front.copy_from_slice(&hash.as_bytes()[..16]);
        Self(front)
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({:032x})", u128::from_be_bytes(self.0))
    }
}

/// The key of the hash. Both sides need the same; who does not know it cannot make items that disturb a reconciliation.
///
/// Checksums are SipHash-2-4, a pseudorandom function made for short inputs under a secret key: sixteen bytes take about
/// a tenth of the time of keyed BLAKE3, whose security nobody needs in 64 bits that are compared and thrown away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// The hash of an item: its checksum, and the seed of its [mapping](super::Mapping).
    #[must_use]
    pub fn hash(&self, item: Item) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(&item.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // The vectors of the SipHash paper, appendix A, for 16 bytes.
        let bytes = std::array::from_fn(|n| n as u8);
        assert_eq!(Key(bytes).hash(Item(bytes)), 0x3f2a_cc7f_57c2_9bdb);
    }

    #[test]
    fn an_item_is_the_front_of_the_hash() {
        let hash = blake3::hash(b"content").to_hex();
        assert_eq!(
            format!("{:?}", Item::of(b"content")),
            format!("Item({})", &hash[..32])
        );
    }
}
