//! The node's own keys, encrypted in the data folder.

use std::path::{Path, PathBuf};

use ues_atproto::NodeKeys;
use ues_repo::crypto::keystore::{Keystore, KeystoreError, Unlock};
use zeroize::Zeroizing;

use super::open::NodeError;
use crate::config::Config;

/// The encrypted keys, in the data folder.
const KEYSTORE: &str = "keystore.json";
/// What unlocks them, where the configuration names nothing else.
const KEY_FILE: &str = "keystore.key";

/// The keys of a node, made at first use.
///
/// # Errors
/// When the keystore is damaged or is not unlocked by what the configuration says.
pub fn open(data: &Path, config: &Config) -> Result<NodeKeys, NodeError> {
    let unlock = if !config.keys.passphrase.is_empty() {
        Unlock::Passphrase(Zeroizing::new(config.keys.passphrase.clone()))
    } else if config.keys.key_file.is_empty() {
        Unlock::KeyFile(data.join(KEY_FILE))
    } else {
        Unlock::KeyFile(PathBuf::from(&config.keys.key_file))
    };
    let path = data.join(KEYSTORE);
    let mut keystore = Keystore::open(&path, &unlock).map_err(keystore_error)?;
    NodeKeys::from_keystore(&mut keystore).map_err(|e| NodeError::Server(e.to_string()))
}

fn keystore_error(error: KeystoreError) -> NodeError {
    NodeError::Keystore(error)
}
