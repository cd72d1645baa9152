//! Which field of a record merges how, as operations and states carry it.

use std::collections::BTreeMap;

use ues_data::Ipld;
use ues_data::dag_cbor::{Reader, Writer};
use ues_repo::lexicon::{MergeKind, MergeRule};

use crate::crdt::{CodecError, RuleKind};

use super::{TYPE, WHOLE};

/// Most rules of one record.
pub const MAX_RULES: usize = 64;
/// Longest name of a field, in bytes.
const MAX_NAME: usize = 512;

/// The rule of one field, and the limits that a merged value has to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// The field; [`WHOLE`] for all that have no rule of their own.
    pub field: Box<str>,
    /// How it merges.
    pub kind: RuleKind,
    /// The field with the facets of a text.
    pub facets: Option<Box<str>>,
    /// Least value of a counter, number of items, or bytes of a text.
    pub min: Option<i64>,
    /// Greatest value of a counter, number of items, or bytes of a text.
    pub max: Option<i64>,
    /// Most grapheme clusters of a text.
    pub graphemes: Option<u64>,
}

/// The rules that a lexicon declares, by field.
pub fn rules_of(declared: &[MergeRule]) -> Vec<FieldRule> {
    let rule = |rule: &MergeRule| FieldRule {
        field: rule.field.as_deref().unwrap_or(WHOLE).into(),
        kind: match rule.kind {
            MergeKind::Counter => RuleKind::Counter,
            MergeKind::Set => RuleKind::Set,
            MergeKind::Fields => RuleKind::Fields,
            MergeKind::List => RuleKind::List,
            MergeKind::Text => RuleKind::Text,
        },
        facets: rule.facets.as_deref().map(Into::into),
        min: rule.min,
        max: rule.max,
        graphemes: rule.max_graphemes,
    };
    let mut rules: Vec<FieldRule> = declared.iter().map(rule).collect();
    rules.sort_by(|a, b| a.field.cmp(&b.field));
    rules
}

/// A record has something in a field that its rule cannot say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsayable;

impl FieldRule {
    pub(super) fn write_all(rules: &[Self], out: &mut Writer) {
        out.array(rules.len() as u64);
        for rule in rules {
            out.array(6);
            out.text(&rule.field);
            out.text(rule.kind.name());
            match &rule.facets {
                Some(facets) => out.text(facets),
                None => out.null(),
            }
            for limit in [rule.min, rule.max] {
                match limit {
                    Some(limit) => out.int(limit),
                    None => out.null(),
                }
            }
            match rule.graphemes {
                Some(graphemes) => out.uint(graphemes),
                None => out.null(),
            }
        }
    }

    /// Reads rules, which must be by field, and no two about one.
    pub(super) fn read_all(input: &mut Reader<'_>) -> Result<Vec<Self>, CodecError> {
        let len = input.array()?;
        if len == 0 || len > MAX_RULES {
            return Err(CodecError::Number {
                what: "1 to 64 rules",
                found: len as u64,
            });
        }
        let mut rules: Vec<Self> = Vec::with_capacity(len);
        for _ in 0..len {
            let rule = Self::read(input)?;
            if rules.last().is_some_and(|last| last.field >= rule.field) {
                return Err(CodecError::Order("rules"));
            }
            rules.push(rule);
        }
        let facets: Vec<&str> = rules.iter().filter_map(|r| r.facets.as_deref()).collect();
        for (at, name) in facets.iter().enumerate() {
            let is_ruled = rules.iter().any(|rule| *rule.field == **name);
            if is_ruled || facets.iter().take(at).any(|other| other == name) {
                return Err(CodecError::Order("rules"));
            }
        }
        Ok(rules)
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let items = input.array()?;
        if items != 6 {
            let (expected, found) = (6, items);
            return Err(CodecError::Length { expected, found });
        }
        let name = |input: &mut Reader<'_>| -> Result<Box<str>, CodecError> {
            let name = input.text()?;
            if name.len() > MAX_NAME || name == TYPE {
                return Err(CodecError::TooLong {
                    what: "the name of a field",
                    max: MAX_NAME,
                    found: name.len(),
                });
            }
            Ok(name.into())
        };
        let field = name(input)?;
        let kind = read_kind(input)?;
        let facets = match input.try_null()? {
            true => None,
            false => Some(name(input)?),
        };
        let mut limit = || -> Result<Option<i64>, CodecError> {
            Ok(match input.try_null()? {
                true => None,
                false => Some(input.i64()?),
            })
        };
        let (min, max) = (limit()?, limit()?);
        let graphemes = match input.try_null()? {
            true => None,
            false => Some(input.uint()?),
        };
        let fits = (kind == RuleKind::Fields || &*field != WHOLE)
            && (kind == RuleKind::Text || facets.is_none())
            && facets.as_deref() != Some(WHOLE);
        match fits {
            true => Ok(Self {
                field,
                kind,
                facets,
                min,
                max,
                graphemes,
            }),
            false => Err(CodecError::NotCanonical),
        }
    }

    /// What a record has under the rule: none if the field is not there.
    pub(super) fn part(
        &self,
        all: &[Self],
        record: &BTreeMap<String, Ipld>,
    ) -> Result<Option<Ipld>, Unsayable> {
        if &*self.field == WHOLE {
            let rest = record.iter().filter(|(name, _)| is_free(all, name));
            let rest = rest.map(|(name, value)| (name.clone(), value.clone()));
            return Ok(Some(Ipld::Map(rest.collect())));
        }
        let value = match record.get(&*self.field) {
            None | Some(Ipld::Null) => None,
            Some(value) => Some(value.clone()),
        };
        let facets = self.facets.as_ref().and_then(|name| record.get(&**name));
        match (self.kind, value) {
            (RuleKind::Text, None) if facets.is_some() => Err(Unsayable),
            (_, None) => Ok(None),
            (RuleKind::Counter, value @ Some(Ipld::Integer(_)))
            | (RuleKind::Set | RuleKind::List, value @ Some(Ipld::List(_)))
            | (RuleKind::Fields, value @ Some(Ipld::Map(_))) => Ok(value),
            (RuleKind::Text, Some(text @ Ipld::String(_))) => {
                let mut map = BTreeMap::from([("text".to_owned(), text)]);
                match facets {
                    None => {}
                    Some(facets @ Ipld::List(_)) => {
                        map.insert("facets".to_owned(), facets.clone());
                    }
                    Some(_) => return Err(Unsayable),
                }
                Ok(Some(Ipld::Map(map)))
            }
            _ => Err(Unsayable),
        }
    }
}

/// Whether a field of a record has no rule of its own.
pub(super) fn is_free(rules: &[FieldRule], name: &str) -> bool {
    name != TYPE
        && !rules
            .iter()
            .any(|rule| *rule.field == *name || rule.facets.as_deref() == Some(name))
}

pub(super) fn read_kind(input: &mut Reader<'_>) -> Result<RuleKind, CodecError> {
    let name = input.text()?;
    name.parse().map_err(|_| CodecError::Number {
        what: "the name of a rule",
        found: name.len() as u64,
    })
}
