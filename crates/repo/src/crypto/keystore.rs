//! The encrypted keystore.
