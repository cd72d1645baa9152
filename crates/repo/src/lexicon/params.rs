//! Parameters of methods: from the texts of a query string to typed values.

use serde_json::{Map, Value};

use super::catalog::Part;
use super::error::{Problem, Segment, ValidationError, preview, quote};
use super::registry::{LexiconError, Lexicons, absent};
use super::rules::{ObjectRule, Schema};
use super::validate::{Strictness, validate};

/// Most pairs that a query string may hold.
const MAX_PAIRS: usize = 2_000;

impl Lexicons {
    /// Turns the decoded pairs of a query string into typed parameters, with defaults filled in.
    ///
    /// As in the official server: empty values count as absent, a repeated name gives an array, a name
    /// that the method does not know stays a string. The result is a JSON object.
    pub fn validate_params<K: AsRef<str>, V: AsRef<str>>(
        &self,
        nsid: &str,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Value, LexiconError> {
        let catalog = self.current();
        let (Some(method), Some(arena)) = (self.method(nsid), catalog.arena(nsid, Part::Params))
        else {
            return Err(absent(&catalog, nsid, "method"));
        };
        let mut typed = Map::new();
        for (index, (name, text)) in pairs.into_iter().enumerate() {
            if index >= MAX_PAIRS {
                return Err(ValidationError::new(Problem::TooBig {
                    measure: super::error::Measure::Array,
                    maximum: MAX_PAIRS as i64,
                    found: index as i64 + 1,
                })
                .into());
            }
            let (name, text) = (name.as_ref(), text.as_ref());
            if !text.is_empty() {
                add(&mut typed, &method.parameters, name, text)
                    .map_err(|problem| at(name, problem))?;
            }
        }
        fill_defaults(&method.parameters, &mut typed);
        let typed = Value::Object(typed);
        validate(arena, &typed, Strictness::Strict)?;
        Ok(typed)
    }

    /// Fills in the defaults of the top-level properties of a request body, where they are absent.
    pub fn fill_input_defaults(&self, nsid: &str, body: &mut Value) {
        let method = self.method(nsid);
        let schema = method
            .as_ref()
            .and_then(|method| method.input.as_ref())
            .and_then(|input| input.schema.as_ref());
        if let (Some(Schema::Object(rule)), Value::Object(map)) = (schema, body) {
            fill_defaults(rule, map);
        }
    }
}

fn at(name: &str, problem: Problem) -> Box<ValidationError> {
    ValidationError::new(problem).within(Segment::Key(name.to_owned()))
}

fn add(
    typed: &mut Map<String, Value>,
    rule: &ObjectRule,
    name: &str,
    text: &str,
) -> Result<(), Problem> {
    let schema = rule.properties.get(name).map(|property| &property.schema);
    let (list, scalar) = match schema {
        Some(Schema::Array(items, _)) => (true, Some(items.as_ref())),
        other => (false, other),
    };
    let value = coerce(scalar, text)?;
    match typed.get_mut(name) {
        None if list => {
            typed.insert(name.to_owned(), Value::Array(vec![value]));
        }
        None => {
            typed.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
    Ok(())
}

fn coerce(schema: Option<&Schema>, text: &str) -> Result<Value, Problem> {
    let wrong = |expected: &'static str| Problem::Type {
        expected: expected.into(),
        found: preview(text),
    };
    match schema {
        Some(Schema::Integer(rule)) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let shape = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let number: Option<i64> = text.parse().ok().filter(|_| shape);
            match (number, rule.constant) {
                (Some(number), _) => Ok(number.into()),
                (None, Some(only)) => Err(Problem::NotAllowed {
                    allowed: vec![only.to_string()],
                    found: quote(text),
                }),
                (None, None) => Err(wrong("integer")),
            }
        }
        Some(Schema::Boolean(_)) => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(wrong("boolean")),
        },
        _ => Ok(text.into()),
    }
}

fn fill_defaults(rule: &ObjectRule, map: &mut Map<String, Value>) {
    for (name, property) in &rule.properties {
        let default = match &property.schema {
            Schema::Boolean(rule) => rule.default.map(Value::from),
            Schema::Integer(rule) => rule.default.map(Value::from),
            Schema::String(rule) => rule.default.clone().map(Value::from),
            _ => None,
        };
        if let Some(default) = default
            && !map.contains_key(name)
        {
            map.insert(name.clone(), default);
        }
    }
}
