//! Signing keys, signatures and the encrypted keystore.
