//! Query parameters.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::error::XrpcError;

/// Longest query string that is looked at.
const MAX_QUERY_BYTES: usize = 16 * 1024;

/// A name and its value, decoded.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters of a call, checked against its lexicon and with its defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct Params(pub(crate) Map<String, Value>);

impl Params {
    /// Splits a query string into decoded pairs.
    pub fn pairs(query: &str) -> Result<Vec<Pair<'_>>, XrpcError> {
        if query.len() > MAX_QUERY_BYTES {
            return Err(XrpcError::invalid("query string too long"));
        }
        Ok(form_urlencoded::parse(query.as_bytes()).collect())
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A text that the lexicon demands.
    pub fn required(&self, name: &'static str) -> Result<&str, XrpcError> {
        self.text(name)
            .ok_or_else(|| XrpcError::invalid(format!("Missing required parameter \"{name}\"")))
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }

    /// The `limit` of a listing.
    pub fn limit(&self, default: usize, most: usize) -> usize {
        self.integer("limit")
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(default)
            .clamp(1, most)
    }

    /// A yes or no; no where it is absent.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// All values of a repeated parameter.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one],
            _ => Vec::new(),
        }
    }
}
