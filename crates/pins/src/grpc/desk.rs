//! What the handlers work with, and who may call them.

use std::sync::Arc;

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::status::denied;
use crate::Owner;
use crate::auth::{Authenticate, Caller, Credentials};
use crate::intake::Intake;
use crate::service::Pins;

#[derive(Clone)]
pub(super) struct Desk {
    pub(super) pins: Pins,
    pub(super) authenticate: Authenticate,
    pub(super) intake: Option<Arc<dyn Intake>>,
}

impl Desk {
    async fn caller(&self, call: &MetadataMap) -> Result<Caller, Status> {
        let shown = Credentials::of(call.as_ref()).map_err(denied)?;
        (self.authenticate)(shown).await.map_err(denied)
    }

    /// A caller who may read.
    pub(super) async fn reader(&self, call: &MetadataMap) -> Result<Caller, Status> {
        let caller = self.caller(call).await?;
        allowed(caller.reads, "read pins")?;
        Ok(caller)
    }

    /// A caller who may write.
    pub(super) async fn writer(&self, call: &MetadataMap) -> Result<Caller, Status> {
        let caller = self.caller(call).await?;
        allowed(caller.writes, "change pins")?;
        Ok(caller)
    }

    /// Lets in who may see what belongs to everybody.
    pub(super) async fn operator(&self, call: &MetadataMap) -> Result<(), Status> {
        let caller = self.caller(call).await?;
        allowed(caller.operates && caller.reads, "see the workers")
    }

    /// Lets in who may change what belongs to everybody.
    pub(super) async fn operating_writer(&self, call: &MetadataMap) -> Result<(), Status> {
        let caller = self.caller(call).await?;
        allowed(caller.operates && caller.writes, "change the workers")
    }
}

fn allowed(may: bool, what: &str) -> Result<(), Status> {
    if may {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "this API key may not {what}"
    )))
}

/// Whose pins a call is about: the caller's, or those of an owner that an operator names.
pub(super) fn owner_named(caller: &Caller, named: &str) -> Result<Owner, Status> {
    if named.is_empty() || named == caller.owner.as_str() {
        return Ok(caller.owner.clone());
    }
    allowed(caller.operates, "see pins of other owners")?;
    named
        .parse()
        .map_err(|e| Status::invalid_argument(format!("owner: {e}")))
}
