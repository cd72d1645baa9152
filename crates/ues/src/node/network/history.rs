//! What the operation log tells: `/admin/v1/record/history`, `/admin/v1/sync/log`.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_data::atproto_json::to_json;
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Datetime;
use ues_sync::clock::{ROOT, WriterId};
use ues_sync::hybrid_time::HybridTime;
use ues_sync::log::{Reason, Replica, Standing, Version};
use ues_sync::operation::Action;
use ues_sync::protocol::Copy;
use ues_sync::store::StoredCopy;

use super::app::{Desk, invalid};
use crate::node::operator::{Answer, Refusal};

#[derive(Deserialize)]
pub(super) struct Which {
    account: String,
    collection: String,
    rkey: String,
}

#[derive(Deserialize)]
pub(super) struct Page {
    account: String,
    limit: Option<usize>,
}

/// `GET record/history?account&collection&rkey`: all versions of a record that the log has.
pub(super) async fn history(State(desk): State<Desk>, Query(which): Query<Which>) -> Answer {
    let account = desk.account(&which.account)?;
    let path = RecordPath::parse(&format!("{}/{}", which.collection, which.rkey));
    let path = path.map_err(invalid)?;
    let copy = desk.network.0.replicas.copy(&account.did);
    let handle = account.handle.to_string();
    let work = move || {
        let replica = log_of(&copy, &handle)?;
        let versions = replica.history(copy.rows(), &path);
        let mut out = Vec::new();
        for version in versions.map_err(Refusal::internal)? {
            out.push(show_version(replica, &copy, &version)?);
        }
        let began = replica.floor();
        let mut answer = json!({ "path": path.as_str(), "versions": out, "beginsAt": began });
        if out.iter().any(|version| version["standing"] == "merged") {
            answer["record"] = show_record(&copy, &path)?;
        }
        Ok(answer)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Refusal::internal)?
        .map(Json)
}

/// `GET sync/log?account&limit`: the last operations of all devices, by time, and how each stands.
pub(super) async fn log(State(desk): State<Desk>, Query(page): Query<Page>) -> Answer {
    let account = desk.account(&page.account)?;
    let limit = page.limit.unwrap_or(20).clamp(1, 10_000);
    let copy = desk.network.0.replicas.copy(&account.did);
    let handle = account.handle.to_string();
    let work = move || {
        let replica = log_of(&copy, &handle)?;
        let recent = replica.recent(copy.rows(), limit);
        let mut out = Vec::new();
        for (operation, standing) in recent.map_err(Refusal::internal)? {
            let payload = &operation.payload;
            let mut value = json!({
                "writer": payload.writer, "seq": payload.seq, "device": name_of(replica, payload.writer),
                "id": operation.id().to_string(), "time": time_of(payload.time), "action": payload.action.name(),
                "path": payload.action.target().map(|path| path.as_str()),
                "cid": payload.action.value().map(ToString::to_string),
            });
            if let Action::Grant { name, .. } = &payload.action {
                value["name"] = json!(name);
            }
            if let Action::Revoke { writer, .. } = &payload.action {
                value["name"] = json!(name_of(replica, *writer));
            }
            if let Some(standing) = &standing {
                add_standing(replica, &mut value, standing);
            }
            out.push(value);
        }
        Ok(json!({ "operations": out, "beginsAt": replica.floor() }))
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Refusal::internal)?
        .map(Json)
}

fn log_of<'a>(copy: &'a StoredCopy, handle: &str) -> Result<&'a Replica, Refusal> {
    copy.replica().ok_or_else(|| {
        Refusal::invalid(format!(
            "{handle} is on this device alone and has no log of operations: `ues repo log` shows its commits"
        ))
    })
}

/// The record that several versions make together.
fn show_record(copy: &StoredCopy, path: &RecordPath) -> Result<Value, Refusal> {
    let cid = copy
        .rows()
        .record(path.as_str())
        .map_err(Refusal::internal)?;
    let Some(cid) = cid else {
        return Ok(Value::Null);
    };
    let mut value = json!({ "cid": cid.to_string() });
    if let Some(bytes) = copy.block(&cid).map_err(Refusal::internal)? {
        let record = ues_data::dag_cbor::decode(&bytes).map_err(Refusal::internal)?;
        value["value"] = to_json(&record);
    }
    Ok(value)
}

fn show_version(replica: &Replica, copy: &StoredCopy, version: &Version) -> Result<Value, Refusal> {
    let mut value = json!({
        "writer": version.writer, "seq": version.seq, "device": name_of(replica, version.writer),
        "key": replica.roster().author(version.writer), "id": version.id.to_string(),
        "time": time_of(version.time), "counter": version.time.0 & 0xffff, "action": version.action,
        "cid": version.value.map(|cid| cid.to_string()),
    });
    if let Some(cid) = &version.value
        && let Some(bytes) = copy.block(cid).map_err(Refusal::internal)?
    {
        let record = ues_data::dag_cbor::decode(&bytes).map_err(Refusal::internal)?;
        value["value"] = to_json(&record);
    }
    add_standing(replica, &mut value, &version.standing);
    Ok(value)
}

fn add_standing(replica: &Replica, value: &mut Value, standing: &Standing) {
    let name = |(writer, seq): (WriterId, u64)| json!({ "writer": writer, "seq": seq, "device": name_of(replica, writer) });
    match standing {
        Standing::Won { over, with } => {
            value["standing"] = json!("won");
            value["with"] = with.iter().copied().map(name).collect();
            let over = over.iter().map(|(writer, seq, reason)| {
                let mut lost = name((*writer, *seq));
                lost["because"] = json!(word(*reason));
                lost
            });
            value["over"] = over.collect();
        }
        Standing::Lost { to, because } => {
            value["standing"] = json!("lost");
            value["to"] = name(*to);
            value["because"] = json!(word(*because));
        }
        Standing::Merged { into, because } => {
            value["standing"] = json!("merged");
            value["into"] = name(*into);
            value["because"] = json!(word(*because));
        }
        Standing::Replaced { by } => {
            value["standing"] = json!("replaced");
            value["by"] = by.map(name).unwrap_or(Value::Null);
        }
    }
}

fn time_of(time: HybridTime) -> String {
    let millis = i64::try_from(time.ms()).unwrap_or(i64::MAX);
    Datetime::from_unix_millis(millis).as_str().to_owned()
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Record => "record",
        Reason::Later => "time",
        Reason::Author => "author",
        Reason::Name => "id",
    }
}

fn name_of(replica: &Replica, writer: WriterId) -> &str {
    match writer {
        ROOT => "root",
        writer => replica.roster().get(writer).map_or("?", |w| &w.name),
    }
}
