//! The operator's routes for mirrors: `/admin/v1/mirror…`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use ues_atproto::{App, Context};
use ues_p2p::Multiaddr;
use ues_repo::repo::mirror::Mirror;
use ues_repo::syntax::{AtIdentifier, Did};

use super::fetch::{Outcome, Trouble, now_ms};
use super::{Mirroring, blocking};
use crate::node::operator::{Answer, Refusal, authorize};

/// Most bytes of a copy unless somebody says otherwise.
const MAX_BYTES: u64 = 4 << 30;
/// Addresses of peers that are remembered of one mirror.
const MAX_PEERS: usize = 16;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// The routes as an application on the server.
pub struct MirrorApp {
    mirroring: Mirroring,
    secret: Arc<str>,
}

impl MirrorApp {
    pub(super) fn new(mirroring: Mirroring, secret: &str) -> Self {
        Self {
            mirroring,
            secret: secret.into(),
        }
    }
}

impl App for MirrorApp {
    fn name(&self) -> &'static str {
        "mirrors"
    }

    fn routes(&self, _: &Context) -> Router {
        let routes = Router::new()
            .route("/mirrors", get(list))
            .route("/mirror", get(show).post(add))
            .route("/mirror/update", post(update))
            .route("/mirror/remove", post(remove))
            .with_state(self.mirroring.clone())
            .layer(middleware::from_fn_with_state(
                Arc::clone(&self.secret),
                authorize,
            ));
        Router::new().nest("/admin/v1", routes)
    }
}

#[derive(Deserialize)]
struct Which {
    repo: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Add {
    repo: String,
    blobs: Option<bool>,
    max_bytes: Option<u64>,
    #[serde(default)]
    peers: Vec<String>,
}

impl Mirroring {
    /// A DID, or the one that a handle points to.
    async fn did(&self, repo: &str) -> Result<Did, Refusal> {
        let parsed = AtIdentifier::parse(repo);
        match parsed
            .map_err(|_| Refusal::invalid(format!("{repo:?} is neither a handle nor a DID")))?
        {
            AtIdentifier::Did(did) => Ok(did),
            AtIdentifier::Handle(handle) => {
                let rows = self.mirrors().list().map_err(Refusal::internal)?;
                let named = |row: &&Mirror| row.handle.as_deref() == Some(handle.as_str());
                if let Some(row) = rows.iter().find(named) {
                    return Ok(row.did.clone());
                }
                let found = self.0.ctx.identities.resolve_handle(&handle).await;
                found.map_err(|e| Refusal::not_found(e.to_string()))
            }
        }
    }

    async fn row(&self, repo: &str) -> Result<Mirror, Refusal> {
        let did = self.did(repo).await?;
        let row = self.mirrors().get(&did).map_err(Refusal::internal)?;
        row.ok_or_else(|| Refusal::not_found(format!("{repo} is not mirrored here")))
    }

    /// What is told of a mirror.
    fn describe(&self, row: &Mirror) -> Result<Value, Refusal> {
        let mut value = serde_json::to_value(row).map_err(Refusal::internal)?;
        let repos = self.mirrors().repos();
        if let Some(head) = repos.head(&row.did).map_err(Refusal::internal)? {
            value["rev"] = head.rev.as_str().into();
            value["commit"] = head.commit.to_string().into();
            value["data"] = head.data.to_string().into();
            let missing = blocking(|| repos.count_missing_blobs(&row.did));
            value["missingBlobs"] = missing.map_err(Refusal::internal)?.into();
        }
        value["followed"] = self.is_followed(row).into();
        let told = self.0.now.lock().get(&row.did).cloned();
        let (told, heads) = match told {
            Some(now) => (now.told.lock().clone(), *now.heads.lock()),
            None => Default::default(),
        };
        value["now"] = serde_json::to_value(told).map_err(Refusal::internal)?;
        value["heads"] = serde_json::to_value(heads).map_err(Refusal::internal)?;
        Ok(value)
    }
}

/// `GET mirrors`.
async fn list(State(mirroring): State<Mirroring>) -> Answer {
    let rows = mirroring.mirrors().list().map_err(Refusal::internal)?;
    let rows: Result<Vec<Value>, Refusal> =
        rows.iter().map(|row| mirroring.describe(row)).collect();
    Ok(Json(json!({ "mirrors": rows? })))
}

/// `GET mirror?repo`, with the number of records.
async fn show(State(mirroring): State<Mirroring>, Query(which): Query<Which>) -> Answer {
    let row = mirroring.row(&which.repo).await?;
    let mut value = mirroring.describe(&row)?;
    if value["rev"].is_string() {
        let count = blocking(|| mirroring.mirrors().repos().count_records(&row.did));
        value["records"] = count.map_err(Refusal::internal)?.into();
    }
    Ok(Json(value))
}

/// `POST mirror {repo, blobs?, maxBytes?, peers?}`: begins a mirror, or changes what is wanted of one.
async fn add(State(mirroring): State<Mirroring>, Json(input): Json<Add>) -> Answer {
    let did = mirroring.did(&input.repo).await?;
    let account = mirroring.0.ctx.accounts.by_did(&did);
    if account.map_err(Refusal::internal)?.is_some() {
        let text = format!("{} is an account of this node", input.repo);
        return Err(Refusal::invalid(text));
    }
    for address in &input.peers {
        address.parse::<Multiaddr>().map_err(|_| {
            Refusal::invalid(format!(
                "an address such as /ip4/192.168.1.5/tcp/4100/p2p/12D3Koo… expected, found {address:?}"
            ))
        })?;
    }
    let before = mirroring.mirrors().get(&did).map_err(Refusal::internal)?;
    let is_new = before.is_none();
    let mut row = before.unwrap_or_else(|| Mirror::new(did.clone(), now_ms(), MAX_BYTES));
    row.blobs = input.blobs.unwrap_or(row.blobs);
    row.max_bytes = input.max_bytes.unwrap_or(row.max_bytes);
    for address in input.peers {
        if !row.peers.contains(&address) {
            row.peers.insert(0, address);
        }
    }
    row.peers.truncate(MAX_PEERS);
    mirroring
        .mirrors()
        .put(&row)
        .await
        .map_err(Refusal::internal)?;
    mirroring.0.changed.notify_one();
    mirroring.hint(&did);
    let mut value = mirroring.describe(&row)?;
    value["new"] = is_new.into();
    Ok(Json(value))
}

/// `POST mirror/remove {repo}`.
async fn remove(State(mirroring): State<Mirroring>, Json(which): Json<Which>) -> Answer {
    let row = mirroring.row(&which.repo).await?;
    let now = mirroring.now(&row.did);
    let _alone = now.alone.lock().await;
    let removed = blocking(|| mirroring.mirrors().remove(&row.did));
    let removed = removed.map_err(Refusal::internal)?;
    mirroring.0.now.lock().remove(&row.did);
    mirroring.0.changed.notify_one();
    mirroring.tidy().await;
    Ok(Json(json!({ "did": row.did, "removed": removed })))
}

/// `POST mirror/update {repo}`: brings it up to date now, telling line by line how far it is.
async fn update(
    State(mirroring): State<Mirroring>,
    Json(which): Json<Which>,
) -> Result<Response, Refusal> {
    let row = mirroring.row(&which.repo).await?;
    let (sender, mut lines) = mpsc::channel::<Value>(4);
    tokio::spawn(async move {
        let now = mirroring.now(&row.did);
        let refreshing = mirroring.refresh(&row.did);
        tokio::pin!(refreshing);
        let outcome = loop {
            tokio::select! {
                outcome = &mut refreshing => break outcome,
                () = tokio::time::sleep(TELL_EVERY) => {
                    let told = now.told.lock().clone();
                    let _ = sender.try_send(json!({ "blocks": told.blocks, "bytes": told.bytes, "from": told.fetching }));
                }
            }
        };
        let _ = sender.send(mirroring.result(&row.did, outcome)).await;
    });
    let body = futures::stream::poll_fn(move |cx| {
        lines
            .poll_recv(cx)
            .map(|line| line.map(|line| Ok::<_, Infallible>(Bytes::from(format!("{line}\n")))))
    });
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(body)).into_response())
}

impl Mirroring {
    /// The last line: the mirror, and what was done.
    fn result(&self, did: &Did, outcome: Result<Outcome, Trouble>) -> Value {
        let row = self.mirrors().get(did).ok().flatten();
        let described = row.and_then(|row| self.describe(&row).ok());
        let mut value = described.unwrap_or_else(|| json!({ "did": did }));
        match outcome {
            Ok(Outcome::Same) => value["outcome"] = "same".into(),
            Ok(Outcome::Updated(taken)) => {
                value["outcome"] = "updated".into();
                value["taken"] = json!({
                    "blocks": taken.blocks, "bytes": taken.bytes, "records": taken.records,
                });
            }
            Err(trouble) => {
                value["outcome"] = match &trouble {
                    Trouble::Refused { .. } => "refused".into(),
                    _ => "unavailable".into(),
                };
                value["why"] = trouble.to_string().into();
            }
        }
        value
    }
}
