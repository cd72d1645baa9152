//! The OAuth authorisation server and what it protects, after the AT Protocol's profile.
//!
//! The protocol itself is in `ues-oauth`; here are its rows, its routes and its pages.

mod account_page;
mod asked;
mod authorize;
mod browser;
mod clients;
mod consent;
mod end_points;
mod grant;
mod metadata;
mod page;
mod passkey_routes;
mod passkeys;
mod permission_sets;
mod permit;
mod qr;
mod resource;
mod rows;
mod security_page;
mod sessions;
mod sign_in;
mod sign_up;

use axum::Router;
use axum::routing::{get, post};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use tokio::sync::Mutex as AsyncMutex;
use ues_oauth::{AccessTokens, Nonces, OAuthError, Proof, Replays};
use ues_storage::{StorageError, Store};

use crate::config::Config;
use crate::context::Context;

pub use asked::Asked;
pub use permit::{permit, permit_blob, permit_rpc, permit_writes};
pub use resource::{bound_session, challenge};
pub use sessions::ConnectedApp;

use clients::Clients;
use rows::Rows;

const LOCKS: usize = 64;

/// What the authorisation server works with.
pub struct OAuth {
    store: Store,
    rows: Rows,
    clients: Clients,
    tokens: AccessTokens,
    nonces: Nonces,
    replays: Mutex<Replays>,
    /// Taken while a code or a refresh token is used up.
    turns: Vec<AsyncMutex<()>>,
    /// Where browsers have passkeys for this node, what waits for them.
    passkeys: Option<passkeys::RelyingParty>,
    sets: permission_sets::PermissionSets,
    issuer: String,
    /// Whether the node is on localhost: documents of applications may then lie anywhere.
    local: bool,
}

impl OAuth {
    /// Opens the authorisation server of a node. `secret` is the one of its sessions.
    pub fn open(
        config: &Config,
        store: &Store,
        secret: &[u8; 32],
        service_did: &str,
    ) -> Result<Self, StorageError> {
        let issuer = config.endpoint().to_owned();
        let secret = derived(secret, b"ues oauth access tokens");
        let mut fresh = [0; 32];
        // Without random numbers no session can be made either; nonces then are no worse than a secret of the node.
        if getrandom::fill(&mut fresh).is_err() {
            fresh = derived(&secret, b"ues oauth nonces");
        }
        Ok(Self {
            rows: Rows::open(store)?,
            store: store.clone(),
            clients: Clients::default(),
            tokens: AccessTokens::new(&secret, issuer.clone(), service_did),
            nonces: Nonces::new(fresh),
            replays: Mutex::default(),
            turns: (0..LOCKS).map(|_| AsyncMutex::default()).collect(),
            local: matches!(config.hostname(), "localhost" | "127.0.0.1" | "[::1]"),
            passkeys: passkeys::RelyingParty::of(config),
            sets: permission_sets::PermissionSets::default(),
            issuer,
        })
    }

    /// The nonce for the next proof.
    pub fn nonce(&self, now_ms: u64) -> String {
        self.nonces.current(now_ms / 1000)
    }

    fn use_up(&self, proof: &Proof, now_s: u64) -> Result<(), OAuthError> {
        self.replays.lock().use_up(proof, now_s)
    }

    /// The turn of what has this name.
    fn turn(&self, name: &str) -> Option<&AsyncMutex<()>> {
        let sum: usize = name.bytes().map(usize::from).sum();
        self.turns.get(sum % LOCKS)
    }
}

/// A key for another purpose, from which the first cannot be told.
fn derived(secret: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(secret);
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&key.into());
    mac.update(purpose);
    mac.finalize().into_bytes().into()
}

/// A fresh secret of 256 bits, in base64url.
fn fresh_secret() -> Result<String, OAuthError> {
    crate::web::fresh_secret().map_err(server_error)
}

/// A failure of ours. The cause goes to the log, never to the client.
fn server_error(cause: impl std::fmt::Display) -> OAuthError {
    tracing::error!(%cause, "an OAuth request failed");
    OAuthError::new(ues_oauth::ErrorCode::ServerError, "the server failed")
}

/// All routes.
pub fn routes(ctx: &Context) -> Router {
    Router::new()
        .route(
            "/.well-known/oauth-protected-resource",
            get(metadata::protected_resource),
        )
        .route(
            "/.well-known/oauth-authorization-server",
            get(metadata::authorization_server),
        )
        .route("/oauth/jwks", get(metadata::jwks))
        .route("/oauth/par", post(end_points::par))
        .route("/oauth/token", post(end_points::token))
        .route("/oauth/revoke", post(end_points::revoke))
        .route("/oauth/introspect", post(end_points::introspect))
        .route(
            "/oauth/authorize",
            get(authorize::show).post(authorize::answer),
        )
        .route(
            "/account",
            get(account_page::show).post(account_page::answer),
        )
        .route(passkey_routes::SCRIPT_PATH, get(passkey_routes::script))
        .route(passkey_routes::PATH, post(passkey_routes::challenge))
        .route(
            security_page::PATH,
            get(security_page::show).post(security_page::answer),
        )
        .with_state(ctx.clone())
}
