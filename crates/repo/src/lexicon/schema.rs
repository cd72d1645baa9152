//! Parsing of types and their constraints.

use std::fmt::Debug;

use super::format;
use super::reader::{At, DocumentError};
use super::rules::{
    BlobRule, BooleanRule, IntegerRule, LengthRule, ObjectRule, Property, Schema, StringFormat,
    StringRule, UnionRule,
};
use super::text;
use crate::syntax::Nsid;

/// Longest name of a property, in bytes.
const MAX_NAME: usize = 512;

/// A type, in a document with the given id.
pub(super) fn schema(id: &str, at: &At<'_>) -> Result<Schema, DocumentError> {
    at.optional("description", |v| v.str().map(drop))?;
    at.required("type", |kind| {
        Ok(match kind.str()? {
            "null" => Schema::Null,
            "boolean" => Schema::Boolean(boolean(at)?),
            "integer" => Schema::Integer(integer(at)?),
            "string" => Schema::String(string(at)?),
            "bytes" => Schema::Bytes(length(at)?),
            "cid-link" => Schema::CidLink,
            "blob" => Schema::Blob(blob(at)?),
            "array" => Schema::Array(
                Box::new(at.required("items", |v| item(id, &v))?),
                length(at)?,
            ),
            "object" => Schema::Object(object(id, at)?),
            "token" => Schema::Token,
            "ref" => Schema::Ref(at.required("ref", |v| reference(id, &v))?),
            "union" => Schema::Union(union(id, at)?),
            "unknown" => Schema::Unknown,
            _ => return Err(kind.expected("the name of a type")),
        })
    })
}

/// A type in a place where a value goes: a token is only a definition.
fn item(id: &str, at: &At<'_>) -> Result<Schema, DocumentError> {
    match schema(id, at)? {
        Schema::Token => Err(at.conflict("a type that has values", "token")),
        schema => Ok(schema),
    }
}

fn boolean(at: &At<'_>) -> Result<BooleanRule, DocumentError> {
    let rule = BooleanRule {
        default: at.optional("default", |v| v.bool())?,
        constant: at.optional("const", |v| v.bool())?,
    };
    default_is_allowed(at, rule.default.as_ref(), rule.constant.as_ref(), None)?;
    Ok(rule)
}

fn integer(at: &At<'_>) -> Result<IntegerRule, DocumentError> {
    let rule = IntegerRule {
        default: at.optional("default", |v| v.int())?,
        constant: at.optional("const", |v| v.int())?,
        allowed: at.optional("enum", |v| v.list(|item| item.int()))?,
        minimum: at.optional("minimum", |v| v.int())?,
        maximum: at.optional("maximum", |v| v.int())?,
    };
    in_order(at, "minimum", rule.minimum, "maximum", rule.maximum)?;
    let named = rule.default.iter().chain(&rule.constant);
    for value in named.chain(rule.allowed.iter().flatten()) {
        if rule.minimum.is_some_and(|min| *value < min)
            || rule.maximum.is_some_and(|max| *value > max)
        {
            return Err(at.conflict(
                "default, const and enum within minimum and maximum",
                value.to_string(),
            ));
        }
    }
    default_is_allowed(
        at,
        rule.default.as_ref(),
        rule.constant.as_ref(),
        rule.allowed.as_deref(),
    )?;
    Ok(rule)
}

fn string(at: &At<'_>) -> Result<StringRule, DocumentError> {
    let rule = StringRule {
        format: at.optional("format", |v| {
            StringFormat::by_name(v.str()?).ok_or_else(|| v.expected("the name of a format"))
        })?,
        default: at.optional("default", |v| v.str().map(str::to_owned))?,
        constant: at.optional("const", |v| v.str().map(str::to_owned))?,
        allowed: at.optional("enum", |v| v.strings())?,
        known_values: at
            .optional("knownValues", |v| v.strings())?
            .unwrap_or_default(),
        min_length: at.optional("minLength", |v| v.length())?,
        max_length: at.optional("maxLength", |v| v.length())?,
        min_graphemes: at.optional("minGraphemes", |v| v.length())?,
        max_graphemes: at.optional("maxGraphemes", |v| v.length())?,
    };
    in_order(
        at,
        "minLength",
        rule.min_length,
        "maxLength",
        rule.max_length,
    )?;
    in_order(
        at,
        "minGraphemes",
        rule.min_graphemes,
        "maxGraphemes",
        rule.max_graphemes,
    )?;
    let named = rule.default.iter().chain(&rule.constant);
    for value in named.chain(rule.allowed.iter().flatten()) {
        let fits = text::check_lengths(&rule, value).is_ok()
            && rule
                .format
                .is_none_or(|format| format::matches(format, value, true));
        if !fits {
            return Err(at.conflict(
                "default, const and enum that obey the format and the lengths",
                value,
            ));
        }
    }
    default_is_allowed(
        at,
        rule.default.as_ref(),
        rule.constant.as_ref(),
        rule.allowed.as_deref(),
    )?;
    Ok(rule)
}

fn length(at: &At<'_>) -> Result<LengthRule, DocumentError> {
    let rule = LengthRule {
        min: at.optional("minLength", |v| v.length())?,
        max: at.optional("maxLength", |v| v.length())?,
    };
    in_order(at, "minLength", rule.min, "maxLength", rule.max)?;
    Ok(rule)
}

fn blob(at: &At<'_>) -> Result<BlobRule, DocumentError> {
    let accept = at.optional("accept", |v| {
        v.list(|mime| match mime.str()? {
            text if text.contains('/') => Ok(text.to_owned()),
            _ => Err(mime.expected("a MIME type or a pattern such as image/*")),
        })
    })?;
    Ok(BlobRule {
        accept,
        max_size: at.optional("maxSize", |v| v.length())?,
    })
}

/// An object, which is already known to say so.
pub(super) fn object(id: &str, at: &At<'_>) -> Result<ObjectRule, DocumentError> {
    properties(at, |v| item(id, v))
}

fn properties(
    at: &At<'_>,
    read: impl Fn(&At<'_>) -> Result<Schema, DocumentError>,
) -> Result<ObjectRule, DocumentError> {
    let properties = at.optional("properties", |v| {
        v.entries(|name, property| {
            if name.is_empty() || name.len() > MAX_NAME {
                return Err(property.conflict(format!("a name of 1 to {MAX_NAME} bytes"), name));
            }
            let property = Property {
                schema: read(&property)?,
                required: false,
                nullable: false,
            };
            Ok((name.to_owned(), property))
        })
    })?;
    let mut rule = ObjectRule {
        properties: properties.unwrap_or_default().into_iter().collect(),
    };
    let mut mark = |list: &str, set: fn(&mut Property)| {
        at.optional(list, |v| {
            v.list(|name| match rule.properties.get_mut(name.str()?) {
                Some(property) => {
                    set(property);
                    Ok(())
                }
                None => Err(name.expected("the name of a property")),
            })
        })
    };
    mark("required", |property| property.required = true)?;
    mark("nullable", |property| property.nullable = true)?;
    Ok(rule)
}

/// The parameters of a method.
pub(super) fn params(id: &str, at: &At<'_>) -> Result<ObjectRule, DocumentError> {
    at.required("type", |v| match v.str()? {
        "params" => Ok(()),
        _ => Err(v.expected("\"params\"")),
    })?;
    at.optional("description", |v| v.str().map(drop))?;
    let scalar = |schema: &Schema| {
        matches!(
            schema,
            Schema::Boolean(_) | Schema::Integer(_) | Schema::String(_) | Schema::Unknown
        )
    };
    properties(at, |v| {
        let schema = schema(id, v)?;
        let fits = match &schema {
            Schema::Array(items, _) => scalar(items),
            other => scalar(other),
        };
        if fits {
            Ok(schema)
        } else {
            Err(v.conflict(
                "a boolean, an integer, a string or an array of one of these",
                schema.type_name(),
            ))
        }
    })
}

/// A union, which is already known to say so.
pub(super) fn union(id: &str, at: &At<'_>) -> Result<UnionRule, DocumentError> {
    let rule = UnionRule {
        refs: at.required("refs", |v| v.list(|r| reference(id, &r)))?,
        closed: at.optional("closed", |v| v.bool())?.unwrap_or(false),
    };
    if rule.closed && rule.refs.is_empty() {
        return Err(at.conflict("a closed union with at least one ref", "none"));
    }
    Ok(rule)
}

/// A reference, written out in full: `nsid` for a main definition, `nsid#name` for others.
fn reference(id: &str, at: &At<'_>) -> Result<String, DocumentError> {
    let text = at.str()?;
    let (nsid, name) = match text.split_once('#') {
        Some(("", name)) => (id, name),
        Some((nsid, name)) => (nsid, name),
        None => (text, super::document::MAIN),
    };
    if Nsid::check(nsid).is_err() || name.is_empty() || name.contains('#') {
        return Err(at.expected("#name, an NSID, or nsid#name"));
    }
    Ok(full_name(nsid, name))
}

/// The `$type` of a definition: the NSID alone for `main`.
pub(super) fn full_name(nsid: &str, name: &str) -> String {
    if name == super::document::MAIN {
        nsid.to_owned()
    } else {
        format!("{nsid}#{name}")
    }
}

fn in_order<T: PartialOrd + Debug>(
    at: &At<'_>,
    low: &str,
    min: Option<T>,
    high: &str,
    max: Option<T>,
) -> Result<(), DocumentError> {
    match (min, max) {
        (Some(min), Some(max)) if min > max => Err(at.conflict(
            format!("{low} not above {high}"),
            format!("{min:?} and {max:?}"),
        )),
        _ => Ok(()),
    }
}

fn default_is_allowed<T: PartialEq + Debug>(
    at: &At<'_>,
    default: Option<&T>,
    constant: Option<&T>,
    allowed: Option<&[T]>,
) -> Result<(), DocumentError> {
    if let (Some(default), Some(constant)) = (default, constant)
        && default != constant
    {
        return Err(at.conflict("a default equal to const", format!("{default:?}")));
    }
    for (what, value) in [("default", default), ("const", constant)] {
        if let (Some(value), Some(allowed)) = (value, allowed)
            && !allowed.contains(value)
        {
            return Err(at.conflict(format!("a {what} out of enum"), format!("{value:?}")));
        }
    }
    Ok(())
}
