//! The event log, as JSON.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_atproto::admin;
use ues_repo::repo::event::LogEvent;
use ues_repo::syntax::{AtIdentifier, Did};

use super::Desk;
use super::answer::{Answer, Refusal};

/// What to show.
#[derive(Deserialize)]
pub struct Wanted {
    account: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// `GET log?account&after&limit`: the events after a number, or without one the last events.
///
/// `next` is there when the log goes on behind the answer. Looking for one account's events reads the log through.
pub async fn log(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Answer {
    let limit = wanted.limit.unwrap_or(50).clamp(1, 500);
    let did = match &wanted.account {
        None => None,
        Some(name) => Some(desk.did(name)?),
    };
    let read = move || match wanted.after {
        Some(after) => desk.after(after, limit, did.as_ref()),
        None => desk.last(limit, did.as_ref()),
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(Refusal::internal)?
        .map(Json)
}

impl Desk {
    pub(super) fn did(&self, name: &str) -> Result<Did, Refusal> {
        let unknown = || Refusal::not_found(format!("there is no account {name}"));
        let id = AtIdentifier::parse(name).map_err(|_| unknown())?;
        // A DID is taken as it is: the log knows accounts that are gone.
        if let Some(did) = id.did() {
            return Ok(did.clone());
        }
        let account = self
            .ctx
            .accounts
            .by_identifier(&id)
            .map_err(Refusal::internal)?;
        account.map(|a| a.did.clone()).ok_or_else(unknown)
    }

    fn after(&self, after: u64, limit: usize, did: Option<&Did>) -> Result<Value, Refusal> {
        let (mut events, mut at) = (Vec::new(), after);
        loop {
            let piece = admin::events_after(&self.ctx, at)?;
            if piece.is_empty() {
                return Ok(json!({ "events": events }));
            }
            for (seq, event) in piece {
                at = seq;
                if did.is_none_or(|did| event.did() == did) {
                    events.push(show(seq, &event));
                    if events.len() == limit {
                        return Ok(json!({ "events": events, "next": at }));
                    }
                }
            }
        }
    }

    /// The last events.
    fn last(&self, limit: usize, did: Option<&Did>) -> Result<Value, Refusal> {
        let events = admin::last_events(&self.ctx, None, limit, did)?;
        let events: Vec<_> = events
            .iter()
            .map(|(seq, event)| show(*seq, event))
            .collect();
        Ok(json!({ "events": events }))
    }
}

fn show(seq: u64, event: &LogEvent) -> Value {
    let kind = event.kind().name().trim_start_matches('#');
    let mut value = json!({ "seq": seq, "kind": kind, "did": event.did().as_str() });
    match event {
        LogEvent::Commit(commit) => {
            value["time"] = json!(commit.time);
            value["rev"] = json!(commit.rev.as_str());
            value["commit"] = json!(commit.commit.to_string());
            let ops = commit.ops.iter().map(|op| {
                json!({
                    "action": op.action.name(), "path": op.path,
                    "cid": op.cid.map(|c| c.to_string()), "prev": op.prev.map(|c| c.to_string()),
                })
            });
            value["ops"] = ops.collect();
        }
        LogEvent::Sync { rev, time, .. } => {
            value["time"] = json!(time);
            value["rev"] = json!(rev.as_str());
        }
        LogEvent::Identity { handle, time, .. } => {
            value["time"] = json!(time);
            value["status"] = json!(handle.as_ref().map(|h| h.as_str()));
        }
        LogEvent::Account { status, time, .. } => {
            value["time"] = json!(time);
            value["status"] = json!(status.name().unwrap_or("active"));
        }
    }
    value
}
