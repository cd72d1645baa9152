//! Second factors of an account: the codes of an authenticator, and the recovery codes that stand in for them.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use ues_atproto::factors;

use super::Desk;
use super::accounts::{Which, act};
use super::answer::Answer;

/// A code of an account's authenticator.
#[derive(Deserialize)]
pub struct Code {
    account: String,
    code: String,
}

/// `POST account/totp {account}`: a secret for an authenticator; it is asked for once it is confirmed.
pub async fn make(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let note = act("makeSecondFactor", &account, Value::Null);
    let secret = factors::begin(&desk.ctx, &account, note).await?;
    Ok(Json(json!({
        "did": account.did.as_str(), "handle": account.handle.as_str(),
        "secret": secret.text.as_str(), "uri": secret.uri.as_str(),
    })))
}

/// `POST account/totp/confirm {account, code}`: from now on sign-ins ask for codes. Gives the recovery codes.
pub async fn confirm(State(desk): State<Desk>, Json(input): Json<Code>) -> Answer {
    let account = desk.account(&input.account)?;
    let note = act("confirmSecondFactor", &account, Value::Null);
    let codes = factors::confirm(&desk.ctx, &account, &input.code, note).await?;
    let did = account.did.as_str();
    Ok(Json(
        json!({ "did": did, "totp": true, "recoveryCodes": codes }),
    ))
}

/// `POST account/totp/recovery {account}`: new recovery codes; the earlier ones are void.
pub async fn new_codes(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let note = act("makeRecoveryCodes", &account, Value::Null);
    let codes = factors::new_codes(&desk.ctx, &account, note).await?;
    Ok(Json(
        json!({ "did": account.did.as_str(), "recoveryCodes": codes }),
    ))
}

/// `POST account/totp/remove {account}`: sign-ins ask for the password alone.
pub async fn remove(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let note = act("removeSecondFactor", &account, Value::Null);
    factors::remove(&desk.ctx, &account, note).await?;
    Ok(Json(json!({ "did": account.did.as_str(), "totp": false })))
}
