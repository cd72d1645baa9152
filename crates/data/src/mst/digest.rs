//! SHA-256 in one pass, and the compact name of a node.

use cid::Cid;
use multihash::Multihash;
use sha2::block_api::compress256;

use crate::content_id::{DAG_CBOR, SHA2_256};

/// SHA-256 of a node block. Together with the fixed codec this is the node's whole CID.
pub(super) type Digest = [u8; 32];

/// SHA-256 of `data`: whole blocks straight from the input and the padded tail from the stack, without the
/// buffer of a streaming hasher. SHA instructions are used where the processor has them.
#[inline]
pub(super) fn sha256(data: &[u8]) -> Digest {
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    let mut state = INITIAL;
    let (blocks, tail) = data.as_chunks::<64>();
    compress256(&mut state, blocks);

    let mut last = [[0u8; 64]; 2];
    let used = if tail.len() < 56 { 1 } else { 2 };
    let padded = last.as_flattened_mut();
    padded[..tail.len()].copy_from_slice(tail);
    padded[tail.len()] = 0x80;
    let bits = (data.len() as u64).wrapping_mul(8);
    padded[used * 64 - 8..used * 64].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &last[..used]);

    let mut out = [0; 32];
    for (word, value) in out.chunks_exact_mut(4).zip(state) {
        word.copy_from_slice(&value.to_be_bytes());
    }
    out
}

/// The CID of the node with this digest.
pub(super) fn node_cid(digest: &Digest) -> Cid {
    // Only a digest longer than the array is refused.
    let hash = Multihash::<64>::wrap(SHA2_256, digest).unwrap_or_default();
    Cid::new_v1(DAG_CBOR, hash)
}

/// The digest in a node's CID, or `None` if the CID cannot name a node.
pub(super) fn node_digest(cid: &Cid) -> Option<Digest> {
    let named_as_node = cid.version() == cid::Version::V1
        && cid.codec() == DAG_CBOR
        && cid.hash().code() == SHA2_256;
    if !named_as_node {
        return None;
    }
    cid.hash().digest().try_into().ok()
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    #[test]
    fn one_pass_equals_the_streaming_hasher_at_every_length() {
        let data: Vec<u8> = (0..1000u32).map(|i| (i * 31 % 251) as u8).collect();
        for len in 0..data.len() {
            let expected: [u8; 32] = sha2::Sha256::digest(&data[..len]).into();
            assert_eq!(sha256(&data[..len]), expected, "length {len}");
        }
    }

    #[test]
    fn a_node_cid_keeps_its_digest() {
        let digest = sha256(b"node");
        assert_eq!(node_digest(&node_cid(&digest)), Some(digest));
        assert_eq!(node_digest(&crate::content_id::raw_cid(b"node")), None);
    }
}
