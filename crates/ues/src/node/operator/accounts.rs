//! Accounts: sessions for the operator, listing, passwords, status, deletion.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_atproto::admin::{self, Actor, NewQuotas, OPERATOR, Place};
use ues_atproto::{Account, Act, Scope, change_handle_as, change_password, lifecycle, quotas};
use ues_repo::repo::layout::{Head, Status};
use ues_repo::syntax::{AtIdentifier, Datetime};

use super::Desk;
use super::answer::{Answer, Refusal};

/// Accounts that one search gives.
const FOUND: usize = 100;

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

    /// Writes down what the operator does where nothing else is written.
    pub(super) async fn note(&self, act: Option<Act>) -> Result<(), Refusal> {
        let mut batch = self.ctx.store.batch();
        lifecycle::note(&self.ctx, &mut batch, act);
        let written = self.ctx.store.commit(batch).await;
        written.map(drop).map_err(Refusal::internal)
    }
}

/// For whom the operator acts.
#[derive(Deserialize)]
pub struct Acting {
    account: String,
    /// What for, in a few words.
    #[serde(rename = "for")]
    purpose: Option<String>,
}

/// `POST session {account, for?}`: an access token for an account, as if its owner had signed in.
pub async fn session(State(desk): State<Desk>, Json(acting): Json<Acting>) -> Answer {
    let account = desk.account(&acting.account)?;
    let purpose: Option<String> = acting.purpose.map(|text| text.chars().take(100).collect());
    let details = purpose.map_or(Value::Null, |purpose| json!({ "for": purpose }));
    desk.note(act("actAsOwner", &account, details)).await?;
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

/// What is looked for.
#[derive(Deserialize)]
pub struct Search {
    #[serde(default)]
    text: String,
    cursor: Option<String>,
}

/// `GET accounts/search?text&cursor`: accounts with a text in their handle, DID or e-mail address, in the order of their
/// DIDs.
pub async fn search(State(desk): State<Desk>, Query(search): Query<Search>) -> Answer {
    let wanted = admin::is_like(&search.text);
    let found = admin::find_accounts(&desk.ctx, search.cursor, FOUND, wanted).await?;
    let accounts: Vec<_> = found
        .iter()
        .map(|account| {
            json!({
                "did": account.did.as_str(), "handle": account.handle.as_str(), "email": account.email,
                "emailConfirmedAt": account.email_confirmed_at, "indexedAt": account.created_at,
                "status": account.status().name().unwrap_or("active"),
            })
        })
        .collect();
    let mut answer = json!({ "accounts": accounts });
    if let Some(last) = found.last().filter(|_| found.len() == FOUND) {
        answer["cursor"] = last.did.as_str().into();
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
    if let Some(suspension) = &account.suspension {
        answer["suspension"] = json!(suspension);
    }
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

/// Another handle for an account.
#[derive(Deserialize)]
pub struct NewHandle {
    account: String,
    handle: String,
}

/// `POST account/handle {account, handle}`: in its DID document too. Names that are reserved may be given.
pub async fn handle(State(desk): State<Desk>, Json(input): Json<NewHandle>) -> Answer {
    let account = desk.account(&input.account)?;
    let details = json!({ "handle": input.handle });
    let act = act("updateAccountHandle", &account, details);
    let handle = change_handle_as(&desk.ctx, &account.did, &input.handle, act).await?;
    Ok(Json(json!({
        "did": account.did.as_str(), "handle": handle.as_str(), "before": account.handle.as_str(),
    })))
}

/// The operator, for the audit.
pub(super) fn actor() -> Actor {
    Actor::new(OPERATOR, Place::CommandLine)
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
        "active" if account.suspension.is_some() => {
            return Err(Refusal::invalid(
                "the account is suspended: ues admin suspend ACCOUNT --lift ends that",
            ));
        }
        "active" => {
            let act = match account.is_taken_down() {
                true => {
                    lifecycle::take_down(ctx, did, None, act).await?;
                    None
                }
                false => act,
            };
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

/// How long an account is suspended.
#[derive(Deserialize)]
pub struct Term {
    account: String,
    /// RFC 3339; without it, until it is lifted.
    until: Option<String>,
    reason: Option<String>,
    /// Ends it instead.
    #[serde(default)]
    lift: bool,
}

/// `POST account/suspend {account, until?, reason?, lift?}`.
pub async fn suspend(State(desk): State<Desk>, Json(term): Json<Term>) -> Answer {
    let account = desk.account(&term.account)?;
    let (ctx, did) = (&desk.ctx, &account.did);
    match term.lift {
        true => admin::lift_suspension(ctx, &actor(), did).await?,
        false => admin::suspend(ctx, &actor(), did, term.until.as_deref(), term.reason).await?,
    }
    let account = desk.account(did.as_str())?;
    Ok(Json(json!({
        "did": did.as_str(), "status": account.status().name().unwrap_or("active"),
        "suspension": account.suspension,
    })))
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

/// `POST repo/repair {account}`.
pub async fn repair(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let (found, commit) = admin::repair(&desk.ctx, &actor(), &account.did).await?;
    Ok(Json(json!({
        "did": account.did.as_str(), "records": found.records, "nodes": found.nodes,
        "rebuilt": found.rebuilt, "removed": found.removed,
        "commit": commit.cid.to_string(), "rev": commit.rev.as_str(),
    })))
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
