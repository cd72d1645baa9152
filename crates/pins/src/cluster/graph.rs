//! Who is connected to whom, and how much went between them: `GET /health/graph` and `/health/bandwidth`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;

use super::{Desk, Failure, Reader};
use crate::model::PeerId;
use crate::model::json::{Bandwidth, ConnectGraph};

/// `GET /health/graph`: every worker is known to every other one by way of the bus; what their backends are
/// connected to is not known here.
pub(super) async fn graph(
    State(desk): State<Desk>,
    Reader(_): Reader,
) -> Result<Json<ConnectGraph>, Failure> {
    let fleet = desk.fleet().await?;
    let mut graph = ConnectGraph {
        cluster_id: desk.local(&fleet),
        ..ConnectGraph::default()
    };
    for worker in fleet.workers() {
        let id = worker.id.to_string();
        let others = fleet.workers().iter().filter(|other| other.id != worker.id);
        let others = others.map(|other| other.id.clone()).collect();
        graph.id_to_peername.insert(id.clone(), worker.name.clone());
        graph.cluster_links.insert(id.clone(), others);
        graph.cluster_trust_links.insert(id.clone(), true);
        if let Ok(ipfs) = worker.ipfs_id.parse::<PeerId>() {
            graph.ipfs_links.insert(ipfs.to_string(), Vec::new());
            graph.cluster_to_ipfs.insert(id, ipfs);
        }
    }
    Ok(Json(graph))
}

/// `GET /health/bandwidth`: no protocol between peers is spoken here.
pub(super) async fn bandwidth(Reader(_): Reader) -> Json<BTreeMap<String, Bandwidth>> {
    Json(BTreeMap::new())
}
