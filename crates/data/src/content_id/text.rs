//! CIDs as text, in every multibase.

use cid::{Cid, Version};
use multibase::Base;

use super::{CidBytesError, DAG_CBOR, RAW, SHA2_256, cid_from_bytes};

/// The longest text that is looked at, in bytes: the longest CID in base 2, the widest base, is shorter.
pub const MAX_CID_TEXT: usize = 1024;

/// Why a text is not a CID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidError {
    /// Longer than any CID.
    #[error("a CID has at most {MAX_CID_TEXT} characters, found {0}")]
    TooLong(usize),
    /// Too short to be a CID.
    #[error("a CID expected, found an empty or very short text")]
    TooShort,
    /// The first character names no multibase that we know.
    #[error("a multibase character (b, z, f, m, u, k, …) expected first, found {0:?}")]
    UnknownBase(char),
    /// Characters outside of the alphabet of the base, or wrong padding.
    #[error("the text does not follow the alphabet of its multibase {0:?}")]
    Encoding(char),
    /// Version 0 exists in plain base58btc only.
    #[error("a version 0 CID is written in plain base58btc, without a multibase prefix")]
    PrefixedV0,
    /// The decoded bytes are not a CID.
    #[error(transparent)]
    Bytes(#[from] CidBytesError),
    /// A CID, but not one that AT Protocol links may use.
    #[error("AT Protocol links are version 1, base32, DAG-CBOR or raw, SHA-256; found {0}")]
    NotAtproto(&'static str),
}

/// Parses a CID of version 0 (`Qm…`) or version 1 in any multibase.
///
/// No surrounding space, no `/ipfs/` prefix, no trailing bytes.
pub fn parse_cid(text: &str) -> Result<Cid, CidError> {
    if text.len() > MAX_CID_TEXT {
        return Err(CidError::TooLong(text.len()));
    }
    if text.len() < 2 {
        return Err(CidError::TooShort);
    }
    if text.len() == 46 && text.starts_with("Qm") {
        let bytes = Base::Base58Btc
            .decode(text)
            .map_err(|_| CidError::Encoding('z'))?;
        let cid = cid_from_bytes(&bytes)?;
        return match cid.version() {
            Version::V0 => Ok(cid),
            Version::V1 => Err(CidError::Encoding('z')),
        };
    }
    let prefix = text.chars().next().ok_or(CidError::TooShort)?;
    let base = match Base::from_code(prefix) {
        Ok(Base::Identity) | Err(_) => return Err(CidError::UnknownBase(prefix)),
        Ok(base) => base,
    };
    let body = text.get(prefix.len_utf8()..).unwrap_or_default();
    let bytes = base.decode(body).map_err(|_| CidError::Encoding(prefix))?;
    let cid = cid_from_bytes(&bytes)?;
    match cid.version() {
        Version::V0 => Err(CidError::PrefixedV0),
        Version::V1 => Ok(cid),
    }
}

/// Parses a CID as AT Protocol's data model demands it: base32, version 1, DAG-CBOR or raw, SHA-256.
pub fn parse_atproto_cid(text: &str) -> Result<Cid, CidError> {
    if !text.starts_with('b') {
        return Err(CidError::NotAtproto("another multibase or version"));
    }
    let cid = parse_cid(text)?;
    if !matches!(cid.codec(), DAG_CBOR | RAW) {
        return Err(CidError::NotAtproto("another codec"));
    }
    if !is_atproto(&cid) {
        return Err(CidError::NotAtproto("another hash"));
    }
    Ok(cid)
}

/// Whether `cid` is of the kind that AT Protocol links use: version 1, DAG-CBOR or raw, whole SHA-256.
#[must_use]
pub fn is_atproto(cid: &Cid) -> bool {
    cid.version() == Version::V1
        && matches!(cid.codec(), DAG_CBOR | RAW)
        && cid.hash().code() == SHA2_256
        && cid.hash().size() == 32
}
