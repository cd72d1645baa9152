//! Comparison of methods.

use super::change::{ChangeKind, Comparison, Flow};
use super::schemas;
use crate::lexicon::rules::{Body, MethodDef};

pub(super) fn method(c: &mut Comparison, path: &str, old: &MethodDef, new: &MethodDef) {
    if old.kind != new.kind {
        c.type_changed(path, old.kind.name(), new.kind.name());
        return;
    }
    let parameters = format!("{path}.parameters");
    schemas::object(
        c,
        &parameters,
        Flow::Input,
        &old.parameters,
        &new.parameters,
    );
    body(
        c,
        &format!("{path}.input"),
        Flow::Input,
        &old.input,
        &new.input,
    );
    body(
        c,
        &format!("{path}.output"),
        Flow::Output,
        &old.output,
        &new.output,
    );
    if let (Some(old), Some(new)) = (&old.message, &new.message) {
        schemas::union(c, &format!("{path}.message.schema"), Flow::Output, old, new);
    }
}

fn body(c: &mut Comparison, path: &str, flow: Flow, old: &Option<Body>, new: &Option<Body>) {
    let (old, new) = match (old, new) {
        (None, None) => return,
        (None, Some(_)) => return c.tightened(path, flow, "a body is required now"),
        (Some(_), None) => {
            return c.add(
                path,
                ChangeKind::Removed,
                "the body is gone, though programs send or read it",
            );
        }
        (Some(old), Some(new)) => (old, new),
    };
    if old.encoding != new.encoding {
        c.add(
            &format!("{path}.encoding"),
            ChangeKind::Encoding,
            format!(
                "the encoding was {} and would be {}: programs send and read the old one",
                old.encoding, new.encoding
            ),
        );
    }
    let path = format!("{path}.schema");
    match (&old.schema, &new.schema) {
        (None, None) => {}
        (None, Some(_)) => c.tightened(&path, flow, "a schema is demanded now"),
        (Some(_), None) => c.loosened(&path, flow, "the schema is gone, anything is allowed"),
        (Some(old), Some(new)) => schemas::schema(c, &path, flow, old, new),
    }
}
