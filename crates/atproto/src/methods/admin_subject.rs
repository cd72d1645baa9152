//! `com.atproto.admin`: how accounts, records and blobs stand, and taking them down.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::Did;

use crate::admin::{Subject, cid, record, set_deactivated, set_takedown};
use crate::context::Context;
use crate::lifecycle;
use crate::moderation::Target;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::admin_act::{actor, did};

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

#[derive(Deserialize)]
struct UpdateInput {
    subject: Value,
    takedown: Option<Applied>,
    deactivated: Option<Applied>,
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
    let actor = actor(&call)?;
    if let Some(takedown) = &input.takedown {
        let reference = takedown.reference.clone();
        set_takedown(ctx, &actor, &subject, takedown.applied, reference).await?;
    }
    if let (Some(deactivated), Subject::Repo(did)) = (&input.deactivated, &subject) {
        set_deactivated(ctx, &actor, did, deactivated.applied).await?;
    }
    if let (None, None, Subject::Repo(did)) = (&input.takedown, &input.deactivated, &subject) {
        let details = json!({ "announced": true });
        let act = actor.act("updateSubjectStatus", did.as_str(), details);
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
                "subject": { "$type": Subject::BLOB, "did": account, "cid": blob },
                "takedown": standing(ctx, &account, &target)?,
            })
        }
        (_, Some(uri), None) => {
            let (account, path) = record(uri)?;
            here(&account)?.ok_or_else(repo_not_found)?;
            let stored = ctx.repos.get_record(&account, &path);
            let stored = stored.map_err(XrpcError::internal)?.ok_or_else(not_found)?;
            json!({
                "subject": { "$type": Subject::RECORD, "uri": uri, "cid": stored.cid.to_string() },
                "takedown": standing(ctx, &account, &Target::Record(path.to_string()))?,
            })
        }
        (Some(text), None, None) => {
            let account = here(&did(text)?)?.ok_or_else(not_found)?;
            let taken_down = account.status() == Status::Takendown;
            let mut standing = json!({
                "subject": { "$type": Subject::REPO, "did": text },
                "takedown": applied(taken_down, account.takedown.clone()),
                "deactivated": applied(account.is_deactivated(), None),
            });
            // The protocol has no word for it here; whoever does not know the field sees nothing else.
            if let Some(suspension) = &account.suspension {
                standing["suspended"] = applied(true, suspension.reason.clone());
                standing["suspended"]["until"] = json!(suspension.until);
            }
            standing
        }
        (None, None, None) => return Err(XrpcError::invalid("No provided subject")),
    };
    Reply::json(&answer)
}
