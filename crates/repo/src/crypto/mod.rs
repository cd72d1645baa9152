//! Signing keys, signatures, key agreement and the encrypted keystore.
//!
//! Every signature is 64 bytes. ECDSA signs the SHA-256 of the message, with the lower of the two
//! possible S values; the higher one and DER are refused (<https://atproto.com/specs/cryptography>).

mod agreement;
mod error;
pub mod keystore;
mod multikey;
mod signing_key;
mod verifying_key;

pub use agreement::{AgreementError, AgreementKey, AgreementSecret};
pub use error::{KeyError, SignatureError};
pub use signing_key::SigningKey;
pub use verifying_key::VerifyingKey;

/// The kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// secp256k1, the usual key of repositories; signatures are called `ES256K`.
    K256,
    /// NIST P-256; signatures are called `ES256`.
    P256,
    /// Ed25519, for devices and nodes; signatures are called `EdDSA`. Not for AT Protocol commits.
    Ed25519,
}

impl KeyKind {
    /// The name of the signature algorithm in a JWT (RFC 7518, RFC 8812, RFC 8037).
    pub fn jwt_alg(self) -> &'static str {
        match self {
            Self::K256 => "ES256K",
            Self::P256 => "ES256",
            Self::Ed25519 => "EdDSA",
        }
    }

    /// Whether AT Protocol lets this kind sign commits and did:plc operations.
    pub fn is_atproto(self) -> bool {
        matches!(self, Self::K256 | Self::P256)
    }
}
