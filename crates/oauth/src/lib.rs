//! The protocol of an OAuth authorisation server after the [AT Protocol's profile](https://atproto.com/specs/oauth):
//! what a client's document, request and proof must be, what scopes allow, and what tokens say.
//!
//! Nothing here reads a clock, a disk or a network: the server brings the time, keeps the rows and fetches the documents.

mod client;
mod client_id;
mod client_key;
mod dpop;
mod error;
mod jose;
mod pkce;
mod request;
mod scope;
mod secret;
mod token;

pub use client::{AuthMethod, ClientMetadata, MAX_METADATA_BYTES};
pub use client_id::ClientId;
pub use client_key::{ASSERTION_TYPE, AssertedClient, ClientKeys, MAX_JWKS_BYTES, asserted_client};
pub use dpop::{NONCE_WINDOW_S, Nonces, Proof, ProofFor, Replays, check_proof};
pub use error::{ErrorCode, OAuthError};
pub use jose::PublicKey;
pub use pkce::Challenge;
pub use request::{AuthorizationRequest, Prompt, ResponseMode, form_pairs};
pub use scope::{
    Action, Include, Permission, Permissions, Words, expand as expand_scope, words as in_words,
};
pub use secret::{hash_secret, secret_matches};
pub use token::{ACCESS_LIFETIME_S, AccessClaims, AccessTokens, TokenFor};
