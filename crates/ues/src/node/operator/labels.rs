//! Labels that the node makes.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::json;
use ues_atproto::{Draft, admin};

use super::Desk;
use super::accounts::actor;
use super::answer::{Answer, Refusal};

/// Most labels of one answer.
const MAX_LABELS: usize = 1000;

/// Which labels: after a number, of subjects that fit.
#[derive(Deserialize)]
pub struct Wanted {
    pattern: Option<String>,
    after: Option<u64>,
}

/// A label to be made or taken back.
#[derive(Deserialize)]
pub struct Wish {
    uri: String,
    val: String,
    cid: Option<String>,
    exp: Option<String>,
    #[serde(default)]
    neg: bool,
}

/// `GET labels?pattern&after`: the labels that hold, oldest first. `next` is there when there may be more.
pub async fn list(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Answer {
    let labels = &desk.ctx.labels;
    let pattern = wanted.pattern.as_deref().unwrap_or("*");
    let (after, now) = (wanted.after.unwrap_or_default(), desk.ctx.now_ms());
    let found = labels.query(&[pattern], &[], after, MAX_LABELS, now);
    let found = found.map_err(Refusal::internal)?;
    let shown: Vec<_> = found.iter().map(|(_, label)| label.json()).collect();
    let mut answer = json!({ "labels": shown });
    if let Some((last, _)) = found.last().filter(|_| found.len() == MAX_LABELS) {
        answer["next"] = (*last).into();
    }
    Ok(Json(answer))
}

/// `POST label {uri, val, cid?, exp?, neg?}`.
pub async fn put(State(desk): State<Desk>, Json(wish): Json<Wish>) -> Answer {
    let draft = Draft {
        uri: wish.uri,
        cid: wish.cid,
        val: wish.val,
        exp: wish.exp,
    };
    let (seq, label) = admin::put_label(&desk.ctx, &actor(), draft, wish.neg).await?;
    Ok(Json(json!({ "seq": seq, "label": label.json() })))
}

/// `GET labeler`: what the document of the labeler's DID has to say.
pub async fn labeler(State(desk): State<Desk>) -> Answer {
    let labeler = &desk.ctx.labels.labeler;
    Ok(Json(json!({
        "did": labeler.did,
        "verificationMethods": { "atproto_label": labeler.key.did_key() },
        "services": { "atproto_labeler": {
            "type": "AtprotoLabeler", "endpoint": desk.ctx.config.endpoint(),
        } },
        "published": labeler.did == desk.ctx.service_did,
    })))
}
