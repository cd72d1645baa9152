//! Requests of applications: a token that is bound to a key, and a proof by that key (RFC 9449 section 7).

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ues_oauth::{ErrorCode, OAuthError, Permissions, ProofFor, check_proof};
use ues_repo::syntax::Did;

use super::end_points::dpop_header;
use super::rows::SessionName;
use super::server_error;
use crate::accounts::{Granted, Scope, Session};
use crate::context::Context;
use crate::xrpc::XrpcError;

/// The session of a request with `Authorization: DPoP …`.
pub fn bound_session(ctx: &Context, token: &str, parts: &Parts) -> Result<Arc<Session>, XrpcError> {
    check(ctx, token, parts).map(Arc::new).map_err(refused)
}

fn check(ctx: &Context, token: &str, parts: &Parts) -> Result<Session, OAuthError> {
    let oauth = &ctx.oauth;
    let now_s = ctx.now_ms() / 1000;
    let header = dpop_header(&parts.headers)?;
    let header = header.ok_or_else(|| OAuthError::proof("a DPoP proof is required"))?;
    let claims = oauth.tokens.verify(token, now_s)?;
    let wanted = ProofFor {
        method: parts.method.as_str(),
        url: &format!("{}{}", oauth.issuer, parts.uri.path()),
        access_token: Some(token),
        now_s,
    };
    let proof = check_proof(header, &wanted, &oauth.nonces)?;
    let wrong = |why: &'static str| OAuthError::new(ErrorCode::InvalidToken, why);
    if proof.thumbprint != claims.thumbprint() {
        return Err(wrong("the access token is bound to another key"));
    }
    oauth.use_up(&proof, now_s)?;
    let name = SessionName {
        did: claims.sub,
        session: claims.sid,
    };
    let session = oauth.session(&name)?;
    let session = session.ok_or_else(|| wrong("the session of the access token has ended"))?;
    Ok(Session {
        did: Did::parse(&name.did).map_err(server_error)?,
        scope: Scope::Granted,
        expires_at_s: claims.exp,
        granted: Some(Arc::new(Granted {
            client_id: claims.client_id,
            permissions: Permissions::granted(&session.scope)?,
        })),
    })
}

fn refused(e: OAuthError) -> XrpcError {
    match e.code {
        ErrorCode::ServerError => XrpcError::internal(e),
        ErrorCode::TemporarilyUnavailable => XrpcError::busy(e.description),
        code => XrpcError::new(StatusCode::UNAUTHORIZED, code.name(), e.description),
    }
}

/// Adds to the answer of a request with a proof what the client needs for the next one, and why it was refused.
pub fn challenge(ctx: &Context, headers: &mut HeaderMap, refused: Option<(&str, &str)>) {
    if let Ok(nonce) = HeaderValue::from_str(&ctx.oauth.nonce(ctx.now_ms())) {
        headers.insert(HeaderName::from_static("dpop-nonce"), nonce);
    }
    let Some((name, message)) = refused else {
        return;
    };
    let known = ["use_dpop_nonce", "invalid_dpop_proof", "invalid_token"];
    let name = if known.contains(&name) {
        name
    } else {
        "invalid_token"
    };
    let message = message.replace(['"', '\\'], "'");
    let text = format!(r#"DPoP algs="ES256", error="{name}", error_description="{message}""#);
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(http::header::WWW_AUTHENTICATE, value);
    }
}
