//! Failures, as IPFS-Cluster shapes them: `{"code": …, "message": …}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::model::json::ApiError;
use crate::service::PinsError;
use crate::store::StateError;

/// What the original says of a CID that nobody pinned.
pub(crate) const NOT_PINNED: &str = "pin is not part of the pinset";

/// A failed call: its status and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: StatusCode,
    pub message: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_pinned() -> Self {
        Self::new(StatusCode::NOT_FOUND, NOT_PINNED)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The content of the answer.
    pub(crate) fn body(&self) -> ApiError {
        ApiError {
            code: self.status.as_u16(),
            message: self.message.clone(),
        }
    }
}

impl From<PinsError> for Failure {
    fn from(error: PinsError) -> Self {
        let message = error.to_string();
        match error {
            PinsError::Invalid(_) => Self::bad_request(message),
            PinsError::NotFound(_) => Self::not_pinned(),
            PinsError::Conflict(_) => Self::new(StatusCode::CONFLICT, message),
            PinsError::State(_) | PinsError::Bus(_) => {
                tracing::error!(error = %message, "a call of the pin service failed");
                Self::internal(message)
            }
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::from(PinsError::from(error))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}
