//! Errors of the keystore.

use std::io;
use std::path::PathBuf;

use crate::crypto::KeyError;

/// Why a keystore cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The operating system refused.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is not a keystore, or is cut off.
    #[error("{path} is not a keystore: {why}")]
    NotAKeystore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer version of the program wrote it.
    #[error("the keystore has format {found}, this program reads format {supported} and older")]
    Newer {
        /// The version in the file.
        found: u64,
        /// The newest version that is known.
        supported: u64,
    },
    /// The keystore wants a passphrase and was given a key file, or the other way round.
    #[error("the keystore is locked with {expected}")]
    OtherLock {
        /// What unlocks it.
        expected: &'static str,
    },
    /// The key file is not 64 hexadecimal digits.
    #[error("{path} is not a key file: 64 hexadecimal digits expected")]
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// Wrong passphrase or key, or a file that someone or something changed.
    #[error("the keystore cannot be unlocked: the {lock} is wrong, or the file was changed")]
    WrongOrTampered {
        /// Passphrase or key file.
        lock: &'static str,
    },
    /// The recorded cost of the passphrase is beyond what is sane.
    #[error("the passphrase cost in the keystore is out of bounds: {0}")]
    Cost(String),
    /// A key in it is no key.
    #[error("the keystore holds a broken key")]
    Key(#[from] KeyError),
    /// A name is empty, too long or has control characters.
    #[error("a key's name is 1 to 256 characters without control characters, found {0:?}")]
    Name(String),
}
