//! Letters that tell an owner what happened to the ways into their account.

use super::letter::Letter;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Sign-ins ask for a code of an authenticator.
    AuthenticatorOn,
    /// They do not any more.
    AuthenticatorOff,
    /// There are new recovery codes; the old ones are void.
    NewRecoveryCodes,
    /// A recovery code was used.
    RecoveryCodeUsed {
        /// How many are left.
        left: usize,
    },
    /// A passkey was added.
    PasskeyAdded {
        /// What it is called.
        name: String,
    },
    /// A passkey was removed.
    PasskeyRemoved {
        /// What it was called.
        name: String,
    },
    /// A passkey was refused because its counter went back.
    PasskeyCopied {
        /// What it is called.
        name: String,
    },
}

impl Notice {
    fn subject_and_text(&self) -> (&'static str, String) {
        match self {
            Self::AuthenticatorOn => (
                "Sign-ins ask for a code now",
                "From now on a sign-in to your account asks for a code of your authenticator besides the password.".into(),
            ),
            Self::AuthenticatorOff => (
                "Sign-ins do not ask for a code any more",
                "The authenticator of your account was removed: a sign-in asks for the password alone.".into(),
            ),
            Self::NewRecoveryCodes => (
                "New recovery codes",
                "New recovery codes were made for your account. The earlier ones are not good any more.".into(),
            ),
            Self::RecoveryCodeUsed { left } => (
                "A recovery code was used",
                format!("Somebody signed in to your account with one of its recovery codes. {left} are left."),
            ),
            Self::PasskeyAdded { name } => (
                "A new passkey",
                format!("A passkey was added to your account: {name}. Whoever has it can sign in without your password."),
            ),
            Self::PasskeyRemoved { name } => (
                "A passkey was removed",
                format!("A passkey of your account was removed: {name}. It does not sign in any more."),
            ),
            Self::PasskeyCopied { name } => (
                "A passkey was refused",
                format!("Somebody tried to sign in by your passkey {name}, which seems to have been copied. Remove it, and add a new one."),
            ),
        }
    }

    /// The letter to an account's owner, called `handle`, of the node at `endpoint`.
    pub fn letter(&self, to: &str, handle: &str, endpoint: &str) -> Letter {
        let (subject, text) = self.subject_and_text();
        Letter {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: format!(
                "Hello {handle},\n\n{text}\n\nIf it was you, there is nothing to do. If not, somebody else knows your \
                 password: set a new one, which signs everybody out, and look through\n\n    {endpoint}/account\n"
            ),
        }
    }
}
