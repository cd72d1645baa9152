//! `com.atproto.server`: app passwords.

use serde::Deserialize;
use serde_json::json;

use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

/// Most app passwords of one account.
const MAX_APP_PASSWORDS: usize = 500;
/// Longest name of an app password, in bytes.
const MAX_NAME: usize = 512;

/// The methods of this file.
pub fn methods() -> [Method; 3] {
    [
        Method::new("com.atproto.server.createAppPassword", Auth::Full, create),
        Method::new("com.atproto.server.listAppPasswords", Auth::Session, list),
        Method::new(
            "com.atproto.server.revokeAppPassword",
            Auth::Session,
            revoke,
        ),
    ]
}

#[derive(Deserialize)]
struct CreateInput {
    name: String,
    #[serde(default)]
    privileged: bool,
}

async fn create(mut call: Call) -> Result<Reply, XrpcError> {
    let input: CreateInput = call.take_input()?;
    let did = call.did()?.clone();
    let ctx = &call.ctx;
    let _turn = ctx.accounts.turn(&did).await;
    let passwords = &ctx.app_passwords;
    let there = passwords.list(&did).map_err(XrpcError::internal)?.len();
    if input.name.len() > MAX_NAME || there >= MAX_APP_PASSWORDS {
        return Err(XrpcError::invalid("could not create app-specific password"));
    }
    let mut batch = ctx.store.batch();
    let made = passwords
        .make(&mut batch, &ctx.seal, &did, &input.name, input.privileged)
        .map_err(XrpcError::internal)?;
    let Some((made, password)) = made else {
        let message = format!("there is an app password called {:?} already", input.name);
        return Err(XrpcError::invalid(message));
    };
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Reply::json(&json!({
        "name": made.name,
        "password": password,
        "createdAt": made.created_at,
        "privileged": made.privileged,
    }))
}

async fn list(call: Call) -> Result<Reply, XrpcError> {
    let passwords = call.ctx.app_passwords.list(call.did()?);
    let passwords: Vec<_> = passwords
        .map_err(XrpcError::internal)?
        .iter()
        .map(|password| {
            json!({
                "name": password.name,
                "createdAt": password.created_at,
                "privileged": password.privileged,
            })
        })
        .collect();
    Reply::json(&json!({ "passwords": passwords }))
}

#[derive(Deserialize)]
struct RevokeInput {
    name: String,
}

async fn revoke(mut call: Call) -> Result<Reply, XrpcError> {
    let input: RevokeInput = call.take_input()?;
    let did = call.did()?.clone();
    let ctx = &call.ctx;
    let _turn = ctx.accounts.turn(&did).await;
    let mut batch = ctx.store.batch();
    ctx.app_passwords.remove(&mut batch, &did, &input.name);
    ctx.sessions
        .end_by_app_password(&mut batch, &did, &input.name)
        .map_err(XrpcError::internal)?;
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Ok(Reply::Empty)
}
