//! Whether the references of a document lead somewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::document::MAIN;
use super::rules::{Definition, Document, ObjectRule, Schema};

/// A reference to a definition that its document does not have, or that holds no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{from} refers to {reference}, expected a definition of values, found {found}")]
pub struct MissingDefinition {
    /// The definition that refers.
    pub from: String,
    /// The reference in full.
    pub reference: String,
    /// What is there.
    pub found: &'static str,
}

/// Checks all references of a document; returns those into documents that `lookup` does not have.
pub(super) fn check(
    document: &Document,
    lookup: &dyn Fn(&str) -> Option<Arc<Document>>,
) -> Result<Vec<String>, MissingDefinition> {
    let mut unresolved = BTreeSet::new();
    for (name, definition) in &document.defs {
        for (reference, in_union) in references(definition) {
            let (nsid, local) = reference.split_once('#').unwrap_or((reference, MAIN));
            let Some(target) = lookup(nsid) else {
                unresolved.insert(reference.to_owned());
                continue;
            };
            let found = match target.defs.get(local) {
                None => "none",
                Some(Definition::Method(_)) => "a method",
                Some(Definition::PermissionSet(_)) => "a permission set",
                Some(Definition::Record(_) | Definition::Schema(Schema::Object(_))) => continue,
                Some(Definition::Schema(_)) if !in_union => continue,
                // Only objects have a `$type` to tell them apart by, but official unions hold tokens too.
                Some(Definition::Schema(Schema::Token)) => continue,
                Some(Definition::Schema(_)) => "a type without $type in a union",
            };
            return Err(MissingDefinition {
                from: super::schema::full_name(&document.id, name),
                reference: reference.to_owned(),
                found,
            });
        }
    }
    Ok(unresolved.into_iter().collect())
}

/// The references of a definition, each with whether it stands in a union.
fn references(definition: &Definition) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    match definition {
        Definition::Record(record) => object(&record.record, &mut found),
        Definition::Schema(inner) => schema(inner, &mut found),
        Definition::PermissionSet(_) => {}
        Definition::Method(method) => {
            object(&method.parameters, &mut found);
            let bodies = method.input.iter().chain(&method.output);
            for inner in bodies.filter_map(|body| body.schema.as_ref()) {
                schema(inner, &mut found);
            }
            let messages = method.message.iter().flat_map(|union| &union.refs);
            found.extend(messages.map(|name| (name.as_str(), true)));
        }
    }
    found
}

fn object<'a>(rule: &'a ObjectRule, found: &mut Vec<(&'a str, bool)>) {
    for property in rule.properties.values() {
        schema(&property.schema, found);
    }
}

fn schema<'a>(inner: &'a Schema, found: &mut Vec<(&'a str, bool)>) {
    match inner {
        Schema::Ref(name) => found.push((name, false)),
        Schema::Union(rule) => found.extend(rule.refs.iter().map(|name| (name.as_str(), true))),
        Schema::Array(items, _) => schema(items, found),
        Schema::Object(rule) => object(rule, found),
        _ => {}
    }
}
