//! Reading DAG-JSON.

use std::collections::BTreeMap;

use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;

use super::encode::{encode, is_reserved};
use super::error::{DecodeError, DecodeErrorKind as E};
use super::scan::{Number, Scanner};
use crate::Limits;
use crate::content_id::parse_cid;

/// Reads one value that is all of the text, whatever its white space and order of keys.
pub fn decode(input: &[u8]) -> Result<Ipld, DecodeError> {
    decode_with(input, Limits::GENERAL)
}

/// Reads one value that is all of the text, within limits.
pub fn decode_with(input: &[u8], limits: Limits) -> Result<Ipld, DecodeError> {
    let mut decoder = Decoder {
        scan: Scanner::new(input),
        limits,
        items: 0,
    };
    if input.len() > limits.max_bytes {
        return Err(decoder.scan.error(E::TooLong(limits.max_bytes)));
    }
    let value = decoder.value(0)?;
    decoder.scan.end()?;
    Ok(value)
}

/// Reads one value that is written just as [`encode`] writes it.
pub fn decode_canonical(input: &[u8]) -> Result<Ipld, DecodeError> {
    let value = decode(input)?;
    match encode(&value) {
        Ok(text) if text.as_bytes() == input => Ok(value),
        _ => Err(DecodeError {
            at: 0,
            kind: E::NotCanonical,
        }),
    }
}

struct Decoder<'a> {
    scan: Scanner<'a>,
    limits: Limits,
    items: usize,
}

impl Decoder<'_> {
    fn value(&mut self, depth: usize) -> Result<Ipld, DecodeError> {
        // Two levels more than the data has: bytes take two maps.
        let max_depth = self.limits.max_depth.min(Limits::DEEPEST);
        if depth > max_depth + 2 {
            return Err(self.scan.error(E::TooDeep(max_depth)));
        }
        self.count()?;
        Ok(match self.scan.peek()? {
            b'n' => self.scan.word("null").map(|()| Ipld::Null)?,
            b't' => self.scan.word("true").map(|()| Ipld::Bool(true))?,
            b'f' => self.scan.word("false").map(|()| Ipld::Bool(false))?,
            b'"' => Ipld::String(self.scan.string()?),
            b'-' | b'0'..=b'9' => match self.scan.number()? {
                Number::Int(i) => Ipld::Integer(i),
                Number::Float(f) if self.limits.floats => Ipld::Float(f),
                Number::Float(_) => return Err(self.scan.error(E::Float)),
            },
            b'[' => self.list(depth)?,
            b'{' => self.map(depth)?,
            other => return Err(self.scan.unexpected("a value", other)),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Ipld, DecodeError> {
        self.scan.take(b'[', "a list")?;
        self.check_depth(depth)?;
        let mut items = Vec::new();
        if self.scan.peek()? == b']' {
            self.scan.take(b']', "]")?;
            return Ok(Ipld::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            match self.scan.peek()? {
                b',' => self.scan.take(b',', ",")?,
                _ => {
                    self.scan.take(b']', "',' or ']'")?;
                    return Ok(Ipld::List(items));
                }
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Ipld, DecodeError> {
        let start = self.scan.at();
        self.scan.take(b'{', "a map")?;
        let mut map = BTreeMap::new();
        if self.scan.peek()? == b'}' {
            self.scan.take(b'}', "}")?;
            self.check_depth(depth)?;
            return Ok(Ipld::Map(map));
        }
        loop {
            self.count()?;
            let key = self.scan.string()?;
            self.scan.take(b':', "':'")?;
            if map.contains_key(&key) {
                let key = key.chars().take(64).collect();
                return Err(self.scan.error(E::DuplicateKey(key)));
            }
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            match self.scan.peek()? {
                b',' => self.scan.take(b',', ",")?,
                _ => {
                    self.scan.take(b'}', "',' or '}'")?;
                    break;
                }
            }
        }
        if is_reserved(&map) {
            return special(&map).map_err(|kind| DecodeError { at: start, kind });
        }
        // The map inside of bytes is read before it is known as such, one level deeper than data may be.
        if !matches!(map.get("bytes"), Some(Ipld::String(_))) || map.len() != 1 {
            self.check_depth(depth)?;
        }
        Ok(Ipld::Map(map))
    }

    fn check_depth(&self, depth: usize) -> Result<(), DecodeError> {
        let max = self.limits.max_depth.min(Limits::DEEPEST);
        if depth > max {
            return Err(self.scan.error(E::TooDeep(max)));
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), DecodeError> {
        self.items += 1;
        if self.items > self.limits.max_items {
            return Err(self.scan.error(E::TooManyItems(self.limits.max_items)));
        }
        Ok(())
    }
}

fn special(map: &BTreeMap<String, Ipld>) -> Result<Ipld, E> {
    match map.get("/") {
        Some(Ipld::String(text)) if map.len() == 1 => Ok(Ipld::Link(parse_cid(text)?)),
        Some(Ipld::Map(inner)) if map.len() == 1 && inner.len() == 1 => match inner.get("bytes") {
            Some(Ipld::String(text)) => BASE64_NOPAD
                .decode(text.as_bytes())
                .map(Ipld::Bytes)
                .map_err(|_| E::Base64),
            _ => Err(E::Reserved),
        },
        _ => Err(E::Reserved),
    }
}
