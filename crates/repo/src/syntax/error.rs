//! Errors of parsing an identifier.

use std::fmt;

/// Longest part of a refused input that an error repeats, in bytes.
const EXCERPT: usize = 80;

/// The rule that a string breaks. Costs nothing to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {rule}")]
pub struct Violation {
    /// What the string should have been, such as `DID`.
    pub kind: &'static str,
    /// The rule that it breaks, in words.
    pub rule: &'static str,
}

impl Violation {
    pub(super) const fn new(kind: &'static str, rule: &'static str) -> Self {
        Self { kind, rule }
    }
}

/// A string that is not the identifier it should be, with (the beginning of) what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    violation: Violation,
    found: Box<str>,
}

impl SyntaxError {
    pub(super) fn new(violation: Violation, input: &str) -> Self {
        let end = input.floor_char_boundary(EXCERPT);
        let mut found = input.get(..end).unwrap_or_default().to_owned();
        if end < input.len() {
            found.push('…');
        }
        Self {
            violation,
            found: found.into(),
        }
    }

    /// The rule that was broken.
    pub fn violation(&self) -> Violation {
        self.violation
    }

    /// The refused input, cut off when it is long.
    pub fn found(&self) -> &str {
        &self.found
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, found {:?}", self.violation, self.found)
    }
}

impl std::error::Error for SyntaxError {}
