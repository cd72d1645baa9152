//! API keys, for the operator: `/admin/v1/keys`.

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_access::{AccessError, KeyInfo, NewKey, OwnerId, Scope};
use ues_pins::model::GoTime;

use super::{Parts, callers};
use crate::node::operator::{Answer, Refusal};

/// The routes.
pub fn routes() -> Router<Parts> {
    Router::new()
        .route("/keys", get(list).post(create))
        .route("/keys/revoke", post(revoke))
}

#[derive(Deserialize)]
struct Which {
    owner: Option<String>,
}

#[derive(Deserialize)]
struct NewKeyBody {
    owner: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    /// Seconds from now.
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

fn refused(error: AccessError) -> Refusal {
    match error {
        AccessError::NoSuchKey(_) => Refusal::not_found(error.to_string()),
        AccessError::NoScopes | AccessError::NameTooLong { .. } => {
            Refusal::invalid(error.to_string())
        }
        _ => Refusal::internal(error),
    }
}

fn owner(text: &str) -> Result<OwnerId, Refusal> {
    text.parse()
        .map_err(|e: ues_access::OwnerIdError| Refusal::invalid(e.to_string()))
}

async fn list(State(parts): State<Parts>, Query(which): Query<Which>) -> Answer {
    let owner = which.owner.as_deref().map(owner).transpose()?;
    let keys = parts.access.keys(owner.as_ref()).await.map_err(refused)?;
    let keys: Vec<Value> = keys.iter().map(describe).collect();
    Ok(Json(json!({ "keys": keys })))
}

fn describe(key: &KeyInfo) -> Value {
    let time = |ms: u64| GoTime::from_millis(ms).to_string();
    json!({
        "id": key.id.to_string(),
        "owner": key.owner.as_str(),
        "name": key.name,
        "scopes": key.scopes.iter().map(Scope::name).collect::<Vec<_>>(),
        "createdAt": time(key.created_at_ms),
        "expiresAt": key.expires_at_ms.map(time),
        "revokedAt": key.revoked_at_ms.map(time),
    })
}

async fn create(State(parts): State<Parts>, Json(body): Json<NewKeyBody>) -> Answer {
    let owner = owner(&body.owner)?;
    let scopes = if body.scopes.is_empty() {
        vec![Scope::PinsRead, Scope::PinsWrite]
    } else {
        let read = |text: &String| {
            text.parse()
                .map_err(|e: ues_access::ScopeError| Refusal::invalid(e.to_string()))
        };
        body.scopes.iter().map(read).collect::<Result<_, _>>()?
    };
    parts
        .access
        .create_owner(owner.clone())
        .await
        .map_err(refused)?;
    let now_ms = callers::now_ms();
    let new = NewKey {
        name: body.name,
        scopes,
        expires_at_ms: body
            .expires_in
            .map(|s| now_ms.saturating_add(s.saturating_mul(1000))),
    };
    let key = parts
        .access
        .create_key(&owner, new)
        .await
        .map_err(refused)?;
    Ok(Json(json!({
        "id": key.id.to_string(),
        "owner": owner.as_str(),
        "key": key.secret.expose(),
    })))
}

async fn revoke(State(parts): State<Parts>, Json(named): Json<Named>) -> Answer {
    let id = named
        .id
        .parse()
        .map_err(|e: ues_access::KeyIdError| Refusal::invalid(e.to_string()))?;
    parts.access.revoke(&id).await.map_err(refused)?;
    Ok(Json(json!({})))
}
