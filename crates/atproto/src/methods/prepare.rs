//! From the record in a request to the write that goes into a repository.

use serde_json::Value;
use ues_data::{Cid, Ipld, atproto_json, dag_cbor};
use ues_repo::lexicon::{ValidationMode, ValidationStatus, blobs_in};
use ues_repo::repo::layout::Status;
use ues_repo::repo::write::{Record, RecordPath, WriteError};
use ues_repo::syntax::{Did, Nsid, RecordKey};

use crate::context::Context;
use crate::quota::no_room;
use crate::xrpc::XrpcError;

/// The largest integer up to which all are told apart by every JSON reader.
const MAX_SAFE_INTEGER: u128 = (1 << 53) - 1;

/// A record that passed all checks.
pub struct Prepared {
    /// Where it goes.
    pub path: RecordPath,
    /// Its content.
    pub record: Record,
    /// What is known of it.
    pub status: Option<ValidationStatus>,
}

/// What a client asks for.
pub struct Draft {
    /// Collection.
    pub collection: String,
    /// Record key; a fresh TID where there is none.
    pub rkey: Option<String>,
    /// The record.
    pub record: Value,
    /// See `validate` of `com.atproto.repo.createRecord`.
    pub validate: Option<bool>,
}

/// Checks a record and encodes it.
pub fn prepare(ctx: &Context, did: &Did, mut draft: Draft) -> Result<Prepared, XrpcError> {
    let collection =
        Nsid::parse(&draft.collection).map_err(|e| XrpcError::invalid(e.to_string()))?;
    let rkey = match &draft.rkey {
        Some(rkey) => RecordKey::parse(rkey)
            .map_err(|_| XrpcError::invalid(format!("Invalid record key: {}", short(rkey))))?,
        None => RecordKey::parse(ctx.clock.tick().as_str()).map_err(XrpcError::internal)?,
    };
    if let Value::Object(map) = &mut draft.record {
        match map.get("$type") {
            None => {
                map.insert("$type".to_owned(), Value::String(draft.collection));
            }
            Some(Value::String(found)) if *found == draft.collection => {}
            Some(found) => {
                let found = match found {
                    Value::String(text) => short(text),
                    other => short(&other.to_string()),
                };
                let message = format!("Invalid $type: expected {collection}, got {found}");
                return Err(XrpcError::invalid(message));
            }
        }
    }
    let ipld = atproto_json::record_from_json(&draft.record)
        .map_err(|e| XrpcError::invalid(format!("Invalid record: {e}")))?;
    if let Some(integer) = unsafe_integer(&ipld) {
        return Err(XrpcError::invalid(format!(
            "Invalid record: {integer} is beyond ±(2^53-1), which not every reader keeps exactly"
        )));
    }
    let mode = match draft.validate {
        None => ValidationMode::Optimistic,
        Some(true) => ValidationMode::Required,
        Some(false) => ValidationMode::Skip,
    };
    let status = ctx
        .lexicons
        .check_write(mode, collection.as_str(), rkey.as_str(), &ipld)
        .map_err(|e| XrpcError::invalid(e.to_string()))?;
    let blobs = check_blobs(ctx, did, &ipld)?;
    let bytes = dag_cbor::encode(&ipld).map_err(|e| XrpcError::invalid(e.to_string()))?;
    Ok(Prepared {
        path: RecordPath::new(&collection, &rkey),
        record: Record::new(bytes.into(), blobs),
        status,
    })
}

/// An integer that JavaScript cannot tell from its neighbours; the official server takes none either.
fn unsafe_integer(value: &Ipld) -> Option<i128> {
    match value {
        Ipld::Integer(integer) => Some(*integer).filter(|i| i.unsigned_abs() > MAX_SAFE_INTEGER),
        Ipld::List(list) => list.iter().find_map(unsafe_integer),
        Ipld::Map(map) => map.values().find_map(unsafe_integer),
        _ => None,
    }
}

/// Checks that what a record says of its blobs is what was uploaded.
fn check_blobs(ctx: &Context, did: &Did, record: &Ipld) -> Result<Vec<Cid>, XrpcError> {
    let refs = blobs_in(record);
    let mut out = Vec::with_capacity(refs.len());
    for blob in refs {
        if blob.legacy {
            let message = format!("Legacy blobs are not allowed ({})", blob.cid);
            return Err(XrpcError::invalid(message));
        }
        let stored = ctx.repos.blob(did, &blob.cid);
        let Some(stored) = stored.map_err(XrpcError::internal)? else {
            let awaited = ctx.repos.is_blob_awaited(did, &blob.cid);
            if awaited.map_err(XrpcError::internal)? {
                out.push(blob.cid);
                continue;
            }
            return Err(blob_not_found(&blob.cid));
        };
        if stored.mime != blob.mime_type {
            return Err(XrpcError::named(
                "InvalidMimeType",
                format!(
                    "Referenced Mimetype does not match stored blob. Expected: {}, Got: {}",
                    stored.mime,
                    short(&blob.mime_type)
                ),
            ));
        }
        if blob.size.is_some_and(|size| size != stored.size) {
            return Err(XrpcError::named(
                "InvalidSize",
                format!(
                    "Referenced Size does not match stored blob. Expected: {}, Got: {}",
                    stored.size,
                    blob.size.unwrap_or_default()
                ),
            ));
        }
        out.push(blob.cid);
    }
    Ok(out)
}

fn blob_not_found(cid: &Cid) -> XrpcError {
    XrpcError::named("BlobNotFound", format!("Could not find blob: {cid}"))
}

/// What a client is told when a repository did not take its writes.
pub fn write_error(e: WriteError) -> XrpcError {
    match e {
        WriteError::SwapCommit { .. } | WriteError::SwapRecord { .. } => {
            XrpcError::named("InvalidSwap", e.to_string())
        }
        WriteError::Inactive(Status::Deactivated) => {
            XrpcError::auth_named("AccountDeactivated", "Account is deactivated")
        }
        WriteError::Inactive(_) => {
            XrpcError::auth_named("AccountTakedown", "Account has been taken down")
        }
        WriteError::NoRoom { .. } => no_room(e.to_string()),
        WriteError::BlobNotFound(cid) => blob_not_found(&cid),
        WriteError::RepoNotFound(did) => {
            XrpcError::invalid(format!("No repo root found for {did}"))
        }
        WriteError::NotAWriter(_) => {
            XrpcError::new(http::StatusCode::FORBIDDEN, "NotAWriter", e.to_string())
        }
        WriteError::RecordExists(_)
        | WriteError::RecordMissing(_)
        | WriteError::NoContent(_)
        | WriteError::TooManyOps
        | WriteError::TooLarge { .. }
        | WriteError::RepoExists(_)
        | WriteError::BadArchive(_) => XrpcError::invalid(e.to_string()),
        other => XrpcError::internal(other),
    }
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
