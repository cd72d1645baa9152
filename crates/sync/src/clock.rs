//! Vector clocks: who had seen what.

use std::collections::BTreeMap;

use ues_data::Ipld;
use ues_data::dag_cbor::Writer;

/// Number of a writer within one repository: 0 for the root key, else the `seq` of the root's operation that granted it.
pub type WriterId = u32;

/// Writer number of the root key.
pub const ROOT: WriterId = 0;

/// Most writers that one clock may name.
pub const MAX_WRITERS: usize = 1024;

/// For each writer, how many of its operations are known: always all from the first to that one.
///
/// Source: Mattern, "Virtual Time and Global States of Distributed Systems" (1989).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VectorClock(BTreeMap<WriterId, u64>);

/// How two clocks stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Causality {
    /// The same operations.
    Equal,
    /// The second knows all that the first knows, and more.
    Before,
    /// The first knows all that the second knows, and more.
    After,
    /// Each knows something that the other does not.
    Concurrent,
}

impl VectorClock {
    /// Sequence number of the last known operation of a writer; 0 for none.
    pub fn get(&self, writer: WriterId) -> u64 {
        self.0.get(&writer).copied().unwrap_or(0)
    }

    /// Sets what is known of a writer; 0 removes it.
    pub fn set(&mut self, writer: WriterId, seq: u64) {
        if seq == 0 {
            self.0.remove(&writer);
        } else {
            self.0.insert(writer, seq);
        }
    }

    /// Adds one to a writer's number and answers it.
    pub fn increment(&mut self, writer: WriterId) -> u64 {
        let seq = self.get(writer).saturating_add(1);
        self.set(writer, seq);
        seq
    }

    /// Takes over whatever the other knows.
    pub fn merge(&mut self, other: &Self) {
        for (&writer, &seq) in &other.0 {
            let mine = self.0.entry(writer).or_insert(0);
            *mine = seq.max(*mine);
        }
    }

    /// Whether an operation is known.
    pub fn covers(&self, writer: WriterId, seq: u64) -> bool {
        self.get(writer) >= seq
    }

    /// Whether all that the other knows is known here.
    pub fn includes(&self, other: &Self) -> bool {
        other.0.iter().all(|(w, seq)| self.get(*w) >= *seq)
    }

    /// How this clock stands to another.
    pub fn compare(&self, other: &Self) -> Causality {
        match (self.includes(other), other.includes(self)) {
            (true, true) => Causality::Equal,
            (false, true) => Causality::Before,
            (true, false) => Causality::After,
            (false, false) => Causality::Concurrent,
        }
    }

    /// Writers and numbers, by writer.
    pub fn iter(&self) -> impl Iterator<Item = (WriterId, u64)> + '_ {
        self.0.iter().map(|(w, seq)| (*w, *seq))
    }

    /// Number of writers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sum of all numbers: how many operations are known.
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Writes the clock as a list of `[writer, seq]`, by writer.
    pub fn write(&self, w: &mut Writer) {
        w.array(self.0.len() as u64);
        for (writer, seq) in &self.0 {
            w.array(2);
            w.uint(u64::from(*writer));
            w.uint(*seq);
        }
    }

    /// Reads what [`write`](Self::write) wrote; `None` if it is anything else.
    pub fn read(value: &Ipld) -> Option<Self> {
        let Ipld::List(items) = value else {
            return None;
        };
        if items.len() > MAX_WRITERS {
            return None;
        }
        let mut clock = BTreeMap::new();
        let mut last = None;
        for item in items {
            let Ipld::List(pair) = item else {
                return None;
            };
            let [Ipld::Integer(writer), Ipld::Integer(seq)] = pair[..] else {
                return None;
            };
            let (writer, seq) = (
                WriterId::try_from(writer).ok()?,
                u64::try_from(seq).ok().filter(|seq| *seq > 0)?,
            );
            if last.is_some_and(|last| last >= writer) {
                return None;
            }
            last = Some(writer);
            clock.insert(writer, seq);
        }
        Some(Self(clock))
    }
}

/// `0:12,2:7`: writer and number, by writer; `-` for nothing.
impl std::fmt::Display for VectorClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (n, (writer, seq)) in self.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{writer}:{seq}")?;
        }
        Ok(())
    }
}

/// Why a text is not a clock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("heads such as 0:12,2:7 expected (writer and number of its last operation), found {0:?}")]
pub struct NotAClock(String);

impl std::str::FromStr for VectorClock {
    type Err = NotAClock;

    fn from_str(text: &str) -> Result<Self, NotAClock> {
        let wrong = || NotAClock(text.chars().take(80).collect());
        let mut clock = Self::default();
        if text == "-" {
            return Ok(clock);
        }
        for (n, part) in text.split(',').enumerate() {
            let (writer, seq) = part.trim().split_once(':').ok_or_else(wrong)?;
            let writer = writer.parse().map_err(|_| wrong())?;
            clock.set(writer, seq.parse().map_err(|_| wrong())?);
            if n >= MAX_WRITERS {
                return Err(wrong());
            }
        }
        Ok(clock)
    }
}

impl FromIterator<(WriterId, u64)> for VectorClock {
    fn from_iter<I: IntoIterator<Item = (WriterId, u64)>>(pairs: I) -> Self {
        let mut clock = Self::default();
        for (writer, seq) in pairs {
            clock.set(writer, seq);
        }
        clock
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    fn clocks() -> impl Strategy<Value = VectorClock> {
        proptest::collection::vec((0u32..5, 0u64..4), 0..6)
            .prop_map(|pairs| pairs.into_iter().collect())
    }

    proptest! {
        #[test]
        fn merging_gives_the_least_clock_that_knows_both(a in clocks(), b in clocks(), c in clocks()) {
            let mut ab = a.clone();
            ab.merge(&b);
            let mut ba = b.clone();
            ba.merge(&a);
            prop_assert_eq!(&ab, &ba);
            prop_assert!(ab.includes(&a) && ab.includes(&b));
            if c.includes(&a) && c.includes(&b) {
                prop_assert!(c.includes(&ab));
            }
        }

        #[test]
        fn comparing_is_the_order_of_each_number(a in clocks(), b in clocks()) {
            let le = |x: &VectorClock, y: &VectorClock| (0..5).all(|w| x.get(w) <= y.get(w));
            let expected = match (le(&b, &a), le(&a, &b)) {
                (true, true) => Causality::Equal,
                (false, true) => Causality::Before,
                (true, false) => Causality::After,
                (false, false) => Causality::Concurrent,
            };
            prop_assert_eq!(a.compare(&b), expected);
        }

        #[test]
        fn what_is_written_is_read(a in clocks()) {
            let mut w = Writer::with_capacity(64);
            a.write(&mut w);
            let value = ues_data::dag_cbor::decode(w.as_bytes()).unwrap();
            prop_assert_eq!(VectorClock::read(&value), Some(a.clone()));
            prop_assert_eq!(a.to_string().parse::<VectorClock>(), Ok(a));
        }
    }

    #[test]
    fn a_list_that_is_not_sorted_is_no_clock() {
        let pair = |w: i128, s: i128| Ipld::List(vec![Ipld::Integer(w), Ipld::Integer(s)]);
        for bad in [
            vec![pair(2, 1), pair(1, 1)],
            vec![pair(1, 1), pair(1, 1)],
            vec![pair(1, 0)],
            vec![pair(-1, 1)],
            vec![Ipld::Null],
        ] {
            assert_eq!(VectorClock::read(&Ipld::List(bad)), None);
        }
    }
}
