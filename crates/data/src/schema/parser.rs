//! Reading the schema language.

use ipld_core::ipld::Ipld;

use super::ast::{Field, Member, Schema, StructRepresentation, Type, TypeRef};
use super::lexer::{Token, tokens};
use super::represent::{Settings, enumeration, union};
use super::{SchemaError, ast};
use crate::dag_cbor::Kind;

/// Types may be written within types so deep.
const MAX_NESTING: usize = 32;

impl Schema {
    /// Reads a schema in the schema language, and checks that every name in it is defined.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
        };
        let mut schema = Self::default();
        while parser.at < parser.tokens.len() {
            parser.keyword("type")?;
            let name = parser.word("the name of a type")?;
            let body = parser.definition(&name)?;
            if schema.types.insert(name.clone(), body).is_some() {
                return Err(SchemaError::Duplicate(name));
            }
        }
        schema.check_names()?;
        Ok(schema)
    }

    /// Every name that is used must be defined.
    pub(super) fn check_names(&self) -> Result<(), SchemaError> {
        for (user, body) in &self.types {
            let mut names = Vec::new();
            used(body, &mut names);
            for name in names {
                if !self.types.contains_key(name) && ast::prelude(name).is_none() {
                    return Err(SchemaError::Undefined {
                        user: user.clone(),
                        name: name.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn used<'a>(body: &'a Type, names: &mut Vec<&'a str>) {
    match body {
        Type::Copy(name) | Type::Link(name) => names.push(name),
        Type::List(value) => used(&value.target, names),
        Type::Map { key, value, .. } => {
            names.push(key);
            used(&value.target, names);
        }
        Type::Struct { fields, .. } => fields.iter().for_each(|f| used(&f.target.target, names)),
        Type::Union { members, .. } => members.iter().for_each(|m| used(&m.target, names)),
        Type::Any | Type::Scalar(_) | Type::Enum(_) => {}
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
}

impl Parser {
    fn definition(&mut self, name: &str) -> Result<Type, SchemaError> {
        if self.mark('=') {
            return Ok(Type::Copy(self.word("the name of a type")?));
        }
        if matches!(self.peek(), Some(Token::Mark(_))) {
            return self.in_place_with_representation(name);
        }
        match self.word("a kind of type")?.as_str() {
            "struct" => self.structure(name),
            "union" => {
                let members = self.members()?;
                union(name, members, self.representation("map")?)
            }
            "enum" => {
                let members = self.enum_members()?;
                enumeration(name, members, self.representation("string")?)
            }
            word => match scalar(word) {
                Some(kind) => {
                    self.plain_representation(name)?;
                    Ok(kind)
                }
                None => Err(self.unexpected_before("a kind of type")),
            },
        }
    }

    /// A list, map or link; maps may lie as pairs.
    fn in_place_with_representation(&mut self, name: &str) -> Result<Type, SchemaError> {
        let mut body = self.in_place(0)?;
        if self.is_word("representation") {
            let settings = self.representation("map")?;
            match (&mut body, settings.name.as_str()) {
                (Type::Map { list_pairs, .. }, "listpairs") => *list_pairs = true,
                (Type::Map { .. }, "map") | (Type::List(_), "list") => {}
                _ => return Err(wrong(name, &settings.name)),
            }
        }
        Ok(body)
    }

    fn plain_representation(&mut self, name: &str) -> Result<(), SchemaError> {
        if self.is_word("representation") {
            let settings = self.representation("")?;
            return Err(wrong(name, &settings.name));
        }
        Ok(())
    }

    /// A type where it is used: a name, or a list, map or link written in place.
    fn in_place(&mut self, depth: usize) -> Result<Type, SchemaError> {
        if depth > MAX_NESTING {
            return Err(SchemaError::TooLarge("32 types within each other"));
        }
        if self.mark('&') {
            return Ok(Type::Link(self.word("the name of a type")?));
        }
        if self.mark('[') {
            let value = self.reference(depth)?;
            self.expect(']', "']'")?;
            return Ok(Type::List(Box::new(value)));
        }
        if self.mark('{') {
            let key = self.word("the type of keys")?;
            self.expect(':', "':'")?;
            let value = self.reference(depth)?;
            self.expect('}', "'}'")?;
            return Ok(Type::Map {
                key,
                value: Box::new(value),
                list_pairs: false,
            });
        }
        Ok(Type::Copy(self.word("a type")?))
    }

    fn reference(&mut self, depth: usize) -> Result<TypeRef, SchemaError> {
        let nullable = self.is_word("nullable");
        if nullable {
            self.at += 1;
        }
        let target = self.in_place(depth + 1)?;
        Ok(TypeRef { target, nullable })
    }

    fn structure(&mut self, name: &str) -> Result<Type, SchemaError> {
        self.expect('{', "'{'")?;
        let mut fields: Vec<Field> = Vec::new();
        while !self.mark('}') {
            let field = self.field()?;
            if fields
                .iter()
                .any(|f| f.name == field.name || f.key == field.key)
            {
                return Err(SchemaError::Ambiguous {
                    name: name.to_owned(),
                    member: field.name,
                });
            }
            fields.push(field);
        }
        let settings = self.representation("map")?;
        let representation = match settings.name.as_str() {
            "map" => StructRepresentation::Map,
            "tuple" => StructRepresentation::Tuple,
            "listpairs" => StructRepresentation::ListPairs,
            "stringjoin" => StructRepresentation::StringJoin(settings.get("join")?),
            "stringpairs" => StructRepresentation::StringPairs(
                settings.get("innerDelim")?,
                settings.get("entryDelim")?,
            ),
            other => return Err(wrong(name, other)),
        };
        Ok(Type::Struct {
            fields,
            representation,
        })
    }

    fn field(&mut self) -> Result<Field, SchemaError> {
        let name = self.word("the name of a field")?;
        let optional = self.is_word("optional");
        if optional {
            self.at += 1;
        }
        let target = self.reference(0)?;
        let mut field = Field {
            key: name.clone(),
            name,
            target,
            optional,
            implicit: None,
        };
        if self.mark('(') {
            while !self.mark(')') {
                match self.word("rename or implicit")?.as_str() {
                    "rename" => field.key = self.text("the name in data")?,
                    "implicit" => field.implicit = Some(self.literal()?),
                    _ => return Err(self.unexpected_before("rename or implicit")),
                }
            }
        }
        Ok(field)
    }

    fn literal(&mut self) -> Result<Ipld, SchemaError> {
        if let Some(Token::Text(text)) = self.peek() {
            let text = text.clone();
            self.at += 1;
            return Ok(Ipld::String(text));
        }
        let word = self.word("a text, a number or a truth value")?;
        match word.as_str() {
            "true" => Ok(Ipld::Bool(true)),
            "false" => Ok(Ipld::Bool(false)),
            number => match number.parse::<i64>() {
                Ok(number) => Ok(Ipld::Integer(i128::from(number))),
                Err(_) => Err(self.unexpected_before("a text, a number or a truth value")),
            },
        }
    }

    /// `| Type "discriminant"` or, for kinded unions, `| Type kind`.
    fn members(&mut self) -> Result<Vec<Member>, SchemaError> {
        self.expect('{', "'{'")?;
        let mut members = Vec::new();
        while !self.mark('}') {
            self.expect('|', "'|'")?;
            let target = self.in_place(0)?;
            let discriminant = match self.peek() {
                Some(Token::Text(_)) => self.text("what tells the member apart")?,
                _ => self.word("what tells the member apart")?,
            };
            members.push(Member {
                discriminant,
                target,
            });
        }
        Ok(members)
    }

    /// `| Name` or `| Name ("value")`.
    fn enum_members(&mut self) -> Result<Vec<(String, String)>, SchemaError> {
        self.expect('{', "'{'")?;
        let mut members = Vec::new();
        while !self.mark('}') {
            self.expect('|', "'|'")?;
            let name = match self.peek() {
                Some(Token::Text(_)) => self.text("the name of a member")?,
                _ => self.word("the name of a member")?,
            };
            let mut value = name.clone();
            if self.mark('(') {
                value = self.text("the value of the member")?;
                self.expect(')', "')'")?;
            }
            members.push((name, value));
        }
        Ok(members)
    }

    /// `representation NAME` with settings in braces, or the usual one.
    fn representation(&mut self, usual: &str) -> Result<Settings, SchemaError> {
        if !self.is_word("representation") {
            return Ok(Settings::new(usual));
        }
        self.at += 1;
        let mut settings = Settings::new(&self.word("a representation")?);
        if self.mark('{') {
            while !self.mark('}') {
                let key = self.word("the name of a setting")?;
                let value = self.text("the value of a setting")?;
                settings.values.insert(key, value);
            }
        }
        Ok(settings)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn is_word(&self, wanted: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(word)) if word == wanted)
    }

    /// Takes a mark if it is next.
    fn mark(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(&Token::Mark(wanted));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), SchemaError> {
        if self.mark(wanted) {
            return Ok(());
        }
        self.at += 1;
        Err(self.unexpected_before(expected))
    }

    fn keyword(&mut self, wanted: &'static str) -> Result<(), SchemaError> {
        self.at += 1;
        match self.tokens.get(self.at - 1) {
            Some((_, Token::Word(word))) if word == wanted => Ok(()),
            _ => Err(self.unexpected_before(wanted)),
        }
    }

    fn word(&mut self, expected: &'static str) -> Result<String, SchemaError> {
        self.at += 1;
        match self.tokens.get(self.at - 1) {
            Some((_, Token::Word(word))) => Ok(word.clone()),
            _ => Err(self.unexpected_before(expected)),
        }
    }

    fn text(&mut self, expected: &'static str) -> Result<String, SchemaError> {
        self.at += 1;
        match self.tokens.get(self.at - 1) {
            Some((_, Token::Text(text))) => Ok(text.clone()),
            _ => Err(self.unexpected_before(expected)),
        }
    }

    /// The error for the token that was taken last.
    fn unexpected_before(&self, expected: &'static str) -> SchemaError {
        match self.tokens.get(self.at.saturating_sub(1)) {
            Some((line, token)) => SchemaError::Unexpected {
                line: *line,
                expected,
                found: match token {
                    Token::Word(word) | Token::Text(word) => word.chars().take(64).collect(),
                    Token::Mark(mark) => mark.to_string(),
                },
            },
            None => SchemaError::Truncated(expected),
        }
    }
}

fn wrong(name: &str, representation: &str) -> SchemaError {
    SchemaError::Representation {
        name: name.to_owned(),
        representation: representation.to_owned(),
    }
}

pub(super) fn scalar(word: &str) -> Option<Type> {
    Some(match word {
        "any" => Type::Any,
        "bool" => Type::Scalar(Kind::Bool),
        "int" => Type::Scalar(Kind::Int),
        "float" => Type::Scalar(Kind::Float),
        "string" => Type::Scalar(Kind::Text),
        "bytes" => Type::Scalar(Kind::Bytes),
        "null" | "unit" => Type::Scalar(Kind::Null),
        _ => return None,
    })
}
