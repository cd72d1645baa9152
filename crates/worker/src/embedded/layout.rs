//! The rows that the embedded backend keeps; `docs/format.md` describes the same byte by byte.

use ues_data::content_id::cid_from_bytes;
use ues_data::{Cid, Multihash};
use ues_pins::PinMode;
use ues_storage::{BlockRef, Keyspace, Snapshot, StorageError, Store};

/// Version of all rows here.
const VERSION: u8 = 1;
/// The bit that tells the numbers of pins and uploads from those of repositories.
const OWNER_BIT: u64 = 1 << 63;

/// `content_meta`: the random name of this content, 16 bytes.
pub(super) const META_ID: &[u8] = b"id";
/// `content_meta`: the first number that was never given out.
pub(super) const META_NEXT: &[u8] = b"next";
/// `content_meta`: the number of pins.
pub(super) const META_PINS: &[u8] = b"pins";

/// The keyspaces.
#[derive(Debug)]
pub(super) struct Keyspaces {
    /// CID to [`PinRow`].
    pub(super) pins: Keyspace,
    /// Number to the [`Entry`]s whose references are to be released, unless a pin row takes them over first.
    pub(super) intents: Keyspace,
    /// Number of an upload to its time of expiry.
    pub(super) uploads: Keyspace,
    /// Number of an upload and of a segment to the multihashes that it holds.
    pub(super) upload_blocks: Keyspace,
    /// Single facts.
    pub(super) meta: Keyspace,
}

impl Keyspaces {
    pub(super) fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            pins: store.keyspace("content_pins")?,
            intents: store.keyspace("content_intents")?,
            uploads: store.keyspace("content_uploads")?,
            upload_blocks: store.keyspace("content_upload_blocks")?,
            meta: store.keyspace("content_meta")?,
        })
    }
}

/// The owner of references: two for each pin, so that it can be asked which blocks a pin holds as nodes.
pub(super) const fn owner(number: u64, part: Part) -> u64 {
    OWNER_BIT
        | number << 1
        | match part {
            Part::Leaf => 0,
            Part::Node => 1,
        }
}

/// What a block is to a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A block without links, or whose links do not matter.
    Leaf,
    /// A block whose links are followed.
    Node,
}

/// The reference of a pin to a block. The codec stands in it, because the same bytes may be reached under two codecs.
pub(super) fn pin_ref(number: u64, cid: &Cid, part: Part) -> BlockRef {
    BlockRef {
        owner: owner(number, part),
        slot: cid.codec(),
    }
}

/// Whether a pin holds a block.
///
/// # Errors
/// When the store cannot be read.
pub fn is_pinned(snapshot: &Snapshot, mh: &Multihash) -> Result<bool, StorageError> {
    for held in snapshot.references(mh, OWNER_BIT..=u64::MAX) {
        // Uploads have slot 0, which is no codec of a pinned block.
        if held?.slot != upload_ref(0).slot {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is pinned in a store, in the order of CIDs, at most so many.
///
/// # Errors
/// When the store cannot be read.
pub fn pinned_roots(store: &Store, max: usize) -> Result<Vec<Cid>, StorageError> {
    let pins = Keyspaces::open(store)?.pins;
    let cid = |row: Result<(bytes::Bytes, bytes::Bytes), StorageError>| {
        let (key, _) = row?;
        cid_from_bytes(&key).map_err(|_| damaged("content_pins", &key))
    };
    pins.prefix([]).take(max).map(cid).collect()
}

/// The reference of an upload to a block.
pub(super) const fn upload_ref(number: u64) -> BlockRef {
    BlockRef {
        owner: owner(number, Part::Leaf),
        slot: 0,
    }
}

/// A pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PinRow {
    pub(super) mode: PinMode,
    /// Names the owner of its references.
    pub(super) number: u64,
    /// Size of its content.
    pub(super) bytes: u64,
}

impl PinRow {
    pub(super) fn encode(self) -> [u8; 18] {
        let mut row = [0; 18];
        row[0] = VERSION;
        row[1] = mode_code(self.mode);
        row[2..10].copy_from_slice(&self.number.to_be_bytes());
        row[10..].copy_from_slice(&self.bytes.to_be_bytes());
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StorageError> {
        let parse = || {
            let (&[VERSION, mode], rest) = row.split_first_chunk::<2>()? else {
                return None;
            };
            let (number, bytes) = rest.split_first_chunk::<8>()?;
            Some(Self {
                mode: mode_of(mode)?,
                number: u64::from_be_bytes(*number),
                bytes: u64::from_be_bytes(bytes.try_into().ok()?),
            })
        };
        parse().ok_or_else(|| damaged("content_pins", row))
    }
}

/// What to pin, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The block, or the root of the DAG.
    pub cid: Cid,
    /// How much is kept.
    pub mode: PinMode,
}

/// The value of an intent; its entries have numbers in sequence, the first of which is the key.
pub(super) fn encode_intent(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let mut row = vec![VERSION];
    for entry in entries {
        let cid = entry.cid.to_bytes();
        row.push(mode_code(entry.mode));
        // A CID has at most 94 bytes.
        row.push(u8::try_from(cid.len()).unwrap_or(u8::MAX));
        row.extend_from_slice(&cid);
    }
    row
}

pub(super) fn decode_intent(row: &[u8]) -> Result<Vec<Entry>, StorageError> {
    let parse = || {
        let (&VERSION, mut rest) = row.split_first()? else {
            return None;
        };
        let mut entries = Vec::new();
        while let Some((&[mode, len], after)) = rest.split_first_chunk::<2>() {
            let (cid, after) = after.split_at_checked(len.into())?;
            entries.push(Entry {
                cid: cid_from_bytes(cid).ok()?,
                mode: mode_of(mode)?,
            });
            rest = after;
        }
        rest.is_empty().then_some(entries)
    };
    parse().ok_or_else(|| damaged("content_intents", row))
}

/// Appends a multihash to the list of a segment.
pub(super) fn write_multihash(segment: &mut Vec<u8>, mh: &Multihash) {
    let bytes = mh.to_bytes();
    segment.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    segment.extend_from_slice(&bytes);
}

pub(super) fn read_multihashes(mut segment: &[u8]) -> Result<Vec<Multihash>, StorageError> {
    let mut found = Vec::new();
    while let Some((&len, rest)) = segment.split_first() {
        let split = rest.split_at_checked(len.into());
        let read = split.and_then(|(mh, rest)| Some((Multihash::from_bytes(mh).ok()?, rest)));
        let (mh, rest) = read.ok_or_else(|| damaged("content_upload_blocks", segment))?;
        found.push(mh);
        segment = rest;
    }
    Ok(found)
}

pub(super) fn segment_key(number: u64, segment: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&segment.to_be_bytes());
    key
}

/// A number that is all of a key or a value.
pub(super) fn read_number(keyspace: &'static str, bytes: &[u8]) -> Result<u64, StorageError> {
    let number = bytes.try_into().map(u64::from_be_bytes);
    number.map_err(|_| damaged(keyspace, bytes))
}

pub(super) fn damaged(keyspace: &'static str, row: &[u8]) -> StorageError {
    StorageError::Damaged {
        keyspace,
        what: format!("unreadable row of {} bytes", row.len()),
    }
}

const fn mode_code(mode: PinMode) -> u8 {
    match mode {
        PinMode::Direct => 0,
        PinMode::Recursive => 1,
    }
}

const fn mode_of(code: u8) -> Option<PinMode> {
    match code {
        0 => Some(PinMode::Direct),
        1 => Some(PinMode::Recursive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ues_data::raw_cid;

    use super::*;

    #[test]
    fn rows_round_trip_and_cuts_are_refused() {
        let pin = PinRow {
            mode: PinMode::Direct,
            number: 7,
            bytes: 1 << 40,
        };
        assert_eq!(PinRow::decode(&pin.encode()).unwrap(), pin);
        for cut in 0..18 {
            assert!(PinRow::decode(&pin.encode()[..cut]).is_err());
        }
        let entries: Vec<_> = [b"a", b"b"]
            .map(|bytes| Entry {
                cid: raw_cid(bytes),
                mode: PinMode::Recursive,
            })
            .into();
        let row = encode_intent(entries.clone());
        assert_eq!(decode_intent(&row).unwrap(), entries);
        assert!(decode_intent(&row[..row.len() - 1]).is_err());
        assert!(decode_intent(&[9]).is_err());
        let mut segment = Vec::new();
        for entry in &entries {
            write_multihash(&mut segment, entry.cid.hash());
        }
        assert_eq!(read_multihashes(&segment).unwrap().len(), 2);
        assert!(read_multihashes(&segment[..5]).is_err());
    }
}
