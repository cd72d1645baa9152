//! Decentralised identifiers, their documents, and how they are resolved.
