//! Query parameters of the lists.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::Failure;
use crate::model::{PinType, TrackerStatus};

/// Decoded query parameters, in their order.
pub(crate) struct Query(pub Vec<(String, String)>);

impl Query {
    /// The first of that name; empty without one, as in Go.
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Whether only the peer that is asked shall answer.
    pub(crate) fn local(&self) -> bool {
        self.get("local") == "true"
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Ok(Self(pairs.into_owned().collect()))
    }
}

/// Which kinds of pins a list of allocations shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KindFilter {
    /// All of them.
    All,
    /// These.
    Some(Vec<PinType>),
}

impl KindFilter {
    /// Reads names of kinds with commas between. As in the original an unknown name counts for nothing beside a
    /// known one, and `all` as well as an empty name stand for all.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        let mut kinds = Vec::new();
        for name in text.split(',') {
            if name.is_empty() || name == "all" {
                return Ok(Self::All);
            }
            kinds.extend(PinType::from_name(name));
        }
        if kinds.is_empty() {
            return Err(invalid());
        }
        Ok(Self::Some(kinds))
    }

    /// Whether a kind is shown.
    pub(crate) fn shows(&self, kind: PinType) -> bool {
        match self {
            Self::All => true,
            Self::Some(kinds) => kinds.contains(&kind),
        }
    }
}

/// Reads a filter of statuses: one that names no known status is refused.
pub(crate) fn statuses(text: &str) -> Result<TrackerStatus, Failure> {
    let filter = TrackerStatus::from_filter(text);
    if filter == TrackerStatus::UNDEFINED && !text.is_empty() {
        return Err(invalid());
    }
    Ok(filter)
}

fn invalid() -> Failure {
    Failure::bad_request("invalid filter value")
}
