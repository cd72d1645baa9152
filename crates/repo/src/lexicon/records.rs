//! Validation of a write: the record, its key, and what to do when the lexicon is not known.

use ues_data::Ipld;

use super::error::{Problem, ValidationError, preview, quote};
use super::registry::{LexiconError, Lexicons};
use super::rules::{RecordKeyType, StringFormat};
use crate::syntax::{Nsid, RecordKey, Tid};

/// How much a writer asks for: the `validate` parameter of `com.atproto.repo.createRecord`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValidationMode {
    /// `true`: a record whose lexicon is not known is refused.
    Required,
    /// Not given: a record is checked if its lexicon is known.
    #[default]
    Optimistic,
    /// `false`: nothing is checked by lexicon.
    Skip,
}

/// What is known of an accepted record: the `validationStatus` of `com.atproto.repo.createRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidationStatus {
    /// It matches its lexicon.
    Valid,
    /// Its lexicon is not known here.
    Unknown,
}

impl ValidationStatus {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            ValidationStatus::Valid => "valid",
            ValidationStatus::Unknown => "unknown",
        }
    }
}

/// A write was refused. The texts are those of the official server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The collection's lexicon is not known and the writer asked for validation.
    #[error("Unknown lexicon type: {collection}")]
    Unknown {
        /// The collection.
        collection: String,
    },
    /// The collection names something else than a record type.
    #[error("Unknown lexicon type: {collection} ({found}, not a record)")]
    NotRecord {
        /// The collection.
        collection: String,
        /// What it names.
        found: &'static str,
    },
    /// The record key is not of the kind that the collection wants.
    #[error("Invalid record key for {collection}: {problem} at $")]
    Key {
        /// The collection.
        collection: String,
        /// What is wrong.
        problem: Problem,
    },
    /// The record does not match its lexicon.
    #[error("Invalid {collection} record: {error}")]
    Invalid {
        /// The collection.
        collection: String,
        /// What is wrong; its path begins with `$.record`.
        error: ValidationError,
    },
}

impl Lexicons {
    /// Checks a write. `None` means that no check was asked for.
    ///
    /// That `record` carries its `$type` and that `rkey` is a valid record key at all is the caller's
    /// to see to, since it holds in every mode.
    pub fn check_write(
        &self,
        mode: ValidationMode,
        collection: &str,
        rkey: &str,
        record: &Ipld,
    ) -> Result<Option<ValidationStatus>, RecordError> {
        if mode == ValidationMode::Skip {
            return Ok(None);
        }
        let collection_name = || collection.to_owned();
        if let Some(key_type) = self.record_key_type(collection) {
            check_key(&key_type, rkey).map_err(|problem| RecordError::Key {
                collection: collection_name(),
                problem,
            })?;
        }
        match self.validate_record(collection, record) {
            Ok(()) => Ok(Some(ValidationStatus::Valid)),
            Err(LexiconError::Unknown { .. }) if mode == ValidationMode::Optimistic => {
                Ok(Some(ValidationStatus::Unknown))
            }
            Err(LexiconError::Unknown { .. }) => Err(RecordError::Unknown {
                collection: collection_name(),
            }),
            Err(LexiconError::Kind { found, .. }) => Err(RecordError::NotRecord {
                collection: collection_name(),
                found,
            }),
            Err(LexiconError::Invalid(error)) => Err(RecordError::Invalid {
                collection: collection_name(),
                error: error.under("record"),
            }),
        }
    }
}

/// Checks a record key against what its collection wants.
pub fn check_key(key_type: &RecordKeyType, rkey: &str) -> Result<(), Problem> {
    let format = match key_type {
        RecordKeyType::Tid if Tid::check(rkey).is_err() => StringFormat::Tid,
        RecordKeyType::Nsid if Nsid::check(rkey).is_err() => StringFormat::Nsid,
        RecordKeyType::Any if RecordKey::check(rkey).is_err() => StringFormat::RecordKey,
        RecordKeyType::Literal(only) if only != rkey => {
            return Err(Problem::NotAllowed {
                allowed: vec![quote(only)],
                found: preview(rkey),
            });
        }
        _ => return Ok(()),
    };
    Err(Problem::Format {
        format,
        found: preview(rkey),
    })
}
