//! Content identifiers: what a block is called.
//!
//! A CID says how bytes are to be read (codec) and which hash they have (multihash). See the
//! [CID specification](https://github.com/multiformats/cid). UES uses BLAKE3 for its own blocks and SHA-256
//! where AT Protocol or Kubo must read them.

mod binary;
mod hash;
mod text;

pub use binary::{CidBytesError, MAX_CID_BYTES, cid_from_bytes, cid_from_prefix, write_cid};
pub use hash::{
    HashAlgorithm, HashMismatch, IdentityTooLong, blake3_cid, cid_of, dag_cbor_cid, identity_cid,
    raw_cid, sha256_multihash, verify, verify_multihash,
};
pub use text::{CidError, MAX_CID_TEXT, is_atproto, parse_atproto_cid, parse_cid};

/// Multicodec of raw bytes.
pub const RAW: u64 = 0x55;
/// Multicodec of DAG-PB, the format of UnixFS.
pub const DAG_PB: u64 = 0x70;
/// Multicodec of DAG-CBOR.
pub const DAG_CBOR: u64 = 0x71;
/// Multicodec of DAG-JSON.
pub const DAG_JSON: u64 = 0x0129;

/// Multihash code of the identity hash: the digest is the content itself.
pub const IDENTITY: u64 = 0x00;
/// Multihash code of SHA-256.
pub const SHA2_256: u64 = 0x12;
/// Multihash code of SHA-512.
pub const SHA2_512: u64 = 0x13;
/// Multihash code of BLAKE3.
pub const BLAKE3: u64 = 0x1e;
