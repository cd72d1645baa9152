//! Why a schema cannot be read, and why a value does not match one.

/// A schema that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Something else was expected.
    #[error("line {line}: {expected} expected, found {found:?}")]
    Unexpected {
        /// The line, from 1.
        line: usize,
        /// What could stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// The text ends inside of a definition.
    #[error("the schema ends where {0} is expected")]
    Truncated(&'static str),
    /// A type that is defined twice.
    #[error("type {0} is defined twice")]
    Duplicate(String),
    /// A type that is named and not defined.
    #[error("type {user} names {name}, which is not defined")]
    Undefined {
        /// The type that names it.
        user: String,
        /// The name.
        name: String,
    },
    /// A representation that the kind of type does not have.
    #[error("type {name} has no representation {representation:?}")]
    Representation {
        /// The type.
        name: String,
        /// The representation.
        representation: String,
    },
    /// The same field or member twice, or two that look alike in data.
    #[error("type {name} has {member:?} twice")]
    Ambiguous {
        /// The type.
        name: String,
        /// The field or member.
        member: String,
    },
    /// A schema as data that lacks something, or has it in another form.
    #[error("type {name}: {expected} expected in the schema's data")]
    Dmt {
        /// The type.
        name: String,
        /// What should be there.
        expected: &'static str,
    },
    /// Longer or nested deeper than any reasonable schema.
    #[error("a schema of at most {0} expected")]
    TooLarge(&'static str),
}

/// A value that is not of a type; `path` names the place in the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {expected} expected, found {found}")]
pub struct Mismatch {
    /// Where, such as `/members/0/name`.
    pub path: String,
    /// What the schema asks for.
    pub expected: String,
    /// What there is.
    pub found: String,
}

impl Mismatch {
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            path: "/".to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The same mismatch seen from one level further out.
    pub(super) fn within(mut self, step: &str) -> Self {
        let step: String = step.chars().take(64).collect();
        self.path = if self.path == "/" {
            format!("/{step}")
        } else {
            format!("/{step}{}", self.path)
        };
        self
    }
}
