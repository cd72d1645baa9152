//! Writes values as JSON text by hand: listings have tens of millions of lines, and none of them allocates here.

use std::borrow::Borrow;

use data_encoding::{Encoding, Specification};
use ues_data::content_id::write_cid;
use ues_data::{Cid, Version};

use crate::model::GoTime;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// The last second that RFC 3339 can name.
const LAST: u64 = 253_402_300_799;
/// Go's zero time, which stands for "never".
const ZERO: &[u8] = b"\"0001-01-01T00:00:00Z\"";
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// 58 to the power of [`LIMB_DIGITS`]: what a limb of a number in base 58 counts to.
const LIMB: u64 = 656_356_768;
const LIMB_DIGITS: usize = 5;
/// Enough limbs for 35 bytes.
const LIMBS: usize = 10;

/// Writes values, and remembers what the next ones are likely to need again.
#[derive(Clone)]
pub(crate) struct Pen {
    /// The binary form of a CID.
    scratch: Vec<u8>,
    base32: Option<Encoding>,
    /// The date that was written last: days since the Unix epoch, and its text.
    date: (u64, [u8; 10]),
}

impl Pen {
    pub(crate) fn new() -> Self {
        let mut spec = Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        Self {
            scratch: Vec::with_capacity(64),
            // The specification above is sound; without it CIDs would be written the slow way.
            base32: spec.encoding().ok(),
            date: (0, *b"1970-01-01"),
        }
    }

    /// A CID, quoted.
    pub(crate) fn cid(&mut self, out: &mut Vec<u8>, cid: &Cid) {
        out.push(b'"');
        self.scratch.clear();
        write_cid(cid, &mut self.scratch);
        match (cid.version(), &self.base32) {
            (Version::V1, Some(base32)) => {
                out.push(b'b');
                let at = out.len();
                out.resize(at + base32.encode_len(self.scratch.len()), 0);
                if let Some(room) = out.get_mut(at..) {
                    base32.encode_mut(&self.scratch, room);
                }
            }
            (Version::V0, _) if self.scratch.len() <= 35 => base58(&self.scratch, out),
            _ => out.extend_from_slice(cid.to_string().as_bytes()),
        }
        out.push(b'"');
    }

    /// A time in seconds since the Unix epoch, quoted.
    pub(crate) fn seconds(&mut self, out: &mut Vec<u8>, seconds: u64) {
        self.time(out, seconds, 0);
    }

    /// A time in seconds since the Unix epoch where `None` stands for "never", quoted.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>, seconds: Option<u64>) {
        match seconds {
            Some(seconds) => self.time(out, seconds, 0),
            None => out.extend_from_slice(ZERO),
        }
    }

    /// A time in milliseconds since the Unix epoch, quoted.
    pub(crate) fn millis(&mut self, out: &mut Vec<u8>, millis: u64) {
        self.time(out, millis / 1000, millis % 1000);
    }

    fn time(&mut self, out: &mut Vec<u8>, seconds: u64, millis: u64) {
        let seconds = seconds.min(LAST);
        let (day, second) = (seconds / DAY, seconds % DAY);
        if day != self.date.0 {
            let text = GoTime::from_secs(day * DAY).to_string();
            if let Some(date) = text.as_bytes().first_chunk::<10>() {
                self.date = (day, *date);
            }
        }
        out.push(b'"');
        out.extend_from_slice(&self.date.1);
        out.push(b'T');
        digits(out, second / 3600, 2);
        out.push(b':');
        digits(out, second / 60 % 60, 2);
        out.push(b':');
        digits(out, second % 60, 2);
        if millis > 0 {
            out.push(b'.');
            digits(out, millis, 3);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.extend_from_slice(b"Z\"");
    }
}

/// A text, quoted.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    if text.as_bytes().iter().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        json(out, text);
    }
}

/// Any value, the slow way.
pub(crate) fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let at = out.len();
    // Writing to memory does not fail, and none of the values here has keys that are not text.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(at);
        out.extend_from_slice(b"null");
    }
}

/// A whole number.
pub(crate) fn number(out: &mut Vec<u8>, number: i64) {
    if (0..10).contains(&number) {
        digits(out, number.unsigned_abs(), 1);
    } else {
        json(out, &number);
    }
}

/// Items of a list or object, with commas between.
pub(crate) fn joined<T, B: Borrow<T>>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = B>,
    mut write: impl FnMut(&mut Vec<u8>, &T),
) {
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item.borrow());
    }
}

/// The last decimal digits of a number.
fn digits(out: &mut Vec<u8>, number: u64, count: u32) {
    for place in (0..count).rev() {
        let digit = number / 10_u64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// Base 58 of up to 35 bytes of which the first is not zero, as in a multihash of SHA-256.
fn base58(bytes: &[u8], out: &mut Vec<u8>) {
    let mut limbs = [0_u64; LIMBS];
    let head = bytes.len() % 4;
    let (head, rest) = bytes.split_at(head);
    let words = std::iter::once((head, 8 * head.len() as u32))
        .chain(rest.chunks(4).map(|word| (word, 32)))
        .filter(|(word, _)| !word.is_empty());
    for (word, bits) in words {
        let mut carry = word.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        for limb in &mut limbs {
            let value = (*limb << bits) + carry;
            *limb = value % LIMB;
            carry = value / LIMB;
        }
    }
    let mut text = [0_u8; LIMBS * LIMB_DIGITS];
    for (limb, place) in limbs.iter().rev().zip(text.chunks_mut(LIMB_DIGITS)) {
        let mut limb = *limb;
        for digit in place.iter_mut().rev() {
            let index = usize::try_from(limb % 58).unwrap_or(0);
            *digit = BASE58.get(index).copied().unwrap_or(b'1');
            limb /= 58;
        }
    }
    let first = text.iter().position(|c| *c != b'1').unwrap_or(text.len());
    out.extend_from_slice(text.get(first..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ues_data::content_id::{HashAlgorithm, cid_of, identity_cid, sha256_multihash};

    use super::*;

    fn written(write: impl FnOnce(&mut Pen, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut Pen::new(), &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    proptest! {
        #[test]
        fn cids_are_written_as_everywhere_else(content in prop::collection::vec(any::<u8>(), 0..40)) {
            let old = Cid::new_v0(sha256_multihash(&content)).unwrap();
            let sha = cid_of(0x70, HashAlgorithm::Sha2_256, &content);
            let identity = identity_cid(0x55, &content).unwrap();
            for cid in [old, sha, identity] {
                prop_assert_eq!(written(|pen, out| pen.cid(out, &cid)), cid.to_string());
            }
        }

        #[test]
        fn times_are_written_as_everywhere_else(millis in 0_u64..300_000_000_000_000) {
            let text = written(|pen, out| pen.millis(out, millis));
            prop_assert_eq!(text, GoTime::from_millis(millis).to_string());
            let text = written(|pen, out| pen.seconds(out, millis / 1000));
            prop_assert_eq!(text, GoTime::from_secs(millis / 1000).to_string());
        }

        #[test]
        fn texts_are_read_as_they_were(value in ".*") {
            prop_assert_eq!(written(|_, out| text(out, &value)), value);
        }

        #[test]
        fn numbers_are_read_as_they_were(value: i64, small in -1_i64..12) {
            for value in [value, small] {
                let mut out = Vec::new();
                number(&mut out, value);
                prop_assert_eq!(serde_json::from_slice::<i64>(&out).unwrap(), value);
            }
        }
    }
}
