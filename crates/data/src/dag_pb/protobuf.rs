//! The part of protobuf's wire format that DAG-PB and UnixFS use.

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// A number.
    Varint(u64),
    /// Bytes: where they begin in the message, and they themselves.
    Bytes(usize, &'a [u8]),
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends inside of a field.
    #[error("the message ends inside of a field")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("a number has more than 64 bits")]
    TooLong,
    /// A wire type that neither format uses.
    #[error("wire type {0} is not used in this format")]
    WireType(u8),
    /// A field number outside of the protobuf range.
    #[error("field number {0} is out of range")]
    FieldNumber(u64),
}

/// The fields of a message, in the order they are written.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// The number of the next field and its content.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, WireError> {
        if self.at >= self.input.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = match tag >> 3 {
            n @ 1..=0x1fff_ffff => n as u32,
            n => return Err(WireError::FieldNumber(n)),
        };
        match (tag & 7) as u8 {
            0 => Ok(Some((number, Field::Varint(self.varint()?)))),
            2 => {
                let len = self.varint()?;
                let start = self.at;
                let rest = self.input.get(start..).unwrap_or_default();
                let bytes = usize::try_from(len)
                    .ok()
                    .and_then(|len| rest.get(..len))
                    .ok_or(WireError::Truncated)?;
                self.at += bytes.len();
                Ok(Some((number, Field::Bytes(start, bytes))))
            }
            other => Err(WireError::WireType(other)),
        }
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        varint(self.input, &mut self.at)
    }
}

/// Reads a protobuf varint: up to ten bytes, and unlike in multiformats padding is legal.
pub(crate) fn varint(input: &[u8], at: &mut usize) -> Result<u64, WireError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *input.get(*at).ok_or(WireError::Truncated)?;
        *at += 1;
        if shift == 63 && byte > 1 {
            return Err(WireError::TooLong);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::TooLong)
}

/// Appends a number field.
pub(crate) fn put_varint(number: u64, value: u64, out: &mut Vec<u8>) {
    crate::varint::write(number << 3, out);
    crate::varint::write(value, out);
}

/// Appends a bytes field.
pub(crate) fn put_bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    crate::varint::write(number << 3 | 2, out);
    crate::varint::write(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
