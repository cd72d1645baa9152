//! A value under whatever rule its lexicon declares.

use std::fmt;
use std::str::FromStr;

use ues_data::Ipld;

use super::dot::Dot;
use super::error::{CodecError, CrdtError};
use super::rule::{Edit, Origin, Rule};
use super::{Counter, Fields, List, Set, Text};

/// The rules by name, as lexicons and operations have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// [`Counter`]: `counter`.
    Counter,
    /// [`Set`]: `set`.
    Set,
    /// [`Fields`]: `fields`.
    Fields,
    /// [`List`]: `list`.
    List,
    /// [`Text`]: `text`.
    Text,
}

impl RuleKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Counter,
        Self::Set,
        Self::Fields,
        Self::List,
        Self::Text,
    ];

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Fields => "fields",
            Self::List => "list",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no rule has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counter, set, fields, list or text expected, found {0:?}")]
pub struct UnknownRule(pub String);

impl FromStr for RuleKind {
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, UnknownRule> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownRule(name.chars().take(64).collect()))
    }
}

/// Why an encoded edit was not applied; the document is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It is no edit of the rule.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It cannot be applied here.
    #[error(transparent)]
    Rule(#[from] CrdtError),
}

/// What an encoded edit takes and needs: its width and references ([`Edit::width`], [`Edit::references`]).
///
/// # Errors
/// If the bytes are no edit of the rule.
pub fn inspect(kind: RuleKind, edit: &[u8]) -> Result<(u32, Vec<Dot>), CodecError> {
    fn look<E: Edit>(edit: &[u8]) -> Result<(u32, Vec<Dot>), CodecError> {
        let edit = E::decode(edit)?;
        Ok((edit.width(), edit.references()))
    }
    match kind {
        RuleKind::Counter => look::<<Counter as Rule>::Edit>(edit),
        RuleKind::Set => look::<<Set as Rule>::Edit>(edit),
        RuleKind::Fields => look::<<Fields as Rule>::Edit>(edit),
        RuleKind::List => look::<<List as Rule>::Edit>(edit),
        RuleKind::Text => look::<<Text as Rule>::Edit>(edit),
    }
}

/// A state under one of the rules, for callers that handle all rules alike.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Document {
    /// A counter.
    Counter(Counter),
    /// A set.
    Set(Set),
    /// A record merged by field.
    Fields(Fields),
    /// A list.
    List(List),
    /// A text.
    Text(Text),
}

impl Document {
    /// The state before all edits.
    #[must_use]
    pub fn new(kind: RuleKind) -> Self {
        match kind {
            RuleKind::Counter => Self::Counter(Counter::default()),
            RuleKind::Set => Self::Set(Set::default()),
            RuleKind::Fields => Self::Fields(Fields::default()),
            RuleKind::List => Self::List(List::default()),
            RuleKind::Text => Self::Text(Text::default()),
        }
    }

    /// The rule.
    #[must_use]
    pub fn kind(&self) -> RuleKind {
        match self {
            Self::Counter(_) => RuleKind::Counter,
            Self::Set(_) => RuleKind::Set,
            Self::Fields(_) => RuleKind::Fields,
            Self::List(_) => RuleKind::List,
            Self::Text(_) => RuleKind::Text,
        }
    }

    /// Applies an encoded edit: [`Rule::apply`].
    ///
    /// # Errors
    /// If the bytes are no edit of the rule, or the edit cannot be applied.
    pub fn apply(&mut self, origin: &Origin, edit: &[u8]) -> Result<(), ApplyError> {
        fn apply<R: Rule>(state: &mut R, origin: &Origin, edit: &[u8]) -> Result<(), ApplyError> {
            Ok(state.apply(origin, &R::Edit::decode(edit)?)?)
        }
        match self {
            Self::Counter(state) => apply(state, origin, edit),
            Self::Set(state) => apply(state, origin, edit),
            Self::Fields(state) => apply(state, origin, edit),
            Self::List(state) => apply(state, origin, edit),
            Self::Text(state) => apply(state, origin, edit),
        }
    }

    /// As [`apply`](Self::apply), after [`Rule::mend`].
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_mended(&mut self, origin: &Origin, edit: &[u8]) -> Result<(), ApplyError> {
        fn apply<R: Rule>(state: &mut R, origin: &Origin, edit: &[u8]) -> Result<(), ApplyError> {
            let edit = state.mend(origin, R::Edit::decode(edit)?);
            Ok(state.apply(origin, &edit)?)
        }
        match self {
            Self::Counter(state) => apply(state, origin, edit),
            Self::Set(state) => apply(state, origin, edit),
            Self::Fields(state) => apply(state, origin, edit),
            Self::List(state) => apply(state, origin, edit),
            Self::Text(state) => apply(state, origin, edit),
        }
    }

    /// What a reader sees: [`Rule::value`].
    #[must_use]
    pub fn value(&self) -> Ipld {
        match self {
            Self::Counter(state) => state.value(),
            Self::Set(state) => state.value(),
            Self::Fields(state) => state.value(),
            Self::List(state) => state.value(),
            Self::Text(state) => state.value(),
        }
    }

    /// The state as bytes, without the rule's name: [`Rule::encode`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Counter(state) => state.encode(),
            Self::Set(state) => state.encode(),
            Self::Fields(state) => state.encode(),
            Self::List(state) => state.encode(),
            Self::Text(state) => state.encode(),
        }
    }

    /// Reads what [`Document::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are no state of the rule: [`Rule::decode`].
    pub fn decode(kind: RuleKind, bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match kind {
            RuleKind::Counter => Self::Counter(Counter::decode(bytes)?),
            RuleKind::Set => Self::Set(Set::decode(bytes)?),
            RuleKind::Fields => Self::Fields(Fields::decode(bytes)?),
            RuleKind::List => Self::List(List::decode(bytes)?),
            RuleKind::Text => Self::Text(Text::decode(bytes)?),
        })
    }
}
