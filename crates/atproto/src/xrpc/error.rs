//! Errors as XRPC answers them: a status and `{"error", "message"}`.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// A refused or failed request, with the names that the official server uses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct XrpcError {
    status: StatusCode,
    name: Cow<'static, str>,
    message: Cow<'static, str>,
}

impl XrpcError {
    /// An error with a name of its own.
    pub fn new(
        status: StatusCode,
        name: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            name: name.into(),
            message: message.into(),
        }
    }

    /// 400 `InvalidRequest`.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    }

    /// 400 with an error name that the method's lexicon lists.
    pub fn named(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, name, message)
    }

    /// 401 `AuthenticationRequired`.
    pub fn auth(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AuthenticationRequired", message)
    }

    /// 401 with a name of its own.
    pub fn auth_named(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, name, message)
    }

    /// 403 with a name of its own.
    pub fn forbidden(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, name, message)
    }

    /// 413 `PayloadTooLarge`.
    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            "request entity too large",
        )
    }

    /// 501 `MethodNotImplemented`.
    pub fn not_implemented(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "MethodNotImplemented", message)
    }

    /// 502 `UpstreamFailure`.
    pub fn upstream(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "UpstreamFailure", message)
    }

    /// 503 `NotEnoughResources`.
    pub fn busy(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "NotEnoughResources",
            message,
        )
    }

    /// 500 `InternalServerError`. The cause goes to the log, never to the client.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "Internal Server Error",
        )
    }

    /// HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Error name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What went wrong, for a person.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for XrpcError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.name, "message": self.message }).to_string();
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        (self.status, [(header::CONTENT_TYPE, json)], body).into_response()
    }
}
