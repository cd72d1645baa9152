//! What a directory accepts besides what the rules of the log demand.

use std::collections::HashSet;

use super::{Operation, PlcError, PlcOperation};
use crate::crypto::VerifyingKey;

const MAX_OP_BYTES: usize = 4000;
/// The longest handle (253) and `at://`.
const MAX_AKA_LENGTH: usize = 258;
const MAX_ENTRIES: usize = 10;
const MAX_SERVICE_TYPE_LENGTH: usize = 256;
const MAX_SERVICE_ENDPOINT_LENGTH: usize = 512;
const MAX_ID_LENGTH: usize = 32;
const MAX_DID_KEY_LENGTH: usize = 256;

/// Checks sizes and counts of a new operation, with the bounds and texts of the public directory.
pub fn check_constraints(operation: &Operation) -> Result<(), PlcError> {
    if operation.to_bytes()?.len() > MAX_OP_BYTES {
        return refuse(format!(
            "Operation too large ({MAX_OP_BYTES} bytes maximum in cbor encoding)"
        ));
    }
    match operation {
        Operation::Update(update) => check_update(update),
        Operation::Tombstone(_) => Ok(()),
        Operation::LegacyCreate(_) => Err(PlcError::NotAnOperation(
            "the legacy create operation is no longer accepted".to_owned(),
        )),
    }
}

fn check_update(op: &PlcOperation) -> Result<(), PlcError> {
    if op.also_known_as.len() > MAX_ENTRIES {
        return refuse(format!("To many alsoKnownAs entries (max {MAX_ENTRIES})"));
    }
    let mut seen = HashSet::new();
    for aka in &op.also_known_as {
        if length(aka) > MAX_AKA_LENGTH {
            return refuse(format!(
                "alsoKnownAs entry too long (max {MAX_AKA_LENGTH}): {aka}"
            ));
        }
        if !seen.insert(aka) {
            return refuse(format!("duplicate alsoKnownAs entry: {aka}"));
        }
    }
    if op.rotation_keys.len() > MAX_ENTRIES {
        return refuse(format!("Too many rotationKey entries (max {MAX_ENTRIES})"));
    }
    let distinct: std::collections::BTreeSet<_> = op.rotation_keys.iter().collect();
    if distinct.len() < op.rotation_keys.len() {
        return refuse("Duplicate rotationKey entries".to_owned());
    }
    for key in &op.rotation_keys {
        if !VerifyingKey::from_did_key(key).is_ok_and(|key| key.kind().is_atproto()) {
            return refuse(format!("Invalid rotationKey: {key}"));
        }
    }
    check_services(op)?;
    check_verification_methods(op)
}

fn check_services(op: &PlcOperation) -> Result<(), PlcError> {
    if op.services.len() > MAX_ENTRIES {
        return refuse(format!("To many service entries (max {MAX_ENTRIES})"));
    }
    for (id, service) in &op.services {
        if length(id) > MAX_ID_LENGTH {
            return refuse(format!("Service id too long (max {MAX_ID_LENGTH}): {id}"));
        }
        if length(&service.kind) > MAX_SERVICE_TYPE_LENGTH {
            return refuse(format!(
                "Service type too long (max {MAX_SERVICE_TYPE_LENGTH})"
            ));
        }
        if length(&service.endpoint) > MAX_SERVICE_ENDPOINT_LENGTH {
            return refuse(format!(
                "Service endpoint too long (max {MAX_SERVICE_ENDPOINT_LENGTH})"
            ));
        }
    }
    Ok(())
}

fn check_verification_methods(op: &PlcOperation) -> Result<(), PlcError> {
    if op.verification_methods.len() > MAX_ENTRIES {
        return refuse(format!(
            "Too many Verification Method entries (max {MAX_ENTRIES})"
        ));
    }
    for (id, key) in &op.verification_methods {
        if length(id) > MAX_ID_LENGTH {
            return refuse(format!(
                "Verification Method id too long (max {MAX_ID_LENGTH}): {id}"
            ));
        }
        if length(key) > MAX_DID_KEY_LENGTH {
            return refuse(format!(
                "Verification Method key too long (max {MAX_DID_KEY_LENGTH}): {key}"
            ));
        }
        // any kind of key, as long as it is multibase base58btc
        let multibase = key
            .strip_prefix("did:key:")
            .filter(|text| text.starts_with('z') && multibase::decode(text).is_ok());
        if multibase.is_none() {
            return refuse(format!("Invalid verificationMethod key: {key}"));
        }
    }
    Ok(())
}

fn refuse(text: String) -> Result<(), PlcError> {
    Err(PlcError::Constraint(text))
}

/// The length that JavaScript would tell.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}
