//! Schemas as data structures.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use crate::dag_cbor::Kind;

/// A set of named types.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    pub(super) types: BTreeMap<String, Type>,
}

/// A type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Type {
    /// Any value at all.
    Any,
    /// A scalar: null, boolean, integer, float, text or bytes.
    Scalar(Kind),
    /// The same as another type.
    Copy(String),
    /// A link; the type behind it is a hint that is not followed.
    Link(String),
    /// A list of values of one type.
    List(Box<TypeRef>),
    /// A map with keys and values of one type each.
    Map {
        /// The type of keys; it must have a text form.
        key: String,
        /// The type of values.
        value: Box<TypeRef>,
        /// Whether it lies in data as a list of pairs.
        list_pairs: bool,
    },
    /// A fixed set of fields.
    Struct {
        /// The fields in order.
        fields: Vec<Field>,
        /// How they lie in data.
        representation: StructRepresentation,
    },
    /// One of several names.
    Enum(EnumRepresentation),
    /// One of several types.
    Union {
        /// The types.
        members: Vec<Member>,
        /// How data tells them apart.
        representation: UnionRepresentation,
    },
}

/// The use of a type.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeRef {
    /// The type: a name, or one that is written in place.
    pub target: Type,
    /// Whether null may stand instead.
    pub nullable: bool,
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name in the schema.
    pub name: String,
    /// Its name in data.
    pub key: String,
    /// Its type.
    pub target: TypeRef,
    /// Whether it may be absent.
    pub optional: bool,
    /// What its absence stands for.
    pub implicit: Option<Ipld>,
}

/// How a struct lies in data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StructRepresentation {
    /// A map of fields.
    Map,
    /// A list of the values in order.
    Tuple,
    /// A list of pairs of name and value.
    ListPairs,
    /// A text of the values in order, with this between them.
    StringJoin(String),
    /// A text of names and values: what stands within a pair and what between pairs.
    StringPairs(String, String),
}

/// How an enum lies in data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnumRepresentation {
    /// Texts, each with the name of its member.
    Text(BTreeMap<String, String>),
    /// Integers, each with the name of its member.
    Int(BTreeMap<i64, String>),
}

/// A member of a union.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// What tells it apart: a key, a value, a prefix, or the name of a kind.
    pub discriminant: String,
    /// Its type.
    pub target: Type,
}

/// How data tells the members of a union apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnionRepresentation {
    /// By the kind of the value.
    Kinded,
    /// By the only key of a map.
    Keyed,
    /// By one field of a map of two, the content being in the other.
    Envelope {
        /// The field that tells.
        discriminant_key: String,
        /// The field of the content.
        content_key: String,
    },
    /// By a field beside those of the member, a struct.
    Inline {
        /// The field that tells.
        discriminant_key: String,
    },
    /// By the beginning of a text.
    StringPrefix,
    /// By the beginning of bytes, in hexadecimal.
    BytesPrefix,
}

impl Schema {
    /// The names of the types, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    /// A type by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Type> {
        self.types.get(name)
    }

    /// A type by name, the ones that every schema has included.
    pub(super) fn lookup(&self, name: &str) -> Option<Type> {
        self.types.get(name).cloned().or_else(|| prelude(name))
    }
}

/// The types that every schema has.
pub(super) fn prelude(name: &str) -> Option<Type> {
    let any = || {
        Box::new(TypeRef {
            target: Type::Any,
            nullable: false,
        })
    };
    Some(match name {
        "Any" => Type::Any,
        "Bool" => Type::Scalar(Kind::Bool),
        "Int" => Type::Scalar(Kind::Int),
        "Float" => Type::Scalar(Kind::Float),
        "String" => Type::Scalar(Kind::Text),
        "Bytes" => Type::Scalar(Kind::Bytes),
        "Null" => Type::Scalar(Kind::Null),
        "Link" => Type::Link("Any".to_owned()),
        "List" => Type::List(any()),
        "Map" => Type::Map {
            key: "String".to_owned(),
            value: any(),
            list_pairs: false,
        },
        _ => return None,
    })
}
