//! Making operations: for a new account, for a change, for the end.

use std::collections::BTreeMap;

use super::data::with_at;
use super::{Operation, PlcError, PlcOperation, PlcService, Tombstone};
use crate::crypto::{SigningKey, VerifyingKey};
use crate::syntax::{Did, Handle};

const ATPROTO: &str = "atproto";
const ATPROTO_PDS: &str = "atproto_pds";

/// What the identity of an AT Protocol account says.
#[derive(Debug, Clone)]
pub struct AccountIdentity {
    /// Signs the repository.
    pub signing_key: VerifyingKey,
    /// May change the identity, the mightiest first.
    pub rotation_keys: Vec<VerifyingKey>,
    /// The account's handle.
    pub handle: Handle,
    /// The account's host; `https://` is put before it if it has no scheme.
    pub pds: String,
}

/// A new identity and the operation that creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The DID.
    pub did: Did,
    /// The first operation, signed.
    pub operation: Operation,
}

/// Creates the identity of an account. `rotation_key` must be one of its rotation keys.
pub fn create(identity: &AccountIdentity, rotation_key: &SigningKey) -> Result<Genesis, PlcError> {
    let operation = Operation::Update(PlcOperation {
        rotation_keys: identity
            .rotation_keys
            .iter()
            .map(VerifyingKey::did_key)
            .collect(),
        verification_methods: BTreeMap::from([(
            ATPROTO.to_owned(),
            identity.signing_key.did_key(),
        )]),
        also_known_as: vec![with_at(identity.handle.as_str())],
        services: BTreeMap::from([(ATPROTO_PDS.to_owned(), PlcService::pds(&identity.pds))]),
        prev: None,
        sig: String::new(),
    });
    let operation = sign(operation, rotation_key)?;
    Ok(Genesis {
        did: operation.did()?,
        operation,
    })
}

/// Makes the operation that follows `last`, with the data that `change` leaves.
pub fn update(
    last: &Operation,
    rotation_key: &SigningKey,
    change: impl FnOnce(&mut PlcOperation),
) -> Result<Operation, PlcError> {
    let mut next = last.normalized().ok_or(PlcError::Misordered)?;
    change(&mut next);
    next.prev = Some(last.cid()?.to_string());
    sign(Operation::Update(next), rotation_key)
}

/// Makes the operation that ends the identity after `last`.
pub fn tombstone(last: &Operation, rotation_key: &SigningKey) -> Result<Operation, PlcError> {
    let prev = last.cid()?.to_string();
    let sig = String::new();
    sign(Operation::Tombstone(Tombstone { prev, sig }), rotation_key)
}

/// Signs an operation anew.
pub fn sign(mut operation: Operation, key: &SigningKey) -> Result<Operation, PlcError> {
    let signature = key.sign(&operation.unsigned_bytes()?);
    operation.set_sig(&signature);
    Ok(operation)
}

impl Operation {
    /// The same data in today's form, without a signature; none for a tombstone.
    pub fn normalized(&self) -> Option<PlcOperation> {
        match self {
            Self::Update(op) => Some(PlcOperation {
                sig: String::new(),
                ..op.clone()
            }),
            Self::LegacyCreate(op) => Some(PlcOperation {
                rotation_keys: vec![op.recovery_key.clone(), op.signing_key.clone()],
                verification_methods: BTreeMap::from([(
                    ATPROTO.to_owned(),
                    op.signing_key.clone(),
                )]),
                also_known_as: vec![with_at(&op.handle)],
                services: BTreeMap::from([(ATPROTO_PDS.to_owned(), PlcService::pds(&op.service))]),
                prev: None,
                sig: String::new(),
            }),
            Self::Tombstone(_) => None,
        }
    }
}

impl PlcOperation {
    /// Puts the handle in place of the first `at://` name, or first of all.
    pub fn set_handle(&mut self, handle: &Handle) {
        let name = with_at(handle.as_str());
        match self
            .also_known_as
            .iter_mut()
            .find(|aka| aka.starts_with("at://"))
        {
            Some(old) => *old = name,
            None => self.also_known_as.insert(0, name),
        }
    }

    /// Sets the key that signs the repository.
    pub fn set_signing_key(&mut self, key: &VerifyingKey) {
        self.verification_methods
            .insert(ATPROTO.to_owned(), key.did_key());
    }

    /// Sets the account's host.
    pub fn set_pds(&mut self, endpoint: &str) {
        self.services
            .insert(ATPROTO_PDS.to_owned(), PlcService::pds(endpoint));
    }
}
