//! Blobs: uploaded, served, and those that are missing.

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use ues_data::parse_cid;
use ues_repo::blob_store::{BlobReader, BlobStoreError};
use ues_repo::repo::blobs::BlobMeta;
use ues_repo::repo::{BlobIntake, BlobIntakeError, StoredBlob};

use crate::context::Context;
use crate::lifecycle;
use crate::limits::UPLOAD_BLOB;
use crate::moderation::Target;
use crate::oauth::permit_blob;
use crate::quota::room_for_blob;
use crate::xrpc::{Auth, Call, Caller, Method, Reply, XrpcError};

use super::prepare::write_error;
use super::readable::Readable;

/// Bytes gathered before they are handed to a thread that may block.
const GATHER: usize = 256 * 1024;
/// First bytes of a blob that are looked at to tell its type.
const SNIFF: usize = 8192;

/// The methods of this file.
pub fn methods(limit: u64) -> [Method; 3] {
    [
        Method::new(
            "com.atproto.repo.uploadBlob",
            Auth::LiveOrService,
            upload_blob,
        )
        .body_limit(limit),
        Method::new(
            "com.atproto.repo.listMissingBlobs",
            Auth::Session,
            list_missing_blobs,
        ),
        Method::new("com.atproto.sync.getBlob", Auth::OptionalEver, get_blob),
    ]
}

async fn upload_blob(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(UPLOAD_BLOB)?;
    if let Caller::Session(session) = &call.caller {
        permit_blob(session, &call.media_type)?;
    }
    let did = call.caller_did()?.clone();
    let mut pieces = call
        .stream
        .take()
        .ok_or_else(|| XrpcError::internal("no body"))?;
    let head = call.ctx.repos.head(&did).map_err(XrpcError::internal)?;
    let owner = head.ok_or_else(|| XrpcError::invalid(format!("No repo root found for {did}")))?;
    let owner = owner.owner;
    let mut intake = call.ctx.repos.blob_intake(owner);
    let mut first: Option<Bytes> = None;
    let mut gathered = BytesMut::new();
    while let Some(piece) = pieces.next().await? {
        gathered.extend_from_slice(&piece);
        if gathered.len() >= GATHER {
            let part = gathered.split().freeze();
            first.get_or_insert_with(|| part.slice(..SNIFF.min(part.len())));
            intake = blocking(move || push(intake, &part)).await?;
        }
    }
    let rest = gathered.freeze();
    let first = first.unwrap_or_else(|| rest.slice(..SNIFF.min(rest.len())));
    let finish = move || push(intake, &rest)?.finish().map_err(intake_error);
    let stored = blocking(finish).await?;
    let down = call.ctx.takedowns.get(&did, &Target::Blob(stored.cid));
    if down.map_err(XrpcError::internal)?.is_some() {
        discard(&call.ctx, owner, stored).await;
        let message = "Blob has been takendown, cannot re-upload";
        return Err(XrpcError::invalid(message));
    }
    let _room = match room_for_blob(&call.ctx, &did, &stored.cid, stored.size).await {
        Ok(room) => room,
        Err(refused) => {
            discard(&call.ctx, owner, stored).await;
            return Err(refused);
        }
    };
    let mime = sniff(&first).unwrap_or(&call.media_type).to_owned();
    let meta = BlobMeta::of(&stored, mime, call.ctx.now_ms());
    call.ctx
        .repos
        .enter_blob(&did, owner, &meta)
        .await
        .map_err(write_error)?;
    Reply::json(&json!({ "blob": {
        "$type": "blob",
        "ref": { "$link": meta.cid.to_string() },
        "mimeType": meta.mime,
        "size": meta.size,
    } }))
}

/// Frees what was stored and is not let in. A failure does not change why it is not.
async fn discard(ctx: &Context, owner: u64, stored: StoredBlob) {
    let repos = ctx.repos.clone();
    let freed = tokio::task::spawn_blocking(move || repos.discard_blob(owner, &stored)).await;
    match freed {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::warn!(%cause, "the content of a refused blob is not freed"),
        Err(cause) => tracing::warn!(%cause, "the content of a refused blob is not freed"),
    }
}

fn push(mut intake: BlobIntake, part: &[u8]) -> Result<BlobIntake, XrpcError> {
    intake.push(part).map_err(store_error)?;
    Ok(intake)
}

fn intake_error(error: BlobIntakeError) -> XrpcError {
    match error {
        BlobIntakeError::Store(e) => store_error(e),
        other => XrpcError::internal(other),
    }
}

/// What a client is told when the content of blobs cannot be had or kept. Where it lies is the operator's to know.
fn store_error(error: BlobStoreError) -> XrpcError {
    match error {
        BlobStoreError::Storage(_) | BlobStoreError::Damaged(_) => XrpcError::internal(error),
        other => {
            tracing::error!(cause = %other, "the blob store fails");
            let message =
                "The server cannot reach the place where it keeps blobs. Try again later.";
            XrpcError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "BlobStoreUnavailable",
                message,
            )
        }
    }
}

/// Runs what blocks on the disk on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, XrpcError> + Send + 'static,
) -> Result<T, XrpcError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(XrpcError::internal)?
}

/// The media type by the first bytes. Text has no mark of its own, so there the client is believed.
fn sniff(first: &[u8]) -> Option<&'static str> {
    let found = infer::get(first)?.mime_type();
    (!found.starts_with("text/")).then_some(found)
}

async fn list_missing_blobs(call: Call) -> Result<Reply, XrpcError> {
    let did = call.did()?;
    let limit = call.params.limit(500, 1000);
    let after = call
        .params
        .text("cursor")
        .map(|cid| parse_cid(cid).map_err(|e| XrpcError::invalid(e.to_string())))
        .transpose()?;
    // A session outlives its account for a while.
    lifecycle::account(&call.ctx, did)?
        .ok_or_else(|| XrpcError::named("NotFound", "Repo not found"))?;
    let missing = call
        .ctx
        .repos
        .missing_blobs(did, after.as_ref(), limit)
        .map_err(XrpcError::internal)?;
    let blobs: Vec<_> = missing
        .iter()
        .map(|(cid, path)| {
            json!({ "cid": cid.to_string(), "recordUri": format!("at://{did}/{path}") })
        })
        .collect();
    match missing.last() {
        Some((cid, _)) => Reply::json(&json!({ "cursor": cid.to_string(), "blobs": blobs })),
        None => Reply::json(&json!({ "blobs": blobs })),
    }
}

async fn get_blob(call: Call) -> Result<Reply, XrpcError> {
    let of = Readable::of(&call)?;
    let cid = parse_cid(call.params.required("cid")?);
    let cid = cid.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let not_found = || XrpcError::invalid("Blob not found");
    let down = call.ctx.takedowns.get(&of.did, &Target::Blob(cid));
    if down.map_err(XrpcError::internal)?.is_some() && !matches!(call.caller, Caller::Admin(_)) {
        return Err(not_found());
    }
    let repos = &of.repos;
    // What was only uploaded is not public yet.
    if !repos
        .is_blob_in_use(&of.did, &cid)
        .map_err(XrpcError::internal)?
    {
        return Err(not_found());
    }
    let here = || repos.blob(&of.did, &cid).map_err(XrpcError::internal);
    let mut meta = here()?;
    if meta.is_none() && call.ctx.remote_blobs.bring(&of.did, &cid).await {
        meta = here()?;
    }
    let meta = meta.ok_or_else(not_found)?;
    let head = repos.head(&of.did).map_err(XrpcError::internal)?;
    let owner = head.ok_or_else(not_found)?.owner;
    let (at, content) = (repos.clone(), meta.clone());
    let open = move || at.open_blob(owner, &content, 0).map_err(store_error);
    let reader = blocking(open).await?.ok_or_else(not_found)?;
    let pieces = futures::stream::try_unfold(reader, |reader| async {
        let (piece, reader) = tokio::task::spawn_blocking(move || next_piece(reader))
            .await
            .map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(piece?.map(|piece| (piece, reader)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    let mime = HeaderValue::try_from(meta.mime.as_str());
    let mime = mime.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, mime);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(meta.size));
    // What strangers uploaded must not run in a browser under the node's address.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    let name = HeaderValue::try_from(format!("attachment; filename=\"{cid}\""));
    headers.insert(
        header::CONTENT_DISPOSITION,
        name.map_err(XrpcError::internal)?,
    );
    Ok(of.told(Reply::Other(response)))
}

type Reader = Box<dyn BlobReader>;

fn next_piece(mut reader: Reader) -> (std::io::Result<Option<Bytes>>, Reader) {
    let piece = reader.next_chunk().map_err(std::io::Error::other);
    (piece, reader)
}

#[cfg(test)]
mod tests {
    use super::sniff;

    #[test]
    fn types_by_their_first_bytes() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Some("image/png"));
        assert_eq!(sniff(b"\xff\xd8\xff\xe0\0\x10JFIF"), Some("image/jpeg"));
        assert_eq!(sniff(b"<!DOCTYPE html><html></html>"), None);
        assert_eq!(sniff(b"hello"), None);
        assert_eq!(sniff(b""), None);
    }
}
