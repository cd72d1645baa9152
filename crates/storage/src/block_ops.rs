//! Changes of blocks as bytes: what a batch collects, what the journal row of the nursery holds.
//!
//! One change is a kind (1 byte), the length of the multihash (1), the multihash, owner and slot (8 each, big-endian);
//! a put goes on with a flag for the mark (1), the mark (8, big-endian, if flagged), the length of the block's row
//! (4, big-endian) and that row as [`block`](crate::block) writes it.

use bytes::Bytes;

use crate::Multihash;
use crate::block::{self, BlockRef};
use crate::format::{MhKey, read_u64};

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

/// Reads changes back, sharing the memory of their bytes. Ends with an error when they are cut off or unknown.
pub(crate) struct BlockOps {
    bytes: Bytes,
    at: usize,
}

/// Where changes of blocks cannot be read, in bytes from their beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub usize);

impl BlockOps {
    /// The changes in these bytes.
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Option<Bytes> {
        let end = self.at.checked_add(len)?;
        if end > self.bytes.len() {
            return None;
        }
        let out = self.bytes.slice(self.at..end);
        self.at = end;
        Some(out)
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let number = read_u64(self.bytes.get(self.at..self.at.checked_add(8)?)?)?;
        self.at += 8;
        Some(number)
    }

    fn read(&mut self) -> Option<BlockOp> {
        let kind = self.byte()?;
        let mh_len = self.byte()?;
        let mh = self.take(mh_len.into())?;
        let r = BlockRef {
            owner: self.number()?,
            slot: self.number()?,
        };
        let change = match kind {
            PUT => {
                let mark = match self.byte()? {
                    0 => None,
                    1 => Some(self.number()?),
                    _ => return None,
                };
                let len = u32::from_be_bytes(self.take(4)?.as_ref().try_into().ok()?);
                Change::Put {
                    row: self.take(len as usize)?,
                    mark,
                }
            }
            REFER => Change::Refer,
            RELEASE => Change::Release,
            _ => return None,
        };
        Some(BlockOp { mh, r, change })
    }
}

impl Iterator for BlockOps {
    type Item = Result<BlockOp, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.at;
        if from >= self.bytes.len() {
            return None;
        }
        let op = self.read().ok_or(Malformed(from));
        if op.is_err() {
            self.at = self.bytes.len();
        }
        Some(op)
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

        for cut in 1..bytes.len() {
            let whole = BlockOps::new(Bytes::copy_from_slice(&bytes[..cut])).collect::<Vec<_>>();
            let good = whole.iter().filter(|op| op.is_ok()).count();
            assert!(good < 4 && whole.len() - good <= 1, "cut at {cut}");
        }
    }
}
