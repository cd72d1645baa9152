//! A DID or a handle.

use super::newtype::text_conversions;
use super::{Did, Handle, SyntaxError, Violation};

/// What names an account: a DID or a handle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AtIdentifier {
    /// A DID.
    Did(Did),
    /// A handle, which has to be resolved.
    Handle(Handle),
}

impl AtIdentifier {
    /// What errors call this identifier.
    pub const KIND: &'static str = "AT identifier";

    /// Checks a string without keeping it.
    pub fn check(text: &str) -> Result<(), Violation> {
        if text.starts_with("did:") {
            Did::check(text)
        } else {
            Handle::check(text)
        }
    }

    /// Checks a string and keeps a copy of it.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.starts_with("did:") {
            Did::parse(text).map(Self::Did)
        } else {
            Handle::parse(text).map(Self::Handle)
        }
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Did(did) => did.as_str(),
            Self::Handle(handle) => handle.as_str(),
        }
    }

    /// The DID, if it is one.
    pub fn did(&self) -> Option<&Did> {
        match self {
            Self::Did(did) => Some(did),
            Self::Handle(_) => None,
        }
    }

    /// The handle, if it is one.
    pub fn handle(&self) -> Option<&Handle> {
        match self {
            Self::Did(_) => None,
            Self::Handle(handle) => Some(handle),
        }
    }
}

impl From<Did> for AtIdentifier {
    fn from(did: Did) -> Self {
        Self::Did(did)
    }
}

impl From<Handle> for AtIdentifier {
    fn from(handle: Handle) -> Self {
        Self::Handle(handle)
    }
}

text_conversions!(AtIdentifier);
