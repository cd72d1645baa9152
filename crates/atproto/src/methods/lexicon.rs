//! `com.atproto.lexicon.resolveLexicon`: a lexicon as its authority publishes it
//! (<https://atproto.com/specs/lexicon#lexicon-publication-and-resolution>).

use serde_json::{Value, json};
use ues_data::car::CarLimits;
use ues_data::dag_cbor_cid;
use ues_repo::repo::verify::{Archive, proven};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::{Did, Nsid, RecordKey};

use crate::context::Context;
use crate::proxy::{ProxyError, ask_bytes, service_of};
use crate::xrpc::transcode::dag_cbor_to_json;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

const COLLECTION: &str = "com.atproto.lexicon.schema";

/// The methods of this file.
pub fn methods() -> [Method; 1] {
    [Method::new(
        "com.atproto.lexicon.resolveLexicon",
        Auth::Open,
        resolve_lexicon,
    )]
}

async fn resolve_lexicon(call: Call) -> Result<Reply, XrpcError> {
    let nsid = Nsid::parse(call.params.required("nsid")?);
    let nsid = nsid.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let found = published_lexicon(&call.ctx, &nsid).await.map_err(|cause| {
        tracing::debug!(%nsid, %cause, "lexicon not resolved");
        let message = format!("The lexicon {nsid} was not found: {cause}");
        XrpcError::named("LexiconNotFound", message)
    })?;
    Reply::json(&json!({ "uri": found.uri, "cid": found.cid, "schema": found.schema }))
}

/// A lexicon as its authority publishes it.
pub struct PublishedLexicon {
    uri: String,
    cid: String,
    /// The document.
    pub schema: Value,
}

/// Finds a lexicon where its authority publishes it. An error says what is missing.
pub async fn published_lexicon(ctx: &Context, nsid: &Nsid) -> Result<PublishedLexicon, String> {
    let authority = ctx.identities.lexicon_authority(nsid).await;
    let did = authority.map_err(|e| e.to_string())?;
    let key = RecordKey::parse(nsid.as_str()).map_err(|e| e.to_string())?;
    let collection = Nsid::parse(COLLECTION).map_err(|e| e.to_string())?;
    let path = RecordPath::new(&collection, &key);
    let bytes = record(ctx, &did, &path).await?;
    let mut text = Vec::with_capacity(bytes.len() * 2);
    dag_cbor_to_json(&bytes, &mut text).map_err(|e| e.to_string())?;
    let schema: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let expected =
        |field: &str, value: &str| schema.get(field).and_then(Value::as_str) == Some(value);
    if !expected("id", nsid.as_str()) || !expected("$type", COLLECTION) {
        return Err(format!(
            "the record at {path} of {did} is no lexicon of that name"
        ));
    }
    Ok(PublishedLexicon {
        uri: format!("at://{did}/{path}"),
        cid: dag_cbor_cid(&bytes).to_string(),
        schema,
    })
}

/// The record of an account, here or elsewhere; from elsewhere with a proof that it is the account's.
async fn record(ctx: &Context, did: &Did, path: &RecordPath) -> Result<Vec<u8>, String> {
    let absent = || format!("{did} has no record at {path}");
    let account = ctx.accounts.by_did(did).map_err(|e| e.to_string())?;
    if account.is_some_and(|a| a.is_active()) {
        let record = ctx.repos.get_record(did, path).map_err(|e| e.to_string())?;
        return Ok(record.ok_or_else(absent)?.bytes.to_vec());
    }
    let document = ctx.identities.did_document(did).await;
    let key = document.map_err(|e| e.to_string())?.signing_key();
    let key = key.map_err(|e| e.to_string())?;
    let host = service_of(ctx, did, "atproto_pds").await;
    let host = host.map_err(|e| e.message().to_owned())?;
    let params = [
        ("did", did.as_str()),
        ("collection", path.collection()),
        ("rkey", path.rkey()),
    ];
    let archive = ask_bytes(ctx, &host, "com.atproto.sync.getRecord", &params).await;
    let archive = archive
        .map_err(ProxyError::into_error)
        .map_err(|e| e.message().to_owned())?;
    let archive =
        Archive::read(archive.as_ref(), CarLimits::default()).map_err(|e| e.to_string())?;
    if archive.commit().map_err(|e| e.to_string())?.did != *did {
        return Err("the proof is of another account".to_owned());
    }
    let record = proven(&archive, &key, path).map_err(|e| e.to_string())?;
    Ok(record.ok_or_else(absent)?.to_vec())
}
