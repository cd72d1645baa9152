//! `com.atproto.identity`: operations of an account's did:plc.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::identity::plc::{Operation, PlcService};
use ues_repo::repo::event::LogEvent;

use crate::accounts::Purpose;
use crate::lifecycle;
use crate::limits::{REQUEST_MAIL, REQUEST_MAIL_DAY};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::mail_tokens::{send_token, take_token};
use super::prepare::write_error;

const PDS: &str = "atproto_pds";
const PDS_TYPE: &str = "AtprotoPersonalDataServer";

/// The methods of this file.
pub fn methods() -> [Method; 4] {
    [
        Method::new(
            "com.atproto.identity.getRecommendedDidCredentials",
            Auth::Session,
            recommend,
        ),
        Method::new(
            "com.atproto.identity.requestPlcOperationSignature",
            Auth::OwnerEver,
            request_signature,
        ),
        Method::new(
            "com.atproto.identity.signPlcOperation",
            Auth::OwnerEver,
            sign,
        ),
        Method::new(
            "com.atproto.identity.submitPlcOperation",
            Auth::Session,
            submit,
        ),
    ]
}

/// The did:key that signs the caller's repository.
fn signing_key(call: &Call) -> Result<String, XrpcError> {
    let key = call
        .ctx
        .keys
        .get(call.did()?)
        .map_err(XrpcError::internal)?;
    let key = key.ok_or_else(|| XrpcError::invalid("Account not found"))?;
    Ok(key.did_key())
}

async fn recommend(call: Call) -> Result<Reply, XrpcError> {
    let account = lifecycle::account(&call.ctx, call.did()?)?;
    let account = account.filter(|account| !account.is_taken_down());
    let mut answer = json!({
        "verificationMethods": { "atproto": signing_key(&call)? },
        "rotationKeys": call.ctx.identities.rotation_keys(),
        "services": { PDS: { "type": PDS_TYPE, "endpoint": call.ctx.config.endpoint() } },
    });
    if let Some(account) = account {
        answer["alsoKnownAs"] = json!([format!("at://{}", account.handle)]);
    }
    Reply::json(&answer)
}

async fn request_signature(call: Call) -> Result<Reply, XrpcError> {
    let did = call.did()?;
    let key = format!("plc {did}");
    call.spend(REQUEST_MAIL_DAY, &key, 1)?;
    call.spend(REQUEST_MAIL, &key, 1)?;
    let account = lifecycle::account(&call.ctx, did)?;
    let account = account.ok_or_else(|| XrpcError::invalid("account not found"))?;
    send_token(&call.ctx, &account, Purpose::PlcOperation).await?;
    Ok(Reply::Empty)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignInput {
    token: Option<String>,
    rotation_keys: Option<Vec<String>>,
    also_known_as: Option<Vec<String>>,
    verification_methods: Option<BTreeMap<String, String>>,
    services: Option<BTreeMap<String, PlcService>>,
}

async fn sign(mut call: Call) -> Result<Reply, XrpcError> {
    let input: SignInput = call.take_input()?;
    let did = call.did()?;
    let ctx = &call.ctx;
    let Some(token) = input.token.as_deref().filter(|token| !token.is_empty()) else {
        return Err(XrpcError::invalid(
            "email confirmation token required to sign PLC operations",
        ));
    };
    let mut batch = ctx.store.batch();
    take_token(ctx, &mut batch, did, Purpose::PlcOperation, token)?;
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    let operation = ctx.identities.sign_operation(did, |op| {
        if let Some(keys) = input.rotation_keys {
            op.rotation_keys = keys;
        }
        if let Some(names) = input.also_known_as {
            op.also_known_as = names;
        }
        if let Some(methods) = input.verification_methods {
            op.verification_methods = methods;
        }
        if let Some(services) = input.services {
            op.services = services;
        }
    });
    let operation = operation.await.map_err(|e| e.into_xrpc())?;
    Reply::json(&json!({ "operation": operation }))
}

#[derive(Deserialize)]
struct SubmitInput {
    operation: Value,
}

/// Hands in an operation that leaves the account here, under its handle and with its key.
async fn submit(mut call: Call) -> Result<Reply, XrpcError> {
    let input: SubmitInput = call.take_input()?;
    let did = call.did()?.clone();
    let ctx = &call.ctx;
    let invalid = |message: &'static str| Err(XrpcError::invalid(message));
    let Ok(Operation::Update(operation)) = Operation::from_json(&input.operation) else {
        return invalid("Invalid operation");
    };
    if !operation
        .rotation_keys
        .contains(&ctx.identities.rotation_key())
    {
        return invalid("Rotation keys do not include server's rotation key");
    }
    let pds = operation.services.get(PDS);
    if pds.is_none_or(|pds| pds.kind != PDS_TYPE) {
        return invalid("Incorrect type on atproto_pds service");
    }
    if pds.is_none_or(|pds| pds.endpoint != ctx.config.endpoint()) {
        return invalid("Incorrect endpoint on atproto_pds service");
    }
    if operation.verification_methods.get("atproto") != Some(&signing_key(&call)?) {
        return invalid("Incorrect signing key");
    }
    let account = lifecycle::account(ctx, &did)?.filter(|account| !account.is_taken_down());
    if let Some(account) = account
        && operation.also_known_as.first() != Some(&format!("at://{}", account.handle))
    {
        return invalid("Incorrect handle in alsoKnownAs");
    }
    ctx.identities
        .submit_operation(&did, Operation::Update(operation))
        .await
        .map_err(|e| e.into_xrpc())?;
    let event = LogEvent::Identity {
        did,
        handle: None,
        time: ctx.repos.now(),
    };
    ctx.repos
        .emit(&event, ctx.store.batch())
        .await
        .map_err(write_error)?;
    Ok(Reply::Empty)
}
