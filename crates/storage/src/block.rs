//! How a block lies in its row: one byte that names the compression, then the bytes.

use bytes::Bytes;

use crate::error::StorageError;

/// Who keeps a block alive.
///
/// A block stays as long as one reference row for it is left. A row is identified by all three of block, owner and
/// slot, so that writing it twice is the same as writing it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    /// The number of the repository, object or other thing that owns the reference.
    pub owner: u64,
    /// Tells several references of one owner to the same block apart, for example two records with equal content.
    pub slot: u64,
}

const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// Smaller blocks are mostly hashes and gain nothing worth the time.
const COMPRESS_FROM: usize = 2048;
/// Cheapest level; the engine's own compression would be about as good on smaller data.
const LEVEL: i32 = 1;
/// No block may claim to be larger than this when unpacked.
pub(crate) const MAX_BLOCK: usize = 64 << 20;

/// Appends the stored form of a block.
pub(crate) fn encode_into(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() >= COMPRESS_FROM
        && let Ok(packed) = zstd::bulk::compress(bytes, LEVEL)
        && packed.len() + 4 < bytes.len() - bytes.len() / 8
    {
        out.push(ZSTD);
        // Blocks are bounded well below 4 GiB by the batch.
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&packed);
        return;
    }
    out.push(RAW);
    out.extend_from_slice(bytes);
}

/// The block from its stored form.
pub(crate) fn decode(row: Bytes) -> Result<Bytes, StorageError> {
    let damaged = |what: String| StorageError::Damaged {
        keyspace: "blocks",
        what,
    };
    match row.first() {
        Some(&RAW) => Ok(row.slice(1..)),
        Some(&ZSTD) => {
            let size = row
                .get(1..5)
                .and_then(|b| b.try_into().ok())
                .map(u32::from_be_bytes);
            let size = size.map_or(usize::MAX, |n| n as usize);
            if size > MAX_BLOCK {
                return Err(damaged(format!(
                    "a packed block claims {size} bytes, at most {MAX_BLOCK} are possible"
                )));
            }
            let packed = row.get(5..).unwrap_or_default();
            let bytes = zstd::bulk::decompress(packed, size)
                .map_err(|e| damaged(format!("a packed block does not unpack: {e}")))?;
            if bytes.len() == size {
                Ok(bytes.into())
            } else {
                Err(damaged(format!(
                    "a packed block claims {size} bytes and has {}",
                    bytes.len()
                )))
            }
        }
        other => Err(damaged(format!(
            "block codec 0 or 1 expected, found {other:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for bytes in [
            vec![],
            vec![1; 100],
            vec![7; 100_000],
            (0..5000u32).flat_map(u32::to_le_bytes).collect(),
        ] {
            let mut row = Vec::new();
            encode_into(&mut row, &bytes);
            assert!(row.len() <= bytes.len() + 1);
            assert_eq!(decode(row.into()).unwrap(), bytes);
        }
    }

    #[test]
    fn damaged_rows_are_refused() {
        for row in [
            &[][..],
            &[9, 1],
            &[1, 0],
            &[1, 255, 255, 255, 255, 1],
            &[1, 0, 0, 0, 9, 1, 2, 3],
        ] {
            assert!(decode(Bytes::copy_from_slice(row)).is_err());
        }
    }
}
