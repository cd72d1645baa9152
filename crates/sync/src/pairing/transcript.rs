//! What both sides must have seen alike, and what is computed from it.

use ues_repo::crypto::VerifyingKey;

use super::words::{WORDS, words};

/// Binds the joiner to its nonce before it sees the inviter's.
pub(super) fn commitment(
    nonce: &[u8; 32],
    joiner: &VerifyingKey,
    inviter: &VerifyingKey,
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("ues pairing v1 commitment");
    hasher.update(nonce);
    hasher.update(&joiner.to_bytes());
    hasher.update(&inviter.to_bytes());
    *hasher.finalize().as_bytes()
}

/// Everything that was said up to the proof, and who said it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transcript<'a> {
    /// The first message, as it was sent.
    pub(super) hello: &'a [u8],
    /// The second message, as it was sent.
    pub(super) offer: &'a [u8],
    /// The joiner's nonce.
    pub(super) nonce: &'a [u8; 32],
    /// The joiner's device key.
    pub(super) joiner: &'a VerifyingKey,
    /// The inviter's device key.
    pub(super) inviter: &'a VerifyingKey,
}

impl Transcript<'_> {
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("ues pairing v1 transcript");
        let keys = [self.joiner.to_bytes(), self.inviter.to_bytes()];
        for part in [self.hello, self.offer, self.nonce, &keys[0], &keys[1]] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// The words of a transcript.
pub(super) fn words_of(transcript: &[u8; 32]) -> [&'static str; WORDS] {
    let [a, b, c, d, ..] = blake3::derive_key("ues pairing v1 words", transcript);
    words([a, b, c, d])
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn every_part_counts() {
        let (a, b, c) = (testing::key(1), testing::key(2), testing::key(3));
        let base = Transcript {
            hello: b"hello",
            offer: b"offer",
            nonce: &[1; 32],
            joiner: &a,
            inviter: &b,
        };
        let others = [
            Transcript {
                hello: b"hellp",
                ..base
            },
            Transcript {
                hello: b"helloo",
                offer: b"ffer",
                ..base
            },
            Transcript {
                offer: b"offes",
                ..base
            },
            Transcript {
                nonce: &[2; 32],
                ..base
            },
            Transcript { joiner: &c, ..base },
            Transcript {
                inviter: &c,
                ..base
            },
            Transcript {
                joiner: &b,
                inviter: &a,
                ..base
            },
        ];
        for other in others {
            assert_ne!(other.hash(), base.hash());
            assert_ne!(words_of(&other.hash()), words_of(&base.hash()));
        }
    }

    #[test]
    fn commitments_bind_nonce_and_keys() {
        let (a, b) = (testing::key(1), testing::key(2));
        let base = commitment(&[1; 32], &a, &b);
        assert_ne!(base, commitment(&[2; 32], &a, &b));
        assert_ne!(base, commitment(&[1; 32], &b, &a));
        assert_ne!(base, commitment(&[1; 32], &a, &a));
    }

    /// Computed by the formulas of `pairing.proto` with the Python packages argon2-cffi and blake3.
    #[test]
    fn known_answers() {
        let (joiner, inviter) = (testing::key(1), testing::key(2));
        let hex = |bytes: [u8; 32]| blake3::Hash::from_bytes(bytes).to_hex().to_string();
        assert_eq!(
            hex(commitment(&[1; 32], &joiner, &inviter)),
            "2dbd9b32d425fc56ccebb7c34b7e3c56490bf2192e8caac6f87d4d62ced7e1e8"
        );
        let transcript = Transcript {
            hello: b"hello",
            offer: b"offer",
            nonce: &[1; 32],
            joiner: &joiner,
            inviter: &inviter,
        }
        .hash();
        assert_eq!(
            hex(transcript),
            "6fbb1cf7d4d3f5c1d1434d68849c6cc0d719b739518bec1d1727a0548d4af4bb"
        );
        let keys = testing::keys();
        assert_eq!(
            hex(keys.prove_joiner(&transcript)),
            "1a83f8d421cdb15563f76481011b0e05feaec09c313f74f08beb6590ae4c3f1f"
        );
        assert_eq!(
            hex(keys.prove_inviter(&transcript, b"payload")),
            "af9bce02b9d7e34f391d1f7a8dbaea6324a15600203640aad5063ba09b959aa5"
        );
        assert_eq!(words_of(&transcript), ["ghost", "orange", "tulip", "delta"]);
    }
}
