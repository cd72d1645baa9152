//! Changes of blocks as bytes: what a batch collects, what the journal row of the nursery holds.
//!
//! One change is a kind (1 byte), the length of the multihash (1), the multihash, owner and slot (8 each, big-endian);
//! a put goes on with a flag for the mark (1), the mark (8, big-endian, if flagged), the length of the block's row
//! (4, big-endian) and that row as [`block`](crate::block) writes it.

use std::ops::Range;

use bytes::Bytes;

use crate::Multihash;
use crate::block::{self, BlockRef};
use crate::engine::Op;
use crate::format::{MhKey, ks, read_u64, ref_key_of};

const PUT: u8 = 1;
const REFER: u8 = 2;
const RELEASE: u8 = 3;

/// One change of a block or of its references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockOp {
    /// The block's multihash in its binary form.
    pub mh: Bytes,
    /// The reference that is written or removed.
    pub r: BlockRef,
    /// What happens.
    pub change: Change,
}

/// What happens to a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The block is stored under a reference.
    Put {
        /// The block's row.
        row: Bytes,
        /// The mark of the reference.
        mark: Option<u64>,
    },
    /// A reference is added.
    Refer,
    /// A reference is removed.
    Release,
}

/// Appends the storing of a block. It must not be larger than a block may be.
pub(crate) fn write_put(
    out: &mut Vec<u8>,
    mh: &Multihash,
    r: BlockRef,
    mark: Option<u64>,
    bytes: &[u8],
) {
    write_head(out, PUT, mh, r);
    out.push(mark.is_some().into());
    if let Some(mark) = mark {
        out.extend_from_slice(&mark.to_be_bytes());
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    block::encode_into(out, bytes);
    let len = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

/// Appends the adding of a reference.
pub(crate) fn write_refer(out: &mut Vec<u8>, mh: &Multihash, r: BlockRef) {
    write_head(out, REFER, mh, r);
}

/// Appends the removal of a reference.
pub(crate) fn write_release(out: &mut Vec<u8>, mh: &Multihash, r: BlockRef) {
    write_head(out, RELEASE, mh, r);
}

fn write_head(out: &mut Vec<u8>, kind: u8, mh: &Multihash, r: BlockRef) {
    let key = MhKey::new(mh);
    let mh = key.as_ref();
    out.push(kind);
    // A multihash has at most 84 bytes.
    out.push(u8::try_from(mh.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(mh);
    out.extend_from_slice(&r.owner.to_be_bytes());
    out.extend_from_slice(&r.slot.to_be_bytes());
}

/// Where changes of blocks cannot be read, in bytes from their beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub usize);

/// Where the parts of one change lie.
struct Place {
    kind: u8,
    mh: Range<usize>,
    r: BlockRef,
    mark: Option<u64>,
    row: Range<usize>,
}

/// Walks through changes.
struct Cursor<'a> {
    ops: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(len).filter(|&n| n <= self.ops.len())?;
        let from = std::mem::replace(&mut self.at, end);
        Some(from..end)
    }

    fn byte(&mut self) -> Option<u8> {
        let at = self.take(1)?.start;
        self.ops.get(at).copied()
    }

    fn number(&mut self) -> Option<u64> {
        let range = self.take(8)?;
        read_u64(self.ops.get(range)?)
    }

    fn change(&mut self) -> Option<Place> {
        let kind = self.byte()?;
        let mh_len = self.byte()?;
        let mh = self.take(mh_len.into())?;
        let r = BlockRef {
            owner: self.number()?,
            slot: self.number()?,
        };
        let (mut mark, mut row) = (None, 0..0);
        match kind {
            PUT => {
                mark = match self.byte()? {
                    0 => None,
                    1 => Some(self.number()?),
                    _ => return None,
                };
                let len = self.take(4)?;
                let len = u32::from_be_bytes(self.ops.get(len)?.try_into().ok()?);
                row = self.take(len as usize)?;
            }
            REFER | RELEASE => (),
            _ => return None,
        }
        Some(Place {
            kind,
            mh,
            r,
            mark,
            row,
        })
    }
}

/// The multihash of each change, up to the first that cannot be read.
pub(crate) fn multihashes(ops: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut cursor = Cursor { ops, at: 0 };
    std::iter::from_fn(move || ops.get(cursor.change()?.mh))
}

/// Reads changes back, sharing the memory of their bytes. Ends with an error when they are cut off or unknown.
pub(crate) struct BlockOps {
    ops: Bytes,
    at: usize,
}

impl BlockOps {
    /// The changes in these bytes.
    pub(crate) fn new(ops: Bytes) -> Self {
        Self { ops, at: 0 }
    }
}

impl Iterator for BlockOps {
    type Item = Result<BlockOp, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.ops.len() {
            return None;
        }
        let from = self.at;
        let mut cursor = Cursor {
            ops: &self.ops,
            at: from,
        };
        let Some(place) = cursor.change() else {
            self.at = self.ops.len();
            return Some(Err(Malformed(from)));
        };
        self.at = cursor.at;
        Some(Ok(BlockOp {
            mh: self.ops.slice(place.mh),
            r: place.r,
            change: match place.kind {
                PUT => Change::Put {
                    row: self.ops.slice(place.row),
                    mark: place.mark,
                },
                RELEASE => Change::Release,
                _ => Change::Refer,
            },
        }))
    }
}

/// The rows that changes of blocks come to, without a copy of the blocks.
pub(crate) struct BlockRows<'a> {
    ops: &'a [u8],
    rows: Vec<(Place, RefRow)>,
}

/// Key and value of a reference row.
struct RefRow([u8; 32], Option<[u8; 8]>);

impl<'a> BlockRows<'a> {
    /// The rows of these changes.
    pub(crate) fn new(ops: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor { ops, at: 0 };
        let mut rows = Vec::new();
        while cursor.at < ops.len() {
            let from = cursor.at;
            let place = cursor.change().ok_or(Malformed(from))?;
            let mh = ops.get(place.mh.clone()).unwrap_or_default();
            let key = ref_key_of(mh, place.r);
            let mark = place.mark.map(u64::to_be_bytes);
            rows.push((place, RefRow(key, mark)));
        }
        Ok(Self { ops, rows })
    }

    /// All of them, in the order of the changes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        let bytes = |range: &Range<usize>| self.ops.get(range.clone()).unwrap_or_default();
        self.rows
            .iter()
            .flat_map(move |(place, RefRow(key, mark))| {
                let mark = mark.as_ref().map_or(&[][..], |mark| mark);
                let reference = Op {
                    ks: ks::REFS,
                    key,
                    value: (place.kind != RELEASE).then_some(mark),
                };
                let other = match place.kind {
                    PUT => Some((ks::BLOCKS, bytes(&place.row))),
                    RELEASE => Some((ks::RETIRED, &[][..])),
                    _ => None,
                };
                let other = other.map(|(ks, value)| Op {
                    ks,
                    key: bytes(&place.mh),
                    value: Some(value),
                });
                [Some(reference), other].into_iter().flatten()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mh(n: u8) -> Multihash {
        Multihash::wrap(0x12, &[n; 32]).unwrap()
    }

    #[test]
    fn round_trip_and_every_cut() {
        let r = |slot| BlockRef { owner: 7, slot };
        let mut bytes = Vec::new();
        write_put(&mut bytes, &mh(1), r(1), None, b"one");
        write_put(&mut bytes, &mh(2), r(2), Some(9), &[5; 4000]);
        write_refer(&mut bytes, &mh(1), r(3));
        write_release(&mut bytes, &mh(2), r(2));
        let ops: Vec<_> = BlockOps::new(bytes.clone().into())
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(ops.len(), 4);
        assert!(matches!(&ops[0].change, Change::Put { row, mark: None } if row[1..] == *b"one"));
        let Change::Put { row, mark: Some(9) } = &ops[1].change else {
            panic!("a marked put expected, found {:?}", ops[1]);
        };
        assert_eq!(block::decode(row.clone()).unwrap(), vec![5; 4000]);
        assert_eq!((ops[2].r, &ops[2].change), (r(3), &Change::Refer));
        assert_eq!((ops[3].r, &ops[3].change), (r(2), &Change::Release));
        assert!(multihashes(&bytes).eq(ops.iter().map(|op| &op.mh[..])));

        for cut in 1..bytes.len() {
            let whole = BlockOps::new(Bytes::copy_from_slice(&bytes[..cut])).collect::<Vec<_>>();
            let good = whole.iter().filter(|op| op.is_ok()).count();
            assert!(good < 4 && whole.len() - good <= 1, "cut at {cut}");
        }
    }
}
