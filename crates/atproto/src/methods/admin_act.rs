//! What goes into the audit.

use serde_json::Value;
use ues_repo::syntax::Did;

use crate::admin::{Actor, COMMAND_LINE, OPERATOR, PLACE_HEADER, Place};
use crate::moderation::Act;
use crate::xrpc::{Call, XrpcError};

/// The caller, who administers the node.
pub fn actor(call: &Call) -> Result<Actor, XrpcError> {
    let name = call.admin()?;
    let said = call.headers.get(PLACE_HEADER);
    // Whoever has the operator's secret may say so; nobody else speaks for the command line.
    let place = match said.is_some_and(|place| place == COMMAND_LINE) && name == OPERATOR {
        true => Place::CommandLine,
        false => Place::Xrpc,
    };
    Ok(Actor::new(name, place))
}

/// What the caller, who administers the node, does. `details` must hold no secret.
pub fn act(
    call: &Call,
    what: &str,
    subject: impl Into<String>,
    details: Value,
) -> Result<Act, XrpcError> {
    Ok(actor(call)?.act(what, subject, details))
}

/// A DID of the input.
pub fn did(text: &str) -> Result<Did, XrpcError> {
    Did::parse(text).map_err(|e| XrpcError::invalid(e.to_string()))
}
