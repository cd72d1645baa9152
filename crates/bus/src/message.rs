//! What is published: a subject and bytes.

use std::fmt;

use bytes::Bytes;

/// The longest subject, in bytes.
const MAX_SUBJECT: usize = 200;

/// The address of a message: words of `A-Z a-z 0-9 _ -`, separated by dots, such as `pin.assign.12D3KooW…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(String);

/// A text that is not a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a subject is made of words of letters, digits, _ and - with dots between them, at most 200 bytes; found {0:?}"
)]
pub struct SubjectError(String);

impl Subject {
    /// Checks a subject.
    ///
    /// # Errors
    /// [`SubjectError`] for an empty word, another character, or more than 200 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, SubjectError> {
        let text = text.into();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let word = |w: &str| !w.is_empty() && w.bytes().all(plain);
        if text.len() <= MAX_SUBJECT && text.split('.').all(word) {
            Ok(Self(text))
        } else {
            Err(SubjectError(text.chars().take(MAX_SUBJECT).collect()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `prefix` itself or lies below it: `pin.assign.w1` lies below `pin.assign`.
    pub fn is_under(&self, prefix: &Self) -> bool {
        self.0
            .strip_prefix(&prefix.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub subject: Subject,
    /// A second message with the same id within some minutes is dropped; `None`: never.
    pub id: Option<String>,
    /// The content; at most 1 MB, the default limit of NATS.
    pub payload: Bytes,
    /// The `traceparent` of the W3C, so that one trace follows the work through the bus.
    pub trace: Option<String>,
}

impl Message {
    /// A message without id and trace.
    pub fn new(subject: Subject, payload: impl Into<Bytes>) -> Self {
        Self {
            subject,
            id: None,
            payload: payload.into(),
            trace: None,
        }
    }
}
