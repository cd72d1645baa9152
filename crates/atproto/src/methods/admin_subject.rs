//! `com.atproto.admin`: how accounts, records and blobs stand, and taking them down.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_data::{Cid, parse_cid};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::{AtUri, Datetime, Did};

use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::moderation::Target;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::admin_act::{act, did};

const REPO: &str = "com.atproto.admin.defs#repoRef";
const RECORD: &str = "com.atproto.repo.strongRef";
const BLOB: &str = "com.atproto.admin.defs#repoBlobRef";

/// The methods of this file.
pub fn methods() -> [Method; 2] {
    [
        Method::new(
            "com.atproto.admin.getSubjectStatus",
            Auth::Moderator,
            get_status,
        ),
        Method::new(
            "com.atproto.admin.updateSubjectStatus",
            Auth::Moderator,
            update_status,
        ),
    ]
}

#[derive(Clone, Deserialize)]
struct Applied {
    applied: bool,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

impl Applied {
    /// The reference of a takedown; the time where none is given.
    fn reason(&self) -> Option<String> {
        let reference = self.reference.clone();
        self.applied
            .then(|| reference.unwrap_or_else(|| Datetime::now().to_string()))
    }
}

#[derive(Deserialize)]
struct UpdateInput {
    subject: Value,
    takedown: Option<Applied>,
    deactivated: Option<Applied>,
}

/// What is moderated.
enum Subject {
    Repo(Did),
    Record(Did, RecordPath),
    Blob(Did, Cid),
    Other(String),
}

impl Subject {
    fn of(value: &Value) -> Result<Self, XrpcError> {
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        Ok(match text("$type") {
            REPO => Self::Repo(did(text("did"))?),
            RECORD => {
                let (did, path) = record(text("uri"))?;
                Self::Record(did, path)
            }
            BLOB => Self::Blob(did(text("did"))?, cid(text("cid"))?),
            other => Self::Other(other.to_owned()),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Repo(did) => did.to_string(),
            Self::Record(did, path) => format!("at://{did}/{path}"),
            Self::Blob(did, cid) => format!("{did} {cid}"),
            Self::Other(kind) => kind.clone(),
        }
    }
}

fn cid(text: &str) -> Result<Cid, XrpcError> {
    parse_cid(text).map_err(|e| XrpcError::invalid(e.to_string()))
}

fn record(uri: &str) -> Result<(Did, RecordPath), XrpcError> {
    let invalid = |e: &dyn std::fmt::Display| XrpcError::invalid(e.to_string());
    AtUri::parse(uri).map_err(|e| invalid(&e))?;
    let rest = uri.strip_prefix("at://").unwrap_or(uri);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split(['#', '?']).next().unwrap_or(path);
    let path = RecordPath::parse(path).map_err(|e| invalid(&e))?;
    Ok((did(authority)?, path))
}

async fn update_status(mut call: Call) -> Result<Reply, XrpcError> {
    let input: UpdateInput = call.take_input()?;
    let taking_down = input.takedown.as_ref().is_some_and(|t| t.applied);
    if taking_down && input.deactivated.as_ref().is_some_and(|d| !d.applied) {
        return Err(XrpcError::invalid(
            "Cannot activate and takedown an account at the same time",
        ));
    }
    let subject = Subject::of(&input.subject)?;
    let ctx = &call.ctx;
    let act = |details: Value| act(&call, "updateSubjectStatus", subject.name(), details);
    if let Some(takedown) = &input.takedown {
        let reason = takedown.reason();
        let act = act(json!({ "takedown": takedown.applied, "ref": reason }))?;
        let (did, target) = match &subject {
            Subject::Repo(did) => (did, None),
            Subject::Record(did, path) => (did, Some(Target::Record(path.to_string()))),
            Subject::Blob(did, cid) => (did, Some(Target::Blob(*cid))),
            Subject::Other(kind) => {
                return Err(XrpcError::invalid(format!("Invalid subject ({kind})")));
            }
        };
        match target {
            None => lifecycle::take_down(ctx, did, reason, Some(act)).await?,
            Some(target) => {
                lifecycle::account(ctx, did)?.ok_or_else(repo_not_found)?;
                let mut batch = ctx.store.batch();
                ctx.takedowns
                    .set(&mut batch, did, &target, reason.as_deref());
                note(ctx, &mut batch, Some(act));
                ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
            }
        }
    }
    if let (Some(deactivated), Subject::Repo(did)) = (&input.deactivated, &subject) {
        let act = Some(act(json!({ "deactivated": deactivated.applied }))?);
        match deactivated.applied {
            true => lifecycle::deactivate(ctx, did, None, act).await?,
            false => lifecycle::activate(ctx, did, true, act).await?,
        }
    }
    if let (None, None, Subject::Repo(did)) = (&input.takedown, &input.deactivated, &subject) {
        let act = act(json!({ "announced": true }))?;
        lifecycle::announce(ctx, did, Some(act)).await?;
    }
    let mut answer = json!({ "subject": input.subject });
    if let Some(takedown) = &input.takedown {
        answer["takedown"] = applied(takedown.applied, takedown.reference.clone());
    }
    Reply::json(&answer)
}

fn repo_not_found() -> XrpcError {
    XrpcError::named("NotFound", "Repo not found")
}

fn applied(applied: bool, reference: Option<String>) -> Value {
    match reference {
        Some(reference) => json!({ "applied": applied, "ref": reference }),
        None => json!({ "applied": applied }),
    }
}

/// How a record or blob stands.
fn standing(ctx: &Context, did: &Did, target: &Target) -> Result<Value, XrpcError> {
    let reference = ctx.takedowns.get(did, target);
    let reference = reference.map_err(XrpcError::internal)?;
    Ok(applied(reference.is_some(), reference))
}

async fn get_status(call: Call) -> Result<Reply, XrpcError> {
    let params = &call.params;
    let ctx = &call.ctx;
    let here = |did: &Did| lifecycle::account(ctx, did);
    let not_found = || XrpcError::named("NotFound", "Subject not found");
    let answer = match (params.text("did"), params.text("uri"), params.text("blob")) {
        (None, _, Some(_)) => {
            return Err(XrpcError::invalid(
                "Must provide a did to request blob state",
            ));
        }
        (Some(account), _, Some(blob)) => {
            let (account, cid) = (did(account)?, cid(blob)?);
            here(&account)?.ok_or_else(repo_not_found)?;
            let stored = ctx
                .repos
                .blob(&account, &cid)
                .map_err(XrpcError::internal)?;
            let target = Target::Blob(cid);
            let known = ctx.takedowns.get(&account, &target);
            if stored.is_none() && known.map_err(XrpcError::internal)?.is_none() {
                return Err(not_found());
            }
            json!({
                "subject": { "$type": BLOB, "did": account, "cid": blob },
                "takedown": standing(ctx, &account, &target)?,
            })
        }
        (_, Some(uri), None) => {
            let (account, path) = record(uri)?;
            here(&account)?.ok_or_else(repo_not_found)?;
            let stored = ctx.repos.get_record(&account, &path);
            let stored = stored.map_err(XrpcError::internal)?.ok_or_else(not_found)?;
            json!({
                "subject": { "$type": RECORD, "uri": uri, "cid": stored.cid.to_string() },
                "takedown": standing(ctx, &account, &Target::Record(path.to_string()))?,
            })
        }
        (Some(text), None, None) => {
            let account = here(&did(text)?)?.ok_or_else(not_found)?;
            let held = account.takedown.clone();
            json!({
                "subject": { "$type": REPO, "did": text },
                "takedown": applied(account.is_taken_down(), held),
                "deactivated": applied(account.is_deactivated(), None),
            })
        }
        (None, None, None) => return Err(XrpcError::invalid("No provided subject")),
    };
    Reply::json(&answer)
}
