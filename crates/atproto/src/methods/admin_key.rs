//! `com.atproto.admin.updateAccountSigningKey`.

use serde::Deserialize;
use serde_json::json;
use ues_repo::crypto::VerifyingKey;

use crate::lifecycle;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::admin_act::{act, did};
use super::prepare::write_error;

/// The methods of this file.
pub fn methods() -> [Method; 1] {
    [Method::new(
        "com.atproto.admin.updateAccountSigningKey",
        Auth::Admin,
        update_key,
    )]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateKeyInput {
    did: String,
    signing_key: String,
}

/// Moves an account to a key that was reserved here: in its DID document, in the store, and by a
/// commit under the new key. When it breaks off in between, the same call goes on.
async fn update_key(mut call: Call) -> Result<Reply, XrpcError> {
    let input: UpdateKeyInput = call.take_input()?;
    let did = did(&input.did)?;
    let ctx = &call.ctx;
    let _turn = ctx.accounts.turn(&did).await;
    let account = lifecycle::account(ctx, &did)?;
    let account = account.ok_or_else(|| XrpcError::invalid("Account not found"))?;
    let public = VerifyingKey::from_did_key(&input.signing_key);
    let public = public.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let name = self::did(&input.signing_key)?;
    let key = ctx.reserved_keys.read(&name).map_err(XrpcError::internal)?;
    let Some(key) = key else {
        return Err(XrpcError::invalid(
            "this node does not hold the key: com.atproto.server.reserveSigningKey makes one",
        ));
    };
    // Before the DID document names the new key.
    if ctx.repos.is_shared(&did) {
        return Err(XrpcError::invalid(
            "several devices hold this repository: its key cannot be changed",
        ));
    }
    if did.as_str().starts_with("did:plc:") {
        let data = ctx.identities.plc_data(&did).await;
        let data = data.map_err(|e| e.into_xrpc())?;
        if data.verification_methods.get("atproto") != Some(&public.did_key()) {
            let signed = ctx
                .identities
                .sign_operation(&did, |op| op.set_signing_key(&public))
                .await
                .map_err(|e| e.into_xrpc())?;
            ctx.identities
                .submit_operation(&did, signed)
                .await
                .map_err(|e| e.into_xrpc())?;
        }
    }
    let details = json!({ "signingKey": input.signing_key });
    let mut batch = ctx.store.batch();
    let act = act(&call, "updateAccountSigningKey", did.as_str(), details)?;
    lifecycle::note(ctx, &mut batch, Some(act));
    ctx.keys
        .put(&mut batch, &did, &key)
        .map_err(XrpcError::internal)?;
    ctx.reserved_keys.remove(&mut batch, &name);
    ctx.repos
        .rekey(&did, &account.handle, key.clone(), batch)
        .await
        .map_err(write_error)?;
    ctx.keys.written(&did, key);
    Ok(Reply::Empty)
}
