//! Changes to a node's block, as splices of its bytes.
//!
//! Keys are front coded, so a change touches the entry itself and the head of the one after it, whose prefix length
//! follows from numbers that the search already has. No other key is put together or coded anew.

use super::block::{
    ENTRY_START, Entry, LEFT_START, LINK_BYTES, LINK_START, NODE_START, NULL, Place, entries,
    entries_end, entries_start, entry_at, gap_link,
};
use super::digest::Digest;

/// A link as bytes to write: nothing, or a digest. The digest of a node that has none yet is zero until it is sealed.
pub(super) type LinkBytes<'a> = Option<&'a Digest>;

/// Appends a CBOR head: major type (already shifted) and argument, in the shortest form.
#[inline]
fn put_head(out: &mut Vec<u8>, major: u8, argument: usize) {
    match argument {
        0..=0x17 => out.push(major | argument as u8),
        0x18..=0xff => out.extend_from_slice(&[major | 0x18, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 0x19);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        _ => {
            out.push(major | 0x1a);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
    }
}

fn array_head_len(count: usize) -> usize {
    match count {
        0..=0x17 => 1,
        0x18..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 5,
    }
}

/// Appends a link.
#[inline]
pub(super) fn put_link(out: &mut Vec<u8>, link: LinkBytes<'_>) {
    match link {
        None => out.push(NULL),
        Some(digest) => {
            out.extend_from_slice(&LINK_START);
            out.extend_from_slice(digest);
        }
    }
}

/// Appends the start of a node with `count` entries.
#[inline]
pub(super) fn put_node_start(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&NODE_START);
    put_head(out, 0x80, count);
}

/// Appends the end of a node.
#[inline]
pub(super) fn put_left(out: &mut Vec<u8>, link: LinkBytes<'_>) {
    out.extend_from_slice(&LEFT_START);
    put_link(out, link);
}

/// Appends an entry up to and with its prefix length. The suffix is given in two parts.
#[inline]
fn put_entry_key(out: &mut Vec<u8>, prefix: usize, first: &[u8], second: &[u8]) {
    out.extend_from_slice(&ENTRY_START);
    put_head(out, 0x40, first.len() + second.len());
    out.extend_from_slice(first);
    out.extend_from_slice(second);
    out.extend_from_slice(&[0x61, b'p']);
    put_head(out, 0x00, prefix);
}

/// Appends an entry.
#[inline]
pub(super) fn put_entry(
    out: &mut Vec<u8>,
    prefix: usize,
    suffix: &[u8],
    link: LinkBytes<'_>,
    value: &[u8],
) {
    put_entry_key(out, prefix, suffix, &[]);
    out.extend_from_slice(&[0x61, b't']);
    put_link(out, link);
    out.extend_from_slice(&[0x61, b'v', 0xd8, 0x2a]);
    put_head(out, 0x40, value.len() + 1);
    out.push(0);
    out.extend_from_slice(value);
}

/// Makes room for `additional` bytes, and for about one entry more: a tree has many blocks, and what they hold unused
/// is memory that has to be found and cleared.
fn grow(block: &mut Vec<u8>, additional: usize) {
    if block.capacity() - block.len() < additional {
        block.reserve_exact(additional + (block.len() / 8).max(72));
    }
}

/// Replaces `remove` bytes at `at` by `insert`.
fn splice(block: &mut Vec<u8>, at: usize, remove: usize, insert: &[u8]) {
    let old_len = block.len();
    let tail = at + remove;
    if insert.len() >= remove {
        grow(block, insert.len() - remove);
        block.resize(old_len + insert.len() - remove, 0);
        block.copy_within(tail..old_len, at + insert.len());
    } else {
        block.copy_within(tail..old_len, at + insert.len());
        block.truncate(old_len + insert.len() - remove);
    }
    block[at..at + insert.len()].copy_from_slice(insert);
}

/// Sets the number of entries.
fn set_count(block: &mut Vec<u8>, count: usize) {
    let (old, start) = entries_start(block);
    if array_head_len(old) == array_head_len(count) && count < 0x18 {
        block[3] = 0x80 | count as u8;
        return;
    }
    let mut head = Vec::with_capacity(5);
    put_head(&mut head, 0x80, count);
    splice(block, 3, start - 3, &head);
}

/// Sets the link that lies at `at`.
pub(super) fn set_link_at(block: &mut Vec<u8>, at: usize, link: LinkBytes<'_>) {
    match (block[at] == NULL, link) {
        (true, None) => {}
        (false, Some(digest)) => patch_link(block, at, digest),
        (true, Some(digest)) => {
            let mut bytes = [0; LINK_BYTES];
            bytes[..LINK_START.len()].copy_from_slice(&LINK_START);
            bytes[LINK_START.len()..].copy_from_slice(digest);
            splice(block, at, 1, &bytes);
        }
        (false, None) => splice(block, at, LINK_BYTES, &[NULL]),
    }
}

/// Writes a digest into the link that lies at `at`.
#[inline]
pub(super) fn patch_link(block: &mut [u8], at: usize, digest: &Digest) {
    block[at + LINK_START.len()..at + LINK_BYTES].copy_from_slice(digest);
}

/// Sets the link of a gap.
pub(super) fn set_gap_link(block: &mut Vec<u8>, gap: usize, link: LinkBytes<'_>) {
    let at = gap_link(block, gap);
    set_link_at(block, at, link);
}

/// Replaces the value of an entry.
pub(super) fn set_value(block: &mut Vec<u8>, entry: &Entry, value: &[u8]) {
    if entry.end - entry.value == value.len() {
        block[entry.value..entry.end].copy_from_slice(value);
        return;
    }
    let head = entry.value
        - if entry.end - entry.value + 1 < 0x18 {
            2
        } else {
            3
        };
    let mut bytes = Vec::with_capacity(value.len() + 3);
    put_head(&mut bytes, 0x40, value.len() + 1);
    bytes.push(0);
    bytes.extend_from_slice(value);
    splice(block, head, entry.end - head, &bytes);
}

/// Inserts an entry at a place where its key is not. The gap that the key falls into is split: its link becomes
/// `left`, that of the new entry `right`.
pub(super) fn insert(
    block: &mut Vec<u8>,
    place: &Place,
    key: &[u8],
    value: &[u8],
    left: LinkBytes<'_>,
    right: LinkBytes<'_>,
) {
    let gap = place.gap_link(block);
    let next_suffix = place.entry.map_or(0, |e| e.suffix_len);
    let mut bytes = Vec::with_capacity(key.len() + value.len() + LINK_BYTES + next_suffix + 48);
    put_entry(&mut bytes, place.prefix, &key[place.prefix..], right, value);
    let mut replaced = 0;
    if let Some(next) = &place.entry {
        let suffix = next.suffix(block);
        put_entry_key(
            &mut bytes,
            place.shared,
            &suffix[place.shared - next.prefix..],
            &[],
        );
        replaced = next.prefix_end - next.start;
    }
    if gap >= place.at {
        // The left link, at the end of the block.
        set_link_at(block, gap, left);
        splice(block, place.at, replaced, &bytes);
    } else {
        splice(block, place.at, replaced, &bytes);
        set_link_at(block, gap, left);
    }
    set_count(block, place.count + 1);
}

/// Adds an entry after the last one. `has_left` tells whether the node has a left link.
pub(super) fn append(
    block: &mut Vec<u8>,
    prefix: usize,
    suffix: &[u8],
    value: &[u8],
    has_left: bool,
) {
    const LONGEST: usize = LEFT_START.len() + LINK_BYTES;
    let len = if has_left {
        LONGEST
    } else {
        LEFT_START.len() + 1
    };
    let (at, mut left) = (block.len() - len, [0; LONGEST]);
    left[..len].copy_from_slice(&block[at..]);
    // The heads and names of an entry take less than this.
    grow(block, suffix.len() + value.len() + 32);
    block.truncate(at);
    put_entry(block, prefix, suffix, None, value);
    block.extend_from_slice(&left[..len]);
    let count = entries_start(block).0;
    set_count(block, count + 1);
}

/// Removes the entry that was found at a place, and gives the gap that it leaves this link.
pub(super) fn remove(block: &mut Vec<u8>, place: &Place, link: LinkBytes<'_>) {
    let Some(entry) = &place.entry else { return };
    let gap = place.gap_link(block);
    if place.index == 0 {
        set_link_at(block, gap, link);
    }
    if place.index + 1 < place.count {
        let next = entry_at(block, entry.end);
        if next.prefix > entry.prefix {
            let mut bytes = Vec::with_capacity(next.suffix_len + next.prefix + 16);
            let lost = &entry.suffix(block)[..next.prefix - entry.prefix];
            put_entry_key(&mut bytes, entry.prefix, lost, next.suffix(block));
            splice(block, entry.start, next.prefix_end - entry.start, &bytes);
        } else {
            splice(block, entry.start, entry.end - entry.start, &[]);
        }
    } else {
        splice(block, entry.start, entry.end - entry.start, &[]);
    }
    if place.index > 0 {
        set_link_at(block, gap, link);
    }
    set_count(block, place.count - 1);
}

/// Splits a block at a place between two entries: the entries before it with `left` as their last link, and those
/// after it with `right` as their first.
pub(super) fn split(
    block: &[u8],
    place: &Place,
    key: &[u8],
    left: LinkBytes<'_>,
    right: LinkBytes<'_>,
) -> (Vec<u8>, Vec<u8>) {
    let (_, start) = entries_start(block);
    let end = entries_end(block);

    let mut low = Vec::with_capacity(place.at + 2 * LINK_BYTES + 8);
    put_node_start(&mut low, place.index);
    match &place.before {
        None => put_left(&mut low, left),
        Some(before) => {
            let shift = low.len();
            low.extend_from_slice(&block[start..place.at]);
            low.extend_from_slice(&block[end..]);
            set_link_at(&mut low, before.link - start + shift, left);
        }
    }

    let mut high = Vec::with_capacity(block.len() - place.at + LINK_BYTES + place.shared + 16);
    put_node_start(&mut high, place.count - place.index);
    if let Some(next) = &place.entry {
        let suffix = &next.suffix(block)[place.shared - next.prefix..];
        put_entry_key(&mut high, 0, &key[..place.shared], suffix);
        high.extend_from_slice(&block[next.prefix_end..end]);
    }
    put_left(&mut high, right);
    (low, high)
}

/// Joins two blocks of one layer, all keys of the first being smaller; `middle` becomes the link between them.
pub(super) fn join(low: &[u8], high: &[u8], middle: LinkBytes<'_>) -> Vec<u8> {
    let (low_count, low_start) = entries_start(low);
    let (high_count, _) = entries_start(high);
    let high_end = entries_end(high);
    let mut last_key = Vec::with_capacity(64);
    let mut last_link = None;
    let mut low_end = low_start;
    for entry in entries(low) {
        last_key.truncate(entry.prefix);
        last_key.extend_from_slice(entry.suffix(low));
        last_link = Some(entry.link);
        low_end = entry.end;
    }

    let mut out = Vec::with_capacity(low.len() + high.len() + LINK_BYTES);
    put_node_start(&mut out, low_count + high_count);
    let shift = out.len();
    out.extend_from_slice(&low[low_start..low_end]);
    if let Some(link) = last_link {
        set_link_at(&mut out, link - low_start + shift, middle);
    }
    if let Some(first) = entries(high).next() {
        let key = first.suffix(high);
        let shared = super::key::common_prefix_len(&last_key, key);
        put_entry_key(&mut out, shared, &key[shared..], &[]);
        out.extend_from_slice(&high[first.prefix_end..high_end]);
    }
    match last_link {
        Some(_) => out.extend_from_slice(&low[low_end..]),
        None => put_left(&mut out, middle),
    }
    out
}
