//! Reading JSON with errors that name the place, for the parser of documents.

use serde_json::{Map, Value};

use super::error::preview;

/// A Lexicon document is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct DocumentError {
    /// The place in the document, as in `$.defs.main.record.properties.text`.
    pub path: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// The way to a place, kept on the stack and written out only for an error.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

/// A JSON value and where it is.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    value: &'a Value,
    place: Place<'a>,
    depth: usize,
}

/// How deep a document may nest. Official ones stay under 12.
const MAX_DEPTH: usize = 40;

impl<'a> At<'a> {
    pub(super) fn root(value: &'a Value) -> At<'a> {
        At {
            value,
            place: Place::Root,
            depth: 0,
        }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn path(&self) -> String {
        match self.place {
            Place::Root => String::from("$"),
            Place::Key(parent, key) => format!("{}.{key}", parent.path()),
            Place::Index(parent, index) => format!("{}[{index}]", parent.path()),
        }
    }

    /// An error here.
    pub(super) fn expected(&self, expected: impl Into<String>) -> DocumentError {
        let found = match self.value {
            Value::Null => String::from("null"),
            Value::Bool(b) => b.to_string(),
            Value::Number(n) => n.to_string(),
            Value::String(s) => preview(s),
            Value::Array(items) => format!("an array of {}", items.len()),
            Value::Object(_) => String::from("an object"),
        };
        DocumentError {
            path: self.path(),
            expected: expected.into(),
            found,
        }
    }

    /// An error here about how the parts fit together.
    pub(super) fn conflict(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> DocumentError {
        DocumentError {
            path: self.path(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(super) fn object(&self) -> Result<&'a Map<String, Value>, DocumentError> {
        if self.depth > MAX_DEPTH {
            return Err(self.conflict(
                format!("at most {MAX_DEPTH} levels of nesting"),
                "a deeper one",
            ));
        }
        self.value
            .as_object()
            .ok_or_else(|| self.expected("an object"))
    }

    pub(super) fn str(&self) -> Result<&'a str, DocumentError> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    pub(super) fn bool(&self) -> Result<bool, DocumentError> {
        self.value
            .as_bool()
            .ok_or_else(|| self.expected("true or false"))
    }

    pub(super) fn int(&self) -> Result<i64, DocumentError> {
        self.value
            .as_i64()
            .ok_or_else(|| self.expected("an integer of 64 bits"))
    }

    pub(super) fn length(&self) -> Result<u64, DocumentError> {
        self.value
            .as_u64()
            .ok_or_else(|| self.expected("a whole number that is not negative"))
    }

    /// Each item of an array, read by `read`.
    pub(super) fn list<T>(
        &self,
        mut read: impl FnMut(At<'_>) -> Result<T, DocumentError>,
    ) -> Result<Vec<T>, DocumentError> {
        let items = self
            .value
            .as_array()
            .ok_or_else(|| self.expected("an array"))?;
        items
            .iter()
            .enumerate()
            .map(|(index, value)| {
                read(At {
                    value,
                    place: Place::Index(self, index),
                    depth: self.depth + 1,
                })
            })
            .collect()
    }

    pub(super) fn strings(&self) -> Result<Vec<String>, DocumentError> {
        self.list(|item| item.str().map(str::to_owned))
    }

    /// Each entry of an object, read by `read`.
    pub(super) fn entries<T>(
        &self,
        mut read: impl FnMut(&str, At<'_>) -> Result<T, DocumentError>,
    ) -> Result<Vec<T>, DocumentError> {
        self.object()?
            .iter()
            .map(|(key, value)| read(key, self.child(key, value)))
            .collect()
    }

    fn child<'b>(&'b self, key: &'b str, value: &'b Value) -> At<'b> {
        At {
            value,
            place: Place::Key(self, key),
            depth: self.depth + 1,
        }
    }

    /// A property, if it is there, read by `read`.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(At<'_>) -> Result<T, DocumentError>,
    ) -> Result<Option<T>, DocumentError> {
        match self.object()?.get(key) {
            None => Ok(None),
            Some(value) => read(self.child(key, value)).map(Some),
        }
    }

    /// A property that must be there, read by `read`.
    pub(super) fn required<T>(
        &self,
        key: &str,
        read: impl FnOnce(At<'_>) -> Result<T, DocumentError>,
    ) -> Result<T, DocumentError> {
        self.optional(key, read)?
            .ok_or_else(|| self.conflict(format!("an object with \"{key}\""), "one without it"))
    }
}
