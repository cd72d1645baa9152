//! How the operator's routes say no: in XRPC's shape.

use std::borrow::Cow;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use ues_atproto::XrpcError;

/// A refused call.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    name: Cow<'static, str>,
    message: String,
}

impl Refusal {
    /// The call makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            name: "InvalidRequest".into(),
            message: message.into(),
        }
    }

    /// What was asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            name: "NotFound".into(),
            message: message.into(),
        }
    }

    /// The secret is missing or wrong.
    pub fn unauthorized() -> Self {
        let message = "the operator's secret is missing or wrong".to_owned();
        Self {
            status: StatusCode::UNAUTHORIZED,
            name: "AuthenticationRequired".into(),
            message,
        }
    }

    /// Something failed inside; it is logged and told, since the caller is the operator.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "an operator's call failed");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            name: "InternalServerError".into(),
            message: cause.to_string(),
        }
    }
}

impl From<XrpcError> for Refusal {
    fn from(error: XrpcError) -> Self {
        let message = error.message().to_owned();
        match error.status() {
            StatusCode::INTERNAL_SERVER_ERROR => Self::internal(message),
            _ if error.name() == "NotFound" => Self::not_found(message),
            _ => Self {
                name: error.name().to_owned().into(),
                ..Self::invalid(message)
            },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.name, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

/// What the handlers return.
pub type Answer = Result<Json<serde_json::Value>, Refusal>;
