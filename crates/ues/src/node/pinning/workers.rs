//! Workers, totals, queues and dead letters, for the operator: `/admin/v1/pins/…`.

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_pins::event::state_word;
use ues_pins::model::GoTime;
use ues_pins::{PeerId, Worker};

use super::Parts;
use crate::node::operator::{Answer, Refusal};

/// Dead letters in one answer.
const LETTERS: usize = 100;

/// The routes.
pub fn routes() -> Router<Parts> {
    Router::new()
        .route("/pins/workers", get(list))
        .route("/pins/workers/drain", post(drain))
        .route("/pins/workers/remove", post(remove))
        .route("/pins/record", get(record))
        .route("/pins/recover", post(recover))
        .route("/pins/totals", get(totals))
        .route("/pins/queues", get(queues))
        .route("/pins/dead", get(dead))
        .route("/pins/dead/replay", post(replay))
        .route("/pins/dead/discard", post(discard))
}

#[derive(Deserialize)]
struct Drain {
    worker: String,
    draining: bool,
}

#[derive(Deserialize)]
struct Which {
    worker: String,
}

#[derive(Deserialize)]
struct Cids {
    cids: Vec<String>,
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

#[derive(Deserialize)]
struct OfCid {
    cid: String,
}

#[derive(Deserialize)]
struct Letter {
    id: u64,
}

impl Parts {
    /// A worker by its id or its name.
    async fn worker(&self, named: &str) -> Result<PeerId, Refusal> {
        let workers = self
            .pins
            .store()
            .workers()
            .await
            .map_err(Refusal::internal)?;
        let mut fitting = workers
            .iter()
            .filter(|w| w.name == named || w.id.to_string() == named);
        match (fitting.next(), fitting.next()) {
            (Some(worker), None) => Ok(worker.id.clone()),
            (None, _) => Err(Refusal::not_found(format!("there is no worker {named}"))),
            _ => Err(Refusal::invalid(format!(
                "several workers are named {named}: use the id"
            ))),
        }
    }
}

/// How a worker is, in a word.
pub fn state(worker: &Worker, now_ms: u64, away_ms: u64) -> &'static str {
    worker.condition(now_ms, away_ms).as_str()
}

fn describe(worker: &Worker, now_ms: u64, away_ms: u64) -> Value {
    json!({
        "id": worker.id,
        "name": worker.name,
        "state": state(worker, now_ms, away_ms),
        "reason": worker.failing,
        "seenAt": GoTime::from_millis(worker.seen_ms).to_string(),
        "free": worker.free,
        "used": worker.used,
        "pins": worker.pins,
        "tags": worker.tags,
        "agent": worker.agent,
        "ipfsId": worker.ipfs_id,
    })
}

async fn list(State(parts): State<Parts>) -> Answer {
    let workers = parts
        .pins
        .store()
        .workers()
        .await
        .map_err(Refusal::internal)?;
    let (now_ms, away_ms) = (parts.pins.now_ms(), parts.pins.policy().away_ms);
    let workers: Vec<_> = workers
        .iter()
        .map(|w| describe(w, now_ms, away_ms))
        .collect();
    Ok(Json(json!({ "workers": workers })))
}

async fn drain(State(parts): State<Parts>, Json(drain): Json<Drain>) -> Answer {
    let id = parts.worker(&drain.worker).await?;
    let store = parts.pins.store();
    store
        .set_draining(&id, drain.draining)
        .await
        .map_err(Refusal::internal)?;
    Ok(Json(json!({ "id": id, "draining": drain.draining })))
}

async fn remove(State(parts): State<Parts>, Json(which): Json<Which>) -> Answer {
    let id = parts.worker(&which.worker).await?;
    parts
        .pins
        .store()
        .remove_worker(&id)
        .await
        .map_err(Refusal::internal)?;
    Ok(Json(json!({ "id": id })))
}

async fn record(State(parts): State<Parts>, Query(of): Query<OfCid>) -> Answer {
    let cid =
        ues_data::parse_cid(&of.cid).map_err(|e| Refusal::invalid(format!("{}: {e}", of.cid)))?;
    let record = parts.pins.record(&cid).await.map_err(Refusal::internal)?;
    let workers = parts
        .pins
        .store()
        .workers()
        .await
        .map_err(Refusal::internal)?;
    let placements = record.placements.iter().map(|(id, placement)| {
        let worker = workers.iter().find(|worker| worker.id == *id);
        json!({
            "worker": id,
            "name": worker.map_or_else(|| id.to_string(), |worker| worker.name.clone()),
            "state": state_word(placement.desired, placement.state),
            "since": GoTime::from_millis(placement.changed_ms).to_string(),
            "attempt": placement.attempt,
            "bytes": placement.bytes,
            "error": placement.error,
            "terminal": placement.terminal,
        })
    });
    Ok(Json(json!({
        "cid": of.cid,
        "requests": record.wanted.as_ref().map_or(0, |wanted| wanted.requests),
        "placements": placements.collect::<Vec<_>>(),
    })))
}

async fn recover(State(parts): State<Parts>, Json(body): Json<Cids>) -> Answer {
    let read = |text: &String| {
        ues_data::parse_cid(text).map_err(|e| Refusal::invalid(format!("{text}: {e}")))
    };
    let cids: Vec<_> = body.cids.iter().map(read).collect::<Result<_, _>>()?;
    parts.pins.recover(&cids).await.map_err(Refusal::internal)?;
    Ok(Json(json!({ "cids": cids.len() })))
}

async fn totals(State(parts): State<Parts>) -> Answer {
    let totals = parts.pins.totals().await.map_err(Refusal::internal)?;
    Ok(Json(json!({
        "pins": totals.wanted,
        "requests": totals.requests,
        "copies": {"desired": totals.desired, "pinned": totals.pinned, "underway": totals.underway,
            "failed": totals.failed, "surplus": totals.surplus},
        "bytes": totals.bytes,
        "drift": totals.drift(),
        "countedAt": GoTime::from_millis(totals.counted_ms).to_string(),
    })))
}

async fn queues(State(parts): State<Parts>) -> Answer {
    let queues = parts.pins.bus().stats().await.map_err(Refusal::internal)?;
    let describe = |queue: &ues_bus::QueueStats| json!({"name": queue.name, "waiting": queue.waiting, "inFlight": queue.in_flight, "oldestMs": queue.oldest_ms});
    Ok(Json(
        json!({ "queues": queues.iter().map(describe).collect::<Vec<_>>() }),
    ))
}

async fn dead(State(parts): State<Parts>, Query(after): Query<After>) -> Answer {
    let letters = parts.pins.bus().dead_letters(after.after, LETTERS).await;
    let describe = |letter: &ues_bus::DeadLetter| {
        json!({"id": letter.id, "queue": letter.queue, "subject": letter.subject.as_str(),
            "reason": letter.reason, "at": GoTime::from_millis(letter.at_ms).to_string(),
            "content": String::from_utf8_lossy(letter.payload.get(..4096).unwrap_or(&letter.payload))})
    };
    let letters = letters.map_err(Refusal::internal)?;
    Ok(Json(
        json!({ "letters": letters.iter().map(describe).collect::<Vec<_>>() }),
    ))
}

async fn replay(State(parts): State<Parts>, Json(letter): Json<Letter>) -> Answer {
    answered(letter.id, parts.pins.bus().replay(letter.id).await)
}

async fn discard(State(parts): State<Parts>, Json(letter): Json<Letter>) -> Answer {
    answered(letter.id, parts.pins.bus().discard(letter.id).await)
}

fn answered(id: u64, done: Result<bool, ues_bus::BusError>) -> Answer {
    match done {
        Ok(true) => Ok(Json(json!({ "id": id }))),
        Ok(false) => Err(Refusal::not_found(format!("there is no dead letter {id}"))),
        Err(error) => Err(Refusal::internal(error)),
    }
}
