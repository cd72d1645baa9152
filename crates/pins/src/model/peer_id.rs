//! The name of a worker: a libp2p peer id.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ues_data::content_id::{IDENTITY, SHA2_256};

/// The longest peer id, in bytes: a SHA-256 multihash has 34, an inlined Ed25519 key 38.
const MAX_BYTES: usize = 64;
/// Multicodec of a CID that stands for a peer.
const LIBP2P_KEY: u64 = 0x72;

/// A libp2p peer id, the multihash of a public key: `12D3KooW…` or `Qm…`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(Arc<[u8]>);

/// Something that is not a peer id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a peer id such as 12D3KooW… expected, found {0:?}")]
pub struct PeerIdError(String);

impl PeerId {
    /// From the bytes of the multihash, which is SHA-256 or the key itself.
    ///
    /// # Errors
    /// [`PeerIdError`] when they are not one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        let hash = ues_storage::multihash::Multihash::<MAX_BYTES>::from_bytes(bytes);
        let sound = bytes.len() <= MAX_BYTES
            && hash.is_ok_and(|hash| match hash.code() {
                SHA2_256 => hash.size() == 32,
                code => code == IDENTITY,
            });
        if sound {
            Ok(Self(bytes.into()))
        } else {
            let shown = bytes.get(..MAX_BYTES).unwrap_or(bytes);
            Err(PeerIdError(bs58::encode(shown).into_string()))
        }
    }

    /// The peer id of an Ed25519 public key: the key in libp2p's protobuf, inlined in an identity multihash.
    pub fn from_ed25519(key: &[u8; 32]) -> Self {
        let mut bytes = Vec::with_capacity(38);
        bytes.extend_from_slice(&[0x00, 36, 0x08, 0x01, 0x12, 32]);
        bytes.extend_from_slice(key);
        Self(bytes.into())
    }

    /// The bytes of the multihash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    /// Reads both forms of the [specification](https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md):
    /// the multihash in base58 and, newer, a CID.
    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        let wrong = || PeerIdError(text.chars().take(100).collect());
        if text.len() > 200 {
            return Err(wrong());
        }
        if !text.starts_with("Qm") && !text.starts_with('1') {
            let cid = ues_data::parse_cid(text).map_err(|_| wrong())?;
            return if cid.codec() == LIBP2P_KEY {
                Self::from_bytes(&cid.hash().to_bytes()).map_err(|_| wrong())
            } else {
                Err(wrong())
            };
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| wrong())?;
        Self::from_bytes(&bytes).map_err(|_| wrong())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(&self.0).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl serde::Serialize for PeerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PeerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
