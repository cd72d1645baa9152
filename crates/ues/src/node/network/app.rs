//! The operator's routes for devices, sync and the network: `/admin/v1/device…`, `/admin/v1/sync`, `/admin/v1/network`,
//! `/admin/v1/peer…`; and where peers come in by HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use ues_atproto::{App, Context};
use ues_p2p::BlobStatus;
use ues_p2p::http::PATH;
use ues_p2p::pairing::{Event, Pairing};
use ues_repo::crypto::VerifyingKey;
use ues_repo::repo::RepoError;
use ues_repo::syntax::{AtIdentifier, Did};

use super::{PeerNetwork, access, compact, file, history, over_http, page};
use crate::node::operator::{Answer, Refusal, authorize};

/// How long a question after a handshake waits for news.
const WAIT: Duration = Duration::from_secs(20);
/// Handshakes that are remembered; older ones make room.
const MAX_PAIRINGS: usize = 64;

/// The routes as an application on the server.
pub struct NetworkApp {
    network: PeerNetwork,
    secret: Arc<str>,
}

#[derive(Clone)]
pub(super) struct Desk {
    pub ctx: Context,
    pub network: PeerNetwork,
    pairings: Arc<Mutex<Pairings>>,
}

#[derive(Default)]
struct Pairings {
    next: u64,
    all: HashMap<u64, Pairing>,
}

impl NetworkApp {
    pub(super) fn new(network: PeerNetwork) -> Self {
        Self {
            network,
            secret: "".into(),
        }
    }

    /// Who calls must show this secret.
    #[must_use]
    pub fn with_secret(mut self, secret: &str) -> Self {
        self.secret = secret.into();
        self
    }
}

impl App for NetworkApp {
    fn name(&self) -> &'static str {
        "network"
    }

    fn routes(&self, ctx: &Context) -> Router {
        let desk = Desk {
            ctx: ctx.clone(),
            network: self.network.clone(),
            pairings: Arc::default(),
        };
        let routes = Router::new()
            .route("/device", get(devices))
            .route("/device/invite", post(invite))
            .route("/device/join", post(join))
            .route("/device/pairing", get(pairing).post(confirm))
            .route("/device/revoke", post(revoke))
            .route("/device/key", get(key))
            .route("/device/grant", post(grant))
            .route("/sync", get(sync))
            .route("/sync/heads", get(file::heads))
            .route("/sync/export", get(file::export))
            .route("/sync/import", post(file::import))
            .route("/sync/compact", post(compact::compact))
            .route("/sync/log", get(history::log))
            .route("/record/history", get(history::history))
            .route("/network", get(network))
            .route("/access", get(access::show).post(access::set))
            .route("/peer/add", post(add_peer))
            .with_state(desk.clone())
            .layer(middleware::from_fn_with_state(
                Arc::clone(&self.secret),
                authorize,
            ));
        let mut router = Router::new()
            .nest("/admin/v1", routes)
            .route("/network", get(page::page).with_state(desk.clone()));
        let config = &self.network.0.config;
        if config.enabled && config.http {
            router = router.route(PATH, get(over_http::enter).with_state(desk));
        }
        router
    }
}

#[derive(Deserialize)]
struct Which {
    account: String,
}

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
}

#[derive(Deserialize)]
struct Follow {
    id: u64,
    /// The stage that is known already: the answer waits until it is another one.
    seen: Option<String>,
}

#[derive(Deserialize)]
struct Confirm {
    id: u64,
    same: bool,
}

#[derive(Deserialize)]
struct Revoke {
    account: String,
    device: String,
}

#[derive(Deserialize)]
struct Grant {
    account: String,
    key: String,
    name: String,
}

#[derive(Deserialize)]
struct Address {
    address: String,
}

impl Desk {
    pub fn account(&self, name: &str) -> Result<Arc<ues_atproto::Account>, Refusal> {
        let id = AtIdentifier::parse(name)
            .map_err(|_| Refusal::invalid(format!("{name:?} is neither a handle nor a DID")))?;
        let account = self.ctx.accounts.by_identifier(&id);
        account
            .map_err(Refusal::internal)?
            .ok_or_else(|| Refusal::not_found(format!("there is no account {name}")))
    }

    fn keep(&self, pairing: Pairing) -> u64 {
        let mut pairings = self.pairings.lock();
        pairings.next += 1;
        let id = pairings.next;
        pairings.all.insert(id, pairing);
        let oldest = id.saturating_sub(MAX_PAIRINGS as u64);
        pairings.all.retain(|id, _| *id > oldest);
        id
    }

    fn kept(&self, id: u64) -> Result<Pairing, Refusal> {
        let pairing = self.pairings.lock().all.get(&id).cloned();
        pairing.ok_or_else(|| Refusal::not_found(format!("there is no pairing {id}")))
    }
}

pub(super) fn invalid(error: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(error.to_string())
}

/// `GET device?account`: the devices that hold a repository.
async fn devices(State(desk): State<Desk>, Query(which): Query<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let devices = match desk.network.0.replicas.devices(&account.did) {
        Ok(devices) => devices,
        Err(ues_sync::store::ReplicasError::NotShared(_)) => Vec::new(),
        Err(e) => return Err(Refusal::internal(e)),
    };
    let devices: Vec<_> = devices
        .iter()
        .map(|d| {
            json!({
                "writer": d.writer, "key": d.key, "name": d.name, "operations": d.operations,
                "lastMs": d.last_ms, "revoked": d.revoked, "fork": d.fork, "here": d.here, "root": d.root,
            })
        })
        .collect();
    Ok(Json(
        json!({ "did": account.did.as_str(), "devices": devices }),
    ))
}

/// `POST device/invite {account}`.
async fn invite(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    if !desk.network.0.replicas.has_root_key(&account.did) {
        return Err(Refusal::invalid(format!(
            "the signing key of {} is on another device: invite from there",
            account.handle
        )));
    }
    let running = desk.network.running().await.map_err(Refusal::internal)?;
    let invited = running
        .pairing
        .invite(account.did.clone(), Some(account.handle.clone()))
        .await;
    let (invited, pairing) = invited.map_err(invalid)?;
    let id = desk.keep(pairing);
    Ok(Json(json!({
        "id": id, "code": invited.code, "link": invited.link, "expiresMs": invited.expires_ms,
        "did": account.did.as_str(), "handle": account.handle.as_str(),
    })))
}

/// `POST device/join {ticket}`.
async fn join(State(desk): State<Desk>, Json(input): Json<Ticket>) -> Answer {
    let running = desk.network.running().await.map_err(Refusal::internal)?;
    let network = desk.network.clone();
    let pairing = running
        .pairing
        .join(&input.ticket, move |joined, peer| async move {
            network.take_in(&joined, peer).await
        })
        .await
        .map_err(invalid)?;
    Ok(Json(json!({ "id": desk.keep(pairing) })))
}

/// `GET device/pairing?id&seen`: how a handshake stands, at once or when it stands otherwise.
async fn pairing(State(desk): State<Desk>, Query(follow): Query<Follow>) -> Answer {
    let mut pairing = desk.kept(follow.id)?;
    let mut event = pairing.event();
    if follow.seen.as_deref() == Some(stage(&event)) {
        let changed = tokio::time::timeout(WAIT, pairing.wait_for_change(&event)).await;
        if let Ok(changed) = changed {
            event = changed;
        }
    }
    Ok(Json(
        serde_json::to_value(&event).map_err(Refusal::internal)?,
    ))
}

fn stage(event: &Event) -> &'static str {
    match event {
        Event::Waiting => "waiting",
        Event::Compare { .. } => "compare",
        Event::Confirmed => "confirmed",
        Event::Done => "done",
        Event::Failed { .. } => "failed",
    }
}

/// `POST device/pairing {id, same}`: whether the words are the same.
async fn confirm(State(desk): State<Desk>, Json(input): Json<Confirm>) -> Answer {
    desk.kept(input.id)?.answer(input.same).await;
    Ok(Json(json!({})))
}

/// `GET device/key`: the key of this device.
async fn key(State(desk): State<Desk>) -> Answer {
    Ok(Json(
        json!({ "key": desk.network.0.replicas.device().did_key() }),
    ))
}

/// `POST device/grant {account, key, name}`: lets a device write that is not here to be paired with.
async fn grant(State(desk): State<Desk>, Json(input): Json<Grant>) -> Answer {
    let account = desk.account(&input.account)?;
    let replicas = &desk.network.0.replicas;
    let key = VerifyingKey::from_did_key(&input.key).map_err(|_| {
        invalid(format!(
            "{:?} is not a device's key: `ues device key` shows it there",
            input.key
        ))
    })?;
    let name: ues_sync::pairing::DeviceName = input.name.parse().map_err(invalid)?;
    let writer = replicas
        .grant(&account.did, &key, name.as_str())
        .await
        .map_err(invalid)?;
    let devices = replicas.devices(&account.did).map_err(Refusal::internal)?;
    let root = devices.iter().find(|d| d.root).map(|d| d.key.as_str());
    Ok(Json(json!({
        "writer": writer, "name": name.as_str(), "did": account.did.as_str(), "root": root,
    })))
}

/// `POST device/revoke {account, device}`: by number, name or key.
async fn revoke(State(desk): State<Desk>, Json(input): Json<Revoke>) -> Answer {
    let account = desk.account(&input.account)?;
    let replicas = &desk.network.0.replicas;
    let devices = replicas.devices(&account.did).map_err(invalid)?;
    let named = |d: &&ues_sync::store::Device| {
        d.name == input.device || d.key == input.device || d.writer.to_string() == input.device
    };
    let mut found = devices
        .iter()
        .filter(|d| !d.root && !d.revoked)
        .filter(named);
    let Some(device) = found.next() else {
        let text = format!("{} has no device {:?}", account.handle, input.device);
        return Err(Refusal::not_found(text));
    };
    if found.next().is_some() {
        let text = format!(
            "several devices are called {:?}: use the number",
            input.device
        );
        return Err(Refusal::invalid(text));
    }
    replicas
        .revoke(&account.did, device.writer)
        .await
        .map_err(invalid)?;
    if let Some(running) = desk.network.if_running().await
        && let Ok(key) = VerifyingKey::from_did_key(&device.key)
        && let Some(peer) = ues_p2p::identity::peer_with(&key)
    {
        running.network.remove_known_peer(peer).await;
    }
    Ok(Json(
        json!({ "writer": device.writer, "name": device.name }),
    ))
}

/// `GET sync`: how each session stands.
async fn sync(State(desk): State<Desk>) -> Answer {
    let sessions = match desk.network.if_running().await {
        Some(running) => running.sync.status(),
        None => Vec::new(),
    };
    let repos: Vec<_> = desk.network.0.replicas.list();
    let blobs = blobs(&desk.network, repos.clone()).await?;
    let repos: Vec<&str> = repos.iter().map(|did| did.as_str()).collect();
    Ok(Json(
        json!({ "repositories": repos, "sessions": sessions, "blobs": blobs }),
    ))
}

/// How far the blobs of each repository are.
pub(super) async fn blobs(
    network: &PeerNetwork,
    repos: Vec<Did>,
) -> Result<Vec<BlobStatus>, Refusal> {
    let running = network.if_running().await;
    let all = network.0.replicas.repos().clone();
    let look = move || {
        let status = |did: &Did| match &running {
            Some(running) => running.blobs.status(did),
            None => Ok(BlobStatus {
                repo: did.to_string(),
                missing: all.count_missing_blobs(did)?,
                ..BlobStatus::default()
            }),
        };
        repos.iter().map(status).collect::<Result<_, RepoError>>()
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked
        .map_err(Refusal::internal)?
        .map_err(Refusal::internal)
}

/// `GET network`: what the host does.
async fn network(State(desk): State<Desk>) -> Answer {
    let running = desk.network.if_running().await;
    let (mut state, mut bitswap) = (None, None);
    if let Some(running) = running {
        state = running.network.state().await;
        if let Some(running) = &running.bitswap {
            bitswap = running.stats().await;
        }
    }
    Ok(Json(
        json!({ "running": state.is_some(), "state": state, "bitswap": bitswap }),
    ))
}

/// `POST peer/add {address}`: connects with a peer, and again whenever it is lost.
async fn add_peer(State(desk): State<Desk>, Json(input): Json<Address>) -> Answer {
    let address = input.address.parse().map_err(|_| {
        invalid("an address such as /ip4/192.168.1.5/tcp/4100/p2p/12D3Koo… expected")
    })?;
    let running = desk.network.running().await.map_err(Refusal::internal)?;
    let peer = running.network.connect(address).await.map_err(invalid)?;
    desk.network.remember(peer).await;
    Ok(Json(json!({ "peer": peer.to_string() })))
}
