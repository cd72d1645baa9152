//! Errors of resolving.

use crate::crypto::KeyError;
use crate::identity::did_document::DocumentError;
use crate::identity::did_web::DidWebError;
use crate::syntax::{Did, Handle};

/// Why a DID or handle has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Whoever must know says that there is none, or that it is no more.
    #[error("{0} does not exist")]
    DidNotFound(Did),
    /// Neither DNS nor the web host names a DID for it.
    #[error("{0} resolves to no DID")]
    HandleNotFound(Handle),
    /// DNS names no account, or more than one, for the lexicons of a domain.
    #[error("DNS has no single record did=… at _lexicon.{0}")]
    NoLexiconAuthority(String),
    /// Handles under this top-level domain are never looked up.
    #[error("{0} lies under a top-level domain that no handle may have")]
    ReservedDomain(Handle),
    /// A DID method that AT Protocol does not use.
    #[error("{0} has a method that is not supported, expected plc, web or key")]
    UnsupportedMethod(Did),
    /// A did:web that names no host.
    #[error(transparent)]
    Web(#[from] DidWebError),
    /// A did:key that is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The document lacks what an account needs.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// What came back is no DID document of this DID.
    #[error("{did} has a document that cannot be used: {why}")]
    BadDocument {
        /// Whose document was asked for.
        did: Did,
        /// What is wrong with it.
        why: String,
    },
    /// The network failed, or took too long.
    #[error("{what} cannot be reached: {why}")]
    Unreachable {
        /// What was asked.
        what: String,
        /// What went wrong.
        why: String,
    },
}

impl ResolveError {
    /// Whether the answer is a definite no, which may be remembered for a while.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Unreachable { .. })
    }
}
