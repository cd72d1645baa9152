//! Parsing of documents and of their definitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::indexes::IndexDef;
use super::merges::MergeRule;
use super::reader::{At, DocumentError};
use super::rules::{
    Body, Definition, Document, MethodDef, MethodKind, ObjectRule, Permission, PermissionSet,
    RecordDef, RecordKeyType, Schema,
};
use super::schema::{object, params, schema, union};
use crate::syntax::{Language, Nsid, RecordKey};

/// The name of the definition that an NSID without a fragment means.
pub(super) const MAIN: &str = "main";

/// Most definitions that a document may hold. The largest official one has under 150.
const MAX_DEFS: usize = 2_000;

impl Document {
    /// Parses and checks a document of version 1 of the language.
    ///
    /// Properties that the language does not know are ignored, as it demands; everything that it knows
    /// must be right, and the parts must fit together (a default obeys its own limits, a required
    /// property exists, only `main` is a record or a method). References are written out in full
    /// (`#name` becomes `nsid#name`); whether their targets exist is not looked at here.
    /// See <https://atproto.com/specs/lexicon>.
    pub fn parse(json: &Value) -> Result<Document, DocumentError> {
        let at = At::root(json);
        at.required("lexicon", |v| match v.int()? {
            1 => Ok(()),
            _ => Err(v.expected("version 1 of the language")),
        })?;
        let id = at.required("id", |v| {
            let id = v.str()?;
            match Nsid::check(id) {
                Ok(()) => Ok(id.to_owned()),
                Err(_) => Err(v.expected("an NSID")),
            }
        })?;
        at.optional("description", |v| v.str().map(drop))?;
        let revision = at.optional("revision", |v| v.int())?;
        let defs = at.required("defs", |defs| {
            if defs.object()?.len() > MAX_DEFS {
                return Err(defs.expected(format!("at most {MAX_DEFS} definitions")));
            }
            defs.entries(|name, def| {
                check_name(&def, name)?;
                Ok((name.to_owned(), definition(&id, name, &def)?))
            })
        })?;
        Ok(Document {
            id,
            revision,
            defs: defs.into_iter().collect(),
        })
    }

    /// The definition that the NSID itself means.
    pub fn main(&self) -> Option<&Definition> {
        self.defs.get(MAIN)
    }
}

fn check_name(at: &At<'_>, name: &str) -> Result<(), DocumentError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || name.len() > 256 || !name.bytes().all(plain) {
        return Err(at.conflict("a name of 1 to 256 letters, digits, _ - or .", name));
    }
    Ok(())
}

fn definition(id: &str, name: &str, at: &At<'_>) -> Result<Definition, DocumentError> {
    let kind = at.required("type", |v| v.str().map(str::to_owned))?;
    at.optional("description", |v| v.str().map(drop))?;
    let primary = match kind.as_str() {
        "record" => Definition::Record(Arc::new(record(id, at)?)),
        "query" => Definition::Method(Arc::new(method(id, at, MethodKind::Query)?)),
        "procedure" => Definition::Method(Arc::new(method(id, at, MethodKind::Procedure)?)),
        "subscription" => Definition::Method(Arc::new(method(id, at, MethodKind::Subscription)?)),
        "permission-set" => Definition::PermissionSet(permission_set(at)?),
        _ => {
            let schema = schema(id, at)?;
            return match schema {
                // These only say how a place is filled; they are not things to refer to.
                Schema::Ref(_) | Schema::Union(_) | Schema::Unknown | Schema::Null => {
                    Err(at.conflict("a type that may be a definition", kind))
                }
                schema => Ok(Definition::Schema(schema)),
            };
        }
    };
    if name == MAIN {
        Ok(primary)
    } else {
        Err(at.conflict(
            "a record, a method or a permission set only as \"main\"",
            kind,
        ))
    }
}

fn record(id: &str, at: &At<'_>) -> Result<RecordDef, DocumentError> {
    let key = at.required("key", |v| {
        let text = v.str()?;
        match (text, text.strip_prefix("literal:")) {
            ("tid", _) => Ok(RecordKeyType::Tid),
            ("nsid", _) => Ok(RecordKeyType::Nsid),
            ("any", _) => Ok(RecordKeyType::Any),
            (_, Some(key)) if RecordKey::check(key).is_ok() => {
                Ok(RecordKeyType::Literal(key.to_owned()))
            }
            _ => Err(v.expected("\"tid\", \"nsid\", \"any\" or \"literal:<record key>\"")),
        }
    })?;
    let record = at.required("record", |v| {
        v.required("type", |kind| match kind.str()? {
            "object" => Ok(()),
            _ => Err(kind.expected("\"object\"")),
        })?;
        object(id, &v)
    })?;
    let indexes = at.optional("ues", |ues| {
        ues.optional("indexes", |list| IndexDef::parse_all(&list, &record))
    })?;
    let merge = at.optional("ues", |ues| {
        ues.optional("merge", |list| MergeRule::parse_all(&list, &record))
    })?;
    Ok(RecordDef {
        key,
        record,
        indexes: indexes.flatten().unwrap_or_default(),
        merge: merge.flatten().unwrap_or_default(),
    })
}

fn method(id: &str, at: &At<'_>, kind: MethodKind) -> Result<MethodDef, DocumentError> {
    let parameters = at.optional("parameters", |v| params(id, &v))?;
    let allowed = |key: &str, yes: bool| match at.object()?.get(key) {
        Some(_) if !yes => Err(at.conflict(
            format!("a {} without \"{key}\"", kind.name()),
            "one with it",
        )),
        _ => Ok(()),
    };
    allowed("input", kind == MethodKind::Procedure)?;
    allowed("output", kind != MethodKind::Subscription)?;
    allowed("message", kind == MethodKind::Subscription)?;
    let message = at.optional("message", |v| {
        v.optional("description", |d| d.str().map(drop))?;
        v.required("schema", |s| {
            s.required("type", |kind| match kind.str()? {
                "union" => Ok(()),
                _ => Err(kind.expected("\"union\"")),
            })?;
            union(id, &s)
        })
    })?;
    if kind == MethodKind::Subscription && message.is_none() {
        return Err(at.conflict("a subscription with \"message\"", "one without it"));
    }
    let errors = at.optional("errors", |v| {
        v.list(|error| {
            error.optional("description", |d| d.str().map(drop))?;
            error.required("name", |name| match name.str()? {
                text if text.is_empty() || text.contains(char::is_whitespace) => {
                    Err(name.expected("a name without spaces"))
                }
                text => Ok(text.to_owned()),
            })
        })
    })?;
    Ok(MethodDef {
        kind,
        parameters: parameters.unwrap_or_else(ObjectRule::default),
        input: at.optional("input", |v| body(id, &v))?,
        output: at.optional("output", |v| body(id, &v))?,
        message,
        errors: errors.unwrap_or_default(),
    })
}

fn body(id: &str, at: &At<'_>) -> Result<Body, DocumentError> {
    at.optional("description", |v| v.str().map(drop))?;
    let encoding = at.required("encoding", |v| {
        let text = v.str()?;
        if !text.contains('/') || text.contains([',', ';', ' ']) {
            return Err(v.expected("one MIME type without parameters"));
        }
        Ok(text.to_owned())
    })?;
    let schema = at.optional("schema", |v| {
        let schema = schema(id, &v)?;
        match schema {
            Schema::Object(_) | Schema::Ref(_) | Schema::Union(_) => Ok(schema),
            other => Err(v.conflict("an object, a ref or a union", other.type_name())),
        }
    })?;
    Ok(Body { encoding, schema })
}

fn permission_set(at: &At<'_>) -> Result<PermissionSet, DocumentError> {
    let text = |key: &str| at.optional(key, |v| v.str().map(str::to_owned));
    let texts = |key: &str| {
        let found = at.optional(key, |v| {
            v.entries(|language, text| match Language::check(language) {
                Ok(()) => Ok((language.to_owned(), text.str()?.to_owned())),
                Err(_) => Err(text.conflict("a language tag as its name", language)),
            })
        })?;
        Ok(found.unwrap_or_default().into_iter().collect())
    };
    Ok(PermissionSet {
        title: text("title")?,
        detail: text("detail")?,
        title_lang: texts("title:lang")?,
        detail_lang: texts("detail:lang")?,
        permissions: at.required("permissions", |v| v.list(|p| permission(&p)))?,
    })
}

fn permission(at: &At<'_>) -> Result<Permission, DocumentError> {
    at.required("type", |v| match v.str()? {
        "permission" => Ok(()),
        _ => Err(v.expected("\"permission\"")),
    })?;
    let resource = at.required("resource", |v| match v.str()? {
        "" => Err(v.expected("the name of a resource")),
        name => Ok(name.to_owned()),
    })?;
    let mut parameters = BTreeMap::new();
    at.entries(|key, v| {
        if !matches!(key, "type" | "resource" | "description") {
            let values = match v.value() {
                Value::Array(_) => v.list(|item| scalar(&item))?,
                _ => vec![scalar(&v)?],
            };
            parameters.insert(key.to_owned(), values);
        }
        Ok(())
    })?;
    // Of resources that the language does not know yet only the shape is checked.
    let needs = match resource.as_str() {
        "repo" => Some("collection"),
        "rpc" => Some("lxm"),
        _ => None,
    };
    if let Some(key) = needs {
        at.required(key, |v| match v.list(|item| item.str().map(drop))? {
            list if list.is_empty() => Err(v.expected("at least one name")),
            _ => Ok(()),
        })?;
    }
    if resource == "repo" {
        at.optional("action", |v| {
            v.list(|action| match action.str()? {
                "create" | "update" | "delete" => Ok(()),
                _ => Err(action.expected("\"create\", \"update\" or \"delete\"")),
            })
        })?;
    }
    Ok(Permission {
        resource,
        parameters,
    })
}

fn scalar(at: &At<'_>) -> Result<String, DocumentError> {
    match at.value() {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(_) => Ok(at.int()?.to_string()),
        _ => Err(at.expected("a string, an integer, true or false, or an array of them")),
    }
}
