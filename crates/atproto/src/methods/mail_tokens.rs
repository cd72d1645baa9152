//! Tokens that go out by mail and come back with a call.

use ues_repo::syntax::Did;
use ues_storage::Batch;

use crate::accounts::{Account, MailTokenError, Purpose};
use crate::context::Context;
use crate::lifecycle::note;
use crate::mail::Letter;
use crate::moderation::Act;
use crate::xrpc::XrpcError;

/// Makes a token for the owner of an account and writes the letter that brings it: in one batch.
pub async fn send_token(
    ctx: &Context,
    account: &Account,
    purpose: Purpose,
) -> Result<(), XrpcError> {
    send_token_as(ctx, account, purpose, None).await
}

/// The same; with `act` whoever administers the node has it sent.
pub async fn send_token_as(
    ctx: &Context,
    account: &Account,
    purpose: Purpose,
    act: Option<Act>,
) -> Result<(), XrpcError> {
    let Some(email) = &account.email else {
        return Err(XrpcError::invalid("account does not have an email address"));
    };
    let now = ctx.now_ms();
    let mut batch = ctx.store.batch();
    let token = ctx
        .mail_tokens
        .make(&mut batch, &ctx.seal, &account.did, purpose, now)
        .map_err(XrpcError::internal)?;
    let handle = account.handle.as_str();
    let letter = Letter::with_token(purpose, email, handle, ctx.config.hostname(), &token);
    ctx.outbox
        .put(&mut batch, &ctx.seal, &letter, now)
        .map_err(XrpcError::internal)?;
    note(ctx, &mut batch, act);
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.outbox.committed();
    Ok(())
}

/// Checks a token; `batch` uses it up.
pub fn take_token(
    ctx: &Context,
    batch: &mut Batch,
    did: &Did,
    purpose: Purpose,
    token: &str,
) -> Result<(), XrpcError> {
    ctx.mail_tokens
        .take(batch, &ctx.seal, did, purpose, token, ctx.now_ms())
        .map_err(token_error)
}

/// What a client is told of a token that is not taken.
pub fn token_error(e: MailTokenError) -> XrpcError {
    match e {
        MailTokenError::Invalid => XrpcError::named("InvalidToken", e.to_string()),
        MailTokenError::Expired => XrpcError::named("ExpiredToken", e.to_string()),
        other => XrpcError::internal(other),
    }
}
