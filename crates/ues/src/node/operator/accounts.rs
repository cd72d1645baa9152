//! Accounts: sessions for the operator, listing, passwords, status, deletion.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_atproto::admin::{self, Actor, NewQuotas, Place};
use ues_atproto::{Account, Act, Scope, change_password, lifecycle, quotas};
use ues_repo::repo::layout::{Head, Status};
use ues_repo::syntax::{AtIdentifier, Datetime};

use super::Desk;
use super::answer::{Answer, Refusal};

/// Which account.
#[derive(Deserialize)]
pub struct Which {
    pub(super) account: String,
}

/// Which page.
#[derive(Deserialize)]
pub struct Page {
    limit: Option<usize>,
    cursor: Option<u64>,
}

/// A new password.
#[derive(Deserialize)]
pub struct NewPassword {
    account: String,
    password: String,
}

/// A new status.
#[derive(Deserialize)]
pub struct NewStatus {
    account: String,
    status: String,
}

impl Desk {
    pub(super) fn account(&self, name: &str) -> Result<Arc<Account>, Refusal> {
        let id = AtIdentifier::parse(name)
            .map_err(|_| Refusal::invalid(format!("{name:?} is neither a handle nor a DID")))?;
        let account = self
            .ctx
            .accounts
            .by_identifier(&id)
            .map_err(Refusal::internal)?;
        account
            .filter(|a| a.status() != Status::Deleted)
            .ok_or_else(|| Refusal::not_found(format!("there is no account {name}")))
    }
}

/// `POST session {account}`: an access token for an account, as if its owner had signed in.
pub async fn session(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let now = desk.ctx.now_ms();
    let token = desk
        .ctx
        .sessions
        .access_only(&account.did, Scope::Access, now);
    Ok(Json(json!({
        "did": account.did.as_str(), "handle": account.handle.as_str(), "accessJwt": token,
    })))
}

/// `GET accounts?limit&cursor`.
pub async fn list(State(desk): State<Desk>, Query(page): Query<Page>) -> Answer {
    let limit = page.limit.unwrap_or(100).clamp(1, 500);
    let heads = desk
        .ctx
        .repos
        .list(page.cursor, limit)
        .map_err(Refusal::internal)?;
    let mut accounts = Vec::with_capacity(heads.len());
    for (did, head) in &heads {
        if let Some(account) = desk.ctx.accounts.by_did(did).map_err(Refusal::internal)? {
            accounts.push(summary(&desk, &account, head)?);
        }
    }
    let mut answer = json!({ "accounts": accounts });
    if let Some((_, last)) = heads.last().filter(|_| heads.len() == limit) {
        answer["cursor"] = json!(last.owner.to_string());
    }
    Ok(Json(answer))
}

/// `GET account?account`.
pub async fn show(State(desk): State<Desk>, Query(which): Query<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let repos = &desk.ctx.repos;
    let missing = || Refusal::not_found(format!("{} has no repository", account.did));
    let head = repos
        .head(&account.did)
        .map_err(Refusal::internal)?
        .ok_or_else(missing)?;
    let mut answer = summary(&desk, &account, &head)?;
    answer["collections"] = json!(repos.collections(&account.did).map_err(Refusal::internal)?);
    answer["email"] = json!(account.email);
    Ok(Json(answer))
}

fn summary(desk: &Desk, account: &Account, head: &Head) -> Result<Value, Refusal> {
    let usage = desk.ctx.repos.usage(&account.did);
    let usage = usage.map_err(Refusal::internal)?;
    let quotas = quotas(&desk.ctx, account);
    Ok(json!({
        "did": account.did.as_str(), "handle": account.handle.as_str(),
        "status": account.status().name().unwrap_or("active"), "createdAt": account.created_at,
        "records": usage.records, "recordBytes": usage.record_bytes, "recordQuota": quotas.records,
        "recordBytesQuota": quotas.record_bytes, "rev": head.rev.as_str(), "commit": head.commit.to_string(),
        "data": head.data.to_string(),
        "blobs": usage.blobs, "blobBytes": usage.blob_bytes, "blobQuota": quotas.blob_bytes,
    }))
}

/// The operator, for the audit.
pub(super) fn actor() -> Actor {
    Actor::new("operator", Place::CommandLine)
}

/// What the operator does, for the audit.
pub(super) fn act(what: &str, account: &Account, details: Value) -> Option<Act> {
    Some(actor().act(what, account.did.as_str(), details))
}

/// `POST account/password {account, password}`: ends all sessions of the account, too.
pub async fn password(State(desk): State<Desk>, Json(input): Json<NewPassword>) -> Answer {
    let account = desk.account(&input.account)?;
    let act = act("updateAccountPassword", &account, Value::Null);
    change_password(&desk.ctx, &account.did, &input.password, None, act).await?;
    Ok(Json(
        json!({ "did": account.did.as_str(), "handle": account.handle.as_str() }),
    ))
}

/// `POST account/status {account, status}`: `active`, `deactivated` or `takendown`.
pub async fn status(State(desk): State<Desk>, Json(input): Json<NewStatus>) -> Answer {
    let account = desk.account(&input.account)?;
    let (ctx, did) = (&desk.ctx, &account.did);
    let act = act(
        "updateSubjectStatus",
        &account,
        json!({ "status": input.status }),
    );
    match input.status.as_str() {
        "active" => {
            if account.is_taken_down() {
                lifecycle::take_down(ctx, did, None, act.clone()).await?;
            }
            lifecycle::activate(ctx, did, false, act).await?;
        }
        "deactivated" => lifecycle::deactivate(ctx, did, None, act).await?,
        "takendown" => {
            let reason = Some(Datetime::now().to_string());
            lifecycle::take_down(ctx, did, reason, act).await?;
        }
        other => return Err(Refusal::invalid(format!("there is no status {other:?}"))),
    }
    Ok(Json(json!({ "did": did.as_str(), "status": input.status })))
}

/// `POST account/delete {account}`: the account, its repository and its blobs.
pub async fn delete(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let act = act("deleteAccount", &account, Value::Null);
    lifecycle::delete(&desk.ctx, &account.did, act).await?;
    Ok(Json(
        json!({ "did": account.did.as_str(), "status": "deleted" }),
    ))
}

/// How much an account may take.
#[derive(Deserialize)]
pub struct NewQuota {
    account: String,
    set: NewQuotas,
}

/// `POST account/quota {account, set: {blobBytes?, records?, recordBytes?}}`: 0 is as much as there is room for, null what
/// all may, and what is absent stays.
pub async fn quota(State(desk): State<Desk>, Json(input): Json<NewQuota>) -> Answer {
    let did = desk.account(&input.account)?.did.clone();
    admin::set_quotas(&desk.ctx, &actor(), &did, input.set).await?;
    let account = desk.account(did.as_str())?;
    let quotas = quotas(&desk.ctx, &account);
    Ok(Json(json!({ "did": did.as_str(), "quotas": quotas })))
}

/// `GET sessions?account`: the sessions of an account.
pub async fn sessions(State(desk): State<Desk>, Query(which): Query<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let now = desk.ctx.now_ms();
    let sessions = desk.ctx.sessions.list(&account.did, now);
    let time = |ms: u64| Datetime::from_unix_millis(ms.cast_signed()).to_string();
    let sessions: Vec<_> = sessions
        .map_err(Refusal::internal)?
        .iter()
        .map(|session| {
            json!({
                "id": session.id, "scope": session.grant.scope,
                "appPassword": session.grant.app_password, "startedAt": time(session.started_ms),
                "usedAt": time(session.used_ms), "expiresAt": time(session.expires_at_ms),
            })
        })
        .collect();
    Ok(Json(json!({ "sessions": sessions })))
}

/// Which sessions.
#[derive(Deserialize)]
pub struct WhichSession {
    account: String,
    /// All of them where it is absent.
    id: Option<String>,
}

/// `POST sessions/end {account, id?}`: ends one session, or all, those of applications too.
pub async fn end_sessions(State(desk): State<Desk>, Json(which): Json<WhichSession>) -> Answer {
    let account = desk.account(&which.account)?;
    admin::end_sessions(&desk.ctx, &actor(), &account.did, which.id.as_deref()).await?;
    Ok(Json(json!({ "did": account.did.as_str() })))
}
