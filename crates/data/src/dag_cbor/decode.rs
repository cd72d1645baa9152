//! Decoding whole values.

use std::collections::BTreeMap;
use std::io::{self, Read};

use ipld_core::ipld::Ipld;

use super::error::{DecodeError, DecodeErrorKind};
use super::limits::Limits;
use super::reader::{Kind, Reader};

/// Decodes one value that is all of `input`; floats are allowed.
pub fn decode(input: &[u8]) -> Result<Ipld, DecodeError> {
    decode_with(input, Limits::GENERAL)
}

/// Decodes one value that is all of `input`, within limits.
pub fn decode_with(input: &[u8], limits: Limits) -> Result<Ipld, DecodeError> {
    let mut reader = Reader::with_limits(input, limits);
    let value = value(&mut reader, 0)?;
    reader.finish()?;
    Ok(value)
}

/// Decodes one value from the start of `input`; returns it and how many bytes it took.
pub fn decode_prefix(input: &[u8], limits: Limits) -> Result<(Ipld, usize), DecodeError> {
    let bounded = input.get(..limits.max_bytes).unwrap_or(input);
    let mut reader = Reader::with_limits(bounded, limits);
    let value = value(&mut reader, 0)?;
    Ok((value, reader.position()))
}

/// Decodes one value that is all an input has, reading no more than [`Limits::max_bytes`] and one byte.
pub fn decode_from(input: impl Read, limits: Limits) -> Result<Ipld, DecodeError> {
    let mut bytes = Vec::new();
    input
        .take(limits.max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e: io::Error| DecodeError {
            at: 0,
            kind: DecodeErrorKind::Io(e.to_string()),
        })?;
    decode_with(&bytes, limits)
}

/// Room that is taken for a list on its word alone; longer ones grow as their items really come.
const PREALLOCATED: usize = 64;

fn value(reader: &mut Reader<'_>, depth: usize) -> Result<Ipld, DecodeError> {
    reader.check_depth(depth)?;
    Ok(match reader.peek()? {
        Kind::Null => {
            reader.null()?;
            Ipld::Null
        }
        Kind::Bool => Ipld::Bool(reader.bool()?),
        Kind::Int => Ipld::Integer(reader.int()?),
        Kind::Float => Ipld::Float(reader.f64()?),
        Kind::Text => Ipld::String(reader.text()?.to_owned()),
        Kind::Bytes => Ipld::Bytes(reader.bytes()?.to_vec()),
        Kind::Link => Ipld::Link(reader.link()?),
        Kind::List => {
            let len = reader.array()?;
            let mut items = Vec::with_capacity(len.min(PREALLOCATED));
            for _ in 0..len {
                items.push(value(reader, depth + 1)?);
            }
            Ipld::List(items)
        }
        Kind::Map => {
            let mut map = BTreeMap::new();
            let mut previous = None;
            for _ in 0..reader.map()? {
                let key = reader.key(&mut previous)?.to_owned();
                map.insert(key, value(reader, depth + 1)?);
            }
            Ipld::Map(map)
        }
    })
}
