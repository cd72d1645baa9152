//! Who is asked and told while an account moves.

use async_trait::async_trait;
use serde_json::Value;
use zeroize::Zeroizing;

use super::plan::Step;
use crate::failure::Outcome;

/// What only the account's owner knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The password at a server.
    Password {
        /// The server.
        server: String,
    },
    /// The second factor at a server.
    SecondFactor {
        /// The server.
        server: String,
    },
    /// The code of a letter, with which a server signs that the account lives elsewhere.
    MoveCode {
        /// The server.
        server: String,
        /// Where the letter went, as far as the server tells.
        email: Option<String>,
    },
    /// The code of a letter, with which a server deletes the account.
    DeleteCode {
        /// The server.
        server: String,
    },
}

/// See the module.
#[async_trait]
pub trait Person: Send + Sync {
    /// An answer, or a failure that says how it can be given otherwise.
    async fn ask(&self, question: Question) -> Outcome<Zeroizing<String>>;
    /// A step begins.
    fn begins(&self, step: Step);
    /// A part of a step is done: so many of so many.
    fn progress(&self, step: Step, done: u64, total: u64);
    /// A step is done.
    fn done(&self, step: Step, report: &Report);
    /// Something is not as it might be, and does not stop the move.
    fn warn(&self, text: &str);
}

/// What a step has done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// For a person.
    pub text: String,
    /// For a program: an object.
    pub details: Value,
}

impl Report {
    /// A report in both forms.
    pub fn new(text: impl Into<String>, details: Value) -> Self {
        Self {
            text: text.into(),
            details,
        }
    }
}
