//! Reading schemas as data (DMT).

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use super::SchemaError;
use super::ast::{Field, Member, Schema, StructRepresentation, Type, TypeRef};
use super::parser::scalar;
use super::represent::{Settings, enumeration, union};

/// Types may be written within types so deep.
const MAX_NESTING: usize = 32;

type Map = BTreeMap<String, Ipld>;

impl Schema {
    /// Reads a schema from its form as data, `{"types": {NAME: {KIND: …}}}`.
    ///
    /// Maps do not keep an order, so a struct that lies in data as tuple or joined text must have a `fieldOrder`.
    pub fn from_dmt(value: &Ipld) -> Result<Self, SchemaError> {
        let reader = Reader { name: "(schema)" };
        let root = reader.map(Some(value), "a map with types")?;
        let types = reader.map(root.get("types"), "a map of types")?;
        let mut schema = Self::default();
        for (name, body) in types {
            let body = Reader { name }.body(body, 0)?;
            schema.types.insert(name.clone(), body);
        }
        schema.check_names()?;
        Ok(schema)
    }
}

/// Reads one named type; the name is for errors.
struct Reader<'a> {
    name: &'a str,
}

impl Reader<'_> {
    fn body(&self, value: &Ipld, depth: usize) -> Result<Type, SchemaError> {
        if depth > MAX_NESTING {
            return Err(SchemaError::TooLarge("32 types within each other"));
        }
        let (kind, body) = self.only(Some(value), "a map of one kind")?;
        match kind {
            "copy" => Ok(Type::Copy(self.text(body, "fromType")?)),
            "link" => Ok(Type::Link(match body.get("expectedType") {
                Some(_) => self.text(body, "expectedType")?,
                None => "Any".to_owned(),
            })),
            "list" => Ok(Type::List(Box::new(self.value_type(body, depth)?))),
            "map" => Ok(Type::Map {
                key: self.text(body, "keyType")?,
                value: Box::new(self.value_type(body, depth)?),
                list_pairs: self.representation(body, "map")?.0 == "listpairs",
            }),
            "struct" => self.structure(body, depth),
            "enum" => self.enumeration(body),
            "union" => self.union(body, depth),
            other => scalar(other).ok_or_else(|| self.wrong("a kind of type")),
        }
    }

    /// A type where it is used: a name, or written in place.
    fn target(&self, value: Option<&Ipld>, depth: usize) -> Result<Type, SchemaError> {
        match value {
            Some(Ipld::String(name)) => Ok(Type::Copy(name.clone())),
            Some(value @ Ipld::Map(_)) => self.body(value, depth + 1),
            _ => Err(self.wrong("the name of a type or a type")),
        }
    }

    fn value_type(&self, body: &Map, depth: usize) -> Result<TypeRef, SchemaError> {
        Ok(TypeRef {
            target: self.target(body.get("valueType"), depth)?,
            nullable: self.flag(body, "valueNullable")?,
        })
    }

    fn structure(&self, body: &Map, depth: usize) -> Result<Type, SchemaError> {
        let (representation, settings) = self.representation(body, "map")?;
        let details = match settings.get("fields") {
            Some(value) => self.map(Some(value), "details of fields")?.clone(),
            None => Map::new(),
        };
        let mut fields: Vec<Field> = Vec::new();
        for (name, field) in self.map(body.get("fields"), "a map of fields")? {
            let field = self.map(Some(field), "a field")?;
            let detail = match details.get(name) {
                Some(value) => self.map(Some(value), "details of a field")?.clone(),
                None => Map::new(),
            };
            let key = match detail.get("rename") {
                Some(_) => self.text(&detail, "rename")?,
                None => name.clone(),
            };
            if fields.iter().any(|f| f.key == key) {
                return Err(SchemaError::Ambiguous {
                    name: self.name.to_owned(),
                    member: name.clone(),
                });
            }
            fields.push(Field {
                name: name.clone(),
                key,
                target: TypeRef {
                    target: self.target(field.get("type"), depth)?,
                    nullable: self.flag(field, "nullable")?,
                },
                optional: self.flag(field, "optional")?,
                implicit: detail.get("implicit").cloned(),
            });
        }
        let representation = match representation.as_str() {
            "map" => StructRepresentation::Map,
            "listpairs" => StructRepresentation::ListPairs,
            "stringpairs" => StructRepresentation::StringPairs(
                self.text(&settings, "innerDelim")?,
                self.text(&settings, "entryDelim")?,
            ),
            "tuple" => StructRepresentation::Tuple,
            "stringjoin" => StructRepresentation::StringJoin(self.text(&settings, "join")?),
            other => return Err(self.representation_error(other)),
        };
        if matches!(
            representation,
            StructRepresentation::Tuple | StructRepresentation::StringJoin(_)
        ) {
            fields = self.ordered(fields, settings.get("fieldOrder"))?;
        }
        Ok(Type::Struct {
            fields,
            representation,
        })
    }

    fn ordered(
        &self,
        mut fields: Vec<Field>,
        order: Option<&Ipld>,
    ) -> Result<Vec<Field>, SchemaError> {
        let Some(Ipld::List(order)) = order else {
            return if fields.len() < 2 {
                Ok(fields)
            } else {
                Err(self.wrong("fieldOrder"))
            };
        };
        let mut sorted = Vec::with_capacity(fields.len());
        for name in order {
            let at = fields
                .iter()
                .position(|f| *name == Ipld::String(f.name.clone()))
                .ok_or_else(|| self.wrong("each field once in fieldOrder"))?;
            sorted.push(fields.swap_remove(at));
        }
        if fields.is_empty() {
            Ok(sorted)
        } else {
            Err(self.wrong("each field once in fieldOrder"))
        }
    }

    fn enumeration(&self, body: &Map) -> Result<Type, SchemaError> {
        let (representation, values) = self.representation(body, "string")?;
        let names = self.list(body.get("members"), "a list of members")?;
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let Ipld::String(name) = name else {
                return Err(self.wrong("the name of a member"));
            };
            let value = match values.get(name) {
                None => name.clone(),
                Some(Ipld::String(value)) => value.clone(),
                Some(Ipld::Integer(value)) => value.to_string(),
                Some(_) => return Err(self.wrong("the value of a member")),
            };
            members.push((name.clone(), value));
        }
        enumeration(self.name, members, Settings::new(&representation))
    }

    fn union(&self, body: &Map, depth: usize) -> Result<Type, SchemaError> {
        let (representation, details) = self.representation(body, "")?;
        let table = match representation.as_str() {
            "envelope" | "inline" => self.map(details.get("discriminantTable"), "a table")?,
            "stringprefix" | "bytesprefix" => self.map(details.get("prefixes"), "prefixes")?,
            _ => &details,
        };
        let mut members = Vec::with_capacity(table.len());
        for (discriminant, target) in table {
            members.push(Member {
                discriminant: discriminant.clone(),
                target: self.target(Some(target), depth)?,
            });
        }
        let mut settings = Settings::new(&representation);
        for key in ["discriminantKey", "contentKey"] {
            if let Some(Ipld::String(value)) = details.get(key) {
                settings.values.insert(key.to_owned(), value.clone());
            }
        }
        union(self.name, members, settings)
    }

    /// The representation of a type and its settings, or the usual one.
    fn representation(&self, body: &Map, usual: &str) -> Result<(String, Map), SchemaError> {
        match body.get("representation") {
            None => Ok((usual.to_owned(), Map::new())),
            some => {
                let (name, settings) = self.only(some, "a map of one representation")?;
                Ok((name.to_owned(), settings.clone()))
            }
        }
    }

    fn only<'v>(
        &self,
        value: Option<&'v Ipld>,
        expected: &'static str,
    ) -> Result<(&'v str, &'v Map), SchemaError> {
        let map = self.map(value, expected)?;
        match map.iter().next() {
            Some((key, Ipld::Map(inner))) if map.len() == 1 => Ok((key, inner)),
            _ => Err(self.wrong(expected)),
        }
    }

    fn map<'v>(
        &self,
        value: Option<&'v Ipld>,
        expected: &'static str,
    ) -> Result<&'v Map, SchemaError> {
        match value {
            Some(Ipld::Map(map)) => Ok(map),
            _ => Err(self.wrong(expected)),
        }
    }

    fn list<'v>(
        &self,
        value: Option<&'v Ipld>,
        expected: &'static str,
    ) -> Result<&'v [Ipld], SchemaError> {
        match value {
            Some(Ipld::List(list)) => Ok(list),
            _ => Err(self.wrong(expected)),
        }
    }

    fn text(&self, map: &Map, key: &'static str) -> Result<String, SchemaError> {
        match map.get(key) {
            Some(Ipld::String(text)) => Ok(text.clone()),
            _ => Err(self.wrong(key)),
        }
    }

    fn flag(&self, map: &Map, key: &'static str) -> Result<bool, SchemaError> {
        match map.get(key) {
            None => Ok(false),
            Some(Ipld::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key)),
        }
    }

    fn representation_error(&self, representation: &str) -> SchemaError {
        SchemaError::Representation {
            name: self.name.to_owned(),
            representation: representation.chars().take(64).collect(),
        }
    }

    fn wrong(&self, expected: &'static str) -> SchemaError {
        SchemaError::Dmt {
            name: self.name.to_owned(),
            expected,
        }
    }
}
