//! CIDs as bytes.

use cid::{Cid, Version};

use super::SHA2_256;
use crate::Multihash;
use crate::varint::{self, VarintError};

/// The longest binary CID that is accepted: four varints and a digest of 64 bytes.
pub const MAX_CID_BYTES: usize = 4 * varint::MAX_LEN + 64;

/// Why bytes are not a CID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidBytesError {
    /// The input ends inside the CID.
    #[error("the input ends inside a CID")]
    Truncated,
    /// A number inside is malformed.
    #[error("a number inside a CID is malformed: {0}")]
    Varint(VarintError),
    /// Neither version 0 nor version 1.
    #[error("CID version 0 or 1 expected, found {0}")]
    Version(u64),
    /// The digest is longer than we handle.
    #[error("a digest of at most 64 bytes expected, found {0}")]
    DigestTooLong(u64),
    /// Bytes follow the CID where it should be alone.
    #[error("{0} bytes follow the CID")]
    Trailing(usize),
}

impl From<VarintError> for CidBytesError {
    fn from(e: VarintError) -> Self {
        match e {
            VarintError::Incomplete => Self::Truncated,
            other => Self::Varint(other),
        }
    }
}

/// Reads a CID, version 0 or 1, from the start of `input`; returns it and how many bytes it took.
pub fn cid_from_prefix(input: &[u8]) -> Result<(Cid, usize), CidBytesError> {
    // A version 0 CID is a bare SHA-256 multihash; 0x12 is no version, so the two cannot be confused.
    if let [0x12, 0x20, rest @ ..] = input {
        let digest = rest.get(..32).ok_or(CidBytesError::Truncated)?;
        let hash = wrap(SHA2_256, digest)?;
        let cid = Cid::new_v0(hash).map_err(|_| CidBytesError::Version(0))?;
        return Ok((cid, 34));
    }
    if input == [0x12] {
        return Err(CidBytesError::Truncated);
    }
    let mut at = 0;
    let version = number(input, &mut at)?;
    if version != u64::from(Version::V1) {
        return Err(CidBytesError::Version(version));
    }
    let codec = number(input, &mut at)?;
    let code = number(input, &mut at)?;
    let size = number(input, &mut at)?;
    if size > 64 {
        return Err(CidBytesError::DigestTooLong(size));
    }
    let end = at + size as usize;
    let digest = input.get(at..end).ok_or(CidBytesError::Truncated)?;
    Ok((Cid::new_v1(codec, wrap(code, digest)?), end))
}

/// Reads a CID that is all of `input`.
pub fn cid_from_bytes(input: &[u8]) -> Result<Cid, CidBytesError> {
    let (cid, used) = cid_from_prefix(input)?;
    if used == input.len() {
        Ok(cid)
    } else {
        Err(CidBytesError::Trailing(input.len() - used))
    }
}

/// Appends the binary form of `cid` to `out`.
pub fn write_cid(cid: &Cid, out: &mut Vec<u8>) {
    if cid.version() == Version::V1 {
        varint::write(1, out);
        varint::write(cid.codec(), out);
    }
    varint::write(cid.hash().code(), out);
    out.push(cid.hash().size());
    out.extend_from_slice(cid.hash().digest());
}

fn number(input: &[u8], at: &mut usize) -> Result<u64, CidBytesError> {
    let (value, used) = varint::read(input.get(*at..).unwrap_or_default())?;
    *at += used;
    Ok(value)
}

fn wrap(code: u64, digest: &[u8]) -> Result<Multihash, CidBytesError> {
    Multihash::wrap(code, digest).map_err(|_| CidBytesError::DigestTooLong(digest.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content_id::{DAG_JSON, HashAlgorithm, cid_of, identity_cid, sha256_multihash};

    fn samples() -> Vec<Cid> {
        vec![
            cid_of(DAG_JSON, HashAlgorithm::Sha2_512, b"x"),
            cid_of(0x71, HashAlgorithm::Blake3, b"x"),
            identity_cid(0x55, b"").unwrap(),
            identity_cid(0x55, &[1; 64]).unwrap(),
            Cid::new_v0(sha256_multihash(b"x")).unwrap(),
        ]
    }

    #[test]
    fn round_trips_and_agrees_with_the_cid_crate() {
        for cid in samples() {
            let mut bytes = Vec::new();
            write_cid(&cid, &mut bytes);
            assert_eq!(bytes, cid.to_bytes());
            assert_eq!(cid_from_bytes(&bytes), Ok(cid));
            for cut in 0..bytes.len() {
                assert_eq!(cid_from_bytes(&bytes[..cut]), Err(CidBytesError::Truncated));
            }
            bytes.push(0);
            assert_eq!(cid_from_bytes(&bytes), Err(CidBytesError::Trailing(1)));
            assert_eq!(cid_from_prefix(&bytes), Ok((cid, bytes.len() - 1)));
        }
    }

    #[test]
    fn refuses_what_is_no_cid() {
        assert_eq!(cid_from_bytes(&[0, 0x70]), Err(CidBytesError::Version(0)));
        assert_eq!(cid_from_bytes(&[2, 0x70]), Err(CidBytesError::Version(2)));
        assert_eq!(
            cid_from_bytes(&[1, 0x55, 0, 65]),
            Err(CidBytesError::DigestTooLong(65))
        );
        assert_eq!(
            cid_from_bytes(&[1, 0xd5, 0x00, 0, 0]),
            Err(CidBytesError::Varint(VarintError::NotMinimal))
        );
    }
}
