//! The key that must have signed a repository.

use serde_json::Value;
use ues_repo::crypto::VerifyingKey;
use ues_repo::identity::{Resolver, ResolverOptions};
use ues_repo::syntax::Did;

use crate::commands::Context;
use crate::config::Directory;
use crate::failure::{Failure, Outcome};
use crate::node::Node;

/// The signing key of an account: from the node's own directory, else from the network.
///
/// # Errors
/// When its identity cannot be found or names no key.
pub async fn of(context: &Context, did: &str) -> Outcome<VerifyingKey> {
    let config = context.config()?;
    if did.starts_with("did:plc:")
        && Node::exists(&config.data)
        && let Ok(document) = context.client().await?.get(&format!("/plc/{did}")).await
    {
        return key_in(did, &document);
    }
    let did = Did::parse(did).map_err(|e| Failure::unsound(e.to_string()))?;
    let mut options = ResolverOptions::default();
    if let Directory::Url(url) = config.identity.directory {
        options.plc_url = url;
    }
    Resolver::new(options).signing_key(&did).await.map_err(|e| {
        Failure::not_found(format!("the identity of {did} cannot be found: {e}")).hint(
            "--key did:key:… gives the key; --data DIR names the node that knows it;\n\
             --no-signature checks all but the signature",
        )
    })
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
