//! Representations of enums and unions.

use std::collections::{BTreeMap, BTreeSet};

use super::SchemaError;
use super::ast::{EnumRepresentation, Member, Type, UnionRepresentation};
use crate::dag_cbor::Kind;

/// A representation by name, with what stands in its braces.
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) values: BTreeMap<String, String>,
}

impl Settings {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            values: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, key: &'static str) -> Result<String, SchemaError> {
        match self.values.get(key) {
            Some(value) if !value.is_empty() => Ok(value.clone()),
            _ => Err(SchemaError::Truncated(key)),
        }
    }
}

/// A union from its members and its representation.
pub(super) fn union(
    name: &str,
    members: Vec<Member>,
    settings: Settings,
) -> Result<Type, SchemaError> {
    let mut seen = BTreeSet::new();
    for member in &members {
        if !seen.insert(&member.discriminant) {
            return Err(SchemaError::Ambiguous {
                name: name.to_owned(),
                member: member.discriminant.clone(),
            });
        }
    }
    let wrong = |representation: &str| SchemaError::Representation {
        name: name.to_owned(),
        representation: representation.to_owned(),
    };
    let representation = match settings.name.as_str() {
        "kinded" => UnionRepresentation::Kinded,
        "keyed" => UnionRepresentation::Keyed,
        "envelope" => UnionRepresentation::Envelope {
            discriminant_key: settings.get("discriminantKey")?,
            content_key: settings.get("contentKey")?,
        },
        "inline" => UnionRepresentation::Inline {
            discriminant_key: settings.get("discriminantKey")?,
        },
        "stringprefix" => UnionRepresentation::StringPrefix,
        "bytesprefix" => UnionRepresentation::BytesPrefix,
        other => return Err(wrong(other)),
    };
    if representation == UnionRepresentation::Kinded
        && let Some(member) = members.iter().find(|m| kind(&m.discriminant).is_none())
    {
        return Err(wrong(&member.discriminant));
    }
    Ok(Type::Union {
        members,
        representation,
    })
}

/// An enum from its members (name and value) and its representation.
pub(super) fn enumeration(
    name: &str,
    members: Vec<(String, String)>,
    settings: Settings,
) -> Result<Type, SchemaError> {
    let twice = |member: String| SchemaError::Ambiguous {
        name: name.to_owned(),
        member,
    };
    match settings.name.as_str() {
        "string" => {
            let mut values = BTreeMap::new();
            for (member, value) in members {
                if values.insert(value, member.clone()).is_some() {
                    return Err(twice(member));
                }
            }
            Ok(Type::Enum(EnumRepresentation::Text(values)))
        }
        "int" => {
            let mut values = BTreeMap::new();
            for (member, value) in members {
                let value = value.parse().map_err(|_| SchemaError::Representation {
                    name: name.to_owned(),
                    representation: value,
                })?;
                if values.insert(value, member.clone()).is_some() {
                    return Err(twice(member));
                }
            }
            Ok(Type::Enum(EnumRepresentation::Int(values)))
        }
        other => Err(SchemaError::Representation {
            name: name.to_owned(),
            representation: other.to_owned(),
        }),
    }
}

/// The kinds as the schema language names them.
pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "float" => Kind::Float,
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "list" => Kind::List,
        "map" => Kind::Map,
        "link" => Kind::Link,
        _ => return None,
    })
}
