//! An account's row.

use serde::{Deserialize, Serialize};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{Did, Handle};

/// An account of this node, as it is stored (JSON under its DID).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who it is.
    pub did: Did,
    /// Its handle, in lower case.
    pub handle: Handle,
    /// Its e-mail address, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the owner has shown to have that address.
    #[serde(default)]
    pub email_confirmed: bool,
    /// Argon2id hash of the password, as a PHC string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// When it came here, RFC 3339.
    pub created_at: String,
    /// Hosting status by the protocol's name; absent while active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl Account {
    /// Hosting status. An unknown name counts as deactivated: not served, nothing lost.
    pub fn status(&self) -> Status {
        match &self.status {
            None => Status::Active,
            Some(name) => Status::from_name(name).unwrap_or(Status::Deactivated),
        }
    }

    /// Whether it is neither taken down, nor suspended, nor deactivated.
    pub fn is_active(&self) -> bool {
        self.status().is_active()
    }

    /// Whether the operator has taken it off.
    pub fn is_taken_down(&self) -> bool {
        matches!(self.status(), Status::Takendown | Status::Suspended)
    }
}
