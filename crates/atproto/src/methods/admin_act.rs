//! What goes into the audit.

use serde_json::Value;
use ues_repo::syntax::{Datetime, Did};

use crate::moderation::Act;
use crate::xrpc::{Call, XrpcError};

/// What the caller, who administers the node, does. `details` must hold no secret.
pub fn act(
    call: &Call,
    what: &str,
    subject: impl Into<String>,
    details: Value,
) -> Result<Act, XrpcError> {
    Ok(Act {
        at: Datetime::now().to_string(),
        by: call.admin()?.to_owned(),
        what: what.to_owned(),
        subject: subject.into(),
        details,
    })
}

/// A DID of the input.
pub fn did(text: &str) -> Result<Did, XrpcError> {
    Did::parse(text).map_err(|e| XrpcError::invalid(e.to_string()))
}
