//! Writing DAG-CBOR piece by piece.

use std::cmp::Ordering;

use cid::Cid;

use super::TAG_CID;
use crate::content_id::write_cid;

pub(super) const UNSIGNED: u8 = 0;
pub(super) const NEGATIVE: u8 = 1;
pub(super) const BYTES: u8 = 2;
pub(super) const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
pub(super) const TAG: u8 = 6;
pub(super) const SIMPLE: u8 = 7;

/// The order of map keys: the shorter first, equal lengths by bytes.
#[inline]
#[must_use]
pub fn cmp_keys(a: &str, b: &str) -> Ordering {
    a.len()
        .cmp(&b.len())
        .then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// Appends canonical items to a buffer.
///
/// Integers and lengths come out in their shortest form. That a container gets as many items as it announces,
/// and that keys come in the order of [`cmp_keys`], is up to the caller.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { out: Vec::new() }
    }

    /// An empty buffer with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
        }
    }

    /// Continues after what is in `out`.
    #[must_use]
    pub const fn append_to(out: Vec<u8>) -> Self {
        Self { out }
    }

    /// What was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// What was written, by value.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Forgets what was written and keeps the room.
    pub fn clear(&mut self) {
        self.out.clear();
    }

    /// Begins a map of `len` pairs; keys and values follow in turn.
    #[inline]
    pub fn map(&mut self, len: u64) {
        head(MAP, len, &mut self.out);
    }

    /// Begins a list of `len` items.
    #[inline]
    pub fn array(&mut self, len: u64) {
        head(ARRAY, len, &mut self.out);
    }

    /// Writes a text, or a map key.
    #[inline]
    pub fn text(&mut self, text: &str) {
        head(TEXT, text.len() as u64, &mut self.out);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Writes a byte string.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        head(BYTES, bytes.len() as u64, &mut self.out);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a link.
    pub fn link(&mut self, cid: &Cid) {
        link(cid, &mut self.out);
    }

    /// Writes a number that is not negative.
    #[inline]
    pub fn uint(&mut self, value: u64) {
        head(UNSIGNED, value, &mut self.out);
    }

    /// Writes a number.
    #[inline]
    pub fn int(&mut self, value: i64) {
        if value < 0 {
            head(NEGATIVE, !(value as u64), &mut self.out);
        } else {
            head(UNSIGNED, value as u64, &mut self.out);
        }
    }

    /// Writes a truth value.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.out.push(if value { 0xf5 } else { 0xf4 });
    }

    /// Writes null.
    #[inline]
    pub fn null(&mut self) {
        self.out.push(0xf6);
    }

    /// Writes a float. NaN and infinities have no place in IPLD: they become null.
    pub fn f64(&mut self, value: f64) {
        if value.is_finite() {
            float(value, &mut self.out);
        } else {
            self.null();
        }
    }

    /// Appends an item that is already encoded.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }
}

#[inline]
pub(super) fn head(major: u8, value: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match value {
        0..=23 => out.push(major | value as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, value as u8]),
        0x100..=0xffff => {
            let [a, b] = (value as u16).to_be_bytes();
            out.extend_from_slice(&[major | 25, a, b]);
        }
        0x1_0000..=0xffff_ffff => {
            let [a, b, c, d] = (value as u32).to_be_bytes();
            out.extend_from_slice(&[major | 26, a, b, c, d]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

pub(super) fn link(cid: &Cid, out: &mut Vec<u8>) {
    head(TAG, TAG_CID, out);
    head(BYTES, cid.encoded_len() as u64 + 1, out);
    out.push(0);
    write_cid(cid, out);
}

pub(super) fn float(value: f64, out: &mut Vec<u8>) {
    out.push(0xfb);
    out.extend_from_slice(&value.to_be_bytes());
}
