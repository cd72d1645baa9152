//! The engine's face: documents, lookups and validation by NSID.

use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;
use ues_data::Ipld;

use super::catalog::{Catalog, CatalogOrigin, Part, official_source, origin};
use super::error::ValidationError;
use super::evolution::{BreakingChange, compare};
use super::indexes::IndexDef;
use super::merges::MergeRule;
use super::reader::DocumentError;
use super::references::{self, MissingDefinition};
use super::rules::{Definition, Document, MethodDef, RecordKeyType};
use super::validate::{Strictness, validate};

/// Most documents that can be registered beside the official ones.
const MAX_REGISTERED: usize = 20_000;

/// A set of Lexicon documents and the engine that validates by them.
///
/// Clones share the set. Reading is concurrent; registration swaps in a new set, so a validation that
/// runs meanwhile ends with the documents with which it began.
#[derive(Clone)]
pub struct Lexicons {
    catalog: Arc<RwLock<Arc<Catalog>>>,
}

/// A value could not be validated, or is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LexiconError {
    /// No document of that NSID is registered.
    #[error("Unknown lexicon type: {nsid}")]
    Unknown {
        /// The NSID asked for.
        nsid: String,
    },
    /// The document is about something else.
    #[error("{nsid} is not a {expected} but a {found}")]
    Kind {
        /// The NSID asked for.
        nsid: String,
        /// What it should be: `record`, `query`…
        expected: &'static str,
        /// What its main definition is.
        found: &'static str,
    },
    /// The value does not match.
    #[error(transparent)]
    Invalid(#[from] Box<ValidationError>),
}

/// A document was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its NSID.
    pub nsid: String,
    /// Whether it took the place of another document of the same NSID.
    pub replaced: bool,
    /// References to documents that are not registered (yet). Values there cannot be validated.
    pub unresolved: Vec<String>,
}

/// A document was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// It is no valid document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It refers to a definition that a document at hand does not have.
    #[error(transparent)]
    Missing(#[from] MissingDefinition),
    /// It breaks the document that is registered under its NSID.
    #[error("{nsid} would break what is registered: {}", list(changes))]
    Breaking {
        /// The NSID.
        nsid: String,
        /// What breaks.
        changes: Vec<BreakingChange>,
    },
    /// There are too many documents.
    #[error("no room for another document: the limit is {limit}")]
    Full {
        /// Most documents at once.
        limit: usize,
    },
}

fn list(changes: &[BreakingChange]) -> String {
    let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl Default for Lexicons {
    fn default() -> Self {
        Lexicons::official()
    }
}

impl Lexicons {
    /// The official documents: `com.atproto`, `app.bsky`, `chat.bsky`, `tools.ozone`.
    ///
    /// They are part of the program and parsed one by one when first needed.
    pub fn official() -> Lexicons {
        Lexicons::from_catalog(Catalog::official())
    }

    /// No documents.
    pub fn empty() -> Lexicons {
        Lexicons::from_catalog(Catalog::empty())
    }

    fn from_catalog(catalog: Catalog) -> Lexicons {
        Lexicons {
            catalog: Arc::new(RwLock::new(Arc::new(catalog))),
        }
    }

    pub(super) fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read())
    }

    /// The package and version that the official documents come from.
    pub fn origin() -> Option<CatalogOrigin> {
        origin()
    }

    /// The JSON text of an official document, as it was published.
    pub fn official_source(nsid: &str) -> Option<&'static str> {
        official_source(nsid)
    }

    /// Takes in a document, or a compatible new version of one.
    ///
    /// Refused are what is no document, what refers to definitions that a document at hand does not
    /// have, and what breaks the registered version by the rules of [`compare`]. References to documents
    /// that are not at hand are allowed and reported.
    pub fn register(&self, document: &Value) -> Result<Registered, RegisterError> {
        let document = Arc::new(Document::parse(document)?);
        let mut slot = self.catalog.write();
        let old = slot.document(&document.id);
        if let Some(old) = &old {
            let changes = compare(old, &document);
            if !changes.is_empty() {
                return Err(RegisterError::Breaking {
                    nsid: document.id.clone(),
                    changes,
                });
            }
        } else if slot.len() >= MAX_REGISTERED {
            return Err(RegisterError::Full {
                limit: MAX_REGISTERED,
            });
        }
        let next = slot.with(Arc::clone(&document));
        let unresolved = references::check(&document, &|nsid| next.document(nsid))?;
        *slot = Arc::new(next);
        Ok(Registered {
            nsid: document.id.clone(),
            replaced: old.is_some(),
            unresolved,
        })
    }

    /// The NSIDs of all documents, sorted.
    pub fn documents(&self) -> Vec<String> {
        self.current().ids()
    }

    /// Whether a document of that NSID is there.
    pub fn contains(&self, nsid: &str) -> bool {
        self.current().contains(nsid)
    }

    /// The document of that NSID.
    pub fn document(&self, nsid: &str) -> Option<Arc<Document>> {
        self.current().document(nsid)
    }

    /// The XRPC method of that NSID: its kind, encodings, parameters and errors.
    pub fn method(&self, nsid: &str) -> Option<Arc<MethodDef>> {
        match self.document(nsid)?.main()? {
            Definition::Method(method) => Some(Arc::clone(method)),
            _ => None,
        }
    }

    /// What the keys of a collection's records must be.
    pub fn record_key_type(&self, collection: &str) -> Option<RecordKeyType> {
        match self.document(collection)?.main()? {
            Definition::Record(record) => Some(record.key.clone()),
            _ => None,
        }
    }

    /// The indexes that a record type declares.
    pub fn indexes(&self, collection: &str) -> Vec<IndexDef> {
        match self
            .document(collection)
            .as_deref()
            .and_then(Document::main)
        {
            Some(Definition::Record(record)) => record.indexes.clone(),
            _ => Vec::new(),
        }
    }

    /// How records of a collection merge that several devices change at the same time.
    pub fn merge_rules(&self, collection: &str) -> Vec<MergeRule> {
        match self
            .document(collection)
            .as_deref()
            .and_then(Document::main)
        {
            Some(Definition::Record(record)) => record.merge.clone(),
            _ => Vec::new(),
        }
    }

    /// Checks a record as a new one of its collection.
    pub fn validate_record(&self, collection: &str, record: &Ipld) -> Result<(), LexiconError> {
        self.validate_record_with(collection, record, Strictness::Strict)
    }

    /// Checks a record with a choice of strictness.
    pub fn validate_record_with(
        &self,
        collection: &str,
        record: &Ipld,
        strictness: Strictness,
    ) -> Result<(), LexiconError> {
        let catalog = self.current();
        match catalog.arena(collection, Part::Record) {
            Some(arena) => Ok(validate(arena, record, strictness)?),
            None => Err(absent(&catalog, collection, "record")),
        }
    }

    /// Checks the body of a request. A method without a schema for it accepts any.
    pub fn validate_input(&self, nsid: &str, body: &Value) -> Result<(), LexiconError> {
        self.validate_body(nsid, Part::Input, body)
    }

    /// Checks the body of a response. A method without a schema for it accepts any.
    pub fn validate_output(&self, nsid: &str, body: &Value) -> Result<(), LexiconError> {
        self.validate_body(nsid, Part::Output, body)
    }

    /// Checks a message of a subscription, with its whole `$type`.
    pub fn validate_message(&self, nsid: &str, message: &Ipld) -> Result<(), LexiconError> {
        let catalog = self.current();
        match catalog.arena(nsid, Part::Message) {
            Some(arena) => Ok(validate(arena, message, Strictness::Strict)?),
            None => Err(absent(&catalog, nsid, "subscription")),
        }
    }

    fn validate_body(&self, nsid: &str, part: Part, body: &Value) -> Result<(), LexiconError> {
        let catalog = self.current();
        match catalog.arena(nsid, part) {
            Some(arena) => Ok(validate(arena, body, Strictness::Strict)?),
            None => match catalog.document(nsid).as_deref().and_then(Document::main) {
                Some(Definition::Method(_)) => Ok(()),
                _ => Err(absent(&catalog, nsid, "method")),
            },
        }
    }
}

/// Why there is nothing to validate with.
pub(super) fn absent(catalog: &Catalog, nsid: &str, expected: &'static str) -> LexiconError {
    let nsid = nsid.to_owned();
    match catalog.document(&nsid) {
        None => LexiconError::Unknown { nsid },
        Some(document) => LexiconError::Kind {
            nsid,
            expected,
            found: document
                .main()
                .map_or("document without a main definition", Definition::type_name),
        },
    }
}
