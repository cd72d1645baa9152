//! Failures, as the API shapes them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::auth::Denied;
use crate::service::PinsError;

/// A failed call: status, a word for machines, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    reason: &'static str,
    details: String,
}

impl Failure {
    /// The call is wrong.
    pub fn bad_request(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", details)
    }

    /// The caller may not do this.
    pub fn forbidden(details: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", details)
    }

    /// It cannot be done now.
    pub fn unavailable(details: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", details)
    }

    fn new(status: StatusCode, reason: &'static str, details: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            details: details.into(),
        }
    }

    /// The content of the answer.
    pub(super) fn body(&self) -> serde_json::Value {
        json!({"error": {"reason": self.reason, "details": self.details}})
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::No(why) => Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", why),
            Denied::Unknown(why) => Self::unavailable(why),
        }
    }
}

impl From<PinsError> for Failure {
    fn from(error: PinsError) -> Self {
        let details = error.to_string();
        match error {
            PinsError::Invalid(_) => Self::bad_request(details),
            PinsError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", details),
            PinsError::Conflict(_) => Self::new(StatusCode::CONFLICT, "CONFLICT", details),
            PinsError::State(_) | PinsError::Bus(_) => {
                tracing::error!(error = %details, "a call of the pin service failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", details)
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = http::HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
