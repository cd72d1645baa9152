//! Whether a new version of a document keeps faith with the old one.

mod change;
mod limits;
mod merges;
mod methods;
mod schemas;

pub use change::{BreakingChange, ChangeKind};

use change::{Comparison, Flow};

use super::rules::{Definition, Document, RecordDef};

/// The changes from `old` to `new` that AT Protocol does not allow under one NSID, in the order of the
/// document; none means that `new` may take the place of `old`.
///
/// The principle (<https://atproto.com/specs/lexicon#lexicon-evolution>) has two directions:
///
/// - **Old data under the new document** (backward): what was written before must stay valid. So nothing
///   may be *tightened*: no field becomes required, no limit narrower, no type or variant goes away.
/// - **New data under the old document** (forward): programs that have not been updated must accept what
///   is written from now on. So nothing may be *loosened*: no required field becomes optional, no limit
///   wider, no closed set larger.
///
/// Which direction counts depends on who writes and who reads:
///
/// | part | tightening breaks | loosening breaks |
/// |---|---|---|
/// | records, and definitions that others may refer to | yes: stored data | yes: older readers |
/// | parameters and input of a method | yes: older callers | no |
/// | output of a method, messages of a subscription | no | yes: older callers |
///
/// How records merge (`ues.merge`) may not change either, but for rules of new fields: devices that have the old document
/// would merge in another way than those that have the new one.
///
/// In every part: definitions, fields and parameters may not go away (a rename looks the same), types and
/// references may not change, and new fields must be optional. Always allowed are new definitions, new
/// optional fields, other `knownValues`, `default`, descriptions and declared errors, new variants of an
/// open union, and any change of a permission set.
pub fn compare(old: &Document, new: &Document) -> Vec<BreakingChange> {
    let mut comparison = Comparison::default();
    if old.id != new.id {
        comparison.add(
            "$.id",
            ChangeKind::Renamed,
            format!(
                "another document: {} is not {}, so neither takes the place of the other",
                new.id, old.id
            ),
        );
        return comparison.changes;
    }
    for (name, old) in &old.defs {
        let path = format!("$.defs.{name}");
        match new.defs.get(name) {
            Some(new) => definition(&mut comparison, &path, old, new),
            None => comparison.add(
                &path,
                ChangeKind::Removed,
                "the definition is gone, and what refers to it has nothing to go by",
            ),
        }
    }
    comparison.changes
}

fn definition(comparison: &mut Comparison, path: &str, old: &Definition, new: &Definition) {
    match (old, new) {
        (Definition::Record(old), Definition::Record(new)) => record(comparison, path, old, new),
        (Definition::Method(old), Definition::Method(new)) => {
            methods::method(comparison, path, old, new);
        }
        (Definition::Schema(old), Definition::Schema(new)) => {
            schemas::schema(comparison, path, Flow::Both, old, new);
        }
        (Definition::PermissionSet(_), Definition::PermissionSet(_)) => {}
        _ => comparison.type_changed(path, old.type_name(), new.type_name()),
    }
}

fn record(comparison: &mut Comparison, path: &str, old: &RecordDef, new: &RecordDef) {
    if old.key != new.key {
        comparison.add(
            &format!("{path}.key"),
            ChangeKind::RecordKey,
            format!(
                "record keys were \"{}\" and would be \"{}\": addresses of records would not be valid \
                 for one side",
                old.key, new.key
            ),
        );
    }
    merges::rules(comparison, &format!("{path}.ues.merge"), old, new);
    let path = format!("{path}.record");
    schemas::object(comparison, &path, Flow::Both, &old.record, &new.record);
}
