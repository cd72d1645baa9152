//! `com.atproto.repo`: the methods that write records.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use ues_data::{Cid, parse_cid};
use ues_oauth::Action;
use ues_repo::lexicon::ValidationStatus;
use ues_repo::repo::write::{CommitMeta, Outcome, RecordPath, Write, WriteKind};
use ues_repo::syntax::{AtIdentifier, Did, Nsid, RecordKey};

use crate::accounts::Account;
use crate::limits::{WRITES_DAY, WRITES_HOUR};
use crate::oauth::permit_writes;
use crate::quota::room_for_records;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError, check_live};

use super::prepare::{Draft, Prepared, prepare, write_error};

/// Most writes of one call.
const MAX_WRITES: usize = 200;
const CREATE_POINTS: u32 = 3;
const UPDATE_POINTS: u32 = 2;
const DELETE_POINTS: u32 = 1;

/// The methods of this file.
pub fn methods(record_json: u64) -> [Method; 4] {
    // The account is looked at by the handlers, which must find it by its handle anyway.
    let auth = Auth::Session;
    [
        Method::new("com.atproto.repo.createRecord", auth, create_record).body_limit(record_json),
        Method::new("com.atproto.repo.putRecord", auth, put_record).body_limit(record_json),
        Method::new("com.atproto.repo.deleteRecord", auth, delete_record),
        Method::new("com.atproto.repo.applyWrites", auth, apply_writes).body_limit(record_json),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateInput {
    repo: String,
    collection: String,
    rkey: Option<String>,
    validate: Option<bool>,
    record: Value,
    swap_commit: Option<String>,
}

async fn create_record(mut call: Call) -> Result<Reply, XrpcError> {
    let input: CreateInput = call.take_input()?;
    permit_writes(call.session()?, [(&*input.collection, Action::Create)])?;
    let account = own_account(&call, &input.repo)?;
    spend(&call, CREATE_POINTS)?;
    let did = &account.did;
    let swap_commit = cid(input.swap_commit)?;
    let draft = Draft {
        collection: input.collection,
        rkey: input.rkey,
        record: input.record,
        validate: input.validate,
    };
    let prepared = prepare(&call.ctx, did, draft)?;
    let mut answer = Answer::new(did, &prepared);
    // As the official server has it: who does not want validation gets the record beside the older ones.
    let kind = match input.validate {
        Some(false) => WriteKind::Create,
        _ => WriteKind::CreateReplacing,
    };
    let write = write(prepared, kind, None);
    let room = room_for_records(&call.ctx, did)?;
    let applied = call
        .ctx
        .repos
        .apply_writes_within(did, vec![write], swap_commit, room)
        .await
        .map_err(write_error)?;
    answer.commit(applied.commit.as_ref());
    Ok(answer.reply())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutInput {
    repo: String,
    collection: String,
    rkey: String,
    validate: Option<bool>,
    record: Value,
    /// Absent: whatever is there. Null: only if there is nothing.
    #[serde(default, deserialize_with = "present")]
    swap_record: Option<Option<String>>,
    swap_commit: Option<String>,
}

async fn put_record(mut call: Call) -> Result<Reply, XrpcError> {
    let input: PutInput = call.take_input()?;
    let collection = &*input.collection;
    let both = [(collection, Action::Create), (collection, Action::Update)];
    permit_writes(call.session()?, both)?;
    let account = own_account(&call, &input.repo)?;
    spend(&call, UPDATE_POINTS)?;
    let did = &account.did;
    let swap_commit = cid(input.swap_commit)?;
    let swap = match input.swap_record {
        None => None,
        Some(expected) => Some(cid(expected)?),
    };
    let draft = Draft {
        collection: input.collection,
        rkey: Some(input.rkey),
        record: input.record,
        validate: input.validate,
    };
    let prepared = prepare(&call.ctx, did, draft)?;
    let mut answer = Answer::new(did, &prepared);
    let write = write(prepared, WriteKind::Put, swap);
    let room = room_for_records(&call.ctx, did)?;
    let applied = call
        .ctx
        .repos
        .apply_writes_within(did, vec![write], swap_commit, room)
        .await
        .map_err(write_error)?;
    answer.commit(applied.commit.as_ref());
    Ok(answer.reply())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteInput {
    repo: String,
    collection: String,
    rkey: String,
    swap_record: Option<String>,
    swap_commit: Option<String>,
}

async fn delete_record(mut call: Call) -> Result<Reply, XrpcError> {
    let input: DeleteInput = call.take_input()?;
    permit_writes(call.session()?, [(&*input.collection, Action::Delete)])?;
    let account = own_account(&call, &input.repo)?;
    spend(&call, DELETE_POINTS)?;
    let swap_commit = cid(input.swap_commit)?;
    let swap = cid(input.swap_record)?.map(Some);
    let path = path(&input.collection, &input.rkey)?;
    let write = Write {
        path,
        kind: WriteKind::DeleteIfPresent,
        record: None,
        swap,
    };
    let applied = call
        .ctx
        .repos
        .apply_writes(&account.did, vec![write], swap_commit)
        .await
        .map_err(write_error)?;
    match applied.commit {
        Some(commit) => Reply::json(&json!({ "commit": commit_json(&commit) })),
        None => Reply::json(&json!({})),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApplyInput {
    repo: String,
    validate: Option<bool>,
    writes: Vec<WriteInput>,
    swap_commit: Option<String>,
}

#[derive(Deserialize)]
struct WriteInput {
    #[serde(rename = "$type")]
    action: String,
    collection: String,
    rkey: Option<String>,
    value: Option<Value>,
}

impl WriteInput {
    fn kind(&self) -> Result<WriteKind, XrpcError> {
        match self.action.strip_prefix("com.atproto.repo.applyWrites#") {
            Some("create") => Ok(WriteKind::Create),
            Some("update") => Ok(WriteKind::Update),
            Some("delete") => Ok(WriteKind::Delete),
            _ => Err(XrpcError::invalid(format!(
                "Action not supported: {}",
                self.action
            ))),
        }
    }
}

async fn apply_writes(mut call: Call) -> Result<Reply, XrpcError> {
    let input: ApplyInput = call.take_input()?;
    let kinds: Vec<WriteKind> = input
        .writes
        .iter()
        .map(WriteInput::kind)
        .collect::<Result<_, _>>()?;
    let asked = input.writes.iter().zip(&kinds).map(|(item, kind)| {
        let action = match kind {
            WriteKind::Create => Action::Create,
            WriteKind::Delete => Action::Delete,
            _ => Action::Update,
        };
        (item.collection.as_str(), action)
    });
    permit_writes(call.session()?, asked)?;
    let points = kinds.iter().map(|kind| match kind {
        WriteKind::Create => CREATE_POINTS,
        WriteKind::Update => UPDATE_POINTS,
        _ => DELETE_POINTS,
    });
    spend(&call, points.sum())?;
    let account = own_account(&call, &input.repo)?;
    let did = &account.did;
    if input.writes.len() > MAX_WRITES {
        return Err(XrpcError::invalid(format!(
            "Too many writes. Max: {MAX_WRITES}"
        )));
    }
    let swap_commit = cid(input.swap_commit)?;
    let mut writes = Vec::with_capacity(kinds.len());
    let mut answers = Vec::with_capacity(kinds.len());
    for (item, kind) in input.writes.into_iter().zip(kinds) {
        if kind == WriteKind::Delete {
            let path = path(&item.collection, item.rkey.as_deref().unwrap_or_default())?;
            answers.push(json!({ "$type": "com.atproto.repo.applyWrites#deleteResult" }));
            writes.push(Write {
                path,
                kind,
                record: None,
                swap: None,
            });
            continue;
        }
        let draft = Draft {
            collection: item.collection,
            rkey: item.rkey,
            record: item.value.unwrap_or_default(),
            validate: input.validate,
        };
        let prepared = prepare(&call.ctx, did, draft)?;
        let name = if kind == WriteKind::Create {
            "createResult"
        } else {
            "updateResult"
        };
        let mut answer = json!({
            "$type": format!("com.atproto.repo.applyWrites#{name}"),
            "uri": format!("at://{did}/{}", prepared.path),
            "cid": prepared.record.cid.to_string(),
        });
        if let (Some(status), Value::Object(map)) = (prepared.status, &mut answer) {
            map.insert("validationStatus".to_owned(), status.as_str().into());
        }
        answers.push(answer);
        writes.push(write(prepared, kind, None));
    }
    let room = room_for_records(&call.ctx, did)?;
    let applied = call
        .ctx
        .repos
        .apply_writes_within(did, writes, swap_commit, room)
        .await
        .map_err(write_error)?;
    debug_assert!(applied.results.len() == answers.len());
    debug_assert!(!applied.results.contains(&Outcome::Unchanged(None)));
    match applied.commit {
        Some(commit) => Reply::json(&json!({ "commit": commit_json(&commit), "results": answers })),
        None => Reply::json(&json!({ "results": answers })),
    }
}

/// The account that `repo` names, which must be the caller's own.
fn own_account(call: &Call, repo: &str) -> Result<Arc<Account>, XrpcError> {
    let did = call.did()?;
    let account = if repo == did.as_str() {
        call.ctx.accounts.by_did(did)
    } else {
        let repo = AtIdentifier::parse(repo).map_err(|e| XrpcError::invalid(e.to_string()))?;
        call.ctx.accounts.by_identifier(&repo)
    };
    let account = check_live(account.map_err(XrpcError::internal)?, true)?;
    if account.did != *did {
        return Err(XrpcError::auth("Authentication Required"));
    }
    Ok(account)
}

fn spend(call: &Call, points: u32) -> Result<(), XrpcError> {
    if call.is_limited() {
        let did = call.did()?.as_str();
        call.spend(WRITES_HOUR, did, points)?;
        call.spend(WRITES_DAY, did, points)?;
    }
    Ok(())
}

fn write(prepared: Prepared, kind: WriteKind, swap: Option<Option<Cid>>) -> Write {
    Write {
        path: prepared.path,
        kind,
        record: Some(prepared.record),
        swap,
    }
}

fn path(collection: &str, rkey: &str) -> Result<RecordPath, XrpcError> {
    let collection = Nsid::parse(collection).map_err(|e| XrpcError::invalid(e.to_string()))?;
    let rkey = RecordKey::parse(rkey).map_err(|e| XrpcError::invalid(e.to_string()))?;
    Ok(RecordPath::new(&collection, &rkey))
}

fn cid(text: Option<String>) -> Result<Option<Cid>, XrpcError> {
    text.map(|text| parse_cid(&text).map_err(|e| XrpcError::invalid(e.to_string())))
        .transpose()
}

fn commit_json(commit: &CommitMeta) -> Value {
    json!({ "cid": commit.cid.to_string(), "rev": commit.rev.as_str() })
}

fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(d).map(Some)
}

/// The answer to a single write. Everything in it is plain ASCII without quotes, so it is put
/// together as text.
struct Answer {
    text: String,
    status: Option<ValidationStatus>,
}

impl Answer {
    fn new(did: &Did, prepared: &Prepared) -> Self {
        let text = format!(
            r#"{{"uri":"at://{did}/{}","cid":"{}""#,
            prepared.path, prepared.record.cid
        );
        Self {
            text,
            status: prepared.status,
        }
    }

    fn commit(&mut self, commit: Option<&CommitMeta>) {
        if let Some(commit) = commit {
            let commit = format!(
                r#","commit":{{"cid":"{}","rev":"{}"}}"#,
                commit.cid,
                commit.rev.as_str()
            );
            self.text.push_str(&commit);
        }
    }

    fn reply(mut self) -> Reply {
        if let Some(status) = self.status {
            self.text
                .push_str(&format!(r#","validationStatus":"{}""#, status.as_str()));
        }
        self.text.push('}');
        Reply::Json(self.text.into_bytes())
    }
}
