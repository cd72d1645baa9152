//! Types that lie in a text: map keys, joined structs, prefixed unions.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use super::Mismatch;
use super::ast::{Field, Member, Schema, StructRepresentation, Type, UnionRepresentation};
use super::check::enumeration;
use crate::dag_cbor::Kind;

impl Schema {
    /// Checks a text against a type: what stands in a map key or in a part of a joined text.
    pub(super) fn text(&self, body: &Type, text: &str, depth: usize) -> Result<(), Mismatch> {
        let excerpt = || text.chars().take(64).collect::<String>();
        match self.resolve(body) {
            Some(Type::Any | Type::Scalar(Kind::Text)) => Ok(()),
            Some(Type::Scalar(Kind::Int)) => match text.parse::<i64>() {
                Ok(_) => Ok(()),
                Err(_) => Err(Mismatch::new("an integer", excerpt())),
            },
            Some(Type::Scalar(Kind::Bool)) => match text {
                "true" | "false" => Ok(()),
                _ => Err(Mismatch::new("true or false", excerpt())),
            },
            Some(Type::Enum(members)) => enumeration(&members, &Ipld::String(text.to_owned())),
            Some(Type::Struct {
                fields,
                representation,
            }) => self.joined(&fields, &representation, text, depth + 1),
            Some(Type::Union {
                members,
                representation: UnionRepresentation::StringPrefix,
            }) => self.prefixed(&members, text, depth + 1),
            _ => Err(Mismatch::new("a type with a text form", "another")),
        }
    }

    /// Checks a struct that lies in a text.
    pub(super) fn joined(
        &self,
        fields: &[Field],
        representation: &StructRepresentation,
        text: &str,
        depth: usize,
    ) -> Result<(), Mismatch> {
        if depth > 64 {
            return Err(Mismatch::new("less nesting", "more than 64 levels"));
        }
        match representation {
            StructRepresentation::StringJoin(delimiter) => {
                let parts: Vec<&str> = text.split(delimiter.as_str()).collect();
                if parts.len() != fields.len() {
                    let expected = format!("{} parts", fields.len());
                    return Err(Mismatch::new(expected, format!("{}", parts.len())));
                }
                for (field, part) in fields.iter().zip(parts) {
                    self.text(&field.target.target, part, depth + 1)
                        .map_err(|e| e.within(&field.name))?;
                }
                Ok(())
            }
            StructRepresentation::StringPairs(inner, entry) => {
                let mut found = BTreeMap::new();
                for part in text.split(entry.as_str()).filter(|p| !p.is_empty()) {
                    let (name, value) = part
                        .split_once(inner.as_str())
                        .ok_or_else(|| Mismatch::new("a name and a value", "one of them"))?;
                    if found.insert(name, value).is_some() {
                        return Err(Mismatch::new("each field once", "one twice"));
                    }
                }
                for field in fields {
                    match found.remove(field.key.as_str()) {
                        Some(part) => self
                            .text(&field.target.target, part, depth + 1)
                            .map_err(|e| e.within(&field.key))?,
                        None if field.optional || field.implicit.is_some() => {}
                        None => {
                            return Err(Mismatch::new(format!("the field {}", field.key), "none"));
                        }
                    }
                }
                match found.keys().next() {
                    Some(extra) => Err(Mismatch::new("no such field", "one").within(extra)),
                    None => Ok(()),
                }
            }
            _ => Err(Mismatch::new("a struct with a text form", "another")),
        }
    }

    /// Checks a union that lies in a text with a prefix.
    pub(super) fn prefixed(
        &self,
        members: &[Member],
        text: &str,
        depth: usize,
    ) -> Result<(), Mismatch> {
        if depth > 64 {
            return Err(Mismatch::new("less nesting", "more than 64 levels"));
        }
        for member in members {
            if let Some(rest) = text.strip_prefix(member.discriminant.as_str()) {
                return self.text(&member.target, rest, depth + 1);
            }
        }
        let known: Vec<&str> = members.iter().map(|m| m.discriminant.as_str()).collect();
        let found: String = text.chars().take(64).collect();
        Err(Mismatch::new(
            format!("a text that begins with {}", known.join(" or ")),
            found,
        ))
    }
}
