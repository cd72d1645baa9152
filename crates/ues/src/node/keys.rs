//! The node's own keys, encrypted in the data folder.

use std::path::{Path, PathBuf};

use ues_atproto::NodeKeys;
use ues_pins::PeerId;
use ues_repo::crypto::keystore::{Keystore, KeystoreError, Unlock};
use ues_repo::crypto::{KeyKind, SigningKey};
use zeroize::Zeroizing;

use super::open::NodeError;
use crate::config::Config;

/// The encrypted keys, in the data folder.
const KEYSTORE: &str = "keystore.json";
/// What unlocks them, where the configuration names nothing else.
const KEY_FILE: &str = "keystore.key";

/// The name of the key that names this node's worker to others.
const WORKER: &str = "pins.worker";

/// The name of the key that is this device, for the others that hold the same repositories.
const DEVICE: &str = "sync.device";

/// What a node's keys are for.
pub struct Keys {
    /// The AT Protocol server's.
    pub server: NodeKeys,
    /// The name of the node's pin worker.
    pub worker: PeerId,
    /// This device's key.
    pub device: SigningKey,
}

/// The keys of a node, made at first use.
///
/// # Errors
/// When the keystore is damaged or is not unlocked by what the configuration says.
pub fn open(data: &Path, config: &Config) -> Result<Keys, NodeError> {
    let unlock = if !config.keys.passphrase.is_empty() {
        Unlock::Passphrase(Zeroizing::new(config.keys.passphrase.clone()))
    } else if config.keys.key_file.is_empty() {
        Unlock::KeyFile(data.join(KEY_FILE))
    } else {
        Unlock::KeyFile(PathBuf::from(&config.keys.key_file))
    };
    let path = data.join(KEYSTORE);
    let mut keystore = Keystore::open(&path, &unlock).map_err(keystore_error)?;
    let server =
        NodeKeys::from_keystore(&mut keystore).map_err(|e| NodeError::Server(e.to_string()))?;
    for name in [WORKER, DEVICE] {
        if keystore.get(name).is_none() {
            let key = SigningKey::generate(KeyKind::Ed25519)
                .map_err(|e| NodeError::Server(e.to_string()))?;
            keystore.insert(name, key).map_err(keystore_error)?;
        }
    }
    let worker = keystore
        .get(WORKER)
        .map(|key| key.verifying_key().to_bytes());
    let worker = worker
        .and_then(|key| <[u8; 32]>::try_from(key).ok())
        .map(|key| PeerId::from_ed25519(&key))
        .ok_or_else(|| NodeError::Server(format!("the key {WORKER} is no Ed25519 key")))?;
    let device = keystore.get(DEVICE).cloned();
    let device =
        device.ok_or_else(|| NodeError::Server(format!("the key {DEVICE} was not kept")))?;
    Ok(Keys {
        server,
        worker,
        device,
    })
}

fn keystore_error(error: KeystoreError) -> NodeError {
    NodeError::Keystore(error)
}
