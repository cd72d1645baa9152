//! The wire format of protocol buffers, as far as pins need it: see
//! <https://protobuf.dev/programming-guides/encoding/>.

/// Why bytes are not protocol buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The input ends inside a field.
    #[error("the input ends inside a field")]
    Truncated,
    /// A varint takes more than 64 bits.
    #[error("a varint takes more than 64 bits")]
    Varint,
    /// A field number outside of 1 to 2^29 - 1.
    #[error("a field number of 1 to 536870911 expected, found {0}")]
    FieldNumber(u64),
    /// A wire type that does not exist.
    #[error("a wire type of 0 to 5 expected, found {0}")]
    WireType(u8),
    /// A group ends that did not begin, or another than the last that began.
    #[error("a group ends out of order")]
    Group,
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed-size number or a group, which pins do not use.
    Other,
}

/// One field, and all of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
    pub(super) raw: &'a [u8],
}

/// The fields of a message, in their order. Ends after the first error.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let from = self.0;
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            3 => {
                self.skip_group(number)?;
                Value::Other
            }
            4 => return Err(WireError::Group),
            other => {
                self.skip_fixed(other)?;
                Value::Other
            }
        };
        let raw = from.get(..from.len() - self.0.len()).unwrap_or_default();
        Ok(Field { number, value, raw })
    }

    /// Skips to the end of a group that has just begun, and all groups inside.
    fn skip_group(&mut self, number: u32) -> Result<(), WireError> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let (number, wire_type) = self.tag()?;
            match wire_type {
                0 => drop(self.varint()?),
                2 => {
                    let len = self.varint()?;
                    self.take(len)?;
                }
                3 => open.push(number),
                4 if number == innermost => drop(open.pop()),
                4 => return Err(WireError::Group),
                other => self.skip_fixed(other)?,
            }
        }
        Ok(())
    }

    fn skip_fixed(&mut self, wire_type: u8) -> Result<(), WireError> {
        match wire_type {
            1 => self.take(8).map(drop),
            5 => self.take(4).map(drop),
            other => Err(WireError::WireType(other)),
        }
    }

    fn tag(&mut self) -> Result<(u32, u8), WireError> {
        let tag = self.varint()?;
        match u32::try_from(tag >> 3) {
            Ok(number @ 1..=0x1fff_ffff) => Ok((number, (tag & 7) as u8)),
            _ => Err(WireError::FieldNumber(tag >> 3)),
        }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(len).map_err(|_| WireError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
            self.0 = rest;
            if shift == 63 && byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Appends a number, unless it is zero, which is what an absent one means.
pub(super) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        tag(out, number, 0);
        varint(out, value);
    }
}

/// Appends a signed number in zigzag form, unless it is zero.
pub(super) fn put_sint32(out: &mut Vec<u8>, number: u32, value: i32) {
    let zigzag = (value << 1) ^ (value >> 31);
    put_varint(out, number, u64::from(zigzag as u32));
}

/// Appends bytes, text or a message, unless empty.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_element(out, number, bytes);
    }
}

/// Appends one element of a repeated field, or a message that is there though empty.
pub(super) fn put_element(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    tag(out, number, 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A signed number from its zigzag form; as everywhere, bits beyond the 32nd are dropped.
pub(super) fn sint32(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
