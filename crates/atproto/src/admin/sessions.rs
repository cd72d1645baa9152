//! Ending what is signed in.

use serde_json::json;
use ues_repo::syntax::Did;

use super::Actor;
use crate::context::Context;
use crate::lifecycle;
use crate::xrpc::XrpcError;

/// Ends a session of an account, or without an id all of them, those of applications too.
///
/// # Errors
/// When there is no such session, or nothing can be written.
pub async fn end_sessions(
    ctx: &Context,
    actor: &Actor,
    did: &Did,
    id: Option<&str>,
) -> Result<(), XrpcError> {
    let mut batch = ctx.store.batch();
    let act = actor.act("endSessions", did.as_str(), json!({ "session": id }));
    lifecycle::note(ctx, &mut batch, Some(act));
    match id {
        None => lifecycle::end_sessions(ctx, &mut batch, did)?,
        Some(id) => {
            let found = ctx.sessions.end_by_id(&mut batch, did, id);
            if !found.map_err(XrpcError::internal)? {
                let message = format!("there is no session {id}");
                return Err(XrpcError::named("NotFound", message));
            }
        }
    }
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Ok(())
}
