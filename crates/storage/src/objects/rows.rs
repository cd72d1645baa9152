//! The rows of the `objects` keyspace.

use std::ops::Bound;

use crate::Multihash;
use crate::block::BlockRef;
use crate::engine::Reads;
use crate::error::StorageError;
use crate::format::{ks, prefix_end, read_u64};
use crate::objects::ObjectId;

/// First key byte of rows that say who holds an object.
pub(crate) const HOLDER: u8 = b'o';
/// First key byte of rows that list chunks.
const SEGMENT: u8 = b's';
/// First key byte of rows that mark an unfinished upload.
const UPLOAD: u8 = b'u';
/// Digest and length.
pub(super) const ENTRY: usize = 36;
/// Multihash code of BLAKE3.
const BLAKE3: u64 = 0x1e;

pub(crate) fn damaged(what: String) -> StorageError {
    StorageError::Damaged {
        keyspace: "objects",
        what,
    }
}

/// One holder's row: how long the object is and under which upload its chunks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub size: u64,
    pub upload: u64,
}

impl Holder {
    pub(crate) fn parse(row: &[u8]) -> Result<Self, StorageError> {
        let fields = row
            .split_at_checked(8)
            .and_then(|(a, b)| Some((read_u64(a)?, read_u64(b)?)));
        let (size, upload) =
            fields.ok_or_else(|| damaged(format!("16 bytes expected, found {}", row.len())))?;
        Ok(Self { size, upload })
    }

    pub(super) fn to_row(self) -> [u8; 16] {
        let mut row = [0; 16];
        let (size, upload) = row.split_at_mut(8);
        size.copy_from_slice(&self.size.to_be_bytes());
        upload.copy_from_slice(&self.upload.to_be_bytes());
        row
    }
}

/// A chunk in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub digest: [u8; 32],
    pub len: u32,
}

impl Entry {
    pub(crate) fn multihash(&self) -> Multihash {
        // 32 bytes always fit.
        Multihash::wrap(BLAKE3, &self.digest).unwrap_or_default()
    }
}

/// The chunks that a segment row lists.
pub(crate) fn parse_segment(row: &[u8]) -> Result<Vec<Entry>, StorageError> {
    let entries = row.chunks_exact(ENTRY);
    if !entries.remainder().is_empty() {
        return Err(damaged(format!(
            "a segment of {} bytes is not a multiple of {ENTRY}",
            row.len()
        )));
    }
    let entry = |bytes: &[u8]| {
        let (digest, len) = bytes.split_at_checked(32)?;
        Some(Entry {
            digest: digest.try_into().ok()?,
            len: u32::from_be_bytes(len.try_into().ok()?),
        })
    };
    entries
        .map(|bytes| entry(bytes).ok_or_else(|| damaged("unreadable segment".into())))
        .collect()
}

pub(super) fn holder_key(id: &ObjectId, holder: BlockRef) -> Vec<u8> {
    [
        &[HOLDER][..],
        &id.0,
        &holder.owner.to_be_bytes(),
        &holder.slot.to_be_bytes(),
    ]
    .concat()
}

pub(super) fn upload_key(upload: u64) -> Vec<u8> {
    [&[UPLOAD][..], &upload.to_be_bytes()].concat()
}

pub(super) fn segment_key(upload: u64, number: u32) -> Vec<u8> {
    [&[SEGMENT][..], &upload.to_be_bytes(), &number.to_be_bytes()].concat()
}

pub(crate) fn segment_prefix(upload: u64) -> Vec<u8> {
    [&[SEGMENT][..], &upload.to_be_bytes()].concat()
}

/// The row of any holder of an object.
pub(super) fn first_holder(
    reads: &dyn Reads,
    id: &ObjectId,
) -> Result<Option<Holder>, StorageError> {
    let prefix = [&[HOLDER][..], &id.0].concat();
    let end = prefix_end(&prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    match reads
        .scan(ks::OBJECTS, Bound::Included(&prefix), to)
        .next()
        .transpose()?
    {
        Some((_, row)) => Holder::parse(&row).map(Some),
        None => Ok(None),
    }
}

/// The unfinished uploads and their owners.
pub(super) fn uploads(reads: &dyn Reads) -> Result<Vec<(u64, u64)>, StorageError> {
    let mut out = Vec::new();
    for row in reads.scan(
        ks::OBJECTS,
        Bound::Included(&[UPLOAD]),
        Bound::Excluded(&[UPLOAD + 1]),
    ) {
        let (key, value) = row?;
        let upload = key.get(1..).and_then(read_u64);
        let (Some(upload), Some(owner)) = (upload, read_u64(&value)) else {
            return Err(damaged("unreadable upload row".into()));
        };
        out.push((upload, owner));
    }
    Ok(out)
}
