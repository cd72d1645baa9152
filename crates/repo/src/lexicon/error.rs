//! What can be wrong with a value, and where.

use std::borrow::Cow;
use std::fmt;

use super::rules::StringFormat;

/// One step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A property of an object.
    Key(String),
    /// An item of an array.
    Index(usize),
}

/// The quantity that a limit speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// Length of a string in bytes of UTF-8.
    String,
    /// Length of a string in user-perceived characters (Unicode extended grapheme clusters).
    Grapheme,
    /// Length of a byte string.
    Bytes,
    /// Number of items.
    Array,
    /// Value of a number.
    Integer,
    /// Size of a blob in bytes.
    Blob,
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Measure::String => "string",
            Measure::Grapheme => "grapheme",
            Measure::Bytes => "bytes",
            Measure::Array => "array",
            Measure::Integer => "integer",
            Measure::Blob => "blob",
        }
    }
}

/// What is wrong, without the place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The value is of another type.
    Type {
        /// What the schema wants, as in `string` or `blob`.
        expected: Cow<'static, str>,
        /// A short picture of the value.
        found: String,
    },
    /// A required property is absent.
    MissingKey {
        /// Its name.
        key: String,
    },
    /// A string is not in the format that the schema names.
    Format {
        /// The format.
        format: StringFormat,
        /// A short picture of the value.
        found: String,
    },
    /// The value is none of those allowed (`const`, `enum`, `$type`, MIME type).
    NotAllowed {
        /// What is allowed, as JSON.
        allowed: Vec<String>,
        /// A short picture of the value.
        found: String,
    },
    /// Above the upper limit.
    TooBig {
        /// What was measured.
        measure: Measure,
        /// The limit.
        maximum: i64,
        /// What it is.
        found: i64,
    },
    /// Below the lower limit.
    TooSmall {
        /// What was measured.
        measure: Measure,
        /// The limit.
        minimum: i64,
        /// What it is.
        found: i64,
    },
    /// The schema refers to a definition of a document that is not registered.
    Unresolved {
        /// The reference, `nsid#name`.
        reference: String,
    },
    /// The value is nested deeper than the engine follows.
    TooDeep {
        /// The limit in levels.
        maximum: usize,
    },
}

/// A value does not match its schema.
///
/// The text is that of the official server (`@atproto/lex-schema`), as in
/// `Expected string value type (got 2) at $.record.text`. [`ValidationError::lexicon_message`] gives the
/// text of the older official library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationError {
    segments: Vec<Segment>,
    /// What is wrong.
    pub problem: Problem,
}

impl std::error::Error for ValidationError {}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.problem, self.path())
    }
}

impl ValidationError {
    /// An error at the value itself; [`ValidationError::within`] moves it down.
    pub(super) fn new(problem: Problem) -> Box<ValidationError> {
        Box::new(ValidationError {
            segments: Vec::new(),
            problem,
        })
    }

    /// The same error, seen from the value that contains the faulty one.
    pub(super) fn within(mut self: Box<Self>, segment: Segment) -> Box<Self> {
        // Kept innermost first, so that each level of the way out only appends.
        self.segments.push(segment);
        self
    }

    /// The way from the validated value to the fault, outermost step first.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().rev()
    }

    /// The place as a path, `$.facets[2].features[0].did`.
    pub fn path(&self) -> String {
        let mut path = String::from("$");
        for segment in self.segments() {
            match segment {
                Segment::Index(index) => path.push_str(&format!("[{index}]")),
                Segment::Key(key) if is_plain(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Segment::Key(key) => path.push_str(&format!("[{}]", quote(key))),
            }
        }
        path
    }

    /// The error under a further name in front: the official server validates a record as `$.record`.
    pub fn under(mut self, name: &str) -> ValidationError {
        self.segments.push(Segment::Key(name.to_owned()));
        self
    }

    /// The message in the words of the older official library (`@atproto/lexicon`).
    ///
    /// `root` is what it calls the validated value: `Record`, `Input`, `Output`, `Message` or `Params`, as
    /// in `Input/text must be a string`.
    pub fn lexicon_message(&self, root: &str) -> String {
        let mut path = String::from(root);
        for segment in self.segments() {
            path.push('/');
            match segment {
                Segment::Key(key) => path.push_str(key),
                Segment::Index(index) => path.push_str(&index.to_string()),
            }
        }
        match &self.problem {
            Problem::Type { expected, .. } => match expected.as_ref() {
                "string" => format!("{path} must be a string"),
                "boolean" => format!("{path} must be a boolean"),
                "integer" => format!("{path} must be an integer"),
                "bytes" => format!("{path} must be a byte array"),
                "cid" => format!("{path} must be a CID"),
                "blob" => format!("{path} should be a blob ref"),
                "array" => format!("{path} must be an array"),
                "object" => format!("{path} must be an object"),
                TYPED => {
                    format!("{path} must be an object which includes the \"$type\" property")
                }
                other => format!("{path} must be a {other}"),
            },
            Problem::MissingKey { key } => format!("{path} must have the property \"{key}\""),
            Problem::Format { format, .. } => {
                format!("{path} must be {}", format.lexicon_words())
            }
            Problem::NotAllowed { allowed, .. } => {
                let plain: Vec<&str> = allowed.iter().map(|a| a.trim_matches('"')).collect();
                if let Some(object) = path.strip_suffix("/$type") {
                    format!("{object} $type must be one of {}", plain.join(", "))
                } else if let [only] = plain.as_slice() {
                    format!("{path} must be {only}")
                } else {
                    format!("{path} must be one of ({})", plain.join("|"))
                }
            }
            Problem::TooBig {
                measure, maximum, ..
            } => match measure {
                Measure::String => {
                    format!("{path} must not be longer than {maximum} characters")
                }
                Measure::Grapheme => {
                    format!("{path} must not be longer than {maximum} graphemes")
                }
                Measure::Bytes | Measure::Blob => {
                    format!("{path} must not be larger than {maximum} bytes")
                }
                Measure::Array => {
                    format!("{path} must not have more than {maximum} elements")
                }
                Measure::Integer => format!("{path} can not be greater than {maximum}"),
            },
            Problem::TooSmall {
                measure, minimum, ..
            } => match measure {
                Measure::String => {
                    format!("{path} must not be shorter than {minimum} characters")
                }
                Measure::Grapheme => {
                    format!("{path} must not be shorter than {minimum} graphemes")
                }
                Measure::Bytes | Measure::Blob => {
                    format!("{path} must not be smaller than {minimum} bytes")
                }
                Measure::Array => {
                    format!("{path} must not have fewer than {minimum} elements")
                }
                Measure::Integer => format!("{path} can not be less than {minimum}"),
            },
            Problem::Unresolved { reference } => format!("Lexicon not found: lex:{reference}"),
            Problem::TooDeep { .. } => format!("{path}: {}", self.problem),
        }
    }
}

/// What the official library calls an object with a `$type`.
pub(super) const TYPED: &str = "an object which includes the \"$type\" property";

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Type { expected, found } => {
                write!(f, "Expected {expected} value type (got {found})")
            }
            Problem::MissingKey { key } => write!(f, "Missing required key {}", quote(key)),
            Problem::Format { format, found } => {
                write!(f, "Invalid {} (got {found})", format.description())
            }
            Problem::NotAllowed { allowed, found } => {
                write!(f, "Expected {} (got {found})", one_of(allowed))
            }
            Problem::TooBig {
                measure,
                maximum,
                found,
            } => write!(
                f,
                "{} too big (maximum {maximum}, got {found})",
                measure.name()
            ),
            Problem::TooSmall {
                measure,
                minimum,
                found,
            } => write!(
                f,
                "{} too small (minimum {minimum}, got {found})",
                measure.name()
            ),
            Problem::Unresolved { reference } => {
                write!(
                    f,
                    "The schema refers to {reference}, which is not registered"
                )
            }
            Problem::TooDeep { maximum } => write!(f, "Nested deeper than {maximum} levels"),
        }
    }
}

/// A string as JSON, cut where a message would become a wall of text.
pub(super) fn preview(text: &str) -> String {
    const MAX_CHARS: usize = 256;
    match text.char_indices().nth(MAX_CHARS) {
        None => quote(text),
        Some((end, _)) => quote(&format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_plain(key: &str) -> bool {
    let mut bytes = key.bytes();
    let first = bytes.next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'$')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn one_of(allowed: &[String]) -> String {
    match allowed {
        [] => String::from("nothing"),
        [only] => only.clone(),
        [all @ .., last] => format!("one of {} or {last}", all.join(", ")),
    }
}
