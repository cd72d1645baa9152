//! Reading DAG-CBOR piece by piece.

use std::fmt;

use cid::Cid;

use super::TAG_CID;
use super::error::{DecodeError, DecodeErrorKind as E, excerpt};
use super::limits::Limits;
use super::writer::{ARRAY, BYTES, MAP, NEGATIVE, SIMPLE, TAG, TEXT, UNSIGNED, cmp_keys};
use crate::content_id::cid_from_bytes;

/// The kinds of IPLD's data model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No value.
    Null,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A floating point number.
    Float,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A list.
    List,
    /// A map with text keys.
    Map,
    /// A link to another block.
    Link,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Int => "an integer",
            Self::Float => "a float",
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Link => "a link",
        })
    }
}

/// Takes items one after another from an encoding, each checked to be canonical.
///
/// A caller that reads maps with [`Reader::key`] gets the same guarantees as from
/// [`decode`](super::decode), except for depth, which its own code determines.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    items: usize,
    limits: Limits,
}

impl<'a> Reader<'a> {
    /// Reads `input` under the limits of general IPLD.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self::with_limits(input, Limits::GENERAL)
    }

    /// Reads `input`; its length is checked at the first item.
    #[must_use]
    pub const fn with_limits(input: &'a [u8], limits: Limits) -> Self {
        Self {
            input,
            at: 0,
            items: 0,
            limits,
        }
    }

    /// How many bytes were read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// What was not read yet.
    #[must_use]
    pub fn remaining(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// Ends reading: nothing may be left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining().len() {
            0 => Ok(()),
            left => Err(self.error(self.at, E::Trailing(left))),
        }
    }

    /// The kind of the next item, by its first byte alone.
    pub fn peek(&self) -> Result<Kind, DecodeError> {
        let Some(&first) = self.input.get(self.at) else {
            return Err(self.error(self.at, E::Truncated));
        };
        Ok(match first >> 5 {
            UNSIGNED | NEGATIVE => Kind::Int,
            BYTES => Kind::Bytes,
            TEXT => Kind::Text,
            ARRAY => Kind::List,
            MAP => Kind::Map,
            TAG => Kind::Link,
            _ => match first {
                0xf4 | 0xf5 => Kind::Bool,
                0xf6 => Kind::Null,
                0xfb => Kind::Float,
                other => return Err(self.error(self.at, E::Simple(other))),
            },
        })
    }

    /// Begins a map; returns its number of pairs, at most half as many as there are bytes left.
    pub fn map(&mut self) -> Result<usize, DecodeError> {
        let start = self.at;
        let len = self.expect(MAP, Kind::Map)?;
        self.count(start, len, 2)
    }

    /// Begins a list; returns its number of items, at most as many as there are bytes left.
    pub fn array(&mut self) -> Result<usize, DecodeError> {
        let start = self.at;
        let len = self.expect(ARRAY, Kind::List)?;
        self.count(start, len, 1)
    }

    /// Reads a text.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let start = self.at;
        let bytes = self.string(TEXT, Kind::Text)?;
        std::str::from_utf8(bytes).map_err(|_| self.error(start, E::Utf8))
    }

    /// Reads a map key, which must be greater than the `previous` one; remembers it there.
    pub fn key(&mut self, previous: &mut Option<&'a str>) -> Result<&'a str, DecodeError> {
        let start = self.at;
        let key = self.text()?;
        if previous.is_some_and(|before| cmp_keys(before, key).is_ge()) {
            return Err(self.error(start, E::KeyOrder(excerpt(key))));
        }
        *previous = Some(key);
        Ok(key)
    }

    /// Reads bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        self.string(BYTES, Kind::Bytes)
    }

    /// Reads a link.
    pub fn link(&mut self) -> Result<Cid, DecodeError> {
        let start = self.at;
        let tag = self.expect(TAG, Kind::Link)?;
        if tag != TAG_CID {
            return Err(self.error(start, E::Tag(tag)));
        }
        match self.bytes()? {
            [0, cid @ ..] => cid_from_bytes(cid).map_err(|e| self.error(start, E::Link(e))),
            _ => Err(self.error(start, E::LinkPrefix)),
        }
    }

    /// Reads an integer, from -2^64 to 2^64-1.
    pub fn int(&mut self) -> Result<i128, DecodeError> {
        let start = self.at;
        match self.head()? {
            (UNSIGNED, value) => Ok(i128::from(value)),
            (NEGATIVE, value) => Ok(-1 - i128::from(value)),
            _ => Err(self.unexpected(start, Kind::Int)),
        }
    }

    /// Reads an integer that is not negative.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let value = self.int()?;
        u64::try_from(value).map_err(|_| self.error(start, E::Range(value)))
    }

    /// Reads an integer of 64 bits with sign.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        let start = self.at;
        let value = self.int()?;
        i64::try_from(value).map_err(|_| self.error(start, E::Range(value)))
    }

    /// Reads a truth value.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        let start = self.at;
        match self.head()? {
            (SIMPLE, 20) => Ok(false),
            (SIMPLE, 21) => Ok(true),
            _ => Err(self.unexpected(start, Kind::Bool)),
        }
    }

    /// Reads null.
    pub fn null(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        match self.head()? {
            (SIMPLE, 22) => Ok(()),
            _ => Err(self.unexpected(start, Kind::Null)),
        }
    }

    /// Reads null if it is next, and says whether it was; otherwise reads nothing.
    pub fn try_null(&mut self) -> Result<bool, DecodeError> {
        if self.peek()? == Kind::Null {
            self.null()?;
            Ok(true)
        } else {
            Ok(false)
        }
    }

    /// Reads a float.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        let start = self.at;
        match self.head()? {
            (SIMPLE, bits) if self.input.get(start) == Some(&0xfb) => {
                let value = f64::from_bits(bits);
                if !self.limits.floats {
                    Err(self.error(start, E::Float))
                } else if !value.is_finite() {
                    Err(self.error(start, E::NotFinite))
                } else {
                    Ok(value)
                }
            }
            _ => Err(self.unexpected(start, Kind::Float)),
        }
    }

    /// Passes over the next item with all that is in it, checked as if it was decoded; returns its encoding.
    pub fn skip(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        self.skip_at(0)?;
        Ok(self.input.get(start..self.at).unwrap_or_default())
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), DecodeError> {
        self.check_depth(depth)?;
        match self.peek()? {
            Kind::Null => self.null(),
            Kind::Bool => self.bool().map(drop),
            Kind::Int => self.int().map(drop),
            Kind::Float => self.f64().map(drop),
            Kind::Text => self.text().map(drop),
            Kind::Bytes => self.bytes().map(drop),
            Kind::Link => self.link().map(drop),
            Kind::List => {
                for _ in 0..self.array()? {
                    self.skip_at(depth + 1)?;
                }
                Ok(())
            }
            Kind::Map => {
                let mut previous = None;
                for _ in 0..self.map()? {
                    self.key(&mut previous)?;
                    self.skip_at(depth + 1)?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn check_depth(&self, depth: usize) -> Result<(), DecodeError> {
        let max = self.limits.max_depth.min(Limits::DEEPEST);
        if depth > max {
            return Err(self.error(self.at, E::TooDeep(max)));
        }
        Ok(())
    }

    fn count(&self, start: usize, len: u64, bytes_each: u64) -> Result<usize, DecodeError> {
        // Each item takes a byte at least, so a greater length cannot be true.
        let left = self.remaining().len() as u64;
        if len.saturating_mul(bytes_each) > left {
            return Err(self.error(start, E::Truncated));
        }
        Ok(len as usize)
    }

    #[inline]
    fn string(&mut self, major: u8, kind: Kind) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        let len = self.expect(major, kind)?;
        let rest = self.remaining();
        match usize::try_from(len).ok().and_then(|len| rest.get(..len)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(self.error(start, E::Truncated)),
        }
    }

    #[inline]
    fn expect(&mut self, major: u8, kind: Kind) -> Result<u64, DecodeError> {
        let start = self.at;
        match self.head()? {
            (found, value) if found == major => Ok(value),
            _ => Err(self.unexpected(start, kind)),
        }
    }

    /// Reads the major type and the number that goes with it.
    #[inline]
    fn head(&mut self) -> Result<(u8, u64), DecodeError> {
        let start = self.at;
        if self.input.len() > self.limits.max_bytes {
            let (max, found) = (self.limits.max_bytes, self.input.len());
            return Err(self.error(start, E::TooLong { max, found }));
        }
        self.items += 1;
        if self.items > self.limits.max_items {
            return Err(self.error(start, E::TooManyItems(self.limits.max_items)));
        }
        let Some((&first, rest)) = self.remaining().split_first() else {
            return Err(self.error(start, E::Truncated));
        };
        let (major, info) = (first >> 5, first & 0x1f);
        let (value, extra, least) = match (info, rest) {
            (0..=23, _) => (u64::from(info), 0, 0),
            (24, [a, ..]) => (u64::from(*a), 1, 24),
            (25, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2, 1 << 8),
            (26, [a, b, c, d, ..]) => (u64::from(u32::from_be_bytes([*a, *b, *c, *d])), 4, 1 << 16),
            (27, [a, b, c, d, e, f, g, h, ..]) => (
                u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
                8,
                1 << 32,
            ),
            (24..=27, _) => return Err(self.error(start, E::Truncated)),
            _ => return Err(self.error(start, E::Indefinite(first))),
        };
        if major == SIMPLE {
            if !matches!(first, 0xf4..=0xf6 | 0xfb) {
                return Err(self.error(start, E::Simple(first)));
            }
        } else if value < least {
            return Err(self.error(start, E::NotMinimal));
        }
        self.at = start + 1 + extra;
        Ok((major, value))
    }

    #[cold]
    fn unexpected(&self, at: usize, expected: Kind) -> DecodeError {
        let there = Self { at, ..self.clone() };
        match there.peek() {
            Ok(found) => self.error(at, E::Unexpected { expected, found }),
            Err(e) => e,
        }
    }

    #[cold]
    fn error(&self, at: usize, kind: E) -> DecodeError {
        DecodeError { at, kind }
    }
}
