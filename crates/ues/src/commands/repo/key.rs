//! The key that must have signed a repository.

use serde_json::Value;
use ues_repo::crypto::VerifyingKey;

use crate::client::{Client, connect};
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::node::Node;

/// The signing key of an account: from the node's own directory, else from the network.
///
/// # Errors
/// When its identity cannot be found or names no key.
pub async fn of(context: &Context, did: &str, client: Option<&Client>) -> Outcome<VerifyingKey> {
    let own;
    let client = match client {
        Some(client) => Some(client),
        None => {
            let config = context.config()?;
            own = if Node::exists(&config.data) {
                Some(connect(&config).await?)
            } else {
                None
            };
            own.as_ref()
        }
    };
    if let Some(client) = client
        && did.starts_with("did:plc:")
        && let Ok(document) = client.get(&format!("/plc/{did}")).await
    {
        return key_in(did, &document);
    }
    Err(
        Failure::not_found(format!("the identity of {did} cannot be found"))
            .hint("--key did:key:… gives the key; --no-signature checks all but the signature"),
    )
}

fn key_in(did: &str, document: &Value) -> Outcome<VerifyingKey> {
    let methods = document["verificationMethod"]
        .as_array()
        .into_iter()
        .flatten();
    let method = methods
        .filter(|m| m["id"].as_str().is_some_and(|id| id.ends_with("#atproto")))
        .find_map(|m| m["publicKeyMultibase"].as_str());
    let key = method.and_then(|text| VerifyingKey::from_multikey(text).ok());
    key.ok_or_else(|| Failure::unsound(format!("the identity of {did} names no signing key")))
}
