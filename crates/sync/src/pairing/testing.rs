//! What the tests of pairing share: fixed keys, one code, one repository.

use std::sync::OnceLock;

use ues_repo::crypto::{KeyKind, SigningKey, VerifyingKey};
use ues_repo::syntax::{Did, Handle};

use super::code::{Code, CodeKeys};
use super::invitation::{DEFAULT_LIFETIME, Invitation, Repository};

/// The public key of the device with this number.
pub(super) fn key(number: u8) -> VerifyingKey {
    SigningKey::from_bytes(KeyKind::Ed25519, &[number; 32])
        .unwrap()
        .verifying_key()
        .clone()
}

pub(super) fn code() -> Code {
    "01AZ9-KVT0X".parse().unwrap()
}

/// The keys of [`code`], derived once.
pub(super) fn keys() -> CodeKeys {
    static KEYS: OnceLock<CodeKeys> = OnceLock::new();
    KEYS.get_or_init(|| code().derive().unwrap()).clone()
}

pub(super) fn repository() -> Repository {
    Repository {
        did: Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap(),
        handle: Some(Handle::parse("alice.example.com").unwrap()),
    }
}

pub(super) fn invitation(now_ms: u64) -> Invitation {
    Invitation::with_keys(code(), keys(), repository(), now_ms, DEFAULT_LIFETIME)
}
