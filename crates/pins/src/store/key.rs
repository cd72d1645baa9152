//! Keys of the embedded store's rows.
//!
//! | keyspace | key |
//! |---|---|
//! | `pins_requests` | CID key, owner |
//! | `pins_placements` | CID key, peer id |
//! | `pins_owned` | length of the owner, owner, length of the tag (0: all), tag, time counted down, CID |
//! | `pins_ends` | seconds, CID key, owner |
//! | `pins_operations` | length of the owner, owner, id |
//!
//! A *CID key* is the token (8 bytes), the multihash, and what else the CID says: 0 for version 0, or 1 and the
//! codec as a varint. It ends itself, so that no CID key is the beginning of another.

use ues_data::content_id::cid_from_bytes;
use ues_data::{Cid, Multihash, Version, varint};

use super::StateError;
use crate::Owner;

/// Where a CID's rows lie: the first bytes of a hash of its multihash, so that not even chosen hashes crowd.
pub(super) fn token(cid: &Cid) -> u64 {
    let hash = blake3::hash(&cid.hash().to_bytes());
    let first = hash.as_bytes().first_chunk::<8>();
    first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The CID key.
pub(super) fn cid_key(cid: &Cid) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + 36 + 2 + 40);
    key.extend_from_slice(&token(cid).to_be_bytes());
    varint::write(cid.hash().code(), &mut key);
    varint::write(cid.hash().digest().len() as u64, &mut key);
    key.extend_from_slice(cid.hash().digest());
    if cid.version() == Version::V0 {
        key.push(0);
    } else {
        key.push(1);
        varint::write(cid.codec(), &mut key);
    }
    key
}

/// Splits a row's key into the CID key, the CID and what follows.
pub(super) fn split(key: &[u8]) -> Result<(&[u8], Cid, &[u8]), StateError> {
    let damaged = || StateError::Damaged(format!("a key of {} bytes that names no CID", key.len()));
    let rest = key.get(8..).ok_or_else(damaged)?;
    let number = |input: &'_ [u8]| varint::read(input).map_err(|_| damaged());
    let (code, used) = number(rest)?;
    let rest = rest.get(used..).ok_or_else(damaged)?;
    let (len, used) = number(rest)?;
    let rest = rest.get(used..).ok_or_else(damaged)?;
    let len = usize::try_from(len).map_err(|_| damaged())?;
    let (digest, rest) = rest.split_at_checked(len).ok_or_else(damaged)?;
    let hash = Multihash::wrap(code, digest).map_err(|_| damaged())?;
    let (version, rest) = rest.split_first().ok_or_else(damaged)?;
    let (cid, rest) = match version {
        0 => (Cid::new_v0(hash).map_err(|_| damaged())?, rest),
        1 => {
            let (codec, used) = number(rest)?;
            (
                Cid::new_v1(codec, hash),
                rest.get(used..).ok_or_else(damaged)?,
            )
        }
        _ => return Err(damaged()),
    };
    let head = key.get(..key.len() - rest.len()).ok_or_else(damaged)?;
    Ok((head, cid, rest))
}

/// Key of a request.
pub(super) fn request(cid: &Cid, owner: &Owner) -> Vec<u8> {
    let mut key = cid_key(cid);
    key.extend_from_slice(owner.as_str().as_bytes());
    key
}

/// Beginning of the listing of an owner, by tag or of all.
pub(super) fn owned_prefix(owner: &Owner, tag: Option<&str>) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    push_short(&mut key, owner.as_str());
    push_short(&mut key, tag.unwrap_or_default());
    key
}

/// Key of a row of the listing.
pub(super) fn owned(owner: &Owner, tag: Option<&str>, created_ms: u64, cid: &Cid) -> Vec<u8> {
    [owned_prefix(owner, tag), owned_place(created_ms, cid)].concat()
}

/// What follows the prefix in a row of the listing.
pub(super) fn owned_place(created_ms: u64, cid: &Cid) -> Vec<u8> {
    [&(u64::MAX - created_ms).to_be_bytes()[..], &cid.to_bytes()].concat()
}

/// Time and CID of a row of the listing, from what follows its prefix.
pub(super) fn split_owned(rest: &[u8]) -> Result<(u64, Cid), StateError> {
    let damaged = || StateError::Damaged("a row of an owner's listing that names no CID".into());
    let (time, cid) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let cid = cid_from_bytes(cid).map_err(|_| damaged())?;
    Ok((u64::MAX - u64::from_be_bytes(*time), cid))
}

/// Key of an entry of the queue of ends.
pub(super) fn end(at_s: u64, cid: &Cid, owner: &Owner) -> Vec<u8> {
    let mut key = at_s.to_be_bytes().to_vec();
    key.extend_from_slice(&request(cid, owner));
    key
}

/// Key of an operation.
pub(super) fn operation(owner: &Owner, id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(owner.as_str().len() + id.len() + 1);
    push_short(&mut key, owner.as_str());
    key.extend_from_slice(id.as_bytes());
    key
}

/// A text of at most 255 bytes with its length before it; owners and tags are shorter.
fn push_short(key: &mut Vec<u8>, text: &str) {
    key.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    key.extend_from_slice(text.as_bytes());
}
