//! Whose repository a call reads: that of an account here, or the copy of one that lives elsewhere.
//!
//! A copy answers what can be verified by whoever gets it, and the records that follow from it. It is not an account:
//! `listRepos`, `getRepoStatus` and `describeRepo` do not know it, and the event stream does not tell of it.

use http::{HeaderName, HeaderValue};
use ues_access::Reader;
use ues_repo::repo::Repositories;
use ues_repo::repo::layout::Status;
use ues_repo::repo::mirror::Mirror;
use ues_repo::syntax::Did;

use crate::accounts::Account;
use crate::xrpc::{Call, Reply, XrpcError};

use super::sync::visible_account;

/// Says that an answer is from a copy: whose, which revision, and where it came from.
pub const MIRROR_HEADER: HeaderName = HeaderName::from_static("ues-mirror");

/// A repository that the caller may read.
pub struct Readable {
    /// Whose it is.
    pub did: Did,
    /// Where it is read.
    pub repos: Repositories,
    mirror: Option<Mirror>,
}

impl Readable {
    /// The one that the parameter `did` names.
    ///
    /// # Errors
    /// Those that tell why it cannot be seen.
    pub fn of(call: &Call) -> Result<Self, XrpcError> {
        match visible_account(call) {
            Ok(account) => Ok(Self::account(call, &account)),
            Err(refused) if refused.name() == "RepoNotFound" => {
                Self::copy(call, call.params.required("did")?)?.ok_or(refused)
            }
            Err(refused) => Err(refused),
        }
    }

    /// That of an account here.
    pub fn account(call: &Call, account: &Account) -> Self {
        Self {
            did: account.did.clone(),
            repos: call.ctx.repos.clone(),
            mirror: None,
        }
    }

    /// The copy of a DID's repository, if one is here and may be seen.
    ///
    /// # Errors
    /// Those that tell why it cannot be seen.
    pub fn copy(call: &Call, did: &str) -> Result<Option<Self>, XrpcError> {
        let Ok(did) = Did::parse(did) else {
            return Ok(None);
        };
        let mirrors = &call.ctx.mirrors;
        let Some(mirror) = mirrors.get(&did).map_err(XrpcError::internal)? else {
            return Ok(None);
        };
        let head = mirrors.repos().head(&did).map_err(XrpcError::internal)?;
        if head.is_none() {
            return Ok(None);
        }
        let rules = &call.ctx.read_rules;
        if !rules.may_read(did.as_str(), Reader::Stranger)
            && !call.caller.is_self_or_admin(did.as_str())
        {
            return Ok(None);
        }
        if let Some(status) = mirror.status.as_deref()
            && !call.caller.is_self_or_admin(did.as_str())
        {
            let name = match Status::from_name(status) {
                Some(Status::Takendown) => "RepoTakendown",
                Some(Status::Suspended) => "RepoSuspended",
                Some(Status::Deleted) => return Ok(None),
                _ => "RepoDeactivated",
            };
            let message = format!("Repo has been {status} where it lives: {did}");
            return Err(XrpcError::named(name, message));
        }
        Ok(Some(Self {
            did,
            repos: mirrors.repos().clone(),
            mirror: Some(mirror),
        }))
    }

    /// An answer that says where it is from.
    pub fn told(&self, reply: Reply) -> Reply {
        let Some(mirror) = &self.mirror else {
            return reply;
        };
        let head = self.repos.head(&self.did).ok().flatten();
        let rev = head.map(|head| head.rev.to_string()).unwrap_or_default();
        let source = mirror.source.as_deref().unwrap_or_default();
        let checked = mirror.checked_ms.unwrap_or_default();
        let text = format!("{}; rev={rev}; from={source}; checked={checked}", self.did);
        match HeaderValue::try_from(text) {
            Ok(text) => reply.with_header(MIRROR_HEADER, text),
            Err(_) => reply,
        }
    }
}
