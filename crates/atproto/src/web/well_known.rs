//! Small fixed answers: health, robots, and the documents by which others find who is here.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};
use ues_repo::identity::DidDocument;
use ues_repo::syntax::{Did, Handle};

use crate::context::Context;

/// `GET /xrpc/_health`.
pub async fn health() -> Json<Value> {
    Json(json!({ "version": crate::VERSION }))
}

/// `GET /robots.txt`.
pub async fn robots() -> &'static str {
    "# Hello!\n\n# Crawling the public API is allowed\nUser-agent: *\nAllow: /"
}

/// `GET /.well-known/did.json`: the document of the service, or of an account whose did:web has
/// the request's host.
pub async fn did_document(State(ctx): State<Context>, headers: HeaderMap, uri: Uri) -> Response {
    if let Some(host) = host(&headers, &uri)
        && let Ok(did) = Did::parse(&format!("did:web:{}", host.replace(':', "%3A")))
        && did != *ctx.service_did
        && let Ok(Some(account)) = ctx.accounts.by_did(&did)
    {
        return match ctx.keys.get(&did) {
            Ok(Some(key)) => {
                let (handle, pds) = (&account.handle, ctx.config.endpoint());
                Json(DidDocument::for_account(
                    &did,
                    handle,
                    key.verifying_key(),
                    pds,
                ))
                .into_response()
            }
            Ok(None) => StatusCode::NOT_FOUND.into_response(),
            Err(cause) => {
                tracing::error!(%did, %cause, "no document for an account's did:web");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        };
    }
    Json(service_document(&ctx)).into_response()
}

/// The document of the service. It is that of the labeler too, unless labels are another DID's.
fn service_document(ctx: &Context) -> Value {
    let (did, endpoint) = (&ctx.service_did, ctx.config.endpoint());
    let mut services = vec![json!({
        "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": endpoint,
    })];
    let mut document = json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
    });
    let labeler = &ctx.labels.labeler;
    if labeler.did == *did {
        document["@context"] = json!([
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/multikey/v1",
        ]);
        document["verificationMethod"] = json!([{
            "id": format!("{did}#atproto_label"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": labeler.key.verifying_key().multikey(),
        }]);
        services.push(json!({
            "id": "#atproto_labeler", "type": "AtprotoLabeler", "serviceEndpoint": endpoint,
        }));
    }
    document["service"] = json!(services);
    document
}

/// `GET /.well-known/atproto-did`: the DID of the account whose handle is the request's host.
pub async fn atproto_did(State(ctx): State<Context>, headers: HeaderMap, uri: Uri) -> Response {
    let not_found = || (StatusCode::NOT_FOUND, "User not found").into_response();
    let Some(host) = host(&headers, &uri) else {
        return not_found();
    };
    let name = host
        .rsplit_once(':')
        .map_or(host.as_str(), |(name, _)| name);
    if !ctx.config.serves_handle(name) {
        return not_found();
    }
    let Ok(handle) = Handle::parse(name) else {
        return not_found();
    };
    match ctx.accounts.by_handle(&handle) {
        Ok(Some(account)) if account.is_active() => account.did.to_string().into_response(),
        Ok(_) => not_found(),
        Err(cause) => {
            tracing::error!(%handle, %cause, "an account cannot be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response()
        }
    }
}

/// The host that a request is for, in lower case: HTTP/2 has it in the URI.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    host.or_else(|| uri.authority().map(|a| a.as_str()))
        .filter(|h| h.len() <= 300)
        .map(str::to_ascii_lowercase)
}
