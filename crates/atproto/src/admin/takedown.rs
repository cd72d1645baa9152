//! Taking accounts, records and blobs down, and giving them back.

use serde_json::{Value, json};
use ues_data::{Cid, parse_cid};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::{AtUri, Datetime, Did};

use super::Actor;
use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::moderation::Target;
use crate::xrpc::XrpcError;

/// What is moderated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An account.
    Repo(Did),
    /// A record.
    Record(Did, RecordPath),
    /// A blob of an account.
    Blob(Did, Cid),
    /// Something that is not here, by the name of its type.
    Other(String),
}

impl Subject {
    /// Type of an account in calls.
    pub const REPO: &str = "com.atproto.admin.defs#repoRef";
    /// Type of a record in calls.
    pub const RECORD: &str = "com.atproto.repo.strongRef";
    /// Type of a blob in calls.
    pub const BLOB: &str = "com.atproto.admin.defs#repoBlobRef";

    /// The subject as calls and reports name it.
    ///
    /// # Errors
    /// When a part of it is not what it should be.
    pub fn of(value: &Value) -> Result<Self, XrpcError> {
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        Ok(match text("$type") {
            Self::REPO => Self::Repo(did(text("did"))?),
            Self::RECORD => {
                let (did, path) = record(text("uri"))?;
                Self::Record(did, path)
            }
            Self::BLOB => Self::Blob(did(text("did"))?, cid(text("cid"))?),
            other => Self::Other(other.to_owned()),
        })
    }

    /// What it is called in the audit.
    pub fn name(&self) -> String {
        match self {
            Self::Repo(did) => did.to_string(),
            Self::Record(did, path) => format!("at://{did}/{path}"),
            Self::Blob(did, cid) => format!("{did} {cid}"),
            Self::Other(kind) => kind.clone(),
        }
    }

    /// Whose it is.
    pub fn did(&self) -> Option<&Did> {
        match self {
            Self::Repo(did) | Self::Record(did, _) | Self::Blob(did, _) => Some(did),
            Self::Other(_) => None,
        }
    }
}

/// A DID of the input.
fn did(text: &str) -> Result<Did, XrpcError> {
    Did::parse(text).map_err(|e| XrpcError::invalid(e.to_string()))
}

/// A CID of the input.
///
/// # Errors
/// When it is none.
pub fn cid(text: &str) -> Result<Cid, XrpcError> {
    parse_cid(text).map_err(|e| XrpcError::invalid(e.to_string()))
}

/// A record of the input, by its address.
///
/// # Errors
/// When it is no address of a record, or names the account by its handle.
pub fn record(uri: &str) -> Result<(Did, RecordPath), XrpcError> {
    let invalid = |e: &dyn std::fmt::Display| XrpcError::invalid(e.to_string());
    AtUri::parse(uri).map_err(|e| invalid(&e))?;
    let rest = uri.strip_prefix("at://").unwrap_or(uri);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split(['#', '?']).next().unwrap_or(path);
    let path = RecordPath::parse(path).map_err(|e| invalid(&e))?;
    Ok((did(authority)?, path))
}

/// Takes a subject down, with a reference or by default the time, or gives it back.
///
/// # Errors
/// When it is not here, or nothing can be written.
pub async fn set_takedown(
    ctx: &Context,
    actor: &Actor,
    subject: &Subject,
    applied: bool,
    reference: Option<String>,
) -> Result<(), XrpcError> {
    let reason = applied.then(|| reference.unwrap_or_else(|| Datetime::now().to_string()));
    let details = json!({ "takedown": applied, "ref": reason });
    let act = actor.act("updateSubjectStatus", subject.name(), details);
    let (did, target) = match subject {
        Subject::Repo(did) => return lifecycle::take_down(ctx, did, reason, Some(act)).await,
        Subject::Record(did, path) => (did, Target::Record(path.to_string())),
        Subject::Blob(did, cid) => (did, Target::Blob(*cid)),
        Subject::Other(kind) => {
            return Err(XrpcError::invalid(format!("Invalid subject ({kind})")));
        }
    };
    let not_found = || XrpcError::named("NotFound", "Repo not found");
    lifecycle::account(ctx, did)?.ok_or_else(not_found)?;
    let mut batch = ctx.store.batch();
    ctx.takedowns
        .set(&mut batch, did, &target, reason.as_deref());
    note(ctx, &mut batch, Some(act));
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    // Frames that followers share in memory were made before.
    ctx.hub.withhold();
    Ok(())
}

/// Switches an account off as its owner can, or on.
///
/// # Errors
/// When there is no such account, its DID points elsewhere, or nothing can be written.
pub async fn set_deactivated(
    ctx: &Context,
    actor: &Actor,
    did: &Did,
    deactivated: bool,
) -> Result<(), XrpcError> {
    let details = json!({ "deactivated": deactivated });
    let act = Some(actor.act("updateSubjectStatus", did.as_str(), details));
    match deactivated {
        true => lifecycle::deactivate(ctx, did, None, act).await,
        false => lifecycle::activate(ctx, did, true, act).await,
    }
}
