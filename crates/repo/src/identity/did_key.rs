//! did:key: the identifier is the key.

use serde_json::json;

use super::did_document::{DidDocument, VerificationMethod};
use crate::crypto::{KeyError, VerifyingKey};
use crate::syntax::Did;

/// The document of a did:key, which follows from the identifier alone.
pub fn document(did: &Did) -> Result<DidDocument, KeyError> {
    let key = VerifyingKey::from_did_key(did.as_str())?;
    let multikey = key.multikey();
    Ok(DidDocument {
        context: json!([
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/multikey/v1"
        ]),
        id: did.clone(),
        also_known_as: Vec::new(),
        verification_method: vec![VerificationMethod {
            id: format!("{did}#{multikey}"),
            kind: "Multikey".to_owned(),
            controller: did.to_string(),
            public_key_multibase: Some(multikey),
        }],
        service: Vec::new(),
    })
}
