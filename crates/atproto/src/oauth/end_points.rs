//! What clients call themselves: pushed requests (RFC 9126), tokens, revocation (RFC 7009), introspection (RFC 7662).

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use serde_json::{Value, json};
use ues_oauth::{
    AuthorizationRequest, ErrorCode, OAuthError, Proof, ProofFor, check_proof, form_pairs,
    hash_secret,
};

use super::grant::Grant;
use super::rows::{Kind, RequestRow, SessionName};
use super::{OAuth, fresh_secret, server_error};
use crate::context::Context;
use crate::limits::{self, Tightest};

/// Longest body of a request.
const MAX_BODY: usize = 64 << 10;
/// For how long a pushed request waits to be opened, in seconds.
const REQUEST_LIFETIME_S: u64 = 300;
/// What a pushed request is called by.
pub const REQUEST_URI: &str = "urn:ietf:params:oauth:request_uri:";
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// A request, read: its parameters and what it proves.
struct Read {
    pairs: Vec<(String, String)>,
    headers: HeaderMap,
    now_ms: u64,
}

async fn read(ctx: &Context, request: Request<Body>) -> Result<Read, OAuthError> {
    let (parts, body) = request.into_parts();
    let client = limits::client_ip(&parts.extensions, &parts.headers, ctx.limiter.trusted());
    if ctx.limiter.applies(&parts.headers, client) {
        let mut tightest = Tightest::default();
        let key = limits::limit_key(client);
        tightest.add(ctx.limiter.consume(limits::GLOBAL_IP, &key, 1));
        let full = |_| {
            OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "too many requests from this address",
            )
        };
        tightest.check().map_err(full)?;
    }
    let form = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    if !form.is_some_and(|t| t.starts_with("application/x-www-form-urlencoded")) {
        return Err(OAuthError::request(
            "the body must be application/x-www-form-urlencoded",
        ));
    }
    let body = tokio::time::timeout(
        ctx.config.connections.body_timeout(),
        to_bytes(body, MAX_BODY),
    )
    .await;
    let body = body.map_err(|_| OAuthError::request("the body did not come in time"))?;
    let body =
        body.map_err(|_| OAuthError::request("the body is longer than 64 KiB, or was cut off"))?;
    Ok(Read {
        pairs: form_pairs(&body)?,
        headers: parts.headers,
        now_ms: ctx.now_ms(),
    })
}

impl Read {
    fn value(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// The proof that came along; used up.
    fn proof(&self, oauth: &OAuth, path: &str) -> Result<Option<Proof>, OAuthError> {
        let Some(header) = dpop_header(&self.headers)? else {
            return Ok(None);
        };
        let now_s = self.now_ms / 1000;
        let wanted = ProofFor {
            method: "POST",
            url: &format!("{}{path}", oauth.issuer),
            access_token: None,
            now_s,
        };
        let proof = check_proof(header, &wanted, &oauth.nonces)?;
        oauth.use_up(&proof, now_s)?;
        Ok(Some(proof))
    }
}

/// The only `DPoP` header of a request.
pub(super) fn dpop_header(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let mut all = headers.get_all("dpop").iter();
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(OAuthError::proof("there is more than one DPoP header"));
    }
    let text = first.map(|v| v.to_str());
    text.transpose()
        .map_err(|_| OAuthError::proof("the DPoP header is not text"))
}

fn respond(ctx: &Context, outcome: Result<(StatusCode, Value), OAuthError>) -> Response {
    let (status, body) = outcome.unwrap_or_else(|e| {
        tracing::debug!(error = %e, "an OAuth request is refused");
        let status = StatusCode::from_u16(e.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
        (status, e.body())
    });
    let mut response = (status, axum::Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(nonce) = HeaderValue::from_str(&ctx.oauth.nonce(ctx.now_ms())) {
        headers.insert(DPOP_NONCE, nonce);
    }
    response
}

/// `POST /oauth/par`.
pub async fn par(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let outcome = push(&ctx, request).await;
    respond(&ctx, outcome)
}

async fn push(ctx: &Context, request: Request<Body>) -> Result<(StatusCode, Value), OAuthError> {
    let read = read(ctx, request).await?;
    let oauth = &ctx.oauth;
    let proof = read.proof(oauth, "/oauth/par")?;
    let caller = oauth.caller(ctx, &read.pairs, read.now_ms).await?;
    let mut request = AuthorizationRequest::check(&caller.client, &read.pairs)?;
    if let Some(proof) = proof {
        if request
            .dpop_jkt
            .as_ref()
            .is_some_and(|jkt| *jkt != proof.thumbprint)
        {
            return Err(OAuthError::proof(
                "dpop_jkt is not the thumbprint of the DPoP proof's key",
            ));
        }
        request.dpop_jkt = Some(proof.thumbprint);
    }
    // Sets that cannot be had are refused now, not when the owner looks at them.
    oauth.expanded(ctx, &request.scope).await?;
    let name = fresh_secret()?;
    let row = RequestRow {
        request,
        client_key: caller.key,
        browser: None,
    };
    let mut batch = oauth.store.batch();
    let ends_ms = read.now_ms + REQUEST_LIFETIME_S * 1000;
    oauth
        .rows
        .put(&mut batch, Kind::Request, &name, &row, ends_ms);
    oauth.store.commit(batch).await.map_err(server_error)?;
    let answer =
        json!({ "request_uri": format!("{REQUEST_URI}{name}"), "expires_in": REQUEST_LIFETIME_S });
    Ok((StatusCode::CREATED, answer))
}

/// `POST /oauth/token`.
pub async fn token(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let outcome = give_token(&ctx, request).await;
    respond(&ctx, outcome)
}

async fn give_token(
    ctx: &Context,
    request: Request<Body>,
) -> Result<(StatusCode, Value), OAuthError> {
    let read = read(ctx, request).await?;
    let oauth = &ctx.oauth;
    let proof = read.proof(oauth, "/oauth/token")?;
    let proof = proof.ok_or_else(|| OAuthError::proof("a DPoP proof is required"))?;
    let caller = oauth.caller(ctx, &read.pairs, read.now_ms).await?;
    let grant = Grant {
        pairs: &read.pairs,
        caller,
        thumbprint: proof.thumbprint,
        now_ms: read.now_ms,
    };
    let answer = oauth.grant(ctx, grant).await?;
    Ok((
        StatusCode::OK,
        serde_json::to_value(answer).map_err(server_error)?,
    ))
}

/// `POST /oauth/revoke`: whoever has a token may end its session. An unknown token is no error.
pub async fn revoke(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let outcome = async {
        let read = read(&ctx, request).await?;
        let token = read
            .value("token")
            .ok_or_else(|| OAuthError::request("token is missing"))?;
        if let Some(name) = session_of(&ctx.oauth, token, read.now_ms)? {
            ctx.oauth.end(&name).await?;
        }
        Ok((StatusCode::OK, json!({})))
    };
    let outcome = outcome.await;
    respond(&ctx, outcome)
}

/// The session that a refresh token or an access token belongs to.
fn session_of(oauth: &OAuth, token: &str, now_ms: u64) -> Result<Option<SessionName>, OAuthError> {
    if let Ok(claims) = oauth.tokens.verify(token, now_ms / 1000) {
        return Ok(Some(SessionName {
            did: claims.sub,
            session: claims.sid,
        }));
    }
    oauth
        .rows
        .get(Kind::Refresh, &hash_secret(token))
        .map_err(server_error)
}

/// `POST /oauth/introspect`: what one of the caller's own tokens is good for.
pub async fn introspect(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let outcome = look(&ctx, request).await;
    respond(&ctx, outcome.map(|body| (StatusCode::OK, body)))
}

async fn look(ctx: &Context, request: Request<Body>) -> Result<Value, OAuthError> {
    let read = read(ctx, request).await?;
    let oauth = &ctx.oauth;
    let caller = oauth.caller(ctx, &read.pairs, read.now_ms).await?;
    let token = read
        .value("token")
        .ok_or_else(|| OAuthError::request("token is missing"))?;
    let inactive = json!({ "active": false });
    let Some(name) = session_of(oauth, token, read.now_ms)? else {
        return Ok(inactive);
    };
    let Some(session) = oauth.session(&name)? else {
        return Ok(inactive);
    };
    if caller
        .must_be(&session.client_id, session.client_key.as_deref())
        .is_err()
    {
        return Ok(inactive);
    }
    if let Ok(claims) = oauth.tokens.verify(token, read.now_ms / 1000) {
        return Ok(json!({
            "active": true, "token_type": "DPoP", "client_id": claims.client_id, "scope": session.scope,
            "sub": claims.sub, "aud": claims.aud, "iss": claims.iss, "iat": claims.iat, "exp": claims.exp,
            "jti": claims.jti, "cnf": { "jkt": session.thumbprint },
        }));
    }
    if session.refresh.as_deref() != Some(&hash_secret(token)) {
        return Ok(inactive);
    }
    Ok(json!({
        "active": true, "client_id": session.client_id, "scope": session.scope, "sub": name.did,
        "iss": oauth.issuer, "exp": session.ends_ms / 1000, "cnf": { "jkt": session.thumbprint },
    }))
}
