//! The data of a did:plc, and the document that it gives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::LegacyCreate;
use crate::crypto::{KeyKind, VerifyingKey};
use crate::identity::did_document::{DidDocument, Service, VerificationMethod};
use crate::syntax::Did;

/// A service as did:plc has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlcService {
    /// Such as `AtprotoPersonalDataServer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A URL.
    pub endpoint: String,
}

impl PlcService {
    /// The host of an AT Protocol account.
    pub fn pds(endpoint: &str) -> Self {
        Self {
            kind: "AtprotoPersonalDataServer".to_owned(),
            endpoint: with_http(endpoint),
        }
    }
}

/// All data of an identity, as the directory's `/data` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentData {
    /// Whose data it is.
    pub did: Did,
    /// did:keys by name; `atproto` signs the repository.
    pub verification_methods: BTreeMap<String, String>,
    /// did:keys that may sign the next operation, the mightiest first.
    pub rotation_keys: Vec<String>,
    /// Other names; the first `at://` one is the handle.
    pub also_known_as: Vec<String>,
    /// Services by name; `atproto_pds` is the account's host.
    pub services: BTreeMap<String, PlcService>,
}

impl DocumentData {
    /// The DID document, as the public directory writes it.
    pub fn document(&self) -> DidDocument {
        let mut context = vec![
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/multikey/v1",
        ];
        let mut verification_method = Vec::with_capacity(self.verification_methods.len());
        for (name, key) in &self.verification_methods {
            let suite = match VerifyingKey::from_did_key(key).map(|key| key.kind()) {
                Ok(KeyKind::P256) => Some("https://w3id.org/security/suites/ecdsa-2019/v1"),
                Ok(KeyKind::K256) => Some("https://w3id.org/security/suites/secp256k1-2019/v1"),
                _ => None,
            };
            if let Some(suite) = suite.filter(|suite| !context.contains(suite)) {
                context.push(suite);
            }
            let multikey = key.strip_prefix("did:key:").unwrap_or(key);
            verification_method.push(VerificationMethod {
                id: format!("{}#{name}", self.did),
                kind: "Multikey".to_owned(),
                controller: self.did.to_string(),
                public_key_multibase: Some(multikey.to_owned()),
            });
        }
        let service = self
            .services
            .iter()
            .map(|(name, service)| Service {
                id: format!("#{name}"),
                kind: service.kind.clone(),
                service_endpoint: json!(service.endpoint),
            })
            .collect();
        DidDocument {
            context: json!(context),
            id: self.did.clone(),
            also_known_as: self.also_known_as.clone(),
            verification_method,
            service,
        }
    }
}

impl LegacyCreate {
    pub(super) fn data(&self, did: &Did) -> DocumentData {
        DocumentData {
            did: did.clone(),
            verification_methods: BTreeMap::from([(
                "atproto".to_owned(),
                self.signing_key.clone(),
            )]),
            rotation_keys: vec![self.recovery_key.clone(), self.signing_key.clone()],
            also_known_as: vec![with_at(&self.handle)],
            services: BTreeMap::from([("atproto_pds".to_owned(), PlcService::pds(&self.service))]),
        }
    }
}

/// The `at://` form of a handle.
pub(super) fn with_at(handle: &str) -> String {
    if handle.starts_with("at://") {
        return handle.to_owned();
    }
    let bare = handle
        .replacen("http://", "", 1)
        .replacen("https://", "", 1);
    format!("at://{bare}")
}

/// An endpoint with a scheme.
pub(super) fn with_http(endpoint: &str) -> String {
    if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        endpoint.to_owned()
    } else {
        format!("https://{endpoint}")
    }
}
