//! Comparison of types.

use super::change::{ChangeKind, Comparison, Flow};
use super::limits;
use crate::lexicon::rules::{ObjectRule, Schema, UnionRule};

pub(super) fn schema(c: &mut Comparison, path: &str, flow: Flow, old: &Schema, new: &Schema) {
    match (old, new) {
        (Schema::Boolean(old), Schema::Boolean(new)) => limits::boolean(c, path, flow, old, new),
        (Schema::Integer(old), Schema::Integer(new)) => limits::integer(c, path, flow, old, new),
        (Schema::String(old), Schema::String(new)) => limits::string(c, path, flow, old, new),
        (Schema::Bytes(old), Schema::Bytes(new)) => limits::length(c, path, flow, *old, *new),
        (Schema::Blob(old), Schema::Blob(new)) => limits::blob(c, path, flow, old, new),
        (Schema::Array(old_items, old), Schema::Array(new_items, new)) => {
            limits::length(c, path, flow, *old, *new);
            schema(c, &format!("{path}.items"), flow, old_items, new_items);
        }
        (Schema::Object(old), Schema::Object(new)) => object(c, path, flow, old, new),
        (Schema::Union(old), Schema::Union(new)) => union(c, path, flow, old, new),
        (Schema::Ref(old), Schema::Ref(new)) if old == new => {}
        (Schema::Ref(old), Schema::Ref(new)) => c.type_changed(path, old, new),
        (Schema::Null, Schema::Null)
        | (Schema::CidLink, Schema::CidLink)
        | (Schema::Token, Schema::Token)
        | (Schema::Unknown, Schema::Unknown) => {}
        (old, new) => c.type_changed(path, old.type_name(), new.type_name()),
    }
}

/// Objects, and parameters of methods.
pub(super) fn object(
    c: &mut Comparison,
    path: &str,
    flow: Flow,
    old: &ObjectRule,
    new: &ObjectRule,
) {
    for (name, old) in &old.properties {
        let path = format!("{path}.properties.{name}");
        let Some(new) = new.properties.get(name) else {
            c.add(
                &path,
                ChangeKind::Removed,
                "the field is gone: data and programs that have it find no meaning for it",
            );
            continue;
        };
        if !old.required && new.required {
            c.tightened(&path, flow, "an optional field became required");
        }
        if old.required && !new.required {
            c.loosened(&path, flow, "a required field became optional");
        }
        if old.nullable && !new.nullable {
            c.tightened(&path, flow, "null is not allowed any more");
        }
        if !old.nullable && new.nullable {
            c.loosened(&path, flow, "null was not allowed before");
        }
        schema(c, &path, flow, &old.schema, &new.schema);
    }
    for (name, new) in &new.properties {
        if new.required && !old.properties.contains_key(name) {
            c.add(
                &format!("{path}.properties.{name}"),
                ChangeKind::NewRequired,
                "a new field must be optional: data and programs from before do not have it",
            );
        }
    }
}

pub(super) fn union(c: &mut Comparison, path: &str, flow: Flow, old: &UnionRule, new: &UnionRule) {
    match (old.closed, new.closed) {
        // An open union accepts types that it does not list, so its list may change.
        (false, false) => {}
        (false, true) => c.tightened(path, flow, "an open union became closed"),
        (true, false) => c.loosened(path, flow, "a closed union became open"),
        (true, true) => {
            for gone in old.refs.iter().filter(|name| !new.refs.contains(name)) {
                c.tightened(path, flow, &format!("{gone} is gone from a closed union"));
            }
            for added in new.refs.iter().filter(|name| !old.refs.contains(name)) {
                c.loosened(path, flow, &format!("{added} is new in a closed union"));
            }
        }
    }
}
