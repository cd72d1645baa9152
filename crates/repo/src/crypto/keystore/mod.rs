//! The encrypted keystore: one file that holds named secret keys.
//!
//! The file is JSON on the outside so that a person sees what it is; the keys are one ChaCha20-Poly1305
//! ciphertext (RFC 8439) under a random 32-byte key file, or under a passphrase by Argon2id (RFC 9106) whose
//! parameters are written beside it. Everything outside of the ciphertext is authenticated with it.

mod error;
mod file;
mod seal;

pub use error::KeystoreError;
pub use file::{Keystore, Unlock};
pub use seal::PassphraseCost;
