//! What workers tell of themselves: `GET /monitor/metrics` and `GET /health/alerts`.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::{Desk, Failure, Reader};
use crate::fleet::Worker;
use crate::model::GoTime;
use crate::model::json::{Alert, Metric};

/// What every worker reports.
const NAMES: [&str; 2] = ["freespace", "ping"];
/// What the names of its tags begin with.
const TAG: &str = "tag:";

/// The value of `ping`, as the original writes it.
#[derive(Serialize)]
struct Ping<'a> {
    peer_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ipfs_id: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ipfs_addresses: &'a [String],
}

/// What a worker reports under a name, if it does.
fn metric(worker: &Worker, name: &str, away_ms: u64) -> Option<Metric> {
    let (value, weight, partitionable) = match name {
        "ping" => {
            let ping = Ping {
                peer_name: &worker.name,
                ipfs_id: &worker.ipfs_id,
                ipfs_addresses: &worker.ipfs_addresses,
            };
            (serde_json::to_string(&ping).ok()?, 0, false)
        }
        "freespace" => {
            let weight = i64::try_from(worker.free).unwrap_or(i64::MAX);
            (worker.free.to_string(), weight, false)
        }
        _ => (worker.tags.get(name.strip_prefix(TAG)?)?.clone(), 0, true),
    };
    let nanos = |ms: u64| i64::try_from(ms).map_or(i64::MAX, |ms| ms.saturating_mul(1_000_000));
    Some(Metric {
        name: name.to_owned(),
        peer: Some(worker.id.clone()),
        value,
        expire: nanos(worker.seen_ms.saturating_add(away_ms)),
        valid: true,
        weight,
        partitionable,
        received_at: nanos(worker.seen_ms),
    })
}

impl Desk {
    /// Whether a worker has been silent for too long.
    fn is_silent(&self, worker: &Worker) -> bool {
        let silence = self.pins.now_ms().saturating_sub(worker.seen_ms);
        silence > self.pins.policy().away_ms
    }
}

/// `GET /monitor/metrics`
pub(super) async fn names(
    State(desk): State<Desk>,
    Reader(_): Reader,
) -> Result<Json<Vec<String>>, Failure> {
    let fleet = desk.fleet().await?;
    let tags = fleet.workers().iter().flat_map(|worker| worker.tags.keys());
    let mut names: BTreeSet<String> = tags.map(|tag| format!("{TAG}{tag}")).collect();
    if !fleet.workers().is_empty() {
        names.extend(NAMES.map(str::to_owned));
    }
    Ok(Json(names.into_iter().collect()))
}

/// `GET /monitor/metrics/{name}`: what has not run out; nothing for an unknown name.
pub(super) async fn latest(
    State(desk): State<Desk>,
    Reader(_): Reader,
    Path(name): Path<String>,
) -> Result<Json<Vec<Metric>>, Failure> {
    let fleet = desk.fleet().await?;
    let away_ms = desk.pins.policy().away_ms;
    let heard = fleet.workers().iter().filter(|w| !desk.is_silent(w));
    let metrics = heard.filter_map(|worker| metric(worker, &name, away_ms));
    Ok(Json(metrics.collect()))
}

/// `GET /health/alerts`: the workers that were not heard for too long, the newest first.
pub(super) async fn alerts(
    State(desk): State<Desk>,
    Reader(_): Reader,
) -> Result<Json<Vec<Alert>>, Failure> {
    let fleet = desk.fleet().await?;
    let away_ms = desk.pins.policy().away_ms;
    let silent = fleet.workers().iter().filter(|w| desk.is_silent(w));
    let alerts: BTreeMap<_, _> = silent
        .filter_map(|worker| {
            let metric = metric(worker, "ping", away_ms)?;
            let since = worker.seen_ms.saturating_add(away_ms);
            let triggered_at = GoTime::from_millis(since);
            let order = (std::cmp::Reverse(since), worker.id.clone());
            Some((
                order,
                Alert {
                    metric,
                    triggered_at,
                },
            ))
        })
        .collect();
    Ok(Json(alerts.into_values().collect()))
}
