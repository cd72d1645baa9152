//! Workers as peers, their metrics, their health.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;
use ues_pins::store::StateStore;
use ues_pins::{PeerId, Worker, cluster};

use crate::desk::{ALICE, Desk, NOW_MS, worker};

#[tokio::test]
async fn the_local_worker_answers_for_this_process() {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    let id = desk.get("/id").await.ok().json();
    let ipfs = PeerId::from_ed25519(&[9; 32]);
    let first = if a < b { &a } else { &b };
    assert_eq!(id["id"], json!(first));
    assert_eq!(id["cluster_peers"].as_array().unwrap().len(), 2);
    assert_eq!(id["rpc_protocol_version"], "/ipfscluster/1.0/rpc");
    assert_eq!(
        id["ipfs"],
        json!({"id": ipfs, "addresses": ["/ip4/127.0.0.1/tcp/4001"], "error": ""})
    );
    let local = Some(b.clone());
    let options = cluster::Options {
        local,
        ..cluster::Options::default()
    };
    let desk = Desk::with(None, options).await;
    let id = desk.get("/id").await.ok().json();
    assert_eq!((&id["id"], &id["peername"]), (&json!(b), &json!("beta")));
    let version = desk.get("/version").await.ok().json();
    assert!(version["version"].as_str().unwrap().starts_with("1.1.6"));
    assert_eq!(id["version"], version["version"]);
}

#[tokio::test]
async fn peers_are_listed_and_removed() {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    let peers = desk.get("/peers").await.ok().lines();
    let names: Vec<_> = peers.iter().map(|peer| &peer["peername"]).collect();
    assert_eq!(names.len(), 2);
    let path = |id: &str| format!("/peers/{id}");
    let refused = desk.call_as(ALICE, "DELETE", &path(&a.to_string())).await;
    refused.fails(403, "forbidden");
    let removed = desk.call("DELETE", &path(&a.to_string())).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    desk.call("DELETE", &path(&a.to_string()))
        .await
        .fails(404, "there is no worker");
    desk.call("DELETE", "/peers/xx")
        .await
        .fails(400, "error decoding Peer ID: ");
    assert_eq!(desk.get("/peers").await.ok().lines().len(), 1);
    desk.store.remove_worker(&b).await.unwrap();
    assert_eq!(desk.get("/peers").await.status, StatusCode::NO_CONTENT);
    desk.get("/id").await.fails(500, "no worker has registered");
}

#[tokio::test]
async fn workers_register_by_themselves() {
    let desk = Desk::new().await;
    let post = async |body: String| {
        let request = Request::builder().method("POST").uri("/peers");
        desk.request(request.body(Body::from(body)).unwrap()).await
    };
    let [a, _] = desk.workers.clone();
    let known = post(json!({"peer_id": a}).to_string()).await.ok();
    assert_eq!(known.json()["peername"], "alpha");
    let other = PeerId::from_ed25519(&[50; 32]);
    let unknown = post(json!({"peer_id": other}).to_string()).await;
    unknown.fails(500, "registers by itself");
    post("{}".to_owned())
        .await
        .fails(400, "error decoding peer_id");
    post("nonsense".to_owned())
        .await
        .fails(400, "error decoding request body");
}

#[tokio::test]
async fn metrics_are_those_of_the_last_heartbeat() {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    let names = desk.get("/monitor/metrics").await.ok().json();
    assert_eq!(names, json!(["freespace", "ping", "tag:region"]));
    let path = "/monitor/metrics/freespace";
    let metrics = desk.get(path).await.ok().json();
    let metric = |id: &PeerId| {
        json!({
            "name": "freespace",
            "peer": id,
            "value": "1099511627776",
            "expire": (NOW_MS - 1000 + 30_000) * 1_000_000,
            "valid": true,
            "weight": 1_099_511_627_776_u64,
            "partitionable": false,
            "received_at": (NOW_MS - 1000) * 1_000_000,
        })
    };
    let mut ids = [a.clone(), b.clone()];
    ids.sort();
    assert_eq!(metrics, json!([metric(&ids[0]), metric(&ids[1])]));
    let ping = desk.get("/monitor/metrics/ping").await.ok().json();
    let value: serde_json::Value =
        serde_json::from_str(ping[0]["value"].as_str().unwrap()).unwrap();
    assert!(value["peer_name"].is_string());
    let region = desk.get("/monitor/metrics/tag:region").await.ok().json();
    assert_eq!(
        (&region[0]["value"], &region[0]["partitionable"]),
        (&json!("eu"), &json!(true))
    );
    assert_eq!(
        desk.get("/monitor/metrics/nonsense").await.ok().json(),
        json!([])
    );
    assert_eq!(desk.get("/health/alerts").await.ok().json(), json!([]));

    let silent = Worker {
        seen_ms: NOW_MS - 60_000,
        ..worker(&a, "alpha")
    };
    desk.store.put_worker(silent).await.unwrap();
    assert_eq!(desk.get(path).await.ok().json(), json!([metric(&b)]));
    let alerts = desk.get("/health/alerts").await.ok().json();
    assert_eq!(alerts.as_array().unwrap().len(), 1);
    assert_eq!(alerts[0]["peer"], json!(a));
    assert_eq!(alerts[0]["triggered_at"], "2023-11-14T22:12:50.5Z");
}

#[tokio::test]
async fn health_and_collections_are_answered() {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    assert_eq!(desk.get("/health").await.status, StatusCode::NO_CONTENT);
    assert_eq!(desk.get("/health/bandwidth").await.ok().json(), json!({}));
    let graph = desk.get("/health/graph").await.ok().json();
    assert_eq!(graph["id_to_peername"][a.to_string()], "alpha");
    assert_eq!(graph["cluster_links"][a.to_string()], json!([b]));
    assert_eq!(graph["cluster_trust_links"][b.to_string()], true);
    let collected = desk.call("POST", "/ipfs/gc").await.ok().json();
    let told = &collected["peer_map"][a.to_string()];
    assert_eq!(told["keys"], json!([]));
    assert!(told["error"].as_str().unwrap().contains("by itself"));
    let local = desk.call("POST", "/ipfs/gc?local=true").await.ok().json();
    assert_eq!(local["peer_map"].as_object().unwrap().len(), 1);
}
