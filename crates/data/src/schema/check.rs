//! Whether a value is of a type.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use super::Mismatch;
use super::ast::{
    EnumRepresentation, Field, Member, Schema, StructRepresentation, Type, TypeRef,
    UnionRepresentation,
};
use super::represent::kind;
use crate::dag_cbor::Kind;

/// Types and values may nest so deep; types that only lead back to themselves end here.
const MAX_DEPTH: usize = 256;

impl Schema {
    /// Checks a value, as it stands in a block, against the type of this name.
    ///
    /// Fields that a struct does not have are refused. Links are not followed.
    pub fn check(&self, name: &str, value: &Ipld) -> Result<(), Mismatch> {
        match self.lookup(name) {
            Some(body) => self.value(&body, value, 0),
            None => Err(Mismatch::new(
                "a type of the schema",
                format!("the name {name}"),
            )),
        }
    }

    fn value(&self, body: &Type, value: &Ipld, depth: usize) -> Result<(), Mismatch> {
        if depth > MAX_DEPTH {
            return Err(Mismatch::new(
                "less nesting",
                format!("more than {MAX_DEPTH} levels"),
            ));
        }
        match body {
            Type::Any => Ok(()),
            Type::Scalar(kind) if kind_of(value) == *kind => Ok(()),
            Type::Scalar(kind) => Err(unlike(*kind, value)),
            Type::Copy(name) => match self.lookup(name) {
                Some(body) => self.value(&body, value, depth + 1),
                None => Err(Mismatch::new(
                    "a type of the schema",
                    format!("the name {name}"),
                )),
            },
            Type::Link(_) => match value {
                Ipld::Link(_) => Ok(()),
                other => Err(unlike(Kind::Link, other)),
            },
            Type::List(target) => {
                for (i, item) in list(value)?.iter().enumerate() {
                    self.reference(target, item, depth)
                        .map_err(|e| e.within(&i.to_string()))?;
                }
                Ok(())
            }
            Type::Map {
                key,
                value: target,
                list_pairs,
            } => self.map(key, target, *list_pairs, value, depth),
            Type::Struct {
                fields,
                representation,
            } => self.structure(fields, representation, value, depth),
            Type::Enum(members) => enumeration(members, value),
            Type::Union {
                members,
                representation,
            } => self.union(members, representation, value, depth),
        }
    }

    fn reference(&self, target: &TypeRef, value: &Ipld, depth: usize) -> Result<(), Mismatch> {
        if target.nullable && matches!(value, Ipld::Null) {
            return Ok(());
        }
        self.value(&target.target, value, depth + 1)
    }

    fn map(
        &self,
        key: &str,
        target: &TypeRef,
        list_pairs: bool,
        value: &Ipld,
        depth: usize,
    ) -> Result<(), Mismatch> {
        let key_type = Type::Copy(key.to_owned());
        if list_pairs {
            for (i, item) in list(value)?.iter().enumerate() {
                let (name, item) = pair(item).map_err(|e| e.within(&i.to_string()))?;
                self.value(&key_type, name, depth + 1)
                    .and_then(|()| self.reference(target, item, depth))
                    .map_err(|e| e.within(&i.to_string()))?;
            }
            return Ok(());
        }
        for (name, item) in map(value)? {
            self.text(&key_type, name, depth + 1)
                .and_then(|()| self.reference(target, item, depth))
                .map_err(|e| e.within(name))?;
        }
        Ok(())
    }

    fn structure(
        &self,
        fields: &[Field],
        representation: &StructRepresentation,
        value: &Ipld,
        depth: usize,
    ) -> Result<(), Mismatch> {
        match representation {
            StructRepresentation::Map => self.fields(fields, map(value)?, None, depth),
            StructRepresentation::Tuple => {
                let items = list(value)?;
                if items.len() > fields.len() {
                    let expected = format!("at most {} values", fields.len());
                    return Err(Mismatch::new(expected, format!("{}", items.len())));
                }
                for (i, field) in fields.iter().enumerate() {
                    match items.get(i) {
                        Some(item) => self
                            .reference(&field.target, item, depth)
                            .map_err(|e| e.within(&field.name))?,
                        None if field.optional || field.implicit.is_some() => {}
                        None => return Err(missing(field)),
                    }
                }
                Ok(())
            }
            StructRepresentation::ListPairs => {
                let mut found = BTreeMap::new();
                for (i, item) in list(value)?.iter().enumerate() {
                    let (name, item) = pair(item).map_err(|e| e.within(&i.to_string()))?;
                    let Ipld::String(name) = name else {
                        return Err(unlike(Kind::Text, name).within(&i.to_string()));
                    };
                    if found.insert(name.clone(), item.clone()).is_some() {
                        return Err(Mismatch::new("each field once", format!("{name} twice")));
                    }
                }
                self.fields(fields, &found, None, depth)
            }
            StructRepresentation::StringJoin(_) | StructRepresentation::StringPairs(..) => {
                match value {
                    Ipld::String(text) => self.joined(fields, representation, text, depth),
                    other => Err(unlike(Kind::Text, other)),
                }
            }
        }
    }

    /// The fields of a map, `besides` being a key that is no field.
    fn fields(
        &self,
        fields: &[Field],
        found: &BTreeMap<String, Ipld>,
        besides: Option<&str>,
        depth: usize,
    ) -> Result<(), Mismatch> {
        for field in fields {
            match found.get(&field.key) {
                Some(item) => self
                    .reference(&field.target, item, depth)
                    .map_err(|e| e.within(&field.key))?,
                None if field.optional || field.implicit.is_some() => {}
                None => return Err(missing(field)),
            }
        }
        for key in found.keys() {
            if besides != Some(key) && !fields.iter().any(|f| f.key == *key) {
                return Err(Mismatch::new("no such field", "one").within(key));
            }
        }
        Ok(())
    }

    fn union(
        &self,
        members: &[Member],
        representation: &UnionRepresentation,
        value: &Ipld,
        depth: usize,
    ) -> Result<(), Mismatch> {
        match representation {
            UnionRepresentation::Kinded => {
                let found = kind_of(value);
                match members
                    .iter()
                    .find(|m| kind(&m.discriminant) == Some(found))
                {
                    Some(member) => self.value(&member.target, value, depth + 1),
                    None => Err(Mismatch::new(names(members), found.to_string())),
                }
            }
            UnionRepresentation::Keyed => {
                let found = map(value)?;
                match found.iter().next() {
                    Some((key, item)) if found.len() == 1 => {
                        let member = member(members, key)?;
                        self.value(&member.target, item, depth + 1)
                            .map_err(|e| e.within(key))
                    }
                    _ => Err(Mismatch::new(
                        "a map of one key",
                        format!("{} keys", found.len()),
                    )),
                }
            }
            UnionRepresentation::Envelope {
                discriminant_key,
                content_key,
            } => {
                let found = map(value)?;
                let member = tagged(members, found, discriminant_key)?;
                match found.get(content_key) {
                    Some(item) if found.len() == 2 => self
                        .value(&member.target, item, depth + 1)
                        .map_err(|e| e.within(content_key)),
                    _ => Err(Mismatch::new(
                        format!("{discriminant_key} and {content_key}"),
                        "other fields",
                    )),
                }
            }
            UnionRepresentation::Inline { discriminant_key } => {
                let found = map(value)?;
                let member = tagged(members, found, discriminant_key)?;
                match self.resolve(&member.target) {
                    Some(Type::Struct {
                        fields,
                        representation: StructRepresentation::Map,
                    }) => self.fields(&fields, found, Some(discriminant_key), depth),
                    _ => Err(Mismatch::new(
                        "a struct as member of an inline union",
                        "another type",
                    )),
                }
            }
            UnionRepresentation::StringPrefix => match value {
                Ipld::String(text) => self.prefixed(members, text, depth),
                other => Err(unlike(Kind::Text, other)),
            },
            UnionRepresentation::BytesPrefix => bytes_prefix(members, value),
        }
    }

    /// A type behind its names.
    pub(super) fn resolve(&self, body: &Type) -> Option<Type> {
        let mut body = body.clone();
        for _ in 0..MAX_DEPTH {
            match body {
                Type::Copy(name) => body = self.lookup(&name)?,
                other => return Some(other),
            }
        }
        None
    }
}

pub(super) fn enumeration(members: &EnumRepresentation, value: &Ipld) -> Result<(), Mismatch> {
    match (members, value) {
        (EnumRepresentation::Text(values), Ipld::String(text)) if values.contains_key(text) => {
            Ok(())
        }
        (EnumRepresentation::Text(values), Ipld::String(text)) => {
            let known: Vec<&str> = values.keys().map(String::as_str).collect();
            let found: String = text.chars().take(64).collect();
            Err(Mismatch::new(known.join(" or "), found))
        }
        (EnumRepresentation::Text(_), other) => Err(unlike(Kind::Text, other)),
        (EnumRepresentation::Int(values), Ipld::Integer(i)) => match i64::try_from(*i) {
            Ok(i) if values.contains_key(&i) => Ok(()),
            _ => Err(Mismatch::new("a number of the enum", i.to_string())),
        },
        (EnumRepresentation::Int(_), other) => Err(unlike(Kind::Int, other)),
    }
}

fn bytes_prefix(members: &[Member], value: &Ipld) -> Result<(), Mismatch> {
    let Ipld::Bytes(bytes) = value else {
        return Err(unlike(Kind::Bytes, value));
    };
    let known = members.iter().any(|member| {
        data_encoding::HEXLOWER_PERMISSIVE
            .decode(member.discriminant.as_bytes())
            .is_ok_and(|prefix| bytes.starts_with(&prefix))
    });
    if known {
        Ok(())
    } else {
        Err(Mismatch::new("bytes with a known beginning", "others"))
    }
}

fn tagged<'a>(
    members: &'a [Member],
    found: &BTreeMap<String, Ipld>,
    key: &str,
) -> Result<&'a Member, Mismatch> {
    match found.get(key) {
        Some(Ipld::String(name)) => member(members, name).map_err(|e| e.within(key)),
        Some(other) => Err(unlike(Kind::Text, other).within(key)),
        None => Err(Mismatch::new(format!("the field {key}"), "none")),
    }
}

fn member<'a>(members: &'a [Member], name: &str) -> Result<&'a Member, Mismatch> {
    members
        .iter()
        .find(|m| m.discriminant == name)
        .ok_or_else(|| Mismatch::new(names(members), name.chars().take(64).collect::<String>()))
}

fn names(members: &[Member]) -> String {
    let names: Vec<&str> = members.iter().map(|m| m.discriminant.as_str()).collect();
    names.join(" or ")
}

fn missing(field: &Field) -> Mismatch {
    Mismatch::new(format!("the field {}", field.key), "none")
}

fn list(value: &Ipld) -> Result<&[Ipld], Mismatch> {
    match value {
        Ipld::List(items) => Ok(items),
        other => Err(unlike(Kind::List, other)),
    }
}

fn map(value: &Ipld) -> Result<&BTreeMap<String, Ipld>, Mismatch> {
    match value {
        Ipld::Map(map) => Ok(map),
        other => Err(unlike(Kind::Map, other)),
    }
}

fn pair(value: &Ipld) -> Result<(&Ipld, &Ipld), Mismatch> {
    match list(value)? {
        [name, item] => Ok((name, item)),
        other => Err(Mismatch::new(
            "a pair",
            format!("a list of {}", other.len()),
        )),
    }
}

pub(super) fn unlike(expected: Kind, found: &Ipld) -> Mismatch {
    Mismatch::new(expected.to_string(), kind_of(found).to_string())
}

fn kind_of(value: &Ipld) -> Kind {
    match value {
        Ipld::Null => Kind::Null,
        Ipld::Bool(_) => Kind::Bool,
        Ipld::Integer(_) => Kind::Int,
        Ipld::Float(_) => Kind::Float,
        Ipld::String(_) => Kind::Text,
        Ipld::Bytes(_) => Kind::Bytes,
        Ipld::List(_) => Kind::List,
        Ipld::Map(_) => Kind::Map,
        Ipld::Link(_) => Kind::Link,
    }
}
