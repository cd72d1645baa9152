//! DID documents.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::crypto::{KeyError, KeyKind, VerifyingKey};
use crate::syntax::{Did, Handle};

const PDS_TYPE: &str = "AtprotoPersonalDataServer";

/// A DID document, as far as AT Protocol looks into it (W3C DID Core 1.0).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidDocument {
    /// JSON-LD contexts.
    #[serde(rename = "@context", default, skip_serializing_if = "Value::is_null")]
    pub context: Value,
    /// Whose document it is.
    pub id: Did,
    /// Other names; the first `at://` one is the handle.
    #[serde(default)]
    pub also_known_as: Vec<String>,
    /// Public keys.
    #[serde(default)]
    pub verification_method: Vec<VerificationMethod>,
    /// Services.
    #[serde(default)]
    pub service: Vec<Service>,
}

/// A public key in a DID document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationMethod {
    /// The DID and `#name`, or `#name` alone.
    pub id: String,
    /// `Multikey`, or one of the older suites.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who controls the key.
    pub controller: String,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_multibase: Option<String>,
}

/// A service in a DID document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The DID and `#name`, or `#name` alone.
    pub id: String,
    /// Such as `AtprotoPersonalDataServer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A URL; other shapes are kept and not used.
    pub service_endpoint: Value,
}

impl Service {
    /// Where it is, if that is an http or https URL.
    pub fn url(&self) -> Option<&str> {
        let url = self.service_endpoint.as_str()?;
        let host = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))?;
        (!host.is_empty() && !host.starts_with('/')).then_some(url)
    }
}

/// What a document lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// There is no key of that name.
    #[error("{did} has no verification method #{name}")]
    NoKey {
        /// Whose document it is.
        did: Did,
        /// `atproto`, or `atproto_label` of a labeler.
        name: &'static str,
    },
    /// The key is of a type that is not known.
    #[error("the key has type {0:?}, expected Multikey or an Ecdsa 2019 suite")]
    KeyType(String),
    /// The key is no key.
    #[error("the key is broken")]
    Key(#[from] KeyError),
}

impl DidDocument {
    /// Builds the document of an AT Protocol account, as a did:web host serves it.
    pub fn for_account(did: &Did, handle: &Handle, key: &VerifyingKey, pds: &str) -> Self {
        Self {
            context: json!([
                "https://www.w3.org/ns/did/v1",
                "https://w3id.org/security/multikey/v1"
            ]),
            id: did.clone(),
            also_known_as: vec![format!("at://{handle}")],
            verification_method: vec![VerificationMethod {
                id: format!("{did}#atproto"),
                kind: "Multikey".to_owned(),
                controller: did.to_string(),
                public_key_multibase: Some(key.multikey()),
            }],
            service: vec![Service {
                id: "#atproto_pds".to_owned(),
                kind: PDS_TYPE.to_owned(),
                service_endpoint: json!(pds),
            }],
        }
    }

    /// Builds the document of a service, such as this node under its own did:web.
    pub fn for_service(did: &Did, name: &str, kind: &str, endpoint: &str) -> Self {
        Self {
            context: json!(["https://www.w3.org/ns/did/v1"]),
            id: did.clone(),
            also_known_as: Vec::new(),
            verification_method: Vec::new(),
            service: vec![Service {
                id: format!("#{name}"),
                kind: kind.to_owned(),
                service_endpoint: json!(endpoint),
            }],
        }
    }

    /// The handle that the document claims: its first `at://` name, if that is a handle.
    ///
    /// A claim only: it holds when the handle resolves back to this DID.
    pub fn handle(&self) -> Option<Handle> {
        let name = self
            .also_known_as
            .iter()
            .find_map(|name| name.strip_prefix("at://"))?;
        Handle::parse(name).ok()
    }

    /// The key that signs the repository.
    pub fn signing_key(&self) -> Result<VerifyingKey, DocumentError> {
        self.key_named("atproto")
    }

    /// The key that signs a labeler's labels.
    pub fn label_key(&self) -> Result<VerifyingKey, DocumentError> {
        self.key_named("atproto_label")
    }

    fn key_named(&self, name: &'static str) -> Result<VerifyingKey, DocumentError> {
        let missing = || DocumentError::NoKey {
            did: self.id.clone(),
            name,
        };
        let method = self
            .verification_method
            .iter()
            .find(|method| self.is_named(&method.id, name))
            .ok_or_else(missing)?;
        let text = method.public_key_multibase.as_deref().ok_or_else(missing)?;
        let key = match method.kind.as_str() {
            "Multikey" => VerifyingKey::from_multikey(text)?,
            "EcdsaSecp256k1VerificationKey2019" => {
                VerifyingKey::from_multibase(KeyKind::K256, text)?
            }
            "EcdsaSecp256r1VerificationKey2019" => {
                VerifyingKey::from_multibase(KeyKind::P256, text)?
            }
            other => return Err(DocumentError::KeyType(other.to_owned())),
        };
        if key.kind().is_atproto() {
            Ok(key)
        } else {
            Err(DocumentError::KeyType(method.kind.clone()))
        }
    }

    /// The URL of the account's host.
    pub fn pds_endpoint(&self) -> Option<&str> {
        self.endpoint("atproto_pds", PDS_TYPE)
    }

    /// The URL of a service by name and type, if it is an http or https one.
    pub fn endpoint(&self, name: &str, kind: &str) -> Option<&str> {
        let service = self
            .service
            .iter()
            .find(|service| self.is_named(&service.id, name) && service.kind == kind)?;
        service.url()
    }

    /// The URL of a service by name, whatever its type, if it is an http or https one.
    pub fn service_url(&self, name: &str) -> Option<&str> {
        let mut services = self.service.iter();
        services.find(|s| self.is_named(&s.id, name))?.url()
    }

    fn is_named(&self, id: &str, name: &str) -> bool {
        id.strip_prefix(self.id.as_str())
            .unwrap_or(id)
            .strip_prefix('#')
            == Some(name)
    }
}
