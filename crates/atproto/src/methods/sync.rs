//! `com.atproto.sync`: repositories as other servers read them.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use http::header::CONTENT_LENGTH;
use serde_json::json;
use ues_data::{Cid, car, parse_cid};
use ues_repo::repo::write::RecordPath;
use ues_repo::repo::{ArchiveError, ArchiveId, RepoError};
use ues_repo::syntax::{Did, Nsid, RecordKey, Tid};

use crate::accounts::Account;
use crate::limits::GET_REPO;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::readable::Readable;
use super::repo_read::available_account;

const CAR: &str = "application/vnd.ipld.car";
/// Most blocks of one call of `getBlocks`.
const MAX_BLOCKS: usize = 1000;

/// The methods of this file.
pub fn methods() -> [Method; 9] {
    let auth = Auth::Optional;
    [
        Method::new("com.atproto.sync.getRepo", Auth::OptionalEver, get_repo).not_counted(),
        Method::new("com.atproto.sync.getCheckout", auth, get_repo),
        Method::new("com.atproto.sync.getHead", auth, get_head),
        Method::new("com.atproto.sync.getRecord", auth, get_record),
        Method::new("com.atproto.sync.getBlocks", auth, get_blocks),
        Method::new("com.atproto.sync.getLatestCommit", auth, get_latest_commit),
        Method::new(
            "com.atproto.sync.getRepoStatus",
            Auth::Open,
            get_repo_status,
        ),
        Method::new("com.atproto.sync.listRepos", Auth::Open, list_repos),
        Method::new("com.atproto.sync.listBlobs", Auth::OptionalEver, list_blobs),
    ]
}

/// The account whose repository is asked for, if the caller may see it.
pub fn visible_account(call: &Call) -> Result<Arc<Account>, XrpcError> {
    let did = call.params.required("did")?;
    let owner = call.caller.is_self_or_admin(did);
    available_account(&call.ctx, did, owner)
}

fn read_error(did: &Did, e: &RepoError) -> XrpcError {
    match e {
        RepoError::NotFound(_) => XrpcError::named(
            "RepoNotFound",
            format!("Could not find repo for DID: {did}"),
        ),
        other => XrpcError::internal(other),
    }
}

async fn get_repo(call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(GET_REPO)?;
    let of = Readable::of(&call)?;
    let since = call
        .params
        .text("since")
        .map(|rev| Tid::parse(rev).map_err(|e| XrpcError::invalid(e.to_string())))
        .transpose()?;
    let hidden = hidden_records(&call, &of.did)?;
    let head = of.repos.head(&of.did).map_err(XrpcError::internal)?;
    let Some(head) = head else {
        return Err(read_error(&of.did, &RepoError::NotFound(of.did.clone())));
    };
    let mut without: Vec<_> = hidden.iter().cloned().collect();
    without.sort_unstable();
    let id = ArchiveId {
        root: head.commit,
        since,
        without,
    };
    let (repos, did) = (of.repos.clone(), of.did.clone());
    let export = move || Ok(repos.export(&did, since)?.without_records(hidden));
    let archive = call.ctx.archives.read(id, export).await;
    let archive = archive.map_err(|e| match e {
        ArchiveError::Repo(e) => read_error(&of.did, &e),
        ArchiveError::Busy => XrpcError::busy(e.to_string()),
        e => XrpcError::internal(e),
    })?;
    let length = archive.length();
    let pieces = futures::stream::unfold(archive, |mut archive| async {
        let piece = archive.next().await?;
        Some((piece.map_err(std::io::Error::other), archive))
    });
    let mut reply = Reply::bytes(CAR, Body::from_stream(pieces));
    if let Some(length) = length {
        reply = reply.with_header(CONTENT_LENGTH, length.into());
    }
    Ok(of.told(reply))
}

/// The paths of the records that the caller does not get to see.
fn hidden_records(call: &Call, did: &Did) -> Result<HashSet<String>, XrpcError> {
    if call.caller.is_self_or_admin(did.as_str()) {
        return Ok(HashSet::new());
    }
    let hidden = call.ctx.takedowns.records(did);
    hidden.map_err(XrpcError::internal)
}

async fn get_head(call: Call) -> Result<Reply, XrpcError> {
    let of = Readable::of(&call)?;
    let head = head(&of, "HeadNotFound")?;
    Ok(of.told(Reply::json(&json!({ "root": head.0.to_string() }))?))
}

async fn get_latest_commit(call: Call) -> Result<Reply, XrpcError> {
    let of = Readable::of(&call)?;
    let (cid, rev) = head(&of, "RepoNotFound")?;
    let head = json!({ "cid": cid.to_string(), "rev": rev.as_str() });
    Ok(of.told(Reply::json(&head)?))
}

fn head(of: &Readable, name: &'static str) -> Result<(Cid, Tid), XrpcError> {
    let did = &of.did;
    match of.repos.head(did).map_err(XrpcError::internal)? {
        Some(head) => Ok((head.commit, head.rev)),
        None => Err(XrpcError::named(
            name,
            format!("Could not find root for DID: {did}"),
        )),
    }
}

async fn get_record(call: Call) -> Result<Reply, XrpcError> {
    let of = Readable::of(&call)?;
    let collection = Nsid::parse(call.params.required("collection")?);
    let rkey = RecordKey::parse(call.params.required("rkey")?);
    let collection = collection.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let rkey = rkey.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let path = RecordPath::new(&collection, &rkey);
    if hidden_records(&call, &of.did)?.contains(path.as_str()) {
        let message = format!("Could not locate record: at://{}/{path}", of.did);
        return Err(XrpcError::named("RecordNotFound", message));
    }
    let proof = of
        .repos
        .proof(&of.did, &path)
        .map_err(|e| read_error(&of.did, &e))?;
    Ok(of.told(Reply::bytes(CAR, proof)))
}

async fn get_blocks(call: Call) -> Result<Reply, XrpcError> {
    let of = Readable::of(&call)?;
    let wanted = call.params.texts("cids");
    if wanted.len() > MAX_BLOCKS {
        return Err(XrpcError::invalid(format!(
            "Too many cids. Max: {MAX_BLOCKS}"
        )));
    }
    let view = of
        .repos
        .view(&of.did)
        .map_err(|e| read_error(&of.did, &e))?;
    let mut hidden = HashSet::new();
    for path in hidden_records(&call, &of.did)? {
        let path = RecordPath::parse(&path).map_err(XrpcError::internal)?;
        let record = of.repos.get_record(&of.did, &path);
        hidden.extend(record.map_err(XrpcError::internal)?.map(|r| r.cid));
    }
    let mut out = Vec::new();
    let mut missing = Vec::new();
    car::write_header(&[], &mut out);
    for text in wanted {
        let cid = parse_cid(text).map_err(|e| XrpcError::invalid(e.to_string()))?;
        match view.own_block(&cid).map_err(XrpcError::internal)? {
            Some(bytes) if !hidden.contains(&cid) => car::write_block(&cid, &bytes, &mut out),
            _ => missing.push(text),
        }
    }
    if !missing.is_empty() {
        let message = format!("Could not find cids: {}", missing.join(","));
        return Err(XrpcError::invalid(message));
    }
    Ok(of.told(Reply::bytes(CAR, out)))
}

async fn get_repo_status(call: Call) -> Result<Reply, XrpcError> {
    let did = call.params.required("did")?;
    let account = available_account(&call.ctx, did, true)?;
    let mut answer = json!({ "did": account.did, "active": account.is_active() });
    if let Some(status) = account.status().name() {
        answer["status"] = status.into();
    } else if let Some(head) = call
        .ctx
        .repos
        .head(&account.did)
        .map_err(XrpcError::internal)?
    {
        answer["rev"] = head.rev.as_str().into();
    }
    Reply::json(&answer)
}

async fn list_repos(call: Call) -> Result<Reply, XrpcError> {
    let limit = call.params.limit(500, 1000);
    let after = call
        .params
        .text("cursor")
        .map(|cursor| {
            cursor
                .parse()
                .map_err(|_| XrpcError::invalid("Malformed cursor"))
        })
        .transpose()?;
    let page = call
        .ctx
        .repos
        .list(after, limit)
        .map_err(XrpcError::internal)?;
    let repos: Vec<_> = page
        .iter()
        .map(|(did, head)| {
            let mut repo = json!({
                "did": did,
                "head": head.commit.to_string(),
                "rev": head.rev.as_str(),
                "active": head.status.is_active(),
            });
            if let Some(status) = head.status.name() {
                repo["status"] = status.into();
            }
            repo
        })
        .collect();
    let mut answer = json!({ "repos": repos });
    if let Some((_, head)) = page.last() {
        answer["cursor"] = head.owner.to_string().into();
    }
    Reply::json(&answer)
}

async fn list_blobs(call: Call) -> Result<Reply, XrpcError> {
    let of = Readable::of(&call)?;
    let params = &call.params;
    let limit = params.limit(500, 1000);
    let since = params
        .text("since")
        .map(|rev| Tid::parse(rev).map_err(|e| XrpcError::invalid(e.to_string())))
        .transpose()?;
    let after = params
        .text("cursor")
        .map(|cid| parse_cid(cid).map_err(|e| XrpcError::invalid(e.to_string())))
        .transpose()?;
    let cids = of
        .repos
        .list_blobs(&of.did, since.as_ref(), after.as_ref(), limit)
        .map_err(|e| read_error(&of.did, &e))?;
    let cids: Vec<String> = cids.iter().map(Cid::to_string).collect();
    let page = match cids.last() {
        Some(last) => json!({ "cursor": last, "cids": cids }),
        None => json!({ "cids": cids }),
    };
    Ok(of.told(Reply::json(&page)?))
}
