//! Failures, as Kubo shapes them: `{"Message": …, "Code": 0, "Type": "error"}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use super::UpstreamError;
use crate::cluster::failure::Failure as ClusterFailure;
use crate::service::PinsError;
use crate::store::StateError;

/// A failed call: its status and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub status: StatusCode,
    pub message: String,
}

/// The content of the answer, in Kubo's order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    message: &'a str,
    code: u8,
    #[serde(rename = "Type")]
    kind: &'static str,
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message }
    }

    /// Kubo answers almost everything that goes wrong with this status.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no Kubo behind.
    pub(super) fn no_kubo(what: &str) -> Self {
        let why = format!(
            "{what} needs a Kubo, and this node keeps content in its own store: pins.backend=kubo and pins.kubo_api \
             name one"
        );
        Self::new(StatusCode::NOT_IMPLEMENTED, why)
    }
}

impl From<ClusterFailure> for Failure {
    fn from(failure: ClusterFailure) -> Self {
        let kept = [
            StatusCode::NOT_IMPLEMENTED,
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
        ];
        match kept.contains(&failure.status) {
            true => Self::new(failure.status, failure.message),
            false => Self::internal(failure.message),
        }
    }
}

impl From<PinsError> for Failure {
    fn from(error: PinsError) -> Self {
        ClusterFailure::from(error).into()
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        ClusterFailure::from(error).into()
    }
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Said(words) => Self::internal(words),
            UpstreamError::Unreachable(why) => Self::new(StatusCode::BAD_GATEWAY, why),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Body {
            message: &self.message,
            code: 0,
            kind: "error",
        };
        (self.status, Json(body)).into_response()
    }
}
