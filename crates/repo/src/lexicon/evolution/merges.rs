//! Comparison of how records merge.

use super::change::{ChangeKind, Comparison};
use crate::lexicon::rules::RecordDef;

/// The rules of a record definition. Limits are compared where they are declared.
pub(super) fn rules(c: &mut Comparison, path: &str, old: &RecordDef, new: &RecordDef) {
    let shape = |def: &RecordDef, field: &Option<String>| {
        let rule = def.merge.iter().find(|rule| rule.field == *field);
        rule.map(|rule| (rule.kind, rule.facets.clone()))
    };
    let fields = old.merge.iter().chain(&new.merge).map(|rule| &rule.field);
    let mut seen = Vec::new();
    for field in fields {
        if seen.contains(&field) {
            continue;
        }
        seen.push(field);
        let is_new = field
            .as_ref()
            .is_some_and(|name| !old.record.properties.contains_key(name));
        let (before, after) = (shape(old, field), shape(new, field));
        if before == after || is_new {
            continue;
        }
        let name = |shape: &Option<(crate::lexicon::MergeKind, _)>| {
            shape.as_ref().map_or("none", |(kind, _)| kind.name())
        };
        let whose = field.as_deref().unwrap_or("all other fields");
        c.add(
            path,
            ChangeKind::MergeRule,
            format!(
                "the rule of {whose} was {} and would be {}: devices with the old document merge in another way",
                name(&before),
                name(&after)
            ),
        );
    }
}
