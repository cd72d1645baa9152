//! Keeping the logs small, by itself and when asked: `POST /admin/v1/sync/compact`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use ues_sync::store::CompactPolicy;

use super::PeerNetwork;
use super::app::{Desk, invalid};
use crate::node::operator::{Answer, Refusal};

const HOUR: Duration = Duration::from_secs(3600);
const FIRST_AFTER: Duration = Duration::from_secs(600);
const DAY_MS: u64 = 86_400_000;

#[derive(Deserialize)]
pub(super) struct Wanted {
    account: String,
    /// Waits for no other device.
    #[serde(default)]
    now: bool,
}

impl PeerNetwork {
    fn compact_policy(&self, now: bool) -> CompactPolicy {
        CompactPolicy {
            away_ms: self.0.config.away_days.saturating_mul(DAY_MS),
            now,
        }
    }

    /// Compacts all logs again and again. Ends when it is aborted.
    pub(super) async fn keep_compact(self) {
        let every = match self.0.config.compact_hours {
            0 => return,
            hours => HOUR.saturating_mul(u32::try_from(hours).unwrap_or(u32::MAX)),
        };
        // A node that is started each morning gets round to it too.
        let mut wait = every.min(FIRST_AFTER);
        loop {
            tokio::time::sleep(std::mem::replace(&mut wait, every)).await;
            for did in self.0.replicas.list() {
                let policy = self.compact_policy(false);
                match self.0.replicas.compact(&did, policy).await {
                    Ok(done) => tracing::info!(%did, dropped = done.dropped, "a log was compacted"),
                    Err(e) => tracing::warn!(%did, error = %e, "a log cannot be compacted"),
                }
            }
        }
    }
}

/// `POST sync/compact {account, now}`: drops the operations that all devices have.
pub(super) async fn compact(State(desk): State<Desk>, Json(wanted): Json<Wanted>) -> Answer {
    let account = desk.account(&wanted.account)?;
    let replicas = &desk.network.0.replicas;
    let policy = desk.network.compact_policy(wanted.now);
    let done = replicas
        .compact(&account.did, policy)
        .await
        .map_err(invalid)?;
    let store = desk.ctx.store.clone();
    let collected = tokio::task::spawn_blocking(move || store.collect(u64::MAX)).await;
    let collected = collected
        .map_err(Refusal::internal)?
        .map_err(Refusal::internal)?;
    let devices = replicas.devices(&account.did).map_err(Refusal::internal)?;
    let waiting = devices
        .iter()
        .filter(|d| done.waiting_for.contains(&d.writer));
    let waiting: Vec<_> = waiting
        .map(|d| json!({ "writer": d.writer, "name": d.name, "lastMs": d.last_ms }))
        .collect();
    Ok(Json(json!({
        "did": account.did.as_str(), "signed": done.signed, "beginsAt": done.begins_at,
        "dropped": done.dropped, "freed": collected.freed, "waitingFor": waiting,
        "awayDays": desk.network.0.config.away_days,
    })))
}
