//! Identities, keys, lexicons and signed repositories of the AT Protocol.

pub mod blob_store;
pub mod crypto;
pub mod identity;
pub mod index;
pub mod lexicon;
pub mod repo;
pub mod syntax;
