//! Timestamp identifiers.

use super::newtype::text_conversions;
use super::{SyntaxError, Violation};

const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 13;
const CLOCK_BITS: u32 = 10;

/// A timestamp identifier, such as `3jzfcijpj2z2a`: microseconds since 1970 and a clock number.
///
/// 64 bits in 13 characters whose order is the order of the numbers; the highest bit is zero
/// (<https://atproto.com/specs/tid>).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid([u8; LENGTH]);

impl Tid {
    /// What errors call this identifier.
    pub const KIND: &'static str = "TID";

    /// The lowest identifier there is.
    pub const MIN: Self = Self([b'2'; LENGTH]);

    /// Latest time that fits, in microseconds since 1970 (53 bits).
    pub const MAX_MICROS: u64 = (1 << 53) - 1;

    /// Highest clock number (10 bits).
    pub const MAX_CLOCK: u16 = (1 << CLOCK_BITS) - 1;

    /// Joins a time in microseconds since 1970 and a clock number; each is cut to its bits.
    pub fn new(micros: u64, clock: u16) -> Self {
        Self::from_number(
            ((micros & Self::MAX_MICROS) << CLOCK_BITS) | u64::from(clock & Self::MAX_CLOCK),
        )
    }

    /// Makes the identifier of a number; the highest bit is dropped.
    pub fn from_number(number: u64) -> Self {
        let number = number & (u64::MAX >> 1);
        let mut text = [0; LENGTH];
        for (place, slot) in text.iter_mut().rev().enumerate() {
            let digit = (number >> (5 * place as u32)) & 31;
            *slot = ALPHABET.get(digit as usize).copied().unwrap_or(b'2');
        }
        Self(text)
    }

    /// The 64-bit number that the text stands for.
    pub fn number(&self) -> u64 {
        self.0.iter().fold(0, |number, &byte| {
            (number << 5) | u64::from(digit(byte).unwrap_or(0))
        })
    }

    /// The time in microseconds since 1970.
    pub fn micros(&self) -> u64 {
        self.number() >> CLOCK_BITS
    }

    /// The clock number.
    pub fn clock(&self) -> u16 {
        (self.number() & u64::from(Self::MAX_CLOCK)) as u16
    }

    /// The next higher identifier, or none after the last.
    pub fn successor(&self) -> Option<Self> {
        self.number()
            .checked_add(1)
            .filter(|n| n >> 63 == 0)
            .map(Self::from_number)
    }

    /// Checks a string without keeping it.
    pub fn check(text: &str) -> Result<(), Violation> {
        check(text.as_bytes()).map_err(|rule| Violation::new(Self::KIND, rule))
    }

    /// Checks a string and keeps it.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::check(text).map_err(|violation| SyntaxError::new(violation, text))?;
        let mut bytes = [b'2'; LENGTH];
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        Ok(Self(bytes))
    }

    /// The 13 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for Tid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tid").field(&self.as_str()).finish()
    }
}

text_conversions!(Tid);

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'2'..=b'7' => Some(byte - b'2'),
        b'a'..=b'z' => Some(byte - b'a' + 6),
        _ => None,
    }
}

fn check(text: &[u8]) -> Result<(), &'static str> {
    if text.len() != LENGTH {
        return Err("exactly 13 characters");
    }
    if !text.iter().all(|&b| digit(b).is_some()) {
        return Err("consists of 2-7 a-z");
    }
    if text.first().and_then(|&b| digit(b)) > Some(15) {
        return Err("its first character is one of 2-7 a-j");
    }
    Ok(())
}
