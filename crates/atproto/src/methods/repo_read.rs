//! `com.atproto.repo`: the methods that read records.

use std::sync::Arc;

use serde_json::json;
use ues_repo::repo::layout::Status;
use ues_repo::repo::write::RecordPath;
use ues_repo::repo::{Order, StoredRecord};
use ues_repo::syntax::{AtIdentifier, Did, Nsid, RecordKey};

use crate::accounts::Account;
use crate::context::Context;
use crate::proxy::{Target, query_as};
use crate::xrpc::transcode::{dag_cbor_to_json, json_string};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::readable::Readable;

/// The methods of this file.
pub fn methods() -> [Method; 3] {
    [
        Method::new("com.atproto.repo.getRecord", Auth::Open, get_record),
        Method::new("com.atproto.repo.listRecords", Auth::Open, list_records),
        Method::new("com.atproto.repo.describeRepo", Auth::Open, describe_repo),
    ]
}

async fn get_record(call: Call) -> Result<Reply, XrpcError> {
    let collection = call.params.required("collection")?;
    let rkey = call.params.required("rkey")?;
    let Some(of) = readable(&call)? else {
        let Some(appview) = &call.ctx.config.appview else {
            return Err(XrpcError::invalid("Could not locate record"));
        };
        // The AppView has the records of all others.
        let appview = Target::configured(&appview.service)?;
        return match query_as(&call, &appview, None).await {
            Ok(incoming) => Ok(Reply::Other(incoming.into_response())),
            Err(e) => e.into_reply().map(Reply::Other),
        };
    };
    let did = &of.did;
    let not_found = || {
        let message = format!("Could not locate record: at://{did}/{collection}/{rkey}");
        XrpcError::named("RecordNotFound", message)
    };
    let (Ok(collection), Ok(rkey)) = (Nsid::parse(collection), RecordKey::parse(rkey)) else {
        return Err(not_found());
    };
    let path = RecordPath::new(&collection, &rkey);
    let record = of
        .repos
        .get_record(did, &path)
        .map_err(XrpcError::internal)?;
    let record = record.ok_or_else(not_found)?;
    let hidden = call.ctx.takedowns.hides_record(did, path.as_str());
    if hidden.map_err(XrpcError::internal)? {
        return Err(not_found());
    }
    if let Some(wanted) = call.params.text("cid")
        && wanted != record.cid.to_string()
    {
        return Err(not_found());
    }
    let mut out = Vec::with_capacity(256 + record.bytes.len() * 2);
    write_record(did, path.as_str(), &record, &mut out)?;
    Ok(of.told(Reply::Json(out)))
}

async fn list_records(call: Call) -> Result<Reply, XrpcError> {
    let repo = call.params.required("repo")?;
    let collection = call.params.required("collection")?;
    let Some(of) = readable(&call)? else {
        return Err(XrpcError::invalid(format!("Could not find repo: {repo}")));
    };
    let order = if call.params.flag("reverse") {
        Order::Ascending
    } else {
        Order::Descending
    };
    let (cursor, limit) = (call.params.text("cursor"), call.params.limit(50, 100));
    let records = visible_records(&call.ctx, &of, collection, cursor, limit, order)?;
    let size: usize = records.iter().map(|(_, r)| r.bytes.len()).sum();
    let mut out = Vec::with_capacity(64 + records.len() * 256 + size * 2);
    out.extend_from_slice(b"{\"records\":[");
    for (index, (rkey, record)) in records.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_record(&of.did, &format!("{collection}/{rkey}"), record, &mut out)?;
    }
    out.push(b']');
    if let Some((rkey, _)) = records.last() {
        out.extend_from_slice(b",\"cursor\":");
        json_string(rkey, &mut out);
    }
    out.push(b'}');
    Ok(of.told(Reply::Json(out)))
}

/// The repository that the parameter `repo` names: an active account's, or a copy.
fn readable(call: &Call) -> Result<Option<Readable>, XrpcError> {
    let repo = call.params.required("repo")?;
    match active_account(&call.ctx, repo)? {
        Some(account) => Ok(Some(Readable::account(call, &account))),
        None => Readable::copy(call, repo),
    }
}

/// Records of a collection that are not taken down.
fn visible_records(
    ctx: &Context,
    of: &Readable,
    collection: &str,
    cursor: Option<&str>,
    limit: usize,
    order: Order,
) -> Result<Vec<(String, StoredRecord)>, XrpcError> {
    let hidden = ctx
        .takedowns
        .records(&of.did)
        .map_err(XrpcError::internal)?;
    let mut visible = Vec::new();
    let mut after = cursor.map(str::to_owned);
    loop {
        let page = of
            .repos
            .list_records(&of.did, collection, after.as_deref(), limit, order)
            .map_err(XrpcError::internal)?;
        let whole = page.len() == limit;
        after = page.last().map(|(rkey, _)| rkey.clone());
        visible.extend(page.into_iter().filter(|(rkey, _)| {
            hidden.is_empty() || !hidden.contains(&format!("{collection}/{rkey}"))
        }));
        visible.truncate(limit);
        if !whole || visible.len() == limit {
            return Ok(visible);
        }
    }
}

async fn describe_repo(call: Call) -> Result<Reply, XrpcError> {
    let repo = call.params.required("repo")?;
    let account = available_account(&call.ctx, repo, false)?;
    let document = call
        .ctx
        .identities
        .did_document(&account.did)
        .await
        .map_err(|e| XrpcError::invalid(format!("Could not resolve DID: {e}")))?;
    let correct = document
        .handle()
        .is_some_and(|h| h.normalize() == account.handle);
    let collections = call
        .ctx
        .repos
        .collections(&account.did)
        .map_err(XrpcError::internal)?;
    Reply::json(&json!({
        "handle": account.handle,
        "did": account.did,
        "didDoc": document,
        "collections": collections,
        "handleIsCorrect": correct,
    }))
}

/// The account of a DID or handle, if it is here and active.
pub fn active_account(ctx: &Context, repo: &str) -> Result<Option<Arc<Account>>, XrpcError> {
    Ok(any_account(ctx, repo)?.filter(|a| a.is_active()))
}

fn any_account(ctx: &Context, repo: &str) -> Result<Option<Arc<Account>>, XrpcError> {
    let repo = AtIdentifier::parse(repo).map_err(|e| XrpcError::invalid(e.to_string()))?;
    ctx.accounts
        .by_identifier(&repo)
        .map_err(XrpcError::internal)
}

/// The account of a DID or handle, with the errors that tell why its repository cannot be seen.
/// The owner sees it in any case.
pub fn available_account(
    ctx: &Context,
    repo: &str,
    owner_or_admin: bool,
) -> Result<Arc<Account>, XrpcError> {
    let account = any_account(ctx, repo)?.filter(|a| a.status() != Status::Deleted);
    let account = account.ok_or_else(|| {
        XrpcError::named(
            "RepoNotFound",
            format!("Could not find repo for DID: {repo}"),
        )
    })?;
    if owner_or_admin {
        return Ok(account);
    }
    let refused = |name, what| {
        Err(XrpcError::named(
            name,
            format!("Repo has been {what}: {repo}"),
        ))
    };
    match account.status() {
        Status::Active => Ok(account),
        Status::Takendown => refused("RepoTakendown", "takendown"),
        Status::Suspended => refused("RepoSuspended", "suspended"),
        _ => refused("RepoDeactivated", "deactivated"),
    }
}

fn write_record(
    did: &Did,
    path: &str,
    record: &StoredRecord,
    out: &mut Vec<u8>,
) -> Result<(), XrpcError> {
    let head = format!(
        r#"{{"uri":"at://{did}/{path}","cid":"{}","value":"#,
        record.cid
    );
    out.extend_from_slice(head.as_bytes());
    dag_cbor_to_json(&record.bytes, out).map_err(XrpcError::internal)?;
    out.push(b'}');
    Ok(())
}
