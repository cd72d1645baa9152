//! A digest of a set of pins, whatever their order: of sets that are read in one order and stored in another.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::Pin;

/// How many pins there are, and the sum of their hashes: four numbers of 64 bits, each added by itself. Against chance,
/// not against somebody who chooses the pins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinSetDigest {
    count: u64,
    sum: [u64; 4],
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a count and 64 hex digits with a colon between expected, found {0:?}")]
pub struct DigestError(String);

impl PinSetDigest {
    /// How many pins.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a pin: everything that the service keeps of it.
    pub fn add(&mut self, pin: &Pin) {
        self.join(Self::of(pin));
    }

    /// Adds the pins of another set.
    pub fn join(&mut self, other: Self) {
        self.count = self.count.wrapping_add(other.count);
        for (mine, theirs) in self.sum.iter_mut().zip(other.sum) {
            *mine = mine.wrapping_add(theirs);
        }
    }

    /// Takes pins away that were added before.
    pub fn remove(&mut self, other: Self) {
        self.count = self.count.wrapping_sub(other.count);
        for (mine, theirs) in self.sum.iter_mut().zip(other.sum) {
            *mine = mine.wrapping_sub(theirs);
        }
    }

    fn of(pin: &Pin) -> Self {
        let mut hasher = blake3::Hasher::new();
        let proto = pin.to_proto();
        hasher.update(&(proto.len() as u64).to_le_bytes());
        hasher.update(&proto);
        for peer in &pin.options.user_allocations {
            hasher.update(&(peer.as_bytes().len() as u64).to_le_bytes());
            hasher.update(peer.as_bytes());
        }
        let hash = hasher.finalize();
        let (words, _) = hash.as_bytes().as_chunks::<8>();
        let mut sum = [0; 4];
        for (word, bytes) in sum.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self { count: 1, sum }
    }
}

impl fmt::Display for PinSetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = self
            .sum
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        write!(f, "{}:{}", self.count, HEXLOWER.encode(&bytes))
    }
}

impl FromStr for PinSetDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let read = || {
            let (count, hex) = text.split_once(':')?;
            let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
            let (words, rest) = bytes.as_chunks::<8>();
            let [a, b, c, d] = *words else { return None };
            rest.is_empty().then_some(())?;
            Some(Self {
                count: count.parse().ok()?,
                sum: [a, b, c, d].map(u64::from_be_bytes),
            })
        };
        read().ok_or_else(|| DigestError(text.chars().take(100).collect()))
    }
}

impl Serialize for PinSetDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PinSetDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{PeerId, PinOptions};

    fn pin(number: u8) -> Pin {
        Pin::new(ues_data::raw_cid(&[number]), PinOptions::default(), 7)
    }

    fn digest<'a>(pins: impl IntoIterator<Item = &'a Pin>) -> PinSetDigest {
        let mut digest = PinSetDigest::default();
        for pin in pins {
            digest.add(pin);
        }
        digest
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(numbers: Vec<u8>, part: prop::sample::Index) {
            let pins: Vec<Pin> = numbers.iter().map(|n| pin(*n)).collect();
            let all = digest(&pins);
            prop_assert_eq!(digest(pins.iter().rev()), all);
            prop_assert_eq!(all.count(), pins.len() as u64);
            let (a, b) = pins.split_at(part.index(pins.len() + 1));
            let mut joined = digest(a);
            joined.join(digest(b));
            prop_assert_eq!(joined, all);
            joined.remove(digest(a));
            prop_assert_eq!(joined, digest(b));
            prop_assert_eq!(all.to_string().parse(), Ok(all));
        }
    }

    #[test]
    fn everything_counts() {
        let plain = pin(1);
        let mut others = vec![pin(2)];
        let mut change = |how: &dyn Fn(&mut Pin)| {
            let mut other = plain.clone();
            how(&mut other);
            others.push(other);
        };
        let peer = || PeerId::from_ed25519(&[1; 32]);
        change(&|pin| pin.timestamp = 8);
        change(&|pin| pin.max_depth = 0);
        change(&|pin| pin.allocations.push(peer()));
        change(&|pin| pin.options.user_allocations.push(peer()));
        change(&|pin| pin.options.name.push('x'));
        change(&|pin| pin.options.expire_at = Some(9));
        change(&|pin| pin.options.replication_max = 2);
        change(&|pin| pin.options.metadata.push(("a".to_owned(), String::new())));
        for other in &others {
            assert_ne!(digest([other]), digest([&plain]), "{other:?}");
        }
    }
}
