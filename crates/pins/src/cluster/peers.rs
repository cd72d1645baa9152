//! The workers as peers of a cluster: `GET /id`, `/version`, `/peers`, `DELETE /peers/{id}`, `POST /ipfs/gc`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::lines::{self, Trailers};
use super::query::Query;
use super::{Desk, Failure, Operator, Reader};
use crate::fleet::{Fleet, Worker};
use crate::model::PeerId;
use crate::model::json::{GlobalRepoGc, Id, IpfsId, RepoGc, Version};

/// The version of IPFS-Cluster whose interface this is, and of this program.
const VERSION: &str = concat!("1.1.6+ues.", env!("CARGO_PKG_VERSION"));
/// The name of the protocol that peers of that version speak to each other.
const RPC: &str = "/ipfscluster/1.0/rpc";

/// A worker as a peer.
fn id_of(worker: &Worker, fleet: &Fleet) -> Id {
    let peers = fleet.workers().iter().map(|worker| worker.id.clone());
    let addresses = worker.ipfs_addresses.iter();
    Id {
        id: Some(worker.id.clone()),
        cluster_peers: peers.collect(),
        version: VERSION.to_owned(),
        rpc_protocol_version: RPC.to_owned(),
        ipfs: IpfsId {
            id: worker.ipfs_id.parse().ok(),
            addresses: addresses.filter_map(|text| text.parse().ok()).collect(),
            error: worker.failing.clone().unwrap_or_default(),
        },
        peername: worker.name.clone(),
        ..Id::default()
    }
}

/// `GET /id`
pub(super) async fn id(State(desk): State<Desk>, Reader(_): Reader) -> Result<Json<Id>, Failure> {
    let fleet = desk.fleet().await?;
    let local = desk.local(&fleet);
    let Some(local) = local else {
        return Err(Failure::internal("no worker has registered so far"));
    };
    Ok(Json(match fleet.get(&local) {
        Some(worker) => id_of(worker, &fleet),
        None => Id {
            id: Some(local),
            version: VERSION.to_owned(),
            rpc_protocol_version: RPC.to_owned(),
            error: "this worker has not registered so far".to_owned(),
            ..Id::default()
        },
    }))
}

/// `GET /version`
pub(super) async fn version(Reader(_): Reader) -> Json<Version> {
    Json(Version {
        version: VERSION.to_owned(),
    })
}

/// `GET /peers`
pub(super) async fn list(
    State(desk): State<Desk>,
    Reader(_): Reader,
    trailers: Trailers,
) -> Result<Response, Failure> {
    let fleet = desk.fleet().await?;
    let mut out = Vec::new();
    for worker in fleet.workers() {
        super::pen::json(&mut out, &id_of(worker, &fleet));
        out.push(b'\n');
    }
    let (send, receive) = mpsc::channel(1);
    let _ = send.try_send(Ok(out.into()));
    drop(send);
    Ok(lines::answer(trailers, receive).await)
}

#[derive(Deserialize)]
struct PeerBody {
    #[serde(default)]
    peer_id: String,
}

/// `POST /peers`: a worker that is there already is shown, others register by themselves.
pub(super) async fn add(
    State(desk): State<Desk>,
    _: Operator,
    body: Bytes,
) -> Result<Json<Id>, Failure> {
    let body: PeerBody = serde_json::from_slice(&body)
        .map_err(|_| Failure::bad_request("error decoding request body"))?;
    let id: PeerId = body
        .peer_id
        .parse()
        .map_err(|_| Failure::bad_request("error decoding peer_id"))?;
    let fleet = desk.fleet().await?;
    match fleet.get(&id) {
        Some(worker) => Ok(Json(id_of(worker, &fleet))),
        None => Err(Failure::internal(format!(
            "{id} is not known: a worker registers by itself when it starts"
        ))),
    }
}

/// `DELETE /peers/{id}`: forgets a worker; what it held goes to others.
pub(super) async fn remove(
    State(desk): State<Desk>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let id: PeerId = id
        .parse()
        .map_err(|why| Failure::bad_request(format!("error decoding Peer ID: {why}")))?;
    let known = desk.pins.store().workers().await?;
    if !known.iter().any(|worker| worker.id == id) {
        let why = format!("there is no worker {id}");
        return Err(Failure::new(StatusCode::NOT_FOUND, why));
    }
    desk.pins.store().remove_worker(&id).await?;
    let headers = [(CONTENT_TYPE, "application/json")];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// `POST /ipfs/gc`: workers collect by themselves, so each of them says so.
pub(super) async fn collect(
    State(desk): State<Desk>,
    _: Operator,
    query: Query,
) -> Result<Json<GlobalRepoGc>, Failure> {
    let fleet = desk.fleet().await?;
    let only = if query.local() {
        desk.local(&fleet)
    } else {
        None
    };
    let shown = |worker: &&Worker| only.as_ref().is_none_or(|id| *id == worker.id);
    let told = |worker: &Worker| {
        let answer = RepoGc {
            peer: Some(worker.id.clone()),
            peername: worker.name.clone(),
            keys: Vec::new(),
            error: "this worker collects by itself, and cannot be told to".to_owned(),
        };
        (worker.id.to_string(), answer)
    };
    let peer_map = fleet.workers().iter().filter(shown).map(told).collect();
    Ok(Json(GlobalRepoGc { peer_map }))
}
