//! Letters to owners that whoever administers the node has sent, or sent again.

use serde_json::{Value, json};
use ues_repo::syntax::Did;

use super::Actor;
use crate::accounts::Purpose;
use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::mail::{Again, Mail};
use crate::methods::send_token_as;
use crate::xrpc::XrpcError;

/// A letter with its text, which is gone once it was sent; `None`: there is no such letter. It may hold a code that was
/// meant for the owner of an account, so that reading it is written down.
///
/// # Errors
/// When it cannot be read, or nothing can be written.
pub async fn read_letter(
    ctx: &Context,
    actor: &Actor,
    id: u64,
) -> Result<Option<(Mail, Option<String>)>, XrpcError> {
    let found = ctx.outbox.get(&ctx.seal, id);
    let Some((mail, text)) = found.map_err(XrpcError::internal)? else {
        return Ok(None);
    };
    let act = actor.act("readMail", format!("letter {id}"), json!({ "to": mail.to }));
    let mut batch = ctx.store.batch();
    note(ctx, &mut batch, Some(act));
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Ok(Some((mail, text)))
}

/// Has a letter that was not sent tried again at once, as often as a new one.
///
/// # Errors
/// When there is no such letter, it was sent, or nothing can be written.
pub async fn send_again(ctx: &Context, actor: &Actor, id: u64) -> Result<(), XrpcError> {
    let mut batch = ctx.store.batch();
    let again = ctx.outbox.again(&mut batch, id, ctx.now_ms());
    match again.map_err(XrpcError::internal)? {
        Again::Missing => {
            let message = format!("there is no letter {id}");
            return Err(XrpcError::named("NotFound", message));
        }
        Again::Sent => {
            let message = format!("letter {id} was sent, and its text is gone");
            return Err(XrpcError::invalid(message));
        }
        Again::Waits { to } => {
            let act = actor.act("sendMailAgain", format!("letter {id}"), json!({ "to": to }));
            note(ctx, &mut batch, Some(act));
        }
    }
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.outbox.committed();
    Ok(())
}

/// Writes the owner of an account the letter by which they set a new password.
///
/// # Errors
/// When there is no such account, it has no address, or nothing can be written.
pub async fn send_password_reset(ctx: &Context, actor: &Actor, did: &Did) -> Result<(), XrpcError> {
    let account = lifecycle::account(ctx, did)?;
    let account = account.ok_or_else(|| XrpcError::invalid("Account not found"))?;
    let act = actor.act("requestPasswordReset", did.as_str(), Value::Null);
    send_token_as(ctx, &account, Purpose::ResetPassword, Some(act)).await
}
