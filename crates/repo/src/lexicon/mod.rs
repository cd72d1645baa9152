//! The lexicon engine: schemas of records and of XRPC methods.
//!
//! A Lexicon document describes a record type, a method, a permission set, or types that others refer to
//! (<https://atproto.com/specs/lexicon>). [`Lexicons`] holds the documents (the official ones are built
//! in, others are registered at run time) and validates by them:
//!
//! ```
//! use std::collections::BTreeMap;
//! use ues_data::Ipld;
//! use ues_repo::lexicon::Lexicons;
//!
//! let lexicons = Lexicons::official();
//! let record = Ipld::Map(BTreeMap::from([
//!     ("$type".to_owned(), Ipld::String("app.bsky.feed.post".into())),
//!     ("createdAt".to_owned(), Ipld::String("2026-01-01T00:00:00.000Z".into())),
//!     ("text".to_owned(), Ipld::Integer(2)),
//! ]));
//! let error = lexicons.validate_record("app.bsky.feed.post", &record).unwrap_err();
//! assert_eq!(error.to_string(), "Expected string value type (got 2) at $.text");
//! ```
//!
//! How it is built: a document is parsed into the types of `rules`, one to one with the language. What is
//! to be validated is compiled, when first needed, into an arena of nodes in which every reference is an
//! index, and validation walks the value along that arena. New versions of a document are held against
//! the old one by [`compare`].

mod arena;
mod blob;
mod catalog;
mod data;
mod document;
mod error;
mod evolution;
mod format;
mod indexes;
mod merges;
mod params;
mod reader;
mod records;
mod references;
mod registry;
mod rules;
mod schema;
mod text;
mod validate;

pub use blob::{BlobRef, accepts, blobs_in};
pub use catalog::CatalogOrigin;
pub use error::{Measure, Problem, Segment, ValidationError};
pub use evolution::{BreakingChange, ChangeKind, compare};
pub use indexes::{IndexDef, IndexKind};
pub use merges::{MergeKind, MergeRule};
pub use reader::DocumentError;
pub use records::{RecordError, ValidationMode, ValidationStatus, check_key};
pub use references::MissingDefinition;
pub use registry::{LexiconError, Lexicons, RegisterError, Registered};
pub use rules::{
    BlobRule, Body, BooleanRule, Definition, Document, IntegerRule, LengthRule, MethodDef,
    MethodKind, ObjectRule, Permission, PermissionSet, Property, RecordDef, RecordKeyType, Schema,
    StringFormat, StringRule, UnionRule,
};
pub use validate::Strictness;
