//! Who makes a call.

use std::sync::Arc;

use data_encoding::BASE64;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::Did;
use zeroize::Zeroizing;

use crate::accounts::{Account, Claims, Scope, Session, TokenError};
use crate::context::Context;
use crate::oauth;

use super::error::XrpcError;
use super::service_auth::{self, Issuer, is_service_token};

/// What a method wants to know of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody; a caller who says who they are is not listened to.
    Open,
    /// Anybody, but a token must be good if there is one: the owner sees more than others.
    Optional,
    /// The same, and the owner of an account that was taken down takes their data along.
    OptionalEver,
    /// A session of an account that was not taken down.
    Session,
    /// A session of an account, of any kind.
    AnySession,
    /// The same, or a token of the moderation service that the node trusts.
    AnySessionOrModerator,
    /// A session that is not one of an account that was taken down.
    Live,
    /// The same, or a token of an account or service elsewhere for this very method.
    LiveOrService,
    /// Anybody, or a token of an account or service elsewhere for this very method.
    OptionalService,
    /// The same as [`Auth::Live`], made with the account's own password.
    Full,
    /// A session made with the account's own password, whatever the account's status.
    Owner,
    /// The same, of an account that was taken down, too.
    OwnerEver,
    /// A session of any kind, of an account that was taken down, too.
    Ever,
    /// Whoever administers the node.
    Admin,
    /// The same, or the moderation service that the node trusts.
    Moderator,
    /// Anybody; with a token, the holder of a DID's key.
    DidHolder,
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
    /// Whoever administers the node, by the name that goes into the audit.
    Admin(Arc<str>),
    /// The holder of a DID's key.
    DidHolder(Did),
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

    /// Whether this is the account itself, or whoever administers the node.
    pub fn is_self_or_admin(&self, did: &str) -> bool {
        match self {
            Self::Session(session) => session.did == *did,
            Self::Admin(_) => true,
            _ => false,
        }
    }
}

/// Finds out who makes a call of the method `nsid`.
pub async fn identify(
    ctx: &Context,
    auth: Auth,
    nsid: &str,
    parts: &Parts,
) -> Result<Caller, XrpcError> {
    let headers = &parts.headers;
    match auth {
        Auth::Open => Ok(Caller::Nobody),
        Auth::Admin => admin(ctx, headers),
        Auth::Moderator => match scheme(headers)? {
            Some(Scheme::Bearer(token)) => moderation_service(ctx, nsid, token).await,
            _ => admin(ctx, headers),
        },
        Auth::AnySessionOrModerator => match scheme(headers)? {
            Some(Scheme::Bearer(token)) if is_service_token(token) => {
                match moderation_service(ctx, nsid, token).await {
                    // As at the official server, what is no token of the service is judged as a session's.
                    Err(e) if e.status() == StatusCode::UNAUTHORIZED => {
                        by_token(ctx, Auth::AnySession, parts)
                    }
                    other => other,
                }
            }
            _ => by_token(ctx, Auth::AnySession, parts),
        },
        Auth::DidHolder => match scheme(headers)? {
            Some(Scheme::Bearer(token)) => {
                let issuer = service_auth::verify(ctx, token, nsid, None).await?;
                Ok(Caller::DidHolder(issuer.did))
            }
            Some(_) => Err(XrpcError::auth("Invalid authorization header")),
            None => Ok(Caller::Nobody),
        },
        Auth::LiveOrService | Auth::OptionalService => match scheme(headers)? {
            Some(Scheme::Bearer(token))
                if auth == Auth::OptionalService || is_service_token(token) =>
            {
                let issuer = service_auth::verify(ctx, token, nsid, None).await?;
                Ok(Caller::Service(issuer))
            }
            _ => by_token(ctx, auth, parts),
        },
        _ => by_token(ctx, auth, parts),
    }
}

fn admin(ctx: &Context, headers: &HeaderMap) -> Result<Caller, XrpcError> {
    let refused = || XrpcError::auth("Authentication Required");
    let Ok(Some(Scheme::Basic(text))) = scheme(headers) else {
        return Err(refused());
    };
    let decoded = BASE64
        .decode(text.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| refused())?;
    let decoded = std::str::from_utf8(&decoded).map_err(|_| refused())?;
    // A password may have colons.
    let password = decoded.strip_prefix("admin:").ok_or_else(refused)?;
    let name = ctx.admins.name_of(password).ok_or_else(refused)?;
    Ok(Caller::Admin(name.into()))
}

async fn moderation_service(ctx: &Context, nsid: &str, token: &str) -> Result<Caller, XrpcError> {
    let Some(service) = &ctx.config.moderation else {
        return Err(XrpcError::auth_named("UntrustedIss", "Untrusted issuer"));
    };
    let issuer = service_auth::verify(ctx, token, nsid, Some(&service.did)).await?;
    Ok(Caller::Admin(issuer.did.as_str().into()))
}

/// The same for methods that sessions of this node open, which nobody elsewhere has to be asked for.
pub fn by_token(ctx: &Context, auth: Auth, parts: &Parts) -> Result<Caller, XrpcError> {
    let headers = &parts.headers;
    let bearer = match (scheme(headers)?, auth) {
        (Some(Scheme::Bearer(token)), _) => token,
        (Some(Scheme::Basic(_)), Auth::Optional | Auth::OptionalEver) => {
            return admin(ctx, headers);
        }
        (Some(_), Auth::Refresh | Auth::RefreshOrExpired) => return Err(missing("AuthMissing")),
        (Some(Scheme::Basic(_)), _) => {
            return Err(XrpcError::named(
                "InvalidToken",
                "Unexpected authorization type",
            ));
        }
        (Some(Scheme::Dpop(token)), _) => {
            let session = oauth::bound_session(ctx, token, parts)?;
            if matches!(auth, Auth::Live | Auth::LiveOrService | Auth::Full) {
                live_account(ctx, &session.did, false)?;
            }
            return Ok(Caller::Session(session));
        }
        (None, Auth::Optional | Auth::OptionalEver | Auth::OptionalService) => {
            return Ok(Caller::Nobody);
        }
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
                Auth::Full | Auth::Owner => session.scope == Scope::Access,
                Auth::OwnerEver => matches!(session.scope, Scope::Access | Scope::Takendown),
                Auth::OptionalEver | Auth::AnySession | Auth::Ever => true,
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
    Basic(&'a str),
    Dpop(&'a str),
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
        Scheme::Basic(rest)
    } else if kind.eq_ignore_ascii_case("dpop") {
        Scheme::Dpop(rest)
    } else {
        let kind: String = kind.chars().take(64).collect();
        let message = format!("Unsupported authorization type: {kind}");
        return Err(XrpcError::named("InvalidToken", message));
    }))
}
