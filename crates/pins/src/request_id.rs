//! Ids of pin requests: they say themselves what they name, so that no table of them is kept.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ues_data::Cid;
use ues_data::content_id::cid_from_bytes;

use crate::Owner;
use crate::request::PinRequest;

/// Names one pin request: when it was accepted, whose it is (four bytes of a hash) and for what. Another request of
/// the same owner for the same CID has another id. As text: base32 in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    created_ms: u64,
    owner: [u8; 4],
    cid: Cid,
}

/// A text that is no request id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a request id expected, found {0:?}")]
pub struct RequestIdError(String);

impl RequestId {
    /// The id of a request.
    pub fn of(request: &PinRequest) -> Self {
        Self {
            created_ms: request.created_ms,
            owner: owner_mark(&request.owner),
            cid: *request.cid(),
        }
    }

    /// The id that an owner's request for a CID has, if it was accepted at this time.
    pub fn new(created_ms: u64, owner: &Owner, cid: Cid) -> Self {
        Self {
            created_ms,
            owner: owner_mark(owner),
            cid,
        }
    }

    /// The CID of the request.
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// When the request was accepted, in milliseconds since the Unix epoch.
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// Whether it may be a request of this owner.
    pub fn is_of(&self, owner: &Owner) -> bool {
        self.owner == owner_mark(owner)
    }
}

fn owner_mark(owner: &Owner) -> [u8; 4] {
    let hash = blake3::hash(owner.as_str().as_bytes());
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(48);
        // Six bytes of milliseconds reach beyond the year 10,000.
        bytes.extend_from_slice(self.created_ms.to_be_bytes().get(2..).unwrap_or_default());
        bytes.extend_from_slice(&self.owner);
        bytes.extend_from_slice(&self.cid.to_bytes());
        f.write_str(&BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let wrong = || RequestIdError(text.chars().take(200).collect());
        if text.len() > 200 || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let bytes = BASE32_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .map_err(|_| wrong())?;
        let (time, rest) = bytes.split_first_chunk::<6>().ok_or_else(wrong)?;
        let (owner, cid) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let [a, b, c, d, e, f] = *time;
        Ok(Self {
            created_ms: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            owner: *owner,
            cid: cid_from_bytes(cid).map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Pin, PinOptions};

    proptest! {
        #[test]
        fn an_id_names_its_request(created_ms in 0u64..1 << 48, content: Vec<u8>, owner in "[a-z0-9.:]{1,40}") {
            let cid = ues_data::raw_cid(&content);
            let owner: Owner = owner.parse().unwrap_or_else(|e| panic!("{e}"));
            let pin = Pin::new(cid, PinOptions::default(), 0);
            let request = PinRequest { owner: owner.clone(), pin, tags: Vec::new(), created_ms };
            let id = RequestId::of(&request);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert!(id.is_of(&owner));
            prop_assert_eq!((id.cid(), id.created_ms()), (&cid, created_ms));
        }

        #[test]
        fn other_texts_are_refused(text in "\\PC{0,60}") {
            prop_assert!(text.parse::<RequestId>().is_err() || text.len() > 60);
        }
    }
}
