//! Operations: their JSON, their signed bytes, their CID.

use std::collections::BTreeMap;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};
use ues_data::{Cid, Ipld, dag_cbor, dag_cbor_cid, parse_cid};

use super::{DocumentData, PlcError, PlcService};
use crate::crypto::VerifyingKey;
use crate::syntax::Did;

/// Characters of a did:plc after the method.
const IDENTIFIER: usize = 24;

/// An operation with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Operation {
    /// Creates an identity or sets all of its data anew.
    #[serde(rename = "plc_operation")]
    Update(PlcOperation),
    /// Ends an identity.
    #[serde(rename = "plc_tombstone")]
    Tombstone(Tombstone),
    /// The first form of creation; found in old logs, no longer accepted anew.
    #[serde(rename = "create")]
    LegacyCreate(LegacyCreate),
}

/// Sets all data of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlcOperation {
    /// did:keys that may sign the next operation, the mightiest first.
    pub rotation_keys: Vec<String>,
    /// did:keys by name; `atproto` signs the repository.
    pub verification_methods: BTreeMap<String, String>,
    /// Other names; the first `at://` one is the handle.
    pub also_known_as: Vec<String>,
    /// Services by name; `atproto_pds` is the account's host.
    pub services: BTreeMap<String, PlcService>,
    /// CID of the operation before this one; null for the first.
    #[serde(deserialize_with = "required")]
    pub prev: Option<String>,
    /// Base64url of the signature; empty as long as there is none.
    pub sig: String,
}

/// Ends an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// CID of the operation before this one.
    pub prev: String,
    /// Base64url of the signature; empty as long as there is none.
    pub sig: String,
}

/// The first form of creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LegacyCreate {
    /// did:key that signs the repository, and may rotate.
    pub signing_key: String,
    /// did:key that may rotate, before the other.
    pub recovery_key: String,
    /// The handle, without a scheme.
    pub handle: String,
    /// The account's host.
    pub service: String,
    /// Always null.
    pub prev: (),
    /// Base64url of the signature.
    pub sig: String,
}

/// A field that may be null and may not be absent.
fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

impl Operation {
    /// Reads an operation from JSON: all fields, no others.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, PlcError> {
        Self::deserialize(json).map_err(|_| PlcError::NotAnOperation(excerpt(json)))
    }

    /// CID of the operation before this one.
    pub fn prev(&self) -> Option<&str> {
        match self {
            Self::Update(op) => op.prev.as_deref(),
            Self::Tombstone(op) => Some(&op.prev),
            Self::LegacyCreate(_) => None,
        }
    }

    /// The parsed `prev`, if there is one and it is a CID.
    pub fn prev_cid(&self) -> Option<Cid> {
        self.prev().and_then(|text| parse_cid(text).ok())
    }

    /// The signature as it stands.
    pub fn sig(&self) -> &str {
        match self {
            Self::Update(op) => &op.sig,
            Self::Tombstone(op) => &op.sig,
            Self::LegacyCreate(op) => &op.sig,
        }
    }

    pub(super) fn set_sig(&mut self, signature: &[u8]) {
        let text = BASE64URL_NOPAD.encode(signature);
        match self {
            Self::Update(op) => op.sig = text,
            Self::Tombstone(op) => op.sig = text,
            Self::LegacyCreate(op) => op.sig = text,
        }
    }

    /// Whether this ends the identity.
    pub fn is_tombstone(&self) -> bool {
        matches!(self, Self::Tombstone(_))
    }

    /// The bytes that are signed: DAG-CBOR of everything but the signature.
    pub fn unsigned_bytes(&self) -> Result<Vec<u8>, PlcError> {
        self.encode(false)
    }

    /// The DAG-CBOR of the whole operation.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PlcError> {
        self.encode(true)
    }

    /// The operation's CID: DAG-CBOR, SHA-256.
    pub fn cid(&self) -> Result<Cid, PlcError> {
        Ok(dag_cbor_cid(&self.to_bytes()?))
    }

    /// The DID that this operation creates, if it is a first one.
    pub fn did(&self) -> Result<Did, PlcError> {
        let hash = Sha256::digest(self.to_bytes()?);
        let mut text = BASE32_NOPAD.encode(&hash).to_ascii_lowercase();
        text.truncate(IDENTIFIER);
        Did::parse(&format!("did:plc:{text}")).map_err(|e| PlcError::Improper {
            reason: e.to_string(),
        })
    }

    /// The data that holds after this operation; none after a tombstone.
    pub fn data(&self, did: &Did) -> Option<DocumentData> {
        match self {
            Self::Update(op) => Some(DocumentData {
                did: did.clone(),
                verification_methods: op.verification_methods.clone(),
                rotation_keys: op.rotation_keys.clone(),
                also_known_as: op.also_known_as.clone(),
                services: op.services.clone(),
            }),
            Self::LegacyCreate(op) => Some(op.data(did)),
            Self::Tombstone(_) => None,
        }
    }

    /// did:keys that may sign the next operation, the mightiest first.
    pub fn rotation_keys(&self) -> Vec<&str> {
        match self {
            Self::Update(op) => op.rotation_keys.iter().map(String::as_str).collect(),
            Self::LegacyCreate(op) => vec![&op.recovery_key, &op.signing_key],
            Self::Tombstone(_) => Vec::new(),
        }
    }

    /// Which of the did:keys has signed, by its place in the list.
    ///
    /// Keys of kinds that AT Protocol does not sign with never match.
    pub fn signer(&self, allowed: &[&str]) -> Result<usize, PlcError> {
        let message = self.unsigned_bytes()?;
        if let Ok(signature) = BASE64URL_NOPAD.decode(self.sig().as_bytes()) {
            for (place, key) in allowed.iter().enumerate() {
                let holds = VerifyingKey::from_did_key(key).is_ok_and(|key| {
                    key.kind().is_atproto() && key.verify(&message, &signature).is_ok()
                });
                if holds {
                    return Ok(place);
                }
            }
        }
        Err(PlcError::InvalidSignature(
            serde_json::to_value(self).map_or_else(|e| e.to_string(), |json| excerpt(&json)),
        ))
    }

    fn encode(&self, with_signature: bool) -> Result<Vec<u8>, PlcError> {
        let mut fields = match self {
            Self::Update(op) => op.fields(),
            Self::Tombstone(op) => {
                BTreeMap::from([field("type", "plc_tombstone"), field("prev", &op.prev)])
            }
            Self::LegacyCreate(op) => BTreeMap::from([
                field("type", "create"),
                field("signingKey", &op.signing_key),
                field("recoveryKey", &op.recovery_key),
                field("handle", &op.handle),
                field("service", &op.service),
                ("prev".to_owned(), Ipld::Null),
            ]),
        };
        if with_signature {
            fields.extend([field("sig", self.sig())]);
        }
        dag_cbor::encode(&Ipld::Map(fields)).map_err(|e| PlcError::Improper {
            reason: e.to_string(),
        })
    }
}

impl PlcOperation {
    fn fields(&self) -> BTreeMap<String, Ipld> {
        let texts = |list: &[String]| Ipld::List(list.iter().cloned().map(Ipld::String).collect());
        let methods = self
            .verification_methods
            .iter()
            .map(|(name, key)| field(name, key))
            .collect();
        let services = self
            .services
            .iter()
            .map(|(name, service)| {
                let service = BTreeMap::from([
                    field("type", &service.kind),
                    field("endpoint", &service.endpoint),
                ]);
                (name.clone(), Ipld::Map(service))
            })
            .collect();
        let prev = self.prev.clone().map_or(Ipld::Null, Ipld::String);
        BTreeMap::from([
            field("type", "plc_operation"),
            ("rotationKeys".to_owned(), texts(&self.rotation_keys)),
            ("verificationMethods".to_owned(), Ipld::Map(methods)),
            ("alsoKnownAs".to_owned(), texts(&self.also_known_as)),
            ("services".to_owned(), Ipld::Map(services)),
            ("prev".to_owned(), prev),
        ])
    }
}

fn field(name: &str, value: &str) -> (String, Ipld) {
    (name.to_owned(), Ipld::String(value.to_owned()))
}

/// JSON for an error message, cut off when it is long.
fn excerpt(json: &serde_json::Value) -> String {
    let mut text = json.to_string();
    text.truncate(text.floor_char_boundary(4000));
    text
}
