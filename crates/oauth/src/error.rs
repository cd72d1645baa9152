//! Errors as OAuth names them.

use std::borrow::Cow;

use serde_json::{Value, json};

/// The names that RFC 6749, 7009, 7591, 9126, 9449 and OpenID Connect have for what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// A parameter is missing, twice there, or not what it must be.
    InvalidRequest,
    /// The client is unknown, or did not prove to be it.
    InvalidClient,
    /// The client's document is not allowed.
    InvalidClientMetadata,
    /// The place to go back to is not one of the client's.
    InvalidRedirectUri,
    /// A code or refresh token is wrong, used, ended, or somebody else's.
    InvalidGrant,
    /// The client may not use this grant.
    UnauthorizedClient,
    /// Neither `authorization_code` nor `refresh_token`.
    UnsupportedGrantType,
    /// Something else than `code`.
    UnsupportedResponseType,
    /// A scope is not known, or not one that the client asked for in its document.
    InvalidScope,
    /// The owner said no.
    AccessDenied,
    /// Nobody is signed in, and nobody may be asked.
    LoginRequired,
    /// The owner would have to be asked, and may not be.
    ConsentRequired,
    /// Several accounts are signed in, and nobody may be asked which.
    AccountSelectionRequired,
    /// A proof of possession is wrong.
    InvalidDpopProof,
    /// A proof has no nonce of the server's, or an old one.
    UseDpopNonce,
    /// An access token is wrong or ended.
    InvalidToken,
    /// The server failed.
    ServerError,
    /// The server is full.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::AccountSelectionRequired => "account_selection_required",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InvalidToken => "invalid_token",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The status of an answer of the authorisation server.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.name())]
pub struct OAuthError {
    /// What kind.
    pub code: ErrorCode,
    /// What was expected and what was found.
    pub description: Cow<'static, str>,
}

impl OAuthError {
    /// An error with a sentence.
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            description: description.into(),
        }
    }

    /// `invalid_request`.
    pub fn request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// `invalid_client_metadata`.
    pub fn metadata(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidClientMetadata, description)
    }

    /// `invalid_client`.
    pub fn client(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidClient, description)
    }

    /// `invalid_grant`.
    pub fn grant(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidGrant, description)
    }

    /// `invalid_dpop_proof`.
    pub fn proof(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidDpopProof, description)
    }

    /// The body of an answer (RFC 6749 section 5.2).
    pub fn body(&self) -> Value {
        json!({ "error": self.code.name(), "error_description": self.description })
    }
}
