//! How records merge that several devices change at the same time: an extension of the language that other
//! implementations ignore.
//!
//! On a record definition:
//! ```json
//! {"type": "record", "key": "tid", "record": {"type": "object", "properties": {…}},
//!  "ues": {"merge": [{"field": "visits", "rule": "counter"},
//!                    {"field": "tags", "rule": "set"},
//!                    {"field": "body", "rule": "text", "facets": "facets"},
//!                    {"rule": "fields"}]}}
//! ```
//! `field` is a property of the record. `rule` is `counter` for an integer, `set` or `list` for an array, `text` for a
//! string (`facets` names the array of its facets, if it has any), `fields` for an object, each property of which is
//! then merged by itself. A rule `fields` without `field` is for all properties of the record that no other rule has.
//! Of what has no rule the last writer's counts. The limits of the property's type bind what a merge makes, too.

use super::reader::{At, DocumentError};
use super::rules::{ObjectRule, Schema};

/// Most rules on one record.
const MAX_RULES: usize = 64;
/// What a record says of its own type; it is never merged.
const TYPE: &str = "$type";

/// How concurrent changes of a value become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeKind {
    /// What each added and took away is summed up.
    Counter,
    /// Additions win against concurrent removals.
    Set,
    /// Properties are merged one by one; the last writer of each counts.
    Fields,
    /// Items keep the order that their writers gave them.
    List,
    /// Characters keep the order that their writers gave them.
    Text,
}

impl MergeKind {
    /// All kinds, with the names that documents use.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Counter, "counter"),
        (Self::Set, "set"),
        (Self::Fields, "fields"),
        (Self::List, "list"),
        (Self::Text, "text"),
    ];

    /// The name that documents use.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }
}

/// How one property of a record merges, and the limits that the merged value must keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRule {
    /// The property; none for all that have no rule of their own.
    pub field: Option<String>,
    /// How.
    pub kind: MergeKind,
    /// The property with the facets of a text.
    pub facets: Option<String>,
    /// Least value of a counter, number of items, or bytes of a text.
    pub min: Option<i64>,
    /// Greatest value of a counter, number of items, or bytes of a text.
    pub max: Option<i64>,
    /// Most grapheme clusters of a text.
    pub max_graphemes: Option<u64>,
}

impl MergeRule {
    pub(super) fn parse_all(
        at: &At<'_>,
        record: &ObjectRule,
    ) -> Result<Vec<MergeRule>, DocumentError> {
        let all = at.list(|v| MergeRule::parse(&v, record))?;
        if all.len() > MAX_RULES {
            return Err(at.expected(format!("at most {MAX_RULES} rules")));
        }
        let mut names: Vec<&str> = Vec::new();
        for rule in &all {
            let field = rule.field.as_deref().unwrap_or_default();
            for name in std::iter::once(field).chain(rule.facets.as_deref()) {
                if names.contains(&name) {
                    return Err(at.conflict("one rule for each property", name));
                }
                names.push(name);
            }
        }
        Ok(all)
    }

    fn parse(at: &At<'_>, record: &ObjectRule) -> Result<MergeRule, DocumentError> {
        let kind = at.required("rule", |v| {
            let name = v.str()?;
            let known = MergeKind::ALL.iter().find(|(_, known)| *known == name);
            known
                .map(|(kind, _)| *kind)
                .ok_or_else(|| v.expected("\"counter\", \"set\", \"fields\", \"list\" or \"text\""))
        })?;
        let property = |v: At<'_>| {
            let name = v.str()?;
            match record.properties.get(name) {
                Some(property) if name != TYPE => Ok((name.to_owned(), &property.schema)),
                _ => Err(v.expected("a property of the record")),
            }
        };
        let mut out = MergeRule {
            field: None,
            kind,
            facets: None,
            min: None,
            max: None,
            max_graphemes: None,
        };
        let Some((name, schema)) = at.optional("field", property)? else {
            return match kind {
                MergeKind::Fields => Ok(out),
                _ => Err(at.conflict(
                    "a rule with \"field\" (only fields may be without)",
                    kind.name(),
                )),
            };
        };
        out.field = Some(name);
        out.take_limits(schema)
            .map_err(|expected| at.conflict(expected, schema.type_name()))?;
        if let Some((facets, schema)) = at.optional("facets", property)? {
            match (kind, schema) {
                (MergeKind::Text, Schema::Array(..)) => out.facets = Some(facets),
                _ => return Err(at.conflict("an array as the facets of a text", facets)),
            }
        }
        Ok(out)
    }

    fn take_limits(&mut self, schema: &Schema) -> Result<(), &'static str> {
        let signed = |limit: Option<u64>| limit.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        match (self.kind, schema) {
            (MergeKind::Counter, Schema::Integer(rule))
                if rule.allowed.is_none() && rule.constant.is_none() =>
            {
                (self.min, self.max) = (rule.minimum, rule.maximum);
                Ok(())
            }
            (MergeKind::Set | MergeKind::List, Schema::Array(_, rule)) => {
                (self.min, self.max) = (signed(rule.min), signed(rule.max));
                Ok(())
            }
            (MergeKind::Text, Schema::String(rule))
                if rule.format.is_none() && rule.allowed.is_none() && rule.constant.is_none() =>
            {
                (self.min, self.max) = (signed(rule.min_length), signed(rule.max_length));
                self.max_graphemes = rule.max_graphemes;
                Ok(())
            }
            (MergeKind::Fields, Schema::Object(_) | Schema::Ref(_) | Schema::Unknown) => Ok(()),
            (MergeKind::Counter, _) => Err("an integer without enum and const for a counter"),
            (MergeKind::Set | MergeKind::List, _) => Err("an array for a set or a list"),
            (MergeKind::Text, _) => Err("a string without format, enum and const for a text"),
            (MergeKind::Fields, _) => Err("an object for fields"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::{Value, json};

    use super::super::{ChangeKind, Document, Lexicons, compare};
    use super::*;

    fn document(merge: Value) -> Value {
        json!({
            "lexicon": 1, "id": "com.example.sheet",
            "defs": {"main": {
                "type": "record", "key": "any",
                "record": {"type": "object", "properties": {
                    "visits": {"type": "integer", "minimum": 0, "maximum": 9},
                    "state": {"type": "integer", "enum": [1, 2]},
                    "tags": {"type": "array", "items": {"type": "string"}, "maxLength": 5},
                    "body": {"type": "string", "maxLength": 100, "maxGraphemes": 10},
                    "marks": {"type": "array", "items": {"type": "unknown"}},
                    "at": {"type": "string", "format": "datetime"},
                    "look": {"type": "object", "properties": {}},
                }},
                "ues": {"merge": merge},
            }},
        })
    }

    #[test]
    fn rules_carry_the_limits_of_their_property() {
        let lexicons = Lexicons::empty();
        let all = json!([
            {"field": "visits", "rule": "counter"}, {"field": "tags", "rule": "set"},
            {"field": "body", "rule": "text", "facets": "marks"},
            {"field": "look", "rule": "fields"}, {"rule": "fields"},
        ]);
        lexicons.register(&document(all)).unwrap();
        let rules = lexicons.merge_rules("com.example.sheet");
        assert_eq!(rules.len(), 5);
        assert_eq!((rules[0].min, rules[0].max), (Some(0), Some(9)));
        assert_eq!((rules[1].kind, rules[1].max), (MergeKind::Set, Some(5)));
        assert_eq!(rules[2].facets.as_deref(), Some("marks"));
        assert_eq!(
            (rules[2].max, rules[2].max_graphemes),
            (Some(100), Some(10))
        );
        assert_eq!(rules[4].field, None);
        assert!(lexicons.merge_rules("app.bsky.feed.post").is_empty());
    }

    #[test]
    fn a_rule_that_does_not_fit_its_property_is_refused() {
        for (merge, expected) in [
            (json!([{"field": "visits", "rule": "sum"}]), "\"counter\""),
            (
                json!([{"field": "none", "rule": "set"}]),
                "a property of the record",
            ),
            (json!([{"field": "tags", "rule": "counter"}]), "an integer"),
            (json!([{"field": "state", "rule": "counter"}]), "an integer"),
            (json!([{"field": "visits", "rule": "list"}]), "an array"),
            (json!([{"field": "at", "rule": "text"}]), "a string"),
            (json!([{"field": "tags", "rule": "fields"}]), "an object"),
            (json!([{"rule": "text"}]), "a rule with \"field\""),
            (
                json!([{"field": "body", "rule": "text", "facets": "look"}]),
                "an array",
            ),
            (
                json!([{"field": "tags", "rule": "set"}, {"field": "tags", "rule": "list"}]),
                "one rule",
            ),
            (
                json!([{"field": "marks", "rule": "set"},
                       {"field": "body", "rule": "text", "facets": "marks"}]),
                "one rule",
            ),
        ] {
            let error = Document::parse(&document(merge.clone())).unwrap_err();
            assert!(error.expected.contains(expected), "{merge}: {error}");
        }
    }

    #[test]
    fn another_rule_breaks_a_new_one_for_a_new_property_does_not() {
        let parse = |merge| Document::parse(&document(merge)).unwrap();
        let old = parse(json!([{"field": "tags", "rule": "set"}]));
        let kinds = |new: &Document| -> Vec<ChangeKind> {
            compare(&old, new).iter().map(|c| c.kind).collect()
        };
        assert_eq!(kinds(&old), []);
        for new in [
            json!([]),
            json!([{"field": "tags", "rule": "list"}]),
            json!([{"field": "tags", "rule": "set"}, {"rule": "fields"}]),
            json!([{"field": "tags", "rule": "set"}, {"field": "visits", "rule": "counter"}]),
        ] {
            assert_eq!(kinds(&parse(new.clone())), [ChangeKind::MergeRule], "{new}");
        }
        let mut grown = document(json!([
            {"field": "tags", "rule": "set"}, {"field": "more", "rule": "set"},
        ]));
        grown["defs"]["main"]["record"]["properties"]["more"] =
            json!({"type": "array", "items": {"type": "string"}});
        assert_eq!(kinds(&Document::parse(&grown).unwrap()), []);
    }
}
