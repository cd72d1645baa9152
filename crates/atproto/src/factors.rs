//! Second factors of accounts: asked for at sign-ins; switched on and off with a letter to the owner.

use ues_storage::Batch;
use zeroize::Zeroizing;

use crate::accounts::{Account, Made, Purpose};
use crate::context::Context;
use crate::lifecycle::note;
use crate::mail::Notice;
use crate::methods::{send_token, take_token};
use crate::moderation::Act;
use crate::xrpc::XrpcError;

/// What an authenticator has to know.
pub struct Secret {
    /// In base 32, for typing.
    pub text: Zeroizing<String>,
    /// As an `otpauth` address, for scanning.
    pub uri: Zeroizing<String>,
}

/// Asks for the code that an account wants besides its password: of its authenticator, or a recovery
/// code; else one by mail. `spend` counts the try.
///
/// # Errors
/// `AuthFactorTokenRequired` when there must be one, `InvalidToken` when it is wrong.
pub async fn check(
    ctx: &Context,
    account: &Account,
    given: Option<&str>,
    spend: impl FnOnce() -> Result<(), XrpcError>,
) -> Result<(), XrpcError> {
    let did = &account.did;
    let totp = ctx.totps.is_on(did).map_err(XrpcError::internal)?;
    let mail = account.email_factor && account.email.is_some();
    if !totp && !mail {
        return Ok(());
    }
    spend()?;
    let wanted = |message| Err(XrpcError::auth_named("AuthFactorTokenRequired", message));
    let Some(given) = given.filter(|token| !token.is_empty()) else {
        if totp {
            return wanted("A code of your authenticator is required");
        }
        send_token(ctx, account, Purpose::SignIn).await?;
        return wanted("A sign in code has been sent to your email address");
    };
    let _turn = ctx.accounts.turn(did).await;
    let mut batch = ctx.store.batch();
    if totp {
        take(ctx, &mut batch, account, given)?;
    } else {
        take_token(ctx, &mut batch, did, Purpose::SignIn, given)?;
    }
    commit(ctx, batch).await
}

/// Uses a code of the authenticator, or a recovery code, up in `batch`.
fn take(ctx: &Context, batch: &mut Batch, account: &Account, given: &str) -> Result<(), XrpcError> {
    let (did, seal) = (&account.did, &ctx.seal);
    let by_clock = ctx.totps.take(batch, seal, did, given, ctx.now_ms());
    if by_clock.map_err(XrpcError::internal)? {
        return Ok(());
    }
    let from_paper = ctx.recovery.take(batch, seal, did, given);
    match from_paper.map_err(XrpcError::internal)? {
        Some(left) => tell(ctx, batch, account, &Notice::RecoveryCodeUsed { left }),
        None => Err(XrpcError::named("InvalidToken", "Token is invalid")),
    }
}

/// Makes a secret for an account's authenticator. It is asked for once it is [confirmed](confirm).
///
/// # Errors
/// When one is asked for already, or nothing can be written.
pub async fn begin(
    ctx: &Context,
    account: &Account,
    act: Option<Act>,
) -> Result<Secret, XrpcError> {
    let _turn = ctx.accounts.turn(&account.did).await;
    let mut batch = ctx.store.batch();
    let made = ctx.totps.make(&mut batch, &ctx.seal, &account.did);
    let Made::Secret(text) = made.map_err(XrpcError::internal)? else {
        return Err(is_on());
    };
    note(ctx, &mut batch, act);
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Ok(secret(ctx, account, text))
}

/// The secret that waits to be confirmed.
///
/// # Errors
/// When it cannot be read.
pub fn waiting(ctx: &Context, account: &Account) -> Result<Option<Secret>, XrpcError> {
    let text = ctx.totps.waiting(&ctx.seal, &account.did);
    let text = text.map_err(XrpcError::internal)?;
    Ok(text.map(|text| secret(ctx, account, text)))
}

/// Has sign-ins ask for codes from now on, if this is one. Gives the recovery codes, which are told only now.
///
/// # Errors
/// `InvalidToken` when it is not; when codes are asked for already, or nothing can be written.
pub async fn confirm(
    ctx: &Context,
    account: &Account,
    code: &str,
    act: Option<Act>,
) -> Result<Vec<String>, XrpcError> {
    let did = &account.did;
    let _turn = ctx.accounts.turn(did).await;
    if ctx.totps.is_on(did).map_err(XrpcError::internal)? {
        return Err(is_on());
    }
    let mut batch = ctx.store.batch();
    let good = ctx
        .totps
        .take(&mut batch, &ctx.seal, did, code, ctx.now_ms());
    if !good.map_err(XrpcError::internal)? {
        let message = "This is not the code that the authenticator shows now";
        return Err(XrpcError::named("InvalidToken", message));
    }
    let codes = ctx.recovery.make(&mut batch, &ctx.seal, did);
    tell(ctx, &mut batch, account, &Notice::AuthenticatorOn)?;
    note(ctx, &mut batch, act);
    commit(ctx, batch).await?;
    codes.map_err(XrpcError::internal)
}

/// Removes an account's authenticator and its recovery codes.
///
/// # Errors
/// When nothing can be written.
pub async fn remove(ctx: &Context, account: &Account, act: Option<Act>) -> Result<(), XrpcError> {
    let did = &account.did;
    let _turn = ctx.accounts.turn(did).await;
    let mut batch = ctx.store.batch();
    if ctx.totps.is_on(did).map_err(XrpcError::internal)? {
        tell(ctx, &mut batch, account, &Notice::AuthenticatorOff)?;
    }
    ctx.totps.remove(&mut batch, did);
    ctx.recovery.remove(&mut batch, did);
    note(ctx, &mut batch, act);
    commit(ctx, batch).await
}

/// Makes new recovery codes, which are told only now; the earlier ones are void.
///
/// # Errors
/// When no authenticator is asked for, or nothing can be written.
pub async fn new_codes(
    ctx: &Context,
    account: &Account,
    act: Option<Act>,
) -> Result<Vec<String>, XrpcError> {
    let did = &account.did;
    let _turn = ctx.accounts.turn(did).await;
    if !ctx.totps.is_on(did).map_err(XrpcError::internal)? {
        let message = "Recovery codes stand in for an authenticator, and this account has none";
        return Err(XrpcError::invalid(message));
    }
    let mut batch = ctx.store.batch();
    let codes = ctx.recovery.make(&mut batch, &ctx.seal, did);
    let codes = codes.map_err(XrpcError::internal)?;
    tell(ctx, &mut batch, account, &Notice::NewRecoveryCodes)?;
    note(ctx, &mut batch, act);
    commit(ctx, batch).await?;
    Ok(codes)
}

/// Puts a letter to an account's owner into `batch`, if they have an address.
pub(crate) fn tell(
    ctx: &Context,
    batch: &mut Batch,
    account: &Account,
    notice: &Notice,
) -> Result<(), XrpcError> {
    let Some(email) = &account.email else {
        return Ok(());
    };
    let letter = notice.letter(email, account.handle.as_str(), ctx.config.endpoint());
    ctx.outbox
        .put(batch, &ctx.seal, &letter, ctx.now_ms())
        .map_err(XrpcError::internal)?;
    Ok(())
}

/// Commits, and has letters sent.
pub(crate) async fn commit(ctx: &Context, batch: Batch) -> Result<(), XrpcError> {
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.outbox.committed();
    Ok(())
}

fn is_on() -> XrpcError {
    XrpcError::invalid("Sign-ins ask for the codes of an authenticator already: remove it first")
}

/// A secret as authenticators take it
/// (<https://github.com/google/google-authenticator/wiki/Key-Uri-Format>).
fn secret(ctx: &Context, account: &Account, text: Zeroizing<String>) -> Secret {
    let encoded = |text: &str| {
        let bytes = form_urlencoded::byte_serialize(text.as_bytes());
        bytes.collect::<String>()
    };
    let host = encoded(ctx.config.hostname());
    let handle = encoded(account.handle.as_str());
    let uri = format!(
        "otpauth://totp/{host}:{handle}?secret={}&issuer={host}",
        text.as_str()
    );
    Secret {
        text,
        uri: Zeroizing::new(uri),
    }
}
