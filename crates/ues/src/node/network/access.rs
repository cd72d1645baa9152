//! The operator's routes for who may read: `/admin/v1/access`.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_access::ReadRule;
use ues_p2p::PeerId;
use ues_repo::syntax::{AtIdentifier, Did};

use super::app::{Desk, invalid};
use crate::node::operator::{Answer, Refusal};

#[derive(Deserialize)]
pub(super) struct Which {
    repo: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Set {
    repo: String,
    rule: String,
    #[serde(default)]
    peers: Vec<String>,
}

/// An account here, or any DID.
fn did(desk: &Desk, name: &str) -> Result<Did, Refusal> {
    match AtIdentifier::parse(name) {
        Ok(AtIdentifier::Did(did)) => Ok(did),
        _ => Ok(desk.account(name)?.did.clone()),
    }
}

fn told(repo: &str, rule: &ReadRule) -> Value {
    match rule {
        ReadRule::Public => json!({ "repo": repo, "rule": "public" }),
        ReadRule::Devices => json!({ "repo": repo, "rule": "devices" }),
        ReadRule::Peers(peers) => json!({ "repo": repo, "rule": "peers", "peers": peers }),
    }
}

/// `GET access?repo`: the rule of a repository, or all that were set.
pub(super) async fn show(State(desk): State<Desk>, Query(which): Query<Which>) -> Answer {
    let rules = &desk.ctx.read_rules;
    let Some(repo) = which.repo else {
        let all = rules.list().map_err(Refusal::internal)?;
        let all: Vec<Value> = all.iter().map(|(repo, rule)| told(repo, rule)).collect();
        return Ok(Json(json!({ "rules": all })));
    };
    let did = did(&desk, &repo)?;
    let rule = rules.get(did.as_str()).map_err(Refusal::internal)?;
    Ok(Json(told(did.as_str(), &rule)))
}

/// `POST access {repo, rule, peers?}`.
pub(super) async fn set(State(desk): State<Desk>, Json(input): Json<Set>) -> Answer {
    let did = did(&desk, &input.repo)?;
    let rule = match (input.rule.as_str(), input.peers.is_empty()) {
        ("public", true) => ReadRule::Public,
        ("devices", true) => ReadRule::Devices,
        ("peers", false) => {
            let peer = |text: String| match text.parse::<PeerId>() {
                Ok(peer) => Ok(peer.to_string()),
                Err(_) => Err(invalid(format!(
                    "a peer's id such as 12D3Koo… expected, found {text:?}: `ues peer addresses` shows it there"
                ))),
            };
            ReadRule::Peers(
                input
                    .peers
                    .into_iter()
                    .map(peer)
                    .collect::<Result<_, _>>()?,
            )
        }
        _ => {
            return Err(invalid(
                "public, devices, or peers with at least one --peer expected",
            ));
        }
    };
    let rules = &desk.ctx.read_rules;
    rules.set(did.as_str(), &rule).await.map_err(invalid)?;
    Ok(Json(told(did.as_str(), &rule)))
}
