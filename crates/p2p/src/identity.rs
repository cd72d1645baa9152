//! A device's key is its name in the network: the two forms of one thing.

use libp2p::PeerId;
use libp2p::identity::{PublicKey, ed25519};
use ues_repo::crypto::{KeyKind, VerifyingKey};

/// The key of a peer; `None` unless its name carries an Ed25519 key.
#[must_use]
pub fn key_of(peer: &PeerId) -> Option<VerifyingKey> {
    let hash = peer.as_ref();
    // A key of up to 42 bytes stands in the name itself, under the identity hash.
    if hash.code() != 0 {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    let key = key.try_into_ed25519().ok()?;
    VerifyingKey::from_bytes(KeyKind::Ed25519, &key.to_bytes()).ok()
}

/// The peer with a key; `None` unless it is an Ed25519 key.
#[must_use]
pub fn peer_with(key: &VerifyingKey) -> Option<PeerId> {
    if key.kind() != KeyKind::Ed25519 {
        return None;
    }
    let key = ed25519::PublicKey::try_from_bytes(&key.to_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use ues_repo::crypto::SigningKey;

    use super::*;

    #[test]
    fn a_key_and_its_peer_name_each_other() {
        let key = SigningKey::generate(KeyKind::Ed25519).unwrap();
        let peer = peer_with(key.verifying_key()).unwrap();
        let keypair =
            libp2p::identity::Keypair::ed25519_from_bytes(key.to_bytes().to_vec()).unwrap();
        assert_eq!(peer, keypair.public().to_peer_id());
        assert_eq!(key_of(&peer).unwrap().did_key(), key.did_key());
        let other = SigningKey::generate(KeyKind::K256).unwrap();
        assert_eq!(peer_with(other.verifying_key()), None);
        assert!(
            key_of(
                &PeerId::from_multihash(
                    libp2p::multihash::Multihash::wrap(0x12, &[0; 32]).unwrap()
                )
                .unwrap()
            )
            .is_none()
        );
    }
}
