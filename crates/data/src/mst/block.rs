//! The block of a node, read in place.
//!
//! A node is kept as its own canonical encoding: `{"e": [{"k": suffix, "p": prefix, "t": link, "v": value}, …],
//! "l": link}`. Everything here trusts the bytes: they were checked when they came from outside ([`super::verify`])
//! or were written by [`super::edit`].
//!
//! Keys are front coded, so a search compares only what the key before did not already settle, and never puts a
//! whole key together.

use super::digest::Digest;
use super::key::common_prefix_len;

/// Start of a node, up to the header of its entries: a map of two, and the key `e`.
pub(super) const NODE_START: [u8; 3] = [0xa2, 0x61, b'e'];
/// Start of an entry: a map of four, and the key `k`.
pub(super) const ENTRY_START: [u8; 3] = [0xa4, 0x61, b'k'];
/// Start of the left link: the key `l`.
pub(super) const LEFT_START: [u8; 2] = [0x61, b'l'];
/// No link.
pub(super) const NULL: u8 = 0xf6;
/// What precedes the digest in a link to a node: tag 42, 37 bytes, the identity prefix, CID version 1, DAG-CBOR,
/// SHA-256, 32 bytes.
pub(super) const LINK_START: [u8; 9] = [0xd8, 0x2a, 0x58, 0x25, 0x00, 0x01, 0x71, 0x12, 0x20];
/// Length of a link to a node.
pub(super) const LINK_BYTES: usize = LINK_START.len() + 32;
/// The block of the empty tree.
pub(super) const EMPTY: [u8; 7] = [0xa2, 0x61, b'e', 0x80, 0x61, b'l', NULL];

/// Where the parts of one entry lie in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// First byte.
    pub start: usize,
    /// First byte of the key's suffix.
    pub suffix: usize,
    /// Length of the key's suffix.
    pub suffix_len: usize,
    /// Bytes that the key shares with the one before.
    pub prefix: usize,
    /// First byte after the prefix length.
    pub prefix_end: usize,
    /// The link to the subtree right of the entry: a null, or a tag.
    pub link: usize,
    /// First byte of the value's CID.
    pub value: usize,
    /// First byte after the entry, which is also the end of the value.
    pub end: usize,
}

impl Entry {
    /// The suffix of the key.
    #[inline]
    pub fn suffix<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        &block[self.suffix..self.suffix + self.suffix_len]
    }

    /// The value's CID, in binary.
    #[inline]
    pub fn value<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        &block[self.value..self.end]
    }
}

/// Number of entries, and where the first one starts.
#[inline]
pub(super) fn entries_start(block: &[u8]) -> (usize, usize) {
    match block[3] {
        head @ 0x80..=0x97 => (usize::from(head - 0x80), 4),
        0x98 => (usize::from(block[4]), 5),
        0x99 => (usize::from(u16::from_be_bytes([block[4], block[5]])), 6),
        _ => (
            u32::from_be_bytes([block[4], block[5], block[6], block[7]]) as usize,
            8,
        ),
    }
}

/// The entry that starts at `start`.
#[inline]
pub(super) fn entry_at(block: &[u8], start: usize) -> Entry {
    let (suffix, suffix_len) = match block[start + 3] {
        head @ 0x40..=0x57 => (start + 4, usize::from(head - 0x40)),
        0x58 => (start + 5, usize::from(block[start + 4])),
        _ => (
            start + 6,
            usize::from(u16::from_be_bytes([block[start + 4], block[start + 5]])),
        ),
    };
    // Two bytes for the key `p`.
    let number = suffix + suffix_len + 2;
    let (prefix, prefix_end) = match block[number] {
        small @ 0..=0x17 => (usize::from(small), number + 1),
        0x18 => (usize::from(block[number + 1]), number + 2),
        _ => (
            usize::from(u16::from_be_bytes([block[number + 1], block[number + 2]])),
            number + 3,
        ),
    };
    let link = prefix_end + 2;
    let link_end = if block[link] == NULL {
        link + 1
    } else {
        link + LINK_BYTES
    };
    // The key `v`, tag 42, then a byte string that starts with a zero byte.
    let value_head = link_end + 4;
    let (value, end) = match block[value_head] {
        head @ 0x40..=0x57 => (value_head + 2, value_head + 1 + usize::from(head - 0x40)),
        _ => (
            value_head + 3,
            value_head + 2 + usize::from(block[value_head + 1]),
        ),
    };
    Entry {
        start,
        suffix,
        suffix_len,
        prefix,
        prefix_end,
        link,
        value,
        end,
    }
}

/// The digest in the link at `link`, or `None` for a null.
#[inline]
pub(super) fn link_digest(block: &[u8], link: usize) -> Option<Digest> {
    if block[link] == NULL {
        return None;
    }
    block[link + LINK_START.len()..link + LINK_BYTES]
        .try_into()
        .ok()
}

/// The entries of a block, in order.
#[derive(Clone, Debug)]
pub(super) struct Entries<'b> {
    block: &'b [u8],
    left: usize,
    at: usize,
}

/// Reads the entries of a block.
#[inline]
pub(super) fn entries(block: &[u8]) -> Entries<'_> {
    let (left, at) = entries_start(block);
    Entries { block, left, at }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        self.left = self.left.checked_sub(1)?;
        let entry = entry_at(self.block, self.at);
        self.at = entry.end;
        Some(entry)
    }
}

/// Where the entries end, which is where the key `l` starts.
pub(super) fn entries_end(block: &[u8]) -> usize {
    let (count, mut at) = entries_start(block);
    for _ in 0..count {
        at = entry_at(block, at).end;
    }
    at
}

/// Where the link of gap `gap` lies: gap 0 is left of all entries, gap `i` right of entry `i - 1`.
pub(super) fn gap_link(block: &[u8], gap: usize) -> usize {
    match gap.checked_sub(1) {
        None => entries_end(block) + LEFT_START.len(),
        Some(index) => entries(block).nth(index).map_or(block.len(), |e| e.link),
    }
}

/// The key of entry `index`, put together in `key`.
pub(super) fn key_at(block: &[u8], index: usize, key: &mut Vec<u8>) {
    key.clear();
    for entry in entries(block).take(index + 1) {
        key.truncate(entry.prefix);
        key.extend_from_slice(entry.suffix(block));
    }
}

/// Where a key stands, or would stand, among the entries of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Number of entries with smaller keys.
    pub index: usize,
    /// Number of all entries.
    pub count: usize,
    /// Where entry `index` starts, or the entries end.
    pub at: usize,
    /// Bytes that the key shares with the entry before.
    pub prefix: usize,
    /// The entry before.
    pub before: Option<Entry>,
    /// The entry with this key or the next greater one.
    pub entry: Option<Entry>,
    /// Bytes that the key shares with `entry`.
    pub shared: usize,
    /// Whether `entry` has this very key.
    pub found: bool,
}

impl Place {
    /// As [`Self::gap_link`], of a gap that has a subtree: the left link is the last thing in a block.
    #[inline]
    pub fn kid_link(&self, block: &[u8]) -> usize {
        match &self.before {
            Some(entry) => entry.link,
            None => block.len() - LINK_BYTES,
        }
    }

    /// Where the link of the gap lies that the key falls into.
    #[inline]
    pub fn gap_link(&self, block: &[u8]) -> usize {
        match &self.before {
            Some(entry) => entry.link,
            None if self.entry.is_none() => self.at + LEFT_START.len(),
            None => gap_link(block, 0),
        }
    }
}

/// Finds the place of `key` in a block.
#[inline]
pub(super) fn seek(block: &[u8], key: &[u8]) -> Place {
    let (count, mut at) = entries_start(block);
    // Bytes that the key shares with the entry before, which is the most that it shares with any smaller one.
    let mut prefix = 0;
    let mut before = None;
    for index in 0..count {
        let entry = entry_at(block, at);
        // An entry that shares more than that with the one before is smaller for the same reason.
        if entry.prefix <= prefix {
            let (shared, found, smaller) = if entry.prefix < prefix {
                (entry.prefix, false, false)
            } else {
                compare(entry.suffix(block), key, prefix)
            };
            if !smaller {
                return Place {
                    index,
                    count,
                    at,
                    prefix,
                    before,
                    entry: Some(entry),
                    shared,
                    found,
                };
            }
            prefix = shared;
        }
        before = Some(entry);
        at = entry.end;
    }
    Place {
        index: count,
        count,
        at,
        prefix,
        before,
        entry: None,
        shared: 0,
        found: false,
    }
}

/// Compares an entry that shares `prefix` bytes with `key` by their rest: bytes shared, equal, entry is smaller.
#[inline]
fn compare(suffix: &[u8], key: &[u8], prefix: usize) -> (usize, bool, bool) {
    let rest = &key[prefix..];
    let common = common_prefix_len(suffix, rest);
    let shared = prefix + common;
    match (suffix.get(common), rest.get(common)) {
        (None, None) => (shared, true, false),
        (None, Some(_)) => (shared, false, true),
        (Some(_), None) => (shared, false, false),
        (Some(a), Some(b)) => (shared, false, a < b),
    }
}
