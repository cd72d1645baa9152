//! What stands in the journals.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What somebody who administers the node did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// When, RFC 3339.
    pub at: String,
    /// Who: `admin` with the password, `operator` with the secret of the data folder, or the DID of
    /// the moderation service.
    pub by: String,
    /// From where: `xrpc`, `cli` or `page`; empty in acts of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What: the method's name.
    pub what: String,
    /// To whom or what: a DID, an `at://` address, a code.
    pub subject: String,
    /// What else is to be known. Never a secret.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// What somebody reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its number.
    pub id: u64,
    /// Why, as the protocol names reasons.
    pub reason_type: String,
    /// In the reporter's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it is about, as it was given.
    pub subject: Value,
    /// DID of who reports.
    pub reported_by: String,
    /// When, RFC 3339.
    pub created_at: String,
    /// That it is done; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Done>,
}

/// How a report was done with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// When, RFC 3339.
    pub at: String,
    /// Who: as in [`Act::by`].
    pub by: String,
    /// In their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
