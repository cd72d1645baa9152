//! The node's own secrets.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use ues_repo::crypto::keystore::{Keystore, KeystoreError};
use ues_repo::crypto::{KeyError, KeyKind, SigningKey};
use zeroize::Zeroizing;

const ACCOUNTS: &str = "atproto.accounts";
const SESSIONS: &str = "atproto.sessions";
const LABELS: &str = "atproto.labels";
const PLC_ROTATION: &str = "atproto.plc-rotation";

/// Who administers a node: names and secrets, of which each is enough.
#[derive(Default)]
pub struct Admins(Vec<(&'static str, [u8; 32])>);

impl Admins {
    /// Lets somebody in with a secret, who goes into the audit by the name. An empty secret lets
    /// nobody in.
    pub fn add(&mut self, name: &'static str, secret: &str) {
        if !secret.is_empty() {
            self.0
                .push((name, Sha256::digest(secret.as_bytes()).into()));
        }
    }

    /// Whose secret this is.
    pub fn name_of(&self, secret: &str) -> Option<&'static str> {
        let given: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let mut found = None;
        for (name, known) in &self.0 {
            if bool::from(known.ct_eq(&given)) {
                found = Some(*name);
            }
        }
        found
    }
}

/// What a node must keep secret, and must not lose: without it no account can write any more.
pub struct NodeKeys {
    /// Seals the accounts' signing keys in the store.
    pub accounts: Zeroizing<[u8; 32]>,
    /// Signs session tokens.
    pub sessions: Zeroizing<[u8; 32]>,
    /// Signs did:plc operations of accounts that were made here.
    pub plc_rotation: SigningKey,
    /// Signs the labels that the node makes.
    pub labels: SigningKey,
    /// Who administers it; nobody at first.
    pub admins: Admins,
}

/// Why the node's keys cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeKeysError {
    /// The keystore cannot be written.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl NodeKeys {
    /// Fresh keys that are kept nowhere, for tests.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            accounts: SigningKey::generate(KeyKind::Ed25519)?.to_bytes(),
            sessions: SigningKey::generate(KeyKind::Ed25519)?.to_bytes(),
            plc_rotation: SigningKey::generate(KeyKind::K256)?,
            labels: SigningKey::generate(KeyKind::K256)?,
            admins: Admins::default(),
        })
    }

    /// The keys in a keystore; those that are not there yet are made.
    pub fn from_keystore(keystore: &mut Keystore) -> Result<Self, NodeKeysError> {
        let mut missing = Vec::new();
        for (name, kind) in [
            (ACCOUNTS, KeyKind::Ed25519),
            (SESSIONS, KeyKind::Ed25519),
            (PLC_ROTATION, KeyKind::K256),
            (LABELS, KeyKind::K256),
        ] {
            if keystore.get(name).is_none() {
                missing.push((name.to_owned(), SigningKey::generate(kind)?));
            }
        }
        if !missing.is_empty() {
            keystore.insert_many(missing)?;
        }
        let fresh = Self::generate()?;
        let secret = |name: &str, or: Zeroizing<[u8; 32]>| {
            keystore.get(name).map_or(or, SigningKey::to_bytes)
        };
        Ok(Self {
            accounts: secret(ACCOUNTS, fresh.accounts),
            sessions: secret(SESSIONS, fresh.sessions),
            plc_rotation: keystore
                .get(PLC_ROTATION)
                .cloned()
                .unwrap_or(fresh.plc_rotation),
            labels: keystore.get(LABELS).cloned().unwrap_or(fresh.labels),
            admins: Admins::default(),
        })
    }
}
