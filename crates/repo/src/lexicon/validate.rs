//! Validation of a value against a compiled schema. Allocates only to report a fault.

use super::arena::{Arena, Node, NodeId, ObjectNode, Slot, UnionNode};
use super::blob;
use super::data::{Data, Entries, View};
use super::error::{Measure, Problem, Segment, TYPED, ValidationError, quote};
use super::format;
use super::rules::{BooleanRule, IntegerRule, LengthRule, StringRule};
use super::text::{check_lengths, too_big, too_small};

/// How strict validation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// For what is written here: as the official server checks new records.
    #[default]
    Strict,
    /// For what others wrote and is only read: old blob references `{cid, mimeType}` pass, size and MIME
    /// type of blobs are not looked at, datetimes and languages need the right shape only, integers may
    /// use 64 bits in place of 53.
    Lenient,
}

/// Deepest nesting of a value that is followed.
pub(super) const MAX_DEPTH: usize = 128;
/// Largest integer that every JSON implementation keeps exactly.
const MAX_SAFE: i64 = (1 << 53) - 1;

pub(super) type Checked = Result<(), Box<ValidationError>>;

/// Checks a value against the root of an arena.
pub(super) fn validate<D: Data>(arena: &Arena, value: &D, strictness: Strictness) -> Checked {
    Validator {
        arena,
        strict: strictness == Strictness::Strict,
    }
    .check(Arena::ROOT, value, 0)
}

struct Validator<'a> {
    arena: &'a Arena,
    strict: bool,
}

impl Validator<'_> {
    fn check<D: Data>(&self, id: NodeId, value: &D, depth: usize) -> Checked {
        if depth > MAX_DEPTH {
            return fail(Problem::TooDeep { maximum: MAX_DEPTH });
        }
        let view = value.view();
        match (self.arena.node(id), view) {
            (Node::String(rule), View::Text(text)) => self.string(rule, text),
            (Node::Object(object), View::Map(map)) => self.object::<D>(object, map, depth),
            (Node::Array(items, length), View::List(list)) => {
                check_length(*length, Measure::Array, list.len())?;
                for (index, item) in list.iter().enumerate() {
                    self.check(*items, item, depth + 1)
                        .map_err(|e| e.within(Segment::Index(index)))?;
                }
                Ok(())
            }
            (Node::Union(union), View::Map(map)) => self.union(union, value, map, depth),
            (Node::Integer(rule), View::Integer(number)) => self.integer(rule, number),
            (Node::Boolean(rule), View::Boolean(flag)) => boolean(rule, flag),
            (Node::Bytes(length), View::Bytes(count)) => {
                check_length(*length, Measure::Bytes, count)
            }
            (Node::Link, View::Link) | (Node::Null, View::Null) => Ok(()),
            (Node::Blob(rule), View::Map(map)) => blob::check::<D>(rule, map, self.strict),
            (Node::Unknown, View::Map(map)) if !blob::says_blob(map) => Ok(()),
            (Node::Token(name), View::Text(text)) if **name == *text => Ok(()),
            (Node::Token(name), View::Text(text)) => fail(Problem::NotAllowed {
                allowed: vec![quote(name)],
                found: quote(text),
            }),
            (Node::Alias(target), _) => self.check(*target, value, depth + 1),
            (Node::Unresolved(name), _) => fail(Problem::Unresolved {
                reference: name.to_string(),
            }),
            (node, view) => fail(unexpected(expected(node), &view)),
        }
    }

    fn string(&self, rule: &StringRule, text: &str) -> Checked {
        if let Some(constant) = &rule.constant {
            if constant != text {
                return fail(Problem::NotAllowed {
                    allowed: vec![quote(constant)],
                    found: super::error::preview(text),
                });
            }
        } else if let Some(allowed) = &rule.allowed
            && !allowed.iter().any(|value| value == text)
        {
            return fail(Problem::NotAllowed {
                allowed: allowed.iter().map(|value| quote(value)).collect(),
                found: super::error::preview(text),
            });
        }
        check_lengths(rule, text).or_else(fail)?;
        match rule.format {
            Some(wanted) if !format::matches(wanted, text, self.strict) => fail(Problem::Format {
                format: wanted,
                found: super::error::preview(text),
            }),
            _ => Ok(()),
        }
    }

    fn integer(&self, rule: &IntegerRule, number: i64) -> Checked {
        if self.strict && !(-MAX_SAFE..=MAX_SAFE).contains(&number) {
            return fail(Problem::Type {
                expected: "integer".into(),
                found: number.to_string(),
            });
        }
        if let Some(constant) = rule.constant {
            if constant != number {
                return fail(Problem::NotAllowed {
                    allowed: vec![constant.to_string()],
                    found: number.to_string(),
                });
            }
        } else if let Some(allowed) = &rule.allowed
            && !allowed.contains(&number)
        {
            return fail(Problem::NotAllowed {
                allowed: allowed.iter().map(i64::to_string).collect(),
                found: number.to_string(),
            });
        }
        if let Some(minimum) = rule.minimum.filter(|min| number < *min) {
            return fail(Problem::TooSmall {
                measure: Measure::Integer,
                minimum,
                found: number,
            });
        }
        match rule.maximum.filter(|max| number > *max) {
            Some(maximum) => fail(Problem::TooBig {
                measure: Measure::Integer,
                maximum,
                found: number,
            }),
            None => Ok(()),
        }
    }

    fn object<D: Data>(&self, object: &ObjectNode, map: &D::Map, depth: usize) -> Checked {
        if let Some(name) = &object.name {
            check_type(name, object.typed, map)?;
        }
        let slots = self.arena.slots(object);
        let mut required = 0;
        // Along the value, not along the schema: a schema has many more properties than most values.
        for (key, value) in map.entries() {
            let Some(slot) = find(slots, key) else {
                continue;
            };
            required += usize::from(slot.required);
            if slot.nullable && matches!(value.view(), View::Null) {
                continue;
            }
            self.check(slot.node, value, depth + 1)
                .map_err(|e| e.within(Segment::Key(key.to_owned())))?;
        }
        if required < object.required {
            let missing = slots
                .iter()
                .find(|slot| slot.required && map.get(&slot.name).is_none());
            if let Some(slot) = missing {
                return fail(Problem::MissingKey {
                    key: slot.name.to_string(),
                });
            }
        }
        Ok(())
    }

    fn union<D: Data>(&self, union: &UnionNode, value: &D, map: &D::Map, depth: usize) -> Checked {
        let Some(tag) = map.get("$type") else {
            return fail(unexpected(TYPED, &View::<D>::Map(map)));
        };
        let View::Text(name) = tag.view() else {
            let problem = unexpected("string", &tag.view());
            return fail(problem).map_err(|e| e.within(Segment::Key("$type".into())));
        };
        let variants = self.arena.variants(union);
        let position = variants.binary_search_by(|variant| (*variant.name).cmp(name));
        match position.ok().and_then(|position| variants.get(position)) {
            Some(variant) => match self.arena.node(variant.node) {
                // An open union says what is known today; a document that is not here is not known.
                Node::Unresolved(_) if !union.closed => Ok(()),
                _ => self.check(variant.node, value, depth + 1),
            },
            None if union.closed => fail(Problem::NotAllowed {
                allowed: variants.iter().map(|v| quote(&v.name)).collect(),
                found: quote(name),
            })
            .map_err(|e| e.within(Segment::Key("$type".into()))),
            None => Ok(()),
        }
    }
}

/// The property of that name.
fn find<'a>(slots: &'a [Slot], key: &str) -> Option<&'a Slot> {
    /// Up to here, comparing lengths one by one beats comparing texts by halves.
    const FEW: usize = 24;
    if slots.len() <= FEW {
        return slots.iter().find(|slot| *slot.name == *key);
    }
    let position = slots.binary_search_by(|slot| (*slot.name).cmp(key)).ok()?;
    slots.get(position)
}

fn check_type<D: Data>(name: &str, typed: bool, map: &impl Entries<D>) -> Checked {
    let found = match map.get("$type").map(Data::view) {
        None if !typed => return Ok(()),
        None => "undefined".to_owned(),
        Some(View::Text(found)) if found == name => return Ok(()),
        Some(other) => other.describe(),
    };
    fail(Problem::NotAllowed {
        allowed: vec![quote(name)],
        found,
    })
    .map_err(|e| e.within(Segment::Key("$type".into())))
}

fn boolean(rule: &BooleanRule, flag: bool) -> Checked {
    match rule.constant {
        Some(constant) if constant != flag => fail(Problem::NotAllowed {
            allowed: vec![constant.to_string()],
            found: flag.to_string(),
        }),
        _ => Ok(()),
    }
}

fn check_length(rule: LengthRule, measure: Measure, length: usize) -> Checked {
    let length = length as u64;
    if let Some(min) = rule.min.filter(|min| length < *min) {
        return fail(too_small(measure, min, length));
    }
    match rule.max.filter(|max| length > *max) {
        Some(max) => fail(too_big(measure, max, length)),
        None => Ok(()),
    }
}

fn expected(node: &Node) -> &'static str {
    match node {
        Node::Null => "null",
        Node::Boolean(_) => "boolean",
        Node::Integer(_) => "integer",
        Node::String(_) => "string",
        Node::Bytes(_) => "bytes",
        Node::Link => "cid",
        Node::Blob(_) => "blob",
        Node::Array(..) => "array",
        Node::Token(_) => "token",
        Node::Union(_) => TYPED,
        Node::Object(_) | Node::Unknown | Node::Alias(_) | Node::Unresolved(_) => "object",
    }
}

pub(super) fn unexpected<D: Data>(expected: &'static str, found: &View<'_, D>) -> Problem {
    Problem::Type {
        expected: expected.into(),
        found: found.describe(),
    }
}

#[cold]
pub(super) fn fail(problem: Problem) -> Checked {
    Err(ValidationError::new(problem))
}
