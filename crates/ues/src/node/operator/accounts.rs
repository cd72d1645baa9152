//! Accounts: sessions for the operator, listing, passwords, status, deletion.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_atproto::{Account, Scope};
use ues_repo::repo::layout::{Head, Status};
use ues_repo::syntax::{AtIdentifier, Handle};

use super::Desk;
use super::answer::{Answer, Refusal};

/// What the protocol calls an account by that has no handle that holds.
const NO_HANDLE: &str = "handle.invalid";

/// Which account.
#[derive(Deserialize)]
pub struct Which {
    account: String,
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
    fn account(&self, name: &str) -> Result<Arc<Account>, Refusal> {
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
    let pair = desk
        .ctx
        .sessions
        .start_now(&account.did, Scope::Access, desk.ctx.now_ms())
        .await
        .map_err(Refusal::internal)?;
    Ok(Json(json!({
        "did": account.did.as_str(), "handle": account.handle.as_str(), "accessJwt": pair.access,
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
            let records = desk
                .ctx
                .repos
                .count_records(did)
                .map_err(Refusal::internal)?;
            accounts.push(summary(&account, head, records));
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
    let records = repos
        .count_records(&account.did)
        .map_err(Refusal::internal)?;
    let mut answer = summary(&account, &head, records);
    answer["collections"] = json!(repos.collections(&account.did).map_err(Refusal::internal)?);
    answer["email"] = json!(account.email);
    Ok(Json(answer))
}

fn summary(account: &Account, head: &Head, records: u64) -> Value {
    json!({
        "did": account.did.as_str(), "handle": account.handle.as_str(),
        "status": account.status().name().unwrap_or("active"), "createdAt": account.created_at,
        "records": records, "rev": head.rev.as_str(), "commit": head.commit.to_string(),
        "data": head.data.to_string(),
    })
}

/// `POST account/password {account, password}`: ends all sessions of the account, too.
pub async fn password(State(desk): State<Desk>, Json(input): Json<NewPassword>) -> Answer {
    let before = desk.account(&input.account)?;
    let hash = desk
        .ctx
        .passwords
        .hash(&input.password)
        .await
        .map_err(Refusal::internal)?;
    let account = Account {
        password: Some(hash),
        ..(*before).clone()
    };
    let mut batch = desk.ctx.store.batch();
    desk.ctx.accounts.put(&mut batch, &account, Some(&before));
    desk.ctx
        .sessions
        .end_all(&mut batch, &account.did)
        .map_err(Refusal::internal)?;
    desk.ctx
        .store
        .commit(batch)
        .await
        .map_err(Refusal::internal)?;
    let answer = json!({ "did": account.did.as_str(), "handle": account.handle.as_str() });
    desk.ctx.accounts.written(account);
    Ok(Json(answer))
}

/// `POST account/status {account, status}`: `active`, `deactivated` or `takendown`.
pub async fn status(State(desk): State<Desk>, Json(input): Json<NewStatus>) -> Answer {
    let before = desk.account(&input.account)?;
    let status = match input.status.as_str() {
        "active" => Status::Active,
        "deactivated" => Status::Deactivated,
        "takendown" => Status::Takendown,
        other => return Err(Refusal::invalid(format!("there is no status {other:?}"))),
    };
    let account = Account {
        status: status.name().map(str::to_owned),
        ..(*before).clone()
    };
    let mut batch = desk.ctx.store.batch();
    desk.ctx.accounts.put(&mut batch, &account, Some(&before));
    desk.ctx
        .repos
        .set_status(&account.did, status, batch)
        .await
        .map_err(Refusal::internal)?;
    let answer = json!({ "did": account.did.as_str(), "status": input.status });
    desk.ctx.accounts.written(account);
    Ok(Json(answer))
}

/// `POST account/delete {account}`: the account, its repository and its blobs.
pub async fn delete(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let before = desk.account(&which.account)?;
    // The row stays, since the log tells of the account; its names are free for others.
    let account = Account {
        handle: Handle::parse(NO_HANDLE).map_err(Refusal::internal)?,
        email: None,
        status: Status::Deleted.name().map(str::to_owned),
        password: None,
        ..(*before).clone()
    };
    let mut batch = desk.ctx.store.batch();
    desk.ctx.accounts.put(&mut batch, &account, Some(&before));
    desk.ctx
        .sessions
        .end_all(&mut batch, &account.did)
        .map_err(Refusal::internal)?;
    desk.ctx.preferences.delete(&mut batch, &account.did);
    desk.ctx
        .repos
        .delete(&account.did, batch)
        .await
        .map_err(Refusal::internal)?;
    let answer = json!({ "did": account.did.as_str(), "status": "deleted" });
    desk.ctx.accounts.written(account);
    Ok(Json(answer))
}
