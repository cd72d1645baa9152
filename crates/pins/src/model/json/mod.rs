//! The JSON of IPFS-Cluster 1.1.6: what its REST interface writes and its clients read.
//!
//! Field names, which fields are left out, and how times, peers and addresses are written follow
//! [`api/types.go`](https://github.com/ipfs-cluster/ipfs-cluster/blob/v1.1.6/api/types.go). Where Go writes `null` for
//! a list that nobody made, an empty list is written here; every reader of the one takes the other. Readers of this
//! program take `null`, an empty value and an absent field as the same, as Go does.

mod info;
mod peer;
mod pin;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ues_data::Cid;

use super::PeerId;

pub(crate) use pin::end_of;

pub use info::{GlobalPinInfo, PinInfo, PinInfoShort};
pub use peer::{
    AddedOutput, Alert, ApiError, Bandwidth, ConnectGraph, GlobalRepoGc, Id, IpfsId, IpfsRepoGc,
    IpfsRepoStat, Metric, RepoGc, Version,
};

/// Takes `null` for the default value, as Go does.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A CID as text, for a field that must have one.
mod cid_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(cid: &Cid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(cid)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cid, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        ues_data::parse_cid(&text).map_err(D::Error::custom)
    }
}

/// A CID as text, or `null`.
mod optional_cid {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        cid: &Option<Cid>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match cid {
            Some(cid) => serializer.collect_str(cid),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Cid>, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
        text.map(|text| ues_data::parse_cid(&text).map_err(D::Error::custom))
            .transpose()
    }
}

/// A peer id, or the empty text.
mod optional_peer {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        peer: &Option<PeerId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match peer {
            Some(peer) => peer.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PeerId>, D::Error> {
        match Option::<Cow<'de, str>>::deserialize(deserializer)? {
            Some(text) if !text.is_empty() => text.parse().map(Some).map_err(D::Error::custom),
            _ => Ok(None),
        }
    }
}

/// Metadata as IPFS-Cluster writes it after reading a stored pin: `null` when there is none.
fn null_if_empty<S: Serializer>(
    metadata: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    (!metadata.is_empty())
        .then_some(metadata)
        .serialize(serializer)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Displays a CID, or `null`, inside a hand-written serializer.
struct CidText<'a>(Option<&'a Cid>);

impl Serialize for CidText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(cid) => serializer.collect_str(cid),
            None => serializer.serialize_none(),
        }
    }
}

/// Metadata as an object; `null` when there is none, as IPFS-Cluster has it after reading a stored pin.
struct Metadata<'a>(&'a [(String, String)]);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            serializer.serialize_none()
        } else {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
        }
    }
}
