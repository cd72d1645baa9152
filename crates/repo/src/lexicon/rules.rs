//! The vocabulary of a Lexicon document: types, constraints and definitions, as parsed.
//!
//! These types mirror the language one to one, so that documents can be inspected and compared. For
//! validation they are compiled into the arena of [`super::arena`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::indexes::IndexDef;
use super::merges::MergeRule;

/// The formats that a string may be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StringFormat {
    /// A DID or a handle.
    AtIdentifier,
    /// An `at://` URI.
    AtUri,
    /// A CID in its string form.
    Cid,
    /// A timestamp that both RFC 3339 and ISO 8601 allow.
    Datetime,
    /// A decentralised identifier.
    Did,
    /// A domain name that names an account.
    Handle,
    /// A BCP 47 language tag.
    Language,
    /// A namespaced identifier.
    Nsid,
    /// The last part of a record's address.
    RecordKey,
    /// A timestamp identifier.
    Tid,
    /// A URI of any scheme (RFC 3986, checked loosely).
    Uri,
}

impl StringFormat {
    /// All formats, with the names that documents use.
    pub const ALL: [(StringFormat, &'static str); 11] = [
        (StringFormat::AtIdentifier, "at-identifier"),
        (StringFormat::AtUri, "at-uri"),
        (StringFormat::Cid, "cid"),
        (StringFormat::Datetime, "datetime"),
        (StringFormat::Did, "did"),
        (StringFormat::Handle, "handle"),
        (StringFormat::Language, "language"),
        (StringFormat::Nsid, "nsid"),
        (StringFormat::RecordKey, "record-key"),
        (StringFormat::Tid, "tid"),
        (StringFormat::Uri, "uri"),
    ];

    /// The name that documents use.
    pub fn name(self) -> &'static str {
        StringFormat::ALL
            .iter()
            .find(|(format, _)| *format == self)
            .map_or("", |(_, name)| name)
    }

    /// The format of that name.
    pub fn by_name(name: &str) -> Option<StringFormat> {
        StringFormat::ALL
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(format, _)| *format)
    }

    /// The words of the official server's messages.
    pub(super) fn description(self) -> &'static str {
        match self {
            StringFormat::AtIdentifier => "AT identifier",
            StringFormat::Cid => "CID string",
            StringFormat::Did => "DID",
            StringFormat::Nsid => "NSID",
            StringFormat::RecordKey => "record key",
            StringFormat::Tid => "TID string",
            other => other.name(),
        }
    }

    /// The words of the older official library's messages.
    pub(super) fn lexicon_words(self) -> &'static str {
        match self {
            StringFormat::AtIdentifier => "a valid did or a handle",
            StringFormat::AtUri => "a valid at-uri",
            StringFormat::Cid => "a cid string",
            StringFormat::Datetime => "an valid atproto datetime (both RFC-3339 and ISO-8601)",
            StringFormat::Did => "a valid did",
            StringFormat::Handle => "a valid handle",
            StringFormat::Language => "a well-formed BCP 47 language tag",
            StringFormat::Nsid => "a valid nsid",
            StringFormat::RecordKey => "a valid Record Key",
            StringFormat::Tid => "a valid TID",
            StringFormat::Uri => "a uri",
        }
    }
}

/// Constraints of a boolean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BooleanRule {
    /// Value to assume when absent.
    pub default: Option<bool>,
    /// The only value allowed.
    pub constant: Option<bool>,
}

/// Constraints of an integer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegerRule {
    /// Value to assume when absent.
    pub default: Option<i64>,
    /// The only value allowed.
    pub constant: Option<i64>,
    /// The values allowed.
    pub allowed: Option<Vec<i64>>,
    /// Least value.
    pub minimum: Option<i64>,
    /// Greatest value.
    pub maximum: Option<i64>,
}

/// Constraints of a string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringRule {
    /// The format that the text must have.
    pub format: Option<StringFormat>,
    /// Value to assume when absent.
    pub default: Option<String>,
    /// The only value allowed.
    pub constant: Option<String>,
    /// The values allowed (`enum`).
    pub allowed: Option<Vec<String>>,
    /// Values that have a meaning; others are allowed too.
    pub known_values: Vec<String>,
    /// Least length in bytes of UTF-8.
    pub min_length: Option<u64>,
    /// Greatest length in bytes of UTF-8.
    pub max_length: Option<u64>,
    /// Least length in grapheme clusters.
    pub min_graphemes: Option<u64>,
    /// Greatest length in grapheme clusters.
    pub max_graphemes: Option<u64>,
}

/// Bounds of a length: bytes of a byte string, items of an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LengthRule {
    /// Least length.
    pub min: Option<u64>,
    /// Greatest length.
    pub max: Option<u64>,
}

/// Constraints of a blob.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobRule {
    /// MIME types allowed; `*/*` and `image/*` are patterns.
    pub accept: Option<Vec<String>>,
    /// Greatest size in bytes.
    pub max_size: Option<u64>,
}

/// An object: its properties by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectRule {
    /// The properties.
    pub properties: BTreeMap<String, Property>,
}

/// A property of an object, or a parameter of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// What it must be.
    pub schema: Schema,
    /// Whether it must be present.
    pub required: bool,
    /// Whether it may be null.
    pub nullable: bool,
}

/// An object of one of several types, told apart by `$type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnionRule {
    /// The types, `nsid` or `nsid#name`.
    pub refs: Vec<String>,
    /// Whether other types are refused.
    pub closed: bool,
}

/// A type with its constraints.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schema {
    /// Only null.
    Null,
    /// True or false.
    Boolean(BooleanRule),
    /// A whole number.
    Integer(IntegerRule),
    /// A text.
    String(StringRule),
    /// A byte string.
    Bytes(LengthRule),
    /// A link to a block.
    CidLink,
    /// A reference to a file.
    Blob(BlobRule),
    /// A list.
    Array(Box<Schema>, LengthRule),
    /// An object.
    Object(ObjectRule),
    /// A symbol: its value is its own name.
    Token,
    /// The definition of that name, `nsid` or `nsid#name`.
    Ref(String),
    /// One of several types.
    Union(UnionRule),
    /// Any object.
    Unknown,
}

impl Schema {
    /// The name of the type in documents.
    pub fn type_name(&self) -> &'static str {
        match self {
            Schema::Null => "null",
            Schema::Boolean(_) => "boolean",
            Schema::Integer(_) => "integer",
            Schema::String(_) => "string",
            Schema::Bytes(_) => "bytes",
            Schema::CidLink => "cid-link",
            Schema::Blob(_) => "blob",
            Schema::Array(..) => "array",
            Schema::Object(_) => "object",
            Schema::Token => "token",
            Schema::Ref(_) => "ref",
            Schema::Union(_) => "union",
            Schema::Unknown => "unknown",
        }
    }
}

/// What the keys of a collection's records must be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordKeyType {
    /// A timestamp identifier.
    Tid,
    /// A namespaced identifier.
    Nsid,
    /// Any valid record key.
    Any,
    /// This one only.
    Literal(String),
}

impl std::fmt::Display for RecordKeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecordKeyType::Tid => f.write_str("tid"),
            RecordKeyType::Nsid => f.write_str("nsid"),
            RecordKeyType::Any => f.write_str("any"),
            RecordKeyType::Literal(key) => write!(f, "literal:{key}"),
        }
    }
}

/// A type of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDef {
    /// What its keys must be.
    pub key: RecordKeyType,
    /// What it contains.
    pub record: ObjectRule,
    /// Indexes that the document asks for (`ues.indexes`).
    pub indexes: Vec<IndexDef>,
    /// How records merge that several devices change (`ues.merge`).
    pub merge: Vec<MergeRule>,
}

/// Kind of an XRPC method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MethodKind {
    /// GET.
    Query,
    /// POST.
    Procedure,
    /// A stream over WebSocket.
    Subscription,
}

impl MethodKind {
    /// The name of the kind in documents.
    pub fn name(self) -> &'static str {
        match self {
            MethodKind::Query => "query",
            MethodKind::Procedure => "procedure",
            MethodKind::Subscription => "subscription",
        }
    }
}

/// The body of a request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// MIME type, perhaps a pattern such as `*/*`.
    pub encoding: String,
    /// What it contains, if it is a structured one.
    pub schema: Option<Schema>,
}

/// An XRPC method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodDef {
    /// Query, procedure or subscription.
    pub kind: MethodKind,
    /// Parameters of the query string.
    pub parameters: ObjectRule,
    /// Request body, of procedures only.
    pub input: Option<Body>,
    /// Response body.
    pub output: Option<Body>,
    /// Messages of a subscription.
    pub message: Option<UnionRule>,
    /// Names of the errors that it declares.
    pub errors: Vec<String>,
}

/// One permission of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What it is about: `repo`, `rpc`, or one that a later version knows.
    pub resource: String,
    /// The other properties.
    pub parameters: BTreeMap<String, Vec<String>>,
}

/// A bundle of permissions that an application asks for by one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionSet {
    /// Short name for the user.
    pub title: Option<String>,
    /// Longer explanation for the user.
    pub detail: Option<String>,
    /// The short name in other languages, by BCP 47 tag.
    pub title_lang: BTreeMap<String, String>,
    /// The explanation in other languages, by BCP 47 tag.
    pub detail_lang: BTreeMap<String, String>,
    /// The permissions.
    pub permissions: Vec<Permission>,
}

/// A named definition of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Definition {
    /// A type of record.
    Record(Arc<RecordDef>),
    /// An XRPC method.
    Method(Arc<MethodDef>),
    /// A bundle of permissions.
    PermissionSet(PermissionSet),
    /// Any other type.
    Schema(Schema),
}

impl Definition {
    /// The name of the type in documents.
    pub fn type_name(&self) -> &'static str {
        match self {
            Definition::Record(_) => "record",
            Definition::Method(method) => method.kind.name(),
            Definition::PermissionSet(_) => "permission-set",
            Definition::Schema(schema) => schema.type_name(),
        }
    }
}

/// A Lexicon document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its NSID.
    pub id: String,
    /// Its revision, if it counts them.
    pub revision: Option<i64>,
    /// The definitions by name; `main` is the one that the NSID itself means.
    pub defs: BTreeMap<String, Definition>,
}
