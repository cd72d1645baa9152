//! The on-disk format: keyspace names and the layout of their keys and values. `docs/format.md` describes the same
//! byte by byte.

use crate::Multihash;
use crate::block::BlockRef;

/// Version of the format that this program writes. It reads this version and older ones.
pub const FORMAT_VERSION: u32 = 5;

/// A keyspace of the engine by number; the numbers of the store's own keyspaces are fixed within a process only,
/// on the disk they are named.
pub(crate) mod ks {
    use crate::engine::KeyspaceId;

    /// Multihash to codec tag and bytes.
    pub const BLOCKS: KeyspaceId = KeyspaceId(0);
    /// Who keeps which block alive.
    pub const REFS: KeyspaceId = KeyspaceId(1);
    /// Blocks that lost a reference and wait for the collector.
    pub const RETIRED: KeyspaceId = KeyspaceId(2);
    /// Events by sequence number.
    pub const LOG: KeyspaceId = KeyspaceId(3);
    /// Facts about the store itself.
    pub const META: KeyspaceId = KeyspaceId(4);
    /// Expiry index of keys with a time to live.
    pub const EXPIRY: KeyspaceId = KeyspaceId(5);
    /// Manifests of large objects.
    pub const OBJECTS: KeyspaceId = KeyspaceId(6);
    /// Changes of blocks that have no rows of their own yet.
    pub const NURSERY: KeyspaceId = KeyspaceId(7);
}

/// Names of the store's own keyspaces, in the order of their numbers.
pub(crate) const SYSTEM_KEYSPACES: [&str; 8] = [
    "blocks", "refs", "retired", "log", "meta", "expiry", "objects", "nursery",
];

/// `meta` key of the format version, u32 big-endian.
pub(crate) const META_FORMAT: &[u8] = b"format";
/// `meta` key of the first sequence number that was not trimmed, u64 big-endian.
pub(crate) const META_LOG_FIRST: &[u8] = b"log_first";

/// Bytes of the digest that a reference row begins with.
pub(crate) const DIGEST_PREFIX: usize = 16;

/// Longest key, set by the engine.
pub(crate) const MAX_KEY: usize = u16::MAX as usize;

/// The first 16 bytes of a digest, filled up with zeros when it is shorter.
pub(crate) fn digest_prefix(mh: &Multihash) -> [u8; DIGEST_PREFIX] {
    let mut out = [0; DIGEST_PREFIX];
    for (to, from) in out.iter_mut().zip(mh.digest()) {
        *to = *from;
    }
    out
}

/// As [`digest_prefix`], of a multihash in its binary form.
pub(crate) fn digest_prefix_of(mh: &[u8]) -> [u8; DIGEST_PREFIX] {
    // The forms that occur all the time: a code of one byte, the length, the digest.
    if let [0x12 | 0x1e, 32, digest @ ..] = mh
        && let Some(prefix) = digest.first_chunk()
    {
        return *prefix;
    }
    Multihash::from_bytes(mh).map_or([0; DIGEST_PREFIX], |mh| digest_prefix(&mh))
}

/// Key of a reference row: digest prefix, owner, slot; the multihash in its binary form.
pub(crate) fn ref_key_of(mh: &[u8], r: BlockRef) -> [u8; 32] {
    let mut key = [0; 32];
    let (prefix, rest) = key.split_at_mut(DIGEST_PREFIX);
    prefix.copy_from_slice(&digest_prefix_of(mh));
    let (owner, slot) = rest.split_at_mut(8);
    owner.copy_from_slice(&r.owner.to_be_bytes());
    slot.copy_from_slice(&r.slot.to_be_bytes());
    key
}

/// Key of a reference row.
pub(crate) fn ref_key(mh: &Multihash, r: BlockRef) -> [u8; 32] {
    ref_key_of(MhKey::new(mh).as_ref(), r)
}

/// Multihash bytes (code, length, digest) on the stack.
pub(crate) struct MhKey {
    buf: [u8; 84],
    len: usize,
}

impl MhKey {
    /// Writes the multihash in its binary form.
    pub(crate) fn new(mh: &Multihash) -> Self {
        let mut buf = [0u8; 84];
        let room = buf.len();
        let mut rest = &mut buf[..];
        // Code and length take at most 20 bytes and the digest 64, so the buffer always has room.
        let written = mh.write(&mut rest).unwrap_or(0);
        debug_assert!(written > 0 && written <= room);
        Self {
            buf,
            len: written.min(room),
        }
    }
}

impl AsRef<[u8]> for MhKey {
    fn as_ref(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

/// Reads a big-endian number of exactly eight bytes.
pub(crate) fn read_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// The least key above every key with this prefix, if there is one.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_is_the_next_sibling() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255]), None);
        assert_eq!(prefix_end(&[]), None);
    }

    #[test]
    fn short_digests_are_padded() {
        let mh = Multihash::wrap(0, &[7, 8]).unwrap();
        assert_eq!(&digest_prefix(&mh)[..4], &[7, 8, 0, 0]);
        assert_eq!(MhKey::new(&mh).as_ref(), &[0, 2, 7, 8]);
    }
}
