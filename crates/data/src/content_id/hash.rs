//! Computing and checking hashes.

use cid::Cid;
use sha2::{Digest, Sha256, Sha512};

use super::{BLAKE3, DAG_CBOR, IDENTITY, RAW, SHA2_256, SHA2_512};
use crate::Multihash;

/// A hash function that may name blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// SHA-256, 32 bytes: what AT Protocol and Kubo read.
    Sha2_256,
    /// SHA-512, 64 bytes.
    Sha2_512,
    /// BLAKE3, 32 bytes: the choice for everything of our own.
    Blake3,
}

impl HashAlgorithm {
    /// The multihash code.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Sha2_256 => SHA2_256,
            Self::Sha2_512 => SHA2_512,
            Self::Blake3 => BLAKE3,
        }
    }

    /// The algorithm with this multihash code, if it is one we know.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            SHA2_256 => Some(Self::Sha2_256),
            SHA2_512 => Some(Self::Sha2_512),
            BLAKE3 => Some(Self::Blake3),
            _ => None,
        }
    }

    /// Hashes `bytes`.
    #[must_use]
    pub fn multihash(self, bytes: &[u8]) -> Multihash {
        match self {
            Self::Sha2_256 => wrap(SHA2_256, &Sha256::digest(bytes)),
            Self::Sha2_512 => wrap(SHA2_512, &Sha512::digest(bytes)),
            Self::Blake3 => wrap(BLAKE3, blake3::hash(bytes).as_bytes()),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "every caller passes at most 64 bytes, which is the capacity"
)]
fn wrap(code: u64, digest: &[u8]) -> Multihash {
    Multihash::wrap(code, digest).expect("a digest of at most 64 bytes fits")
}

/// The CID (version 1) of `bytes` under a codec and a hash.
#[must_use]
pub fn cid_of(codec: u64, algorithm: HashAlgorithm, bytes: &[u8]) -> Cid {
    Cid::new_v1(codec, algorithm.multihash(bytes))
}

/// The CID that AT Protocol gives to a DAG-CBOR block: version 1, SHA-256.
#[must_use]
pub fn dag_cbor_cid(bytes: &[u8]) -> Cid {
    cid_of(DAG_CBOR, HashAlgorithm::Sha2_256, bytes)
}

/// The CID that AT Protocol gives to a blob: version 1, raw, SHA-256.
#[must_use]
pub fn raw_cid(bytes: &[u8]) -> Cid {
    cid_of(RAW, HashAlgorithm::Sha2_256, bytes)
}

/// The CID of one of our own blocks: version 1, BLAKE3.
#[must_use]
pub fn blake3_cid(codec: u64, bytes: &[u8]) -> Cid {
    cid_of(codec, HashAlgorithm::Blake3, bytes)
}

/// The SHA-256 multihash of `bytes`.
#[must_use]
pub fn sha256_multihash(bytes: &[u8]) -> Multihash {
    HashAlgorithm::Sha2_256.multihash(bytes)
}

/// The content is too long to be its own digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identity CID holds at most 64 bytes, the content has {0}")]
pub struct IdentityTooLong(pub usize);

/// A CID that carries `bytes` (at most 64) within itself.
pub fn identity_cid(codec: u64, bytes: &[u8]) -> Result<Cid, IdentityTooLong> {
    let hash = Multihash::wrap(IDENTITY, bytes).map_err(|_| IdentityTooLong(bytes.len()))?;
    Ok(Cid::new_v1(codec, hash))
}

/// Bytes that are not what their name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashMismatch {
    /// The bytes have another hash.
    #[error("the bytes of block {expected} have another hash: {found}")]
    Different {
        /// The hash that the name promises, in hexadecimal.
        expected: String,
        /// The hash that the bytes have, in hexadecimal.
        found: String,
    },
    /// The name uses a hash function that we do not compute.
    #[error("multihash code 0x{0:x} is not supported (SHA-256, SHA-512, BLAKE3 and identity are)")]
    Unsupported(u64),
}

/// Checks that `bytes` are the content that `cid` names.
pub fn verify(cid: &Cid, bytes: &[u8]) -> Result<(), HashMismatch> {
    verify_multihash(cid.hash(), bytes)
}

/// Checks that `bytes` have the given multihash.
pub fn verify_multihash(expected: &Multihash, bytes: &[u8]) -> Result<(), HashMismatch> {
    let ok = match expected.code() {
        SHA2_256 => Sha256::digest(bytes).as_slice() == expected.digest(),
        BLAKE3 => blake3::hash(bytes).as_bytes().as_slice() == expected.digest(),
        SHA2_512 => Sha512::digest(bytes).as_slice() == expected.digest(),
        IDENTITY => bytes == expected.digest(),
        other => return Err(HashMismatch::Unsupported(other)),
    };
    if ok {
        Ok(())
    } else {
        Err(mismatch(expected, bytes))
    }
}

#[cold]
fn mismatch(expected: &Multihash, bytes: &[u8]) -> HashMismatch {
    let found = match HashAlgorithm::from_code(expected.code()) {
        Some(algorithm) => hex(algorithm.multihash(bytes).digest()),
        None => format!("({} bytes that differ)", bytes.len()),
    };
    HashMismatch::Different {
        expected: hex(expected.digest()),
        found,
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_cids() {
        assert_eq!(
            raw_cid(b"hello world").to_string(),
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
        );
        assert_eq!(
            blake3_cid(RAW, b"").hash().digest(),
            data_encoding::HEXLOWER
                .decode(b"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
                .unwrap()
        );
    }

    #[test]
    fn verify_says_what_differs() {
        for algorithm in [
            HashAlgorithm::Sha2_256,
            HashAlgorithm::Sha2_512,
            HashAlgorithm::Blake3,
        ] {
            let cid = cid_of(RAW, algorithm, b"abc");
            assert_eq!(verify(&cid, b"abc"), Ok(()));
            assert!(matches!(
                verify(&cid, b"abd"),
                Err(HashMismatch::Different { .. })
            ));
            assert_eq!(HashAlgorithm::from_code(algorithm.code()), Some(algorithm));
        }
        let unknown = Cid::new_v1(RAW, wrap(0x1b, &[0; 32]));
        assert_eq!(verify(&unknown, b""), Err(HashMismatch::Unsupported(0x1b)));
    }

    #[test]
    fn identity_is_bounded() {
        let cid = identity_cid(RAW, &[7; 64]).unwrap();
        assert_eq!(verify(&cid, &[7; 64]), Ok(()));
        assert!(verify(&cid, &[7; 63]).is_err());
        assert_eq!(identity_cid(RAW, &[7; 65]), Err(IdentityTooLong(65)));
    }

    #[test]
    fn a_truncated_digest_never_matches() {
        let full = sha256_multihash(b"abc");
        let short = Cid::new_v1(RAW, wrap(SHA2_256, &full.digest()[..20]));
        assert!(verify(&short, b"abc").is_err());
    }
}
