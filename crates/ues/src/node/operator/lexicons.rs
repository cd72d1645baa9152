//! Lexicons that the operator gives to the node: kept in the store, registered again at each start.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_atproto::{Context, lifecycle};
use ues_repo::lexicon::{Lexicons, RegisterError};
use ues_storage::{Keyspace, StorageError};

use super::Desk;
use super::accounts::actor;
use super::answer::{Answer, Refusal};

/// Keyspace: NSID -> document as JSON.
const KEYSPACE: &str = "operator_lexicons";

/// Which ones.
#[derive(Deserialize)]
pub struct Wanted {
    prefix: Option<String>,
}

/// Which one.
#[derive(Deserialize)]
pub struct Which {
    nsid: String,
}

fn rows(ctx: &Context) -> Result<Keyspace, StorageError> {
    ctx.store.keyspace(KEYSPACE)
}

/// Registers what was added before. One that is no longer acceptable is logged and left out.
///
/// # Errors
/// When the store cannot be read.
pub fn load(ctx: &Context) -> Result<(), StorageError> {
    for row in rows(ctx)?.prefix("") {
        let (nsid, document) = row?;
        let nsid = String::from_utf8_lossy(&nsid);
        let refused = match serde_json::from_slice::<Value>(&document) {
            Ok(document) => ctx
                .lexicons
                .register(&document)
                .err()
                .map(|e| e.to_string()),
            Err(e) => Some(e.to_string()),
        };
        if let Some(cause) = refused {
            tracing::warn!(%nsid, %cause, "a lexicon is left out");
        }
    }
    Ok(())
}

/// `GET lexicons?prefix`.
pub async fn list(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Answer {
    let rows = rows(&desk.ctx).map_err(Refusal::internal)?;
    let prefix = wanted.prefix.unwrap_or_default();
    let mut lexicons = Vec::new();
    for nsid in desk.ctx.lexicons.documents() {
        if !nsid.starts_with(&prefix) {
            continue;
        }
        let document = desk.ctx.lexicons.document(&nsid);
        let kind = document
            .as_deref()
            .and_then(|d| d.main())
            .map_or("definitions", |d| d.type_name());
        let own = rows.contains(&nsid).map_err(Refusal::internal)?;
        let from = if own { "operator" } else { "built in" };
        lexicons.push(json!({ "nsid": nsid, "kind": kind, "from": from }));
    }
    Ok(Json(json!({ "lexicons": lexicons })))
}

/// `GET lexicon?nsid`: the document.
pub async fn show(State(desk): State<Desk>, Query(which): Query<Which>) -> Answer {
    let rows = rows(&desk.ctx).map_err(Refusal::internal)?;
    if let Some(row) = rows.get(&which.nsid).map_err(Refusal::internal)? {
        return Ok(Json(
            serde_json::from_slice(&row).map_err(Refusal::internal)?,
        ));
    }
    let source = Lexicons::official_source(&which.nsid)
        .ok_or_else(|| Refusal::not_found(format!("there is no lexicon {}", which.nsid)))?;
    Ok(Json(
        serde_json::from_str(source).map_err(Refusal::internal)?,
    ))
}

/// `POST lexicons` with a document: RegisterLexicon. A new version that breaks the old one is refused.
pub async fn add(State(desk): State<Desk>, Json(document): Json<Value>) -> Answer {
    let registered = desk.ctx.lexicons.register(&document).map_err(|e| match e {
        RegisterError::Full { .. } => Refusal::internal(e),
        _ => Refusal::invalid(e.to_string()),
    })?;
    let rows = rows(&desk.ctx).map_err(Refusal::internal)?;
    let mut batch = desk.ctx.store.batch();
    batch.put(&rows, &registered.nsid, document.to_string());
    let details = json!({ "replaced": registered.replaced });
    let act = actor().act("addLexicon", &registered.nsid, details);
    lifecycle::note(&desk.ctx, &mut batch, Some(act));
    desk.ctx
        .store
        .commit(batch)
        .await
        .map_err(Refusal::internal)?;
    // Records that are there already may have values for indexes that the document declares.
    if !desk.ctx.lexicons.indexes(&registered.nsid).is_empty() {
        desk.index.reset();
    }
    Ok(Json(json!({
        "nsid": registered.nsid, "replaced": registered.replaced, "unresolved": registered.unresolved,
    })))
}
