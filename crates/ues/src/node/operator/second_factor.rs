//! Codes of an authenticator as a second factor of an account.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use ues_atproto::lifecycle;

use super::Desk;
use super::accounts::{Which, act};
use super::answer::{Answer, Refusal};

/// A code of an account's authenticator.
#[derive(Deserialize)]
pub struct Code {
    account: String,
    code: String,
}

/// `POST account/totp {account}`: a secret for an authenticator; it is asked for once it is confirmed.
pub async fn make(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let ctx = &desk.ctx;
    let _turn = ctx.accounts.turn(&account.did).await;
    let mut batch = ctx.store.batch();
    let secret = ctx
        .totps
        .make(&mut batch, &ctx.seal, &account.did)
        .map_err(Refusal::internal)?;
    lifecycle::note(
        ctx,
        &mut batch,
        act("makeSecondFactor", &account, Value::Null),
    );
    ctx.store.commit(batch).await.map_err(Refusal::internal)?;
    let (handle, host) = (account.handle.as_str(), ctx.config.hostname());
    let uri = format!(
        "otpauth://totp/{host}:{handle}?secret={}&issuer={host}",
        secret.as_str()
    );
    Ok(Json(json!({
        "did": account.did.as_str(), "handle": handle, "secret": secret.as_str(), "uri": uri,
    })))
}

/// `POST account/totp/confirm {account, code}`: from now on sign-ins ask for codes.
pub async fn confirm(State(desk): State<Desk>, Json(input): Json<Code>) -> Answer {
    let account = desk.account(&input.account)?;
    let ctx = &desk.ctx;
    let _turn = ctx.accounts.turn(&account.did).await;
    let mut batch = ctx.store.batch();
    let now = ctx.now_ms();
    let good = ctx
        .totps
        .take(&mut batch, &ctx.seal, &account.did, &input.code, now);
    if !good.map_err(Refusal::internal)? {
        return Err(Refusal::invalid(
            "this is not the code that the authenticator shows now",
        ));
    }
    ctx.store.commit(batch).await.map_err(Refusal::internal)?;
    Ok(Json(json!({ "did": account.did.as_str(), "totp": true })))
}

/// `POST account/totp/remove {account}`: sign-ins ask for the password alone.
pub async fn remove(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let ctx = &desk.ctx;
    let mut batch = ctx.store.batch();
    ctx.totps.remove(&mut batch, &account.did);
    lifecycle::note(
        ctx,
        &mut batch,
        act("removeSecondFactor", &account, Value::Null),
    );
    ctx.store.commit(batch).await.map_err(Refusal::internal)?;
    Ok(Json(json!({ "did": account.did.as_str(), "totp": false })))
}
