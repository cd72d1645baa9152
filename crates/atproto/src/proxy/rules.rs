//! Methods that are never passed on, and those that need more than an ordinary app password.

use crate::accounts::Scope;

/// Methods about the account itself: they are called at the account's own server or not at all.
const PROTECTED: [&str; 16] = [
    "com.atproto.admin.sendEmail",
    "com.atproto.identity.requestPlcOperationSignature",
    "com.atproto.identity.signPlcOperation",
    "com.atproto.identity.updateHandle",
    "com.atproto.server.activateAccount",
    "com.atproto.server.confirmEmail",
    "com.atproto.server.createAppPassword",
    "com.atproto.server.deactivateAccount",
    "com.atproto.server.getAccountInviteCodes",
    "com.atproto.server.getSession",
    "com.atproto.server.listAppPasswords",
    "com.atproto.server.requestAccountDelete",
    "com.atproto.server.requestEmailConfirmation",
    "com.atproto.server.requestEmailUpdate",
    "com.atproto.server.revokeAppPassword",
    "com.atproto.server.updateEmail",
];

/// Methods for the account's password or a privileged app password: private messages, and moving.
const PRIVILEGED: [&str; 15] = [
    "chat.bsky.actor.deleteAccount",
    "chat.bsky.actor.exportAccountData",
    "chat.bsky.convo.deleteMessageForSelf",
    "chat.bsky.convo.getConvo",
    "chat.bsky.convo.getConvoForMembers",
    "chat.bsky.convo.getLog",
    "chat.bsky.convo.getMessages",
    "chat.bsky.convo.leaveConvo",
    "chat.bsky.convo.listConvos",
    "chat.bsky.convo.muteConvo",
    "chat.bsky.convo.sendMessage",
    "chat.bsky.convo.sendMessageBatch",
    "chat.bsky.convo.unmuteConvo",
    "chat.bsky.convo.updateRead",
    "com.atproto.server.createAccount",
];

/// Whether a method is about the account itself. Names are compared without regard to case, as
/// services do.
pub fn is_protected(nsid: &str) -> bool {
    PROTECTED.iter().any(|m| m.eq_ignore_ascii_case(nsid))
}

/// Whether a method needs the account's password or a privileged app password.
///
/// All of `chat.bsky` is private messages, also methods that came after the list.
pub fn is_privileged(nsid: &str) -> bool {
    let chat = nsid
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("chat.bsky."));
    chat || PRIVILEGED.iter().any(|m| m.eq_ignore_ascii_case(nsid))
}

/// Whether a session of this kind may call a privileged method. What an application was granted says itself whether
/// private messages are in it; moving an account never is.
pub fn may_call_privileged(scope: Scope, nsid: &str) -> bool {
    match scope {
        Scope::Access | Scope::AppPassPrivileged => true,
        Scope::Granted => !PRIVILEGED[PRIVILEGED.len() - 1].eq_ignore_ascii_case(nsid),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_privileged, is_protected};

    #[test]
    fn case_does_not_help() {
        assert!(is_protected("com.atproto.server.updateemail"));
        assert!(is_privileged("CHAT.bsky.convo.getLog"));
        assert!(is_privileged("chat.bsky.group.createGroup"));
        assert!(is_privileged("com.atproto.server.createAccount"));
        assert!(!is_privileged("app.bsky.feed.getTimeline"));
        assert!(!is_protected("com.atproto.server.getServiceAuth"));
    }
}
