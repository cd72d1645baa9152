//! From the node's error answers to sentences for people.

use http::StatusCode;
use serde_json::Value;

use crate::failure::{Exit, Failure};

/// The failure that an answer with this status and body tells.
pub(super) fn from_answer(status: StatusCode, body: &[u8]) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = body["error"].as_str().unwrap_or_default();
    let message = match body["message"].as_str() {
        Some(message) if !message.is_empty() => without_place(message).to_owned(),
        _ if !name.is_empty() => name.to_owned(),
        _ => format!("the node answered {status}"),
    };
    let exit = match name {
        "RepoNotFound" | "RecordNotFound" | "AccountNotFound" | "BlobNotFound" | "NotFound"
        | "HandleNotFound" => Exit::NotFound,
        "RepoDamaged" => Exit::Unsound,
        _ if status == StatusCode::NOT_FOUND => Exit::NotFound,
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Exit::Unavailable,
        _ if message.contains("Could not locate record")
            || message.contains("Could not find repo")
            || message.contains("Blob not found") =>
        {
            Exit::NotFound
        }
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, message);
    match hint(name, &failure.message, status) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A message without the name of the call's own field that it is about: whoever typed a command does not know that. Where
/// in a record something is wrong stays.
fn without_place(message: &str) -> &str {
    match message.rsplit_once(" at $.") {
        Some((what, field)) if field.bytes().all(|b| b.is_ascii_alphanumeric()) => what,
        _ => message,
    }
}

fn hint(name: &str, message: &str, status: StatusCode) -> Option<&'static str> {
    Some(match name {
        // The protocol gives this one no name of its own.
        _ if message.starts_with("Handle already taken") => {
            "ues account ls lists the handles in use"
        }
        "InvalidHandle" => "a local node gives handles such as alice.test",
        "UnsupportedDomain" => "ues config show handle_domains tells which domains the node serves",
        "RepoNotFound" | "AccountNotFound" => "ues account ls lists the accounts",
        "RepoDamaged" => {
            "nothing was changed; a backup or ues repo import can bring back what is lost"
        }
        "InvalidSwap" => "somebody else changed it first; read it again and retry",
        "InvalidInviteCode" => "the node asks for an invite code: --invite-code CODE",
        _ if status == StatusCode::TOO_MANY_REQUESTS => {
            "wait, or start the node with rate_limits.enabled = false"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_exit_codes() {
        let failure = from_answer(
            StatusCode::BAD_REQUEST,
            br#"{"error":"RecordNotFound","message":"Could not locate record: at://x"}"#,
        );
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.message, "Could not locate record: at://x");
        assert_eq!(
            without_place("Invalid handle (got \"x\") at $.handle"),
            "Invalid handle (got \"x\")"
        );
        let record = "Missing required key at $.record.text";
        assert_eq!(without_place(record), record);
        assert_eq!(
            from_answer(StatusCode::BAD_GATEWAY, b"<html>").message,
            "the node answered 502 Bad Gateway"
        );
    }
}
