//! The fields of one record, each merged by itself.

use std::collections::BTreeMap;

use ues_data::Ipld;
use ues_data::dag_cbor::{Reader, Writer};

use super::dot::{Dot, Seen};
use super::error::{CodecError, CrdtError};
use super::rule::{Edit, Origin, Rule};
use super::value::Value;
use super::wire::{self, bounded, check_length, tuple};

/// The longest name of a field, in bytes.
pub const MAX_FIELD_BYTES: usize = 1024;

/// One field written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The name of the field.
    pub field: String,
    /// The new value; none deletes the field.
    pub value: Option<Value>,
    /// The writes that the author saw in the field, in rising order; they give way.
    pub observed: Vec<Dot>,
}

/// Fields written and deleted together. The n-th change takes the n-th index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldsEdit {
    /// The changes, in this order.
    pub changes: Vec<FieldChange>,
}

impl Edit for FieldsEdit {
    fn width(&self) -> u32 {
        u32::try_from(self.changes.len()).unwrap_or(u32::MAX).max(1)
    }

    fn references(&self) -> Vec<Dot> {
        let observed = self.changes.iter().flat_map(|change| &change.observed);
        observed.copied().collect()
    }

    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = Writer::new();
        out.array(self.changes.len() as u64);
        for change in &self.changes {
            check_field(&change.field)?;
            // Without a value there are two items: null is a value like any other.
            out.array(2 + u64::from(change.value.is_some()));
            out.text(&change.field);
            Dot::write_all(change.observed.iter(), &mut out);
            if let Some(value) = &change.value {
                value.write(&mut out);
            }
        }
        bounded(out.into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::EDIT);
        let mut changes = Vec::new();
        for _ in 0..input.array()? {
            let items = input.array()?;
            if !matches!(items, 2 | 3) {
                let (expected, found) = (3, items);
                return Err(CodecError::Length { expected, found });
            }
            let field = input.text()?.to_owned();
            check_field(&field)?;
            let observed = Dot::read_all(&mut input)?;
            let value = match items {
                3 => Some(Value::read(&mut input)?),
                _ => None,
            };
            changes.push(FieldChange {
                field,
                value,
                observed,
            });
        }
        input.finish()?;
        Ok(Self { changes })
    }
}

fn check_field(field: &str) -> Result<(), CodecError> {
    check_length("the name of a field", field.as_bytes(), MAX_FIELD_BYTES)
}

/// The writes that stand in one field, none of which had seen another; the greatest origin wins.
type Register = BTreeMap<Origin, Value>;

/// A record whose fields are registers: the last writer wins, a write wins against a concurrent deletion, and what lost
/// stays readable until a later write that has seen it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    seen: Seen,
    fields: BTreeMap<String, Register>,
}

impl Fields {
    /// The value that a reader sees in a field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields
            .get(field)?
            .last_key_value()
            .map(|(_, value)| value)
    }

    /// The names of the fields that have a value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// All values of a field that were written concurrently, the winner first.
    pub fn candidates(&self, field: &str) -> impl Iterator<Item = (&Origin, &Value)> {
        self.fields.get(field).into_iter().flatten().rev()
    }

    /// The change that writes a field, or deletes it, over all that is seen here.
    #[must_use]
    pub fn change(&self, field: &str, value: Option<Value>) -> FieldChange {
        let mut observed: Vec<Dot> = self.candidates(field).map(|(o, _)| o.dot).collect();
        observed.sort_unstable();
        FieldChange {
            field: field.to_owned(),
            value,
            observed,
        }
    }
}

impl Rule for Fields {
    type Edit = FieldsEdit;

    fn apply(&mut self, origin: &Origin, edit: &FieldsEdit) -> Result<(), CrdtError> {
        let width = edit.width();
        self.seen.check(origin.dot, width)?;
        self.seen.require(&edit.references())?;
        for (index, change) in (0..width).zip(&edit.changes) {
            let origin = origin.within(index);
            let register = self.fields.entry(change.field.clone()).or_default();
            // A writer has seen its own writes, whether it says so or not.
            register.retain(|held, _| {
                held.dot.writer != origin.dot.writer && !change.observed.contains(&held.dot)
            });
            if let Some(value) = &change.value {
                register.insert(origin, value.clone());
            } else if register.is_empty() {
                self.fields.remove(&change.field);
            }
        }
        self.seen.note(origin.dot, width);
        Ok(())
    }

    fn mend(&self, _: &Origin, mut edit: FieldsEdit) -> FieldsEdit {
        for change in &mut edit.changes {
            change.observed.retain(|dot| self.seen.knows(*dot));
        }
        edit
    }

    /// A map of the winning values.
    fn value(&self) -> Ipld {
        let mut map = BTreeMap::new();
        for (field, register) in &self.fields {
            if let Some((_, value)) = register.last_key_value() {
                map.insert(field.clone(), value.to_ipld());
            }
        }
        Ipld::Map(map)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(2);
        self.seen.write(&mut out);
        out.array(self.fields.len() as u64);
        for (field, register) in &self.fields {
            out.array(2);
            out.text(field);
            out.array(register.len() as u64);
            for (origin, value) in register {
                out.array(2);
                origin.write(&mut out);
                value.write(&mut out);
            }
        }
        out.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::STATE);
        tuple(&mut input, 2)?;
        let seen = Seen::read(&mut input)?;
        let mut fields = BTreeMap::new();
        for _ in 0..input.array()? {
            tuple(&mut input, 2)?;
            let field = input.text()?.to_owned();
            check_field(&field)?;
            let register = read_register(&mut input, &seen)?;
            if fields
                .last_key_value()
                .is_some_and(|(last, _)| *last >= field)
            {
                return Err(CodecError::Order("fields"));
            }
            fields.insert(field, register);
        }
        input.finish()?;
        Ok(Self { seen, fields })
    }
}

fn read_register(input: &mut Reader<'_>, seen: &Seen) -> Result<Register, CodecError> {
    let mut register = Register::new();
    for _ in 0..input.array()? {
        tuple(input, 2)?;
        let origin = Origin::read(input)?;
        let value = Value::read(input)?;
        seen.vouch(&[origin.dot])?;
        if register
            .last_key_value()
            .is_some_and(|(last, _)| *last >= origin)
        {
            return Err(CodecError::Order("writes of a field"));
        }
        register.insert(origin, value);
    }
    if register.is_empty() {
        return Err(CodecError::Empty("a field"));
    }
    Ok(register)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn origin(writer: u32, time: u64, author: &str) -> Origin {
        Origin {
            dot: Dot::new(writer, 0, 0),
            time,
            author: author.into(),
        }
    }

    fn number(number: i128) -> Option<Value> {
        Some(Value::new(&Ipld::Integer(number)).unwrap())
    }

    fn edit(change: FieldChange) -> FieldsEdit {
        FieldsEdit {
            changes: vec![change],
        }
    }

    #[test]
    fn time_then_author_decides_and_the_loser_stays() {
        let mut fields = Fields::default();
        let blank = Fields::default();
        let writes = [
            (origin(1, 5, "did:a:a"), 1),
            (origin(2, 5, "did:a:b"), 2),
            (origin(3, 4, "did:a:c"), 3),
        ];
        for (origin, value) in &writes {
            let change = blank.change("name", number(*value));
            fields.apply(origin, &edit(change)).unwrap();
        }
        assert_eq!(fields.get("name").cloned(), number(2));
        let all: Vec<Value> = fields.candidates("name").map(|(_, v)| v.clone()).collect();
        assert_eq!(all, [2, 1, 3].map(|n| number(n).unwrap()));
        let change = fields.change("name", number(4));
        fields
            .apply(&origin(4, 1, "did:a:d"), &edit(change))
            .unwrap();
        assert_eq!(
            fields.candidates("name").count(),
            1,
            "one that saw them all"
        );
    }

    #[test]
    fn a_write_wins_against_a_concurrent_deletion() {
        let mut fields = Fields::default();
        let first = fields.change("name", number(1));
        fields
            .apply(&origin(1, 1, "did:a:a"), &edit(first))
            .unwrap();
        let delete = fields.change("name", None);
        let write = fields.change("name", number(2));
        fields
            .apply(&origin(2, 9, "did:a:b"), &edit(delete))
            .unwrap();
        assert_eq!(fields.get("name"), None);
        fields
            .apply(&origin(3, 2, "did:a:c"), &edit(write))
            .unwrap();
        assert_eq!(fields.get("name").cloned(), number(2));
    }

    #[test]
    fn null_is_a_value() {
        let mut fields = Fields::default();
        let value = Some(Value::new(&Ipld::Null).unwrap());
        let write = edit(fields.change("name", value));
        assert_eq!(FieldsEdit::decode(&write.encode().unwrap()).unwrap(), write);
        fields.apply(&origin(1, 1, "did:a:a"), &write).unwrap();
        let map = BTreeMap::from([("name".to_owned(), Ipld::Null)]);
        assert_eq!(fields.value(), Ipld::Map(map));
    }
}
