//! What a method answers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;

use super::error::XrpcError;

/// The answer of a method that went well.
pub enum Reply {
    /// Nothing to say.
    Empty,
    /// JSON text.
    Json(Vec<u8>),
    /// Anything else, with its headers.
    Other(Response),
}

impl Reply {
    /// A value as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, XrpcError> {
        serde_json::to_vec(value)
            .map(Self::Json)
            .map_err(XrpcError::internal)
    }

    /// Bytes of a media type.
    pub fn bytes(media_type: &'static str, body: impl Into<Body>) -> Self {
        let mut response = Response::new(body.into());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self::Other(response)
    }

    /// The same answer with a header.
    #[must_use]
    pub fn with_header(self, name: HeaderName, value: HeaderValue) -> Self {
        let mut response = self.into_response();
        response.headers_mut().insert(name, value);
        Self::Other(response)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Empty => Response::new(Body::empty()),
            Self::Json(text) => {
                let mut response = Response::new(Body::from(text));
                response.headers_mut().insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json; charset=utf-8"),
                );
                response
            }
            Self::Other(response) => response,
        }
    }
}
