//! Decentralised identifiers, their documents, and how they are resolved.

pub mod did_document;
pub mod did_key;
pub mod did_web;
pub mod plc;
pub mod resolver;

pub use did_document::{DidDocument, DocumentError};
pub use resolver::{Identity, ResolveError, Resolver, ResolverOptions};
