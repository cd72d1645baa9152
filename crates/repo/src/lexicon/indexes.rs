//! Indexes that a document asks for: an extension of the language that other implementations ignore.
//!
//! On a record definition:
//! ```json
//! {"type": "record", "key": "tid", "record": {"type": "object", "properties": {…}},
//!  "ues": {"indexes": [{"name": "byLang", "path": "langs[]", "kind": "text"}]}}
//! ```
//! `name` is unique within the record. `path` leads from the record to the values: names of properties
//! joined by dots, `[]` behind a name for each item of an array. `kind` is the order of the index: `text`
//! (by bytes of UTF-8), `integer`, or `datetime` (by moment, whatever the zone of the text).

use ues_data::Ipld;

use super::reader::{At, DocumentError};
use super::rules::{ObjectRule, Schema};

/// Most indexes on one record.
const MAX_INDEXES: usize = 16;
/// Most steps of a path.
const MAX_STEPS: usize = 16;

/// How the values of an index are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexKind {
    /// Strings by their bytes.
    Text,
    /// Integers.
    Integer,
    /// Strings of the format datetime, by moment.
    Datetime,
}

/// An index that a record definition declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDef {
    /// Its name, unique in the record definition: letters, digits and `_`, at most 64.
    pub name: String,
    /// How its values are ordered.
    pub kind: IndexKind,
    path: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Property(String),
    Items,
}

impl IndexDef {
    /// The path from the record to the values, as declared.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Calls `found` with each value of the record that the path leads to, whatever its type.
    ///
    /// An absent property leads to nothing, so a record may have none, one or many values.
    pub fn values<'a>(&self, record: &'a Ipld, found: &mut dyn FnMut(&'a Ipld)) {
        walk(&self.steps, record, found);
    }

    pub(super) fn parse_all(
        at: &At<'_>,
        record: &ObjectRule,
    ) -> Result<Vec<IndexDef>, DocumentError> {
        let all = at.list(|v| IndexDef::parse(&v, record))?;
        if all.len() > MAX_INDEXES {
            return Err(at.expected(format!("at most {MAX_INDEXES} indexes")));
        }
        for (position, index) in all.iter().enumerate() {
            if all.iter().take(position).any(|o| o.name == index.name) {
                return Err(at.conflict("a different name for each index", &index.name));
            }
        }
        Ok(all)
    }

    fn parse(at: &At<'_>, record: &ObjectRule) -> Result<IndexDef, DocumentError> {
        let name = at.required("name", |v| {
            let name = v.str()?;
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(v.expected("1 to 64 letters, digits or _"));
            }
            Ok(name.to_owned())
        })?;
        let kind = at.required("kind", |v| match v.str()? {
            "text" => Ok(IndexKind::Text),
            "integer" => Ok(IndexKind::Integer),
            "datetime" => Ok(IndexKind::Datetime),
            _ => Err(v.expected("\"text\", \"integer\" or \"datetime\"")),
        })?;
        let (path, steps) = at.required("path", |v| {
            let path = v.str()?;
            let steps = steps(path).ok_or_else(|| {
                v.expected("names joined by dots, [] behind a name for the items of an array")
            })?;
            if let Err(expected) = fits(&steps, record, kind) {
                return Err(v.expected(expected));
            }
            Ok((path.to_owned(), steps))
        })?;
        Ok(IndexDef {
            name,
            kind,
            path,
            steps,
        })
    }
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let name = part.trim_end_matches("[]");
        if name.is_empty() || name.contains(['[', ']']) {
            return None;
        }
        steps.push(Step::Property(name.to_owned()));
        let brackets = (part.len() - name.len()) / 2;
        steps.extend(std::iter::repeat_n(Step::Items, brackets));
        if steps.len() > MAX_STEPS {
            return None;
        }
    }
    Some(steps)
}

/// Whether a path can lead to values of the kind. Past a ref, a union or an unknown, anything may be.
fn fits(steps: &[Step], record: &ObjectRule, kind: IndexKind) -> Result<(), String> {
    let mut schema: Option<&Schema> = None;
    for step in steps {
        schema = Some(match (step, schema) {
            (_, Some(Schema::Ref(_) | Schema::Union(_) | Schema::Unknown)) => return Ok(()),
            (Step::Items, Some(Schema::Array(items, _))) => items,
            (Step::Property(name), None) => property(record, name)?,
            (Step::Property(name), Some(Schema::Object(object))) => property(object, name)?,
            (Step::Items, _) => return Err("[] behind an array only".into()),
            (Step::Property(name), _) => return Err(format!("an object around \"{name}\"")),
        });
    }
    let right = match schema {
        Some(Schema::String(_)) => kind != IndexKind::Integer,
        Some(Schema::Integer(_)) => kind == IndexKind::Integer,
        Some(Schema::Ref(_) | Schema::Union(_) | Schema::Unknown) => true,
        _ => false,
    };
    if right {
        Ok(())
    } else {
        Err("a path to values of the index's kind".into())
    }
}

fn property<'a>(object: &'a ObjectRule, name: &str) -> Result<&'a Schema, String> {
    match object.properties.get(name) {
        Some(property) => Ok(&property.schema),
        None => Err(format!("a path of properties (there is no \"{name}\")")),
    }
}

fn walk<'a>(steps: &[Step], value: &'a Ipld, found: &mut dyn FnMut(&'a Ipld)) {
    match (steps, value) {
        ([], value) => found(value),
        ([Step::Property(name), rest @ ..], Ipld::Map(map)) => {
            if let Some(inner) = map.get(name) {
                walk(rest, inner, found);
            }
        }
        ([Step::Items, rest @ ..], Ipld::List(items)) => {
            for item in items {
                walk(rest, item, found);
            }
        }
        _ => {}
    }
}
