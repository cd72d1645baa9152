//! Calls of a server.

use std::path::Path;

use async_trait::async_trait;
use serde_json::Value;

use crate::failure::Failure;

/// Why a call has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server cannot be reached, or the connection broke off.
    #[error("{server} does not answer: {why}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What the system says.
        why: String,
    },
    /// The server says no.
    #[error("{server} refuses {nsid}: {message}")]
    Refused {
        /// Its address.
        server: String,
        /// The method.
        nsid: String,
        /// Status of HTTP.
        status: u16,
        /// Name of the error.
        name: String,
        /// What it says.
        message: String,
    },
    /// The server answers something that the method does not give.
    #[error("{server} answers {nsid} with {found}")]
    Nonsense {
        /// Its address.
        server: String,
        /// The method.
        nsid: String,
        /// What was found.
        found: String,
    },
    /// A file of this machine cannot be read or written.
    #[error("cannot use {path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        why: std::io::Error,
    },
}

impl CallError {
    /// Whether the server has said no, by this name of an error.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name == wanted)
    }

    /// Whether the server has said no, for whatever reason of the caller's.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if (400..500).contains(status) && *status != 429)
    }

    /// Whether the same call may do another time.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Refused { status: 429, .. }
        )
    }

    /// Whether it refuses who calls.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }

    /// Whether what was asked for is not there: servers differ in how they name it.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Refused {
                status,
                name,
                message,
                ..
            } => {
                *status == 404
                    || name.ends_with("NotFound")
                    || message.contains("not found")
                    || message.contains("Could not find")
            }
            _ => false,
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable { .. } => Self::unavailable(error.to_string()),
            CallError::Refused { status: 429, .. } => Self::unavailable(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

/// What calls give.
pub type Called<T = Value> = Result<T, CallError>;

/// A server of the AT Protocol.
///
/// A token, where one is given, is sent as it is. An answer without content is `null`.
#[async_trait]
pub trait Xrpc: Send + Sync {
    /// Its address, as a person knows it.
    fn address(&self) -> &str;

    /// Calls a query.
    async fn query(&self, nsid: &str, params: &[(&str, &str)], token: Option<&str>) -> Called;

    /// Calls a procedure, with or without input.
    async fn procedure(&self, nsid: &str, input: Option<&Value>, token: Option<&str>) -> Called;

    /// Calls a query that answers bytes; writes them to a new file and gives their media type.
    async fn download(
        &self,
        nsid: &str,
        params: &[(&str, &str)],
        token: &str,
        to: &Path,
    ) -> Called<String>;

    /// Calls a procedure whose input is a file.
    async fn upload(&self, nsid: &str, mime: &str, from: &Path, token: &str) -> Called;
}
