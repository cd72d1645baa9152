//! Who makes a call.

use std::sync::Arc;

use http::{HeaderMap, header};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::Did;

use crate::accounts::{Account, Claims, Scope, Session, TokenError};
use crate::context::Context;

use super::error::XrpcError;
use super::service_auth::{self, Issuer, is_service_token};

/// What a method wants to know of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody; a caller who says who they are is not listened to.
    Open,
    /// Anybody, but a token must be good if there is one: the owner sees more than others.
    Optional,
    /// A session of an account that was not taken down.
    Session,
    /// A session of an account, of any kind.
    AnySession,
    /// A session that is not one of an account that was taken down.
    Live,
    /// The same, or a token of an account or service elsewhere for this very method.
    LiveOrService,
    /// Anybody, or a token of an account or service elsewhere for this very method.
    OptionalService,
    /// The same as [`Auth::Live`], made with the account's own password.
    Full,
    /// A refresh token.
    Refresh,
    /// A refresh token, even if its time has passed.
    RefreshOrExpired,
}

impl Auth {
    /// Whether the answer depends on who asks.
    pub fn is_personal(self) -> bool {
        self != Self::Open
    }
}

/// The caller, as far as the method wants to know.
#[derive(Clone, Debug, Default)]
pub enum Caller {
    /// Nobody in particular.
    #[default]
    Nobody,
    /// An account with a session.
    Session(Arc<Session>),
    /// A refresh token, its signature checked.
    Refresh(Claims),
    /// An account or service elsewhere, its token checked.
    Service(Issuer),
}

impl Caller {
    /// The account, if there is a session.
    pub fn did(&self) -> Option<&Did> {
        match self {
            Self::Session(session) => Some(&session.did),
            // A service of the DID has a key of its own and is not the account.
            Self::Service(issuer) if issuer.service.is_none() => Some(&issuer.did),
            _ => None,
        }
    }
}

/// Finds out who makes a call of a method, also by the token of another service.
pub async fn identify_any(
    ctx: &Context,
    auth: Auth,
    headers: &HeaderMap,
    nsid: &str,
) -> Result<Caller, XrpcError> {
    let bearer = match auth {
        Auth::LiveOrService | Auth::OptionalService => match scheme(headers)? {
            Some(Scheme::Bearer(token)) => Some(token),
            _ => None,
        },
        _ => None,
    };
    match bearer {
        Some(token) if auth == Auth::OptionalService || is_service_token(token) => {
            let issuer = service_auth::verify(ctx, token, nsid).await?;
            Ok(Caller::Service(issuer))
        }
        _ => identify(ctx, auth, headers),
    }
}

/// Finds out who makes a call.
pub fn identify(ctx: &Context, auth: Auth, headers: &HeaderMap) -> Result<Caller, XrpcError> {
    if auth == Auth::Open {
        return Ok(Caller::Nobody);
    }
    let bearer = match (scheme(headers)?, auth) {
        (Some(Scheme::Bearer(token)), _) => token,
        (Some(Scheme::Basic), Auth::Optional) => return Err(missing("AuthenticationRequired")),
        (Some(Scheme::Basic | Scheme::Dpop), _) => {
            return Err(XrpcError::named(
                "InvalidToken",
                "Unexpected authorization type",
            ));
        }
        (None, Auth::Optional | Auth::OptionalService) => return Ok(Caller::Nobody),
        (None, _) => return Err(missing("AuthMissing")),
    };
    let now_s = ctx.now_ms() / 1000;
    match auth {
        Auth::Refresh | Auth::RefreshOrExpired => {
            let expired = auth == Auth::RefreshOrExpired;
            let claims = ctx
                .sessions
                .verify_refresh(bearer, now_s, expired)
                .map_err(token_error)?;
            if claims.scope != Scope::Refresh {
                return Err(XrpcError::named("InvalidToken", "Bad token scope"));
            }
            if claims.jti.is_none() {
                let message = "Unexpected missing refresh token id";
                return Err(XrpcError::auth_named("MissingTokenId", message));
            }
            Ok(Caller::Refresh(claims))
        }
        _ => {
            let session = ctx
                .sessions
                .verify_access(bearer, now_s)
                .map_err(token_error)?;
            let scope = match auth {
                Auth::Full => session.scope == Scope::Access,
                Auth::Optional | Auth::AnySession => true,
                _ => session.scope != Scope::Takendown,
            };
            if !scope || session.scope == Scope::Refresh {
                return Err(XrpcError::named("InvalidToken", "Bad token scope"));
            }
            if matches!(auth, Auth::Live | Auth::LiveOrService | Auth::Full) {
                live_account(ctx, &session.did, false)?;
            }
            Ok(Caller::Session(session))
        }
    }
}

/// The account of a DID, unless it was taken down (or, if asked, is deactivated).
pub fn live_account(
    ctx: &Context,
    did: &Did,
    refuse_deactivated: bool,
) -> Result<Arc<Account>, XrpcError> {
    let account = ctx.accounts.by_did(did).map_err(XrpcError::internal)?;
    check_live(account, refuse_deactivated)
}

/// See [`live_account`].
pub fn check_live(
    account: Option<Arc<Account>>,
    refuse_deactivated: bool,
) -> Result<Arc<Account>, XrpcError> {
    let account = account
        .filter(|a| a.status() != Status::Deleted)
        .ok_or_else(|| XrpcError::forbidden("AccountNotFound", "Account not found"))?;
    if account.is_taken_down() {
        return Err(XrpcError::auth_named(
            "AccountTakedown",
            "Account has been taken down",
        ));
    }
    if refuse_deactivated && !account.is_active() {
        return Err(XrpcError::auth_named(
            "AccountDeactivated",
            "Account is deactivated",
        ));
    }
    Ok(account)
}

fn missing(name: &'static str) -> XrpcError {
    XrpcError::auth_named(name, "Authentication Required")
}

fn token_error(e: TokenError) -> XrpcError {
    match e {
        TokenError::Expired => XrpcError::named("ExpiredToken", "Token has expired"),
        other => XrpcError::named("InvalidToken", other.to_string()),
    }
}

enum Scheme<'a> {
    Bearer(&'a str),
    Basic,
    Dpop,
}

fn scheme(headers: &HeaderMap) -> Result<Option<Scheme<'_>>, XrpcError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let malformed = || XrpcError::named("InvalidToken", "Malformed authorization header");
    let value = value.to_str().map_err(|_| malformed())?;
    if value.is_empty() {
        return Ok(None);
    }
    let (kind, rest) = value.split_once(' ').ok_or_else(malformed)?;
    if rest.contains(' ') {
        return Err(malformed());
    }
    Ok(Some(if kind.eq_ignore_ascii_case("bearer") {
        Scheme::Bearer(rest)
    } else if kind.eq_ignore_ascii_case("basic") {
        Scheme::Basic
    } else if kind.eq_ignore_ascii_case("dpop") {
        Scheme::Dpop
    } else {
        let kind: String = kind.chars().take(64).collect();
        let message = format!("Unsupported authorization type: {kind}");
        return Err(XrpcError::named("InvalidToken", message));
    }))
}
