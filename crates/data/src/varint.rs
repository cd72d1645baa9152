//! Unsigned variable-length integers of multiformats: seven bits a byte, low bits first.
//!
//! At most nine bytes (63 bits) and never longer than needed, as the
//! [specification](https://github.com/multiformats/unsigned-varint) asks.

/// The longest encoding that is accepted, in bytes.
pub const MAX_LEN: usize = 9;

/// Why a varint could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VarintError {
    /// The input ends inside the number; more bytes may complete it.
    #[error("the input ends inside a varint")]
    Incomplete,
    /// The number takes more than nine bytes.
    #[error("a varint is longer than 9 bytes")]
    TooLong,
    /// The number ends in a zero byte that adds nothing.
    #[error("a varint is longer than it needs to be")]
    NotMinimal,
}

/// Reads a number from the start of `input`; returns it and how many bytes it took.
#[inline]
pub fn read(input: &[u8]) -> Result<(u64, usize), VarintError> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().take(MAX_LEN).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return Err(VarintError::NotMinimal);
            }
            return Ok((value, i + 1));
        }
    }
    if input.len() >= MAX_LEN {
        Err(VarintError::TooLong)
    } else {
        Err(VarintError::Incomplete)
    }
}

/// Appends `value` to `out`.
///
/// Values of 2^63 and more take ten bytes, which [`read`] refuses; lengths and codes never get there.
#[inline]
pub fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`write()`] takes for `value`.
#[inline]
#[must_use]
pub fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_at_every_length() {
        for shift in 0..63 {
            for value in [(1u64 << shift) - 1, 1 << shift] {
                let mut out = Vec::new();
                write(value, &mut out);
                assert_eq!(out.len(), len(value));
                assert_eq!(read(&out), Ok((value, out.len())));
                for cut in 0..out.len() {
                    assert_eq!(read(&out[..cut]), Err(VarintError::Incomplete));
                }
            }
        }
    }

    #[test]
    fn refuses_padding_and_excess() {
        assert_eq!(read(&[0x80, 0x00]), Err(VarintError::NotMinimal));
        assert_eq!(read(&[0xff; 12]), Err(VarintError::TooLong));
        assert_eq!(read(&[0x00]), Ok((0, 1)));
    }
}
