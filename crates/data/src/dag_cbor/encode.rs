//! Encoding whole values.

use std::io;

use ipld_core::ipld::Ipld;

use super::limits::Limits;
use super::writer::{self, ARRAY, BYTES, MAP, NEGATIVE, TEXT, UNSIGNED, cmp_keys};

/// Why a value has no encoding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An integer outside of -2^64 .. 2^64-1.
    #[error("an integer from -2^64 to 2^64-1 expected, found {0}")]
    Range(i128),
    /// NaN or an infinity.
    #[error("NaN and infinities have no place in IPLD")]
    NotFinite,
    /// A float where none is allowed.
    #[error("floating point numbers are not allowed here, found {0}")]
    Float(f64),
    /// Nested deeper than allowed.
    #[error("nested deeper than {0}")]
    TooDeep(usize),
    /// The encoding is longer than allowed.
    #[error("the encoding is longer than {0} bytes")]
    TooLong(usize),
    /// The output failed.
    #[error("the encoding could not be written")]
    Io(#[from] io::Error),
}

/// Encodes a value; floats are allowed.
pub fn encode(value: &Ipld) -> Result<Vec<u8>, EncodeError> {
    encode_with(value, Limits::GENERAL)
}

/// Encodes a value within limits ([`Limits::max_items`] is not looked at: the value is there already).
pub fn encode_with(value: &Ipld, limits: Limits) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder {
        out: Vec::new(),
        sink: None,
        written: 0,
        limits,
    };
    encoder.value(value, 0)?;
    Ok(encoder.out)
}

/// Encodes a value to an output, without ever holding more of the encoding than 64 KiB and one text or byte string.
///
/// Returns the number of bytes written. The output is not flushed.
pub fn encode_to(
    value: &Ipld,
    output: &mut dyn io::Write,
    limits: Limits,
) -> Result<u64, EncodeError> {
    let mut encoder = Encoder {
        out: Vec::new(),
        sink: Some(output),
        written: 0,
        limits,
    };
    encoder.value(value, 0)?;
    encoder.spill()?;
    Ok(encoder.written as u64)
}

const SPILL_AT: usize = 64 << 10;

struct Encoder<'a> {
    out: Vec<u8>,
    sink: Option<&'a mut dyn io::Write>,
    written: usize,
    limits: Limits,
}

impl Encoder<'_> {
    fn value(&mut self, value: &Ipld, depth: usize) -> Result<(), EncodeError> {
        let max_depth = self.limits.max_depth.min(Limits::DEEPEST);
        if depth > max_depth {
            return Err(EncodeError::TooDeep(max_depth));
        }
        match value {
            Ipld::Null => self.out.push(0xf6),
            Ipld::Bool(b) => self.out.push(if *b { 0xf5 } else { 0xf4 }),
            Ipld::Integer(i) => self.integer(*i)?,
            Ipld::Float(f) => self.float(*f)?,
            Ipld::String(s) => self.string(TEXT, s.as_bytes())?,
            Ipld::Bytes(b) => self.string(BYTES, b)?,
            Ipld::Link(cid) => writer::link(cid, &mut self.out),
            Ipld::List(items) => {
                writer::head(ARRAY, items.len() as u64, &mut self.out);
                for item in items {
                    self.value(item, depth + 1)?;
                }
            }
            Ipld::Map(map) => {
                writer::head(MAP, map.len() as u64, &mut self.out);
                let mut pairs: Vec<_> = map.iter().collect();
                pairs.sort_unstable_by(|(a, _), (b, _)| cmp_keys(a, b));
                for (key, item) in pairs {
                    self.string(TEXT, key.as_bytes())?;
                    self.value(item, depth + 1)?;
                }
            }
        }
        self.check()
    }

    fn integer(&mut self, value: i128) -> Result<(), EncodeError> {
        let (major, magnitude) = if value < 0 {
            (NEGATIVE, -1 - value)
        } else {
            (UNSIGNED, value)
        };
        let magnitude = u64::try_from(magnitude).map_err(|_| EncodeError::Range(value))?;
        writer::head(major, magnitude, &mut self.out);
        Ok(())
    }

    fn float(&mut self, value: f64) -> Result<(), EncodeError> {
        if !self.limits.floats {
            return Err(EncodeError::Float(value));
        }
        if !value.is_finite() {
            return Err(EncodeError::NotFinite);
        }
        writer::float(value, &mut self.out);
        Ok(())
    }

    fn string(&mut self, major: u8, bytes: &[u8]) -> Result<(), EncodeError> {
        writer::head(major, bytes.len() as u64, &mut self.out);
        if self.sink.is_some() && bytes.len() >= SPILL_AT {
            self.spill()?;
            if let Some(sink) = &mut self.sink {
                sink.write_all(bytes)?;
            }
            self.written += bytes.len();
        } else {
            self.out.extend_from_slice(bytes);
        }
        self.check()
    }

    #[inline]
    fn check(&mut self) -> Result<(), EncodeError> {
        if self.written + self.out.len() > self.limits.max_bytes {
            return Err(EncodeError::TooLong(self.limits.max_bytes));
        }
        if self.sink.is_some() && self.out.len() >= SPILL_AT {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), EncodeError> {
        if let Some(sink) = &mut self.sink {
            sink.write_all(&self.out)?;
            self.written += self.out.len();
            self.out.clear();
        }
        Ok(())
    }
}
