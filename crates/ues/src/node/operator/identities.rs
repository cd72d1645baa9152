//! Identities of accounts, for moving them: what the directory says now, and operations of a did:plc.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::json;
use ues_repo::identity::plc::PlcService;
use ues_repo::syntax::Did;

use super::Desk;
use super::accounts::act;
use super::answer::{Answer, Refusal};

/// Whose identity.
#[derive(Deserialize)]
pub struct Whose {
    did: String,
}

/// What an operation puts in the place of what is there; what is absent stays.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    account: String,
    rotation_keys: Option<Vec<String>>,
    also_known_as: Option<Vec<String>>,
    verification_methods: Option<BTreeMap<String, String>>,
    services: Option<BTreeMap<String, PlcService>>,
}

/// `GET identity?did`: the identity of any account as it is published now, and whether it names this node. A did:plc
/// comes with all its data, which its document does not have.
pub async fn show(State(desk): State<Desk>, Query(whose): Query<Whose>) -> Answer {
    let did = Did::parse(&whose.did).map_err(|e| Refusal::invalid(e.to_string()))?;
    let identities = &desk.ctx.identities;
    let (document, plc) = if did.method() == "plc" {
        let data = identities.plc_data(&did).await.map_err(|e| e.into_xrpc())?;
        (data.document(), Some(data))
    } else {
        let document = identities.refresh_document(&did).await;
        let document = document.map_err(|e| Refusal::invalid(e.to_string()))?;
        ((*document).clone(), None)
    };
    let endpoint = document.pds_endpoint();
    Ok(Json(json!({
        "did": did.as_str(),
        "endpoint": endpoint,
        "here": endpoint == Some(desk.ctx.config.endpoint()),
        "key": document.signing_key().ok().map(|key| key.did_key()),
        "plc": plc,
    })))
}

/// `POST identity/sign {account, …}`: signs the operation that follows the last one of an account's did:plc, as its owner
/// can with a code from a letter. It is not handed in.
pub async fn sign(State(desk): State<Desk>, Json(change): Json<Change>) -> Answer {
    let account = desk.account(&change.account)?;
    let home = change.services.as_ref().and_then(|s| s.get("atproto_pds"));
    let details = json!({ "endpoint": home.map(|service| &service.endpoint) });
    let ctx = &desk.ctx;
    let operation = ctx.identities.sign_operation(&account.did, |operation| {
        if let Some(keys) = change.rotation_keys {
            operation.rotation_keys = keys;
        }
        if let Some(names) = change.also_known_as {
            operation.also_known_as = names;
        }
        if let Some(methods) = change.verification_methods {
            operation.verification_methods = methods;
        }
        if let Some(services) = change.services {
            operation.services = services;
        }
    });
    let operation = operation.await.map_err(|e| e.into_xrpc())?;
    let mut batch = ctx.store.batch();
    let act = act("signPlcOperation", &account, details);
    ues_atproto::lifecycle::note(ctx, &mut batch, act);
    ctx.store.commit(batch).await.map_err(Refusal::internal)?;
    Ok(Json(json!({ "operation": operation })))
}
