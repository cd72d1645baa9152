//! What clients read before they begin (RFC 8414, RFC 9728).

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::context::Context;

/// `GET /.well-known/oauth-protected-resource`.
pub async fn protected_resource(State(ctx): State<Context>) -> Json<Value> {
    let endpoint = ctx.config.endpoint();
    Json(json!({
        "resource": endpoint,
        "authorization_servers": [endpoint],
        "scopes_supported": [],
        "bearer_methods_supported": ["header"],
        "resource_documentation": "https://atproto.com",
    }))
}

/// `GET /.well-known/oauth-authorization-server`.
pub async fn authorization_server(State(ctx): State<Context>) -> Json<Value> {
    let issuer = ctx.config.endpoint();
    let at = |path: &str| format!("{issuer}{path}");
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": at("/oauth/authorize"),
        "pushed_authorization_request_endpoint": at("/oauth/par"),
        "token_endpoint": at("/oauth/token"),
        "revocation_endpoint": at("/oauth/revoke"),
        "introspection_endpoint": at("/oauth/introspect"),
        "jwks_uri": at("/oauth/jwks"),
        "scopes_supported": ["atproto", "transition:email", "transition:generic", "transition:chat.bsky"],
        "subject_types_supported": ["public"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "ui_locales_supported": ["en"],
        "display_values_supported": ["page"],
        "prompt_values_supported": ["none", "login", "consent", "select_account", "create"],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "authorization_response_iss_parameter_supported": true,
        "require_pushed_authorization_requests": true,
        "require_request_uri_registration": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": true,
        "client_id_metadata_document_supported": true,
        "protected_resources": [issuer],
    }))
}

/// `GET /oauth/jwks`: none, since tokens are for this server alone and signed with a secret.
pub async fn jwks() -> Json<Value> {
    Json(json!({ "keys": [] }))
}
