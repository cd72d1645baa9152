//! What goes wrong between us and a Kubo, and whether it helps to try again.

use std::time::Duration;

use reqwest::StatusCode;

use crate::backend::JobError;

/// The longest text of Kubo that is passed on, in characters.
const MAX_TEXT: usize = 400;

/// What went wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RpcError {
    #[error("Kubo at {api} does not answer: {why}")]
    Unreachable { api: String, why: String },
    /// Kubo itself says what is wrong.
    #[error("{0}")]
    Said(String),
    /// Someone refuses, perhaps a proxy before Kubo.
    #[error("Kubo answers with status {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("Kubo's answer was cut: {0}")]
    Cut(String),
    #[error("Kubo's answer cannot be read: {0}")]
    Garbage(String),
    #[error("Kubo's answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("Kubo did not answer within {} s", .0.as_secs_f32())]
    Slow(Duration),
    #[error("no new block for {} s", .0.as_secs_f32())]
    Stalled(Duration),
}

/// What Kubo says of things that will be as wrong the next time.
const HOPELESS: [&str; 16] = [
    "invalid path",
    "invalid cid",
    "selected encoding not supported",
    "no decoder",
    "could not choose a decoder",
    "invalid majorbyte",
    "no encoder",
    "unknown codec",
    "unrecognized",
    "unknown multihash",
    "unknown hash",
    "insecure hash functions",
    "hash function not allowed",
    "digest too small",
    "digest too large",
    "failed to decode",
];

impl RpcError {
    /// Kubo's own words, bounded and on one line.
    pub(super) fn said(words: &str) -> Self {
        Self::Said(one_line(words))
    }

    /// Whether Kubo's words hold these.
    pub(super) fn says(&self, words: &str) -> bool {
        matches!(self, Self::Said(said) if said.contains(words))
    }

    pub(super) fn is_not_pinned(&self) -> bool {
        self.says("is not pinned") || self.says("not pinned or pinned indirectly")
    }

    pub(super) fn is_pinned_recursively(&self) -> bool {
        self.says("already pinned recursively")
    }

    /// Whether no other question would be answered now either.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Slow(_))
    }

    pub(super) fn is_hopeless(&self) -> bool {
        let Self::Said(said) = self else {
            return false;
        };
        let said = said.to_ascii_lowercase();
        HOPELESS.iter().any(|words| said.contains(words))
    }
}

impl From<RpcError> for JobError {
    fn from(error: RpcError) -> Self {
        if error.is_hopeless() {
            Self::Terminal(error.to_string())
        } else {
            Self::Retry(error.to_string())
        }
    }
}

/// Text without control characters, not too long.
pub(super) fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.trim().chars().take(MAX_TEXT).map(plain).collect();
    if text.trim().chars().nth(MAX_TEXT).is_some() {
        line.push('…');
    }
    line
}

/// An error with its causes and without the URL, which holds all arguments.
pub(super) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hopeless() {
        let job = |words: &str| JobError::from(RpcError::said(words));
        for words in [
            "invalid path \"zzz\": invalid cid: selected encoding not supported",
            "pin: no decoder registered for multicodec code 297 (0x129)",
        ] {
            assert!(matches!(job(words), JobError::Terminal(_)), "{words}");
        }
        for words in [
            "pin: block was not found locally (offline): ipld: could not find bafk",
            "context deadline exceeded",
            "",
        ] {
            assert!(matches!(job(words), JobError::Retry(_)), "{words}");
        }
        let refused = RpcError::Status {
            status: StatusCode::BAD_GATEWAY,
            text: "invalid path".to_owned(),
        };
        assert!(matches!(JobError::from(refused), JobError::Retry(_)));
    }

    #[test]
    fn words_are_bounded() {
        let long = "x\n".repeat(10_000);
        let JobError::Retry(text) = JobError::from(RpcError::said(&long)) else {
            panic!("a terminal error");
        };
        assert!(text.chars().count() == MAX_TEXT + 1 && !text.contains('\n'));
    }
}
