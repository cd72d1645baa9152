//! What is written.

use crate::accounts::Purpose;

/// A letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Address.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

impl Letter {
    /// The letter that brings a token to the owner of an account, called `handle`, of a node at `host`.
    pub fn with_token(purpose: Purpose, to: &str, handle: &str, host: &str, token: &str) -> Self {
        let (subject, wish) = match purpose {
            Purpose::ConfirmEmail => (
                "Confirm your e-mail address",
                "To show that this address is yours, use this code:",
            ),
            Purpose::UpdateEmail => (
                "Change of your e-mail address",
                "To change the e-mail address of your account, use this code:",
            ),
            Purpose::ResetPassword => (
                "A new password",
                "To set a new password for your account, use this code:",
            ),
            Purpose::DeleteAccount => (
                "Deletion of your account",
                "To delete your account with everything it holds, use this code. It cannot be undone.",
            ),
            Purpose::PlcOperation => (
                "Change of your identity",
                "To have a change of your identity signed, use this code. Whoever has it can move your account elsewhere.",
            ),
            Purpose::SignIn => ("Your sign-in code", "To sign in, use this code:"),
        };
        Self {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: format!(
                "Hello {handle},\n\n{wish}\n\n    {token}\n\nIt is good for 15 minutes, once. \
                 If you have not asked for it, do nothing.\n\n{host}\n"
            ),
        }
    }
}
