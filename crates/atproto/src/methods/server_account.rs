//! `com.atproto.server.createAccount` and `reserveSigningKey`.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::syntax::Did;

use crate::limits::{CREATE_ACCOUNT, RESERVE_KEY};
use crate::new_account::{self, NewAccount};
use crate::xrpc::{Auth, Call, Caller, Method, Reply, XrpcError};

use super::server::{add_did_doc, session_json};

/// How long a key is reserved, in milliseconds.
const RESERVED_MS: u64 = 7 * 24 * 3600 * 1000;

/// The methods of this file.
pub fn methods() -> [Method; 2] {
    [
        Method::new(
            "com.atproto.server.createAccount",
            Auth::DidHolder,
            create_account,
        ),
        Method::new(
            "com.atproto.server.reserveSigningKey",
            Auth::Open,
            reserve_signing_key,
        ),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateAccountInput {
    email: Option<String>,
    handle: String,
    did: Option<String>,
    invite_code: Option<String>,
    password: Option<String>,
    recovery_key: Option<String>,
    plc_op: Option<Value>,
}

async fn create_account(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(CREATE_ACCOUNT)?;
    let input: CreateAccountInput = call.take_input()?;
    let new = NewAccount {
        handle: &input.handle,
        email: input.email.as_deref(),
        password: input.password.as_deref(),
        invite_code: input.invite_code.as_deref(),
        did: input.did.as_deref(),
        recovery_key: input.recovery_key.as_deref(),
        plc_op: input.plc_op.as_ref(),
        holder: match &call.caller {
            Caller::DidHolder(holder) => Some(holder),
            _ => None,
        },
        signs_in: true,
    };
    let entered = new_account::enter(&call.ctx, new).await;
    let entered = entered.map_err(|refused| refused.error)?;
    let mut answer = match &entered.tokens {
        Some(pair) => session_json(pair),
        None => json!({}),
    };
    answer["handle"] = json!(entered.handle);
    answer["did"] = json!(entered.did);
    add_did_doc(&call, &entered.did, &mut answer).await;
    Reply::json(&answer)
}

#[derive(Deserialize)]
struct ReserveInput {
    did: Option<String>,
}

async fn reserve_signing_key(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(RESERVE_KEY)?;
    let input: ReserveInput = call.take_input()?;
    let ctx = &call.ctx;
    let did = input.did.as_deref().map(Did::parse).transpose();
    let did = did.map_err(|e| XrpcError::invalid(e.to_string()))?;
    if let Some(did) = &did
        && let Some(key) = ctx.reserved_keys.read(did).map_err(XrpcError::internal)?
    {
        return Reply::json(&json!({ "signingKey": key.did_key() }));
    }
    let key = SigningKey::generate(KeyKind::K256).map_err(XrpcError::internal)?;
    let own = Did::parse(&key.did_key()).map_err(XrpcError::internal)?;
    let until = ctx.now_ms().saturating_add(RESERVED_MS);
    let mut batch = ctx.store.batch();
    for name in did.iter().chain([&own]) {
        ctx.reserved_keys
            .put_until(&mut batch, name, &key, until)
            .map_err(XrpcError::internal)?;
    }
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Reply::json(&json!({ "signingKey": key.did_key() }))
}
