//! Compiled schemas: flat arrays of nodes in which every reference is an index.
//!
//! An arena holds one thing that is validated (a record, a body, the parameters of a method) with all
//! that it refers to, in whatever document that stands, so validation never looks up a name.

use std::collections::HashMap;
use std::sync::Arc;

use super::rules::{
    BlobRule, BooleanRule, Definition, Document, IntegerRule, LengthRule, ObjectRule, Schema,
    StringRule, UnionRule,
};

/// Index of a node.
pub(super) type NodeId = u32;

/// What a value must be.
pub(super) enum Node {
    Null,
    Boolean(BooleanRule),
    Integer(Box<IntegerRule>),
    String(Box<StringRule>),
    Bytes(LengthRule),
    Link,
    Blob(Box<BlobRule>),
    Array(NodeId, LengthRule),
    Object(ObjectNode),
    Token(Box<str>),
    Union(UnionNode),
    Unknown,
    /// The same as another node.
    Alias(NodeId),
    /// A reference whose target is not registered.
    Unresolved(Box<str>),
}

/// An object; its properties stand together in the arena, in the order of their names.
pub(super) struct ObjectNode {
    /// The `$type` of a named definition.
    pub(super) name: Option<Box<str>>,
    /// Whether `$type` must be present.
    pub(super) typed: bool,
    /// How many properties are required.
    pub(super) required: usize,
    first: usize,
    end: usize,
}

/// A union; its variants stand together in the arena, in the order of their names.
pub(super) struct UnionNode {
    pub(super) closed: bool,
    first: usize,
    end: usize,
}

/// A property of an object.
pub(super) struct Slot {
    pub(super) name: Box<str>,
    pub(super) node: NodeId,
    pub(super) required: bool,
    pub(super) nullable: bool,
}

/// A variant of a union.
pub(super) struct Variant {
    pub(super) name: Box<str>,
    pub(super) node: NodeId,
}

/// A compiled schema. Its first node is the root.
pub(super) struct Arena {
    nodes: Box<[Node]>,
    slots: Box<[Slot]>,
    variants: Box<[Variant]>,
}

impl Arena {
    /// Index of the root.
    pub(super) const ROOT: NodeId = 0;

    pub(super) fn node(&self, id: NodeId) -> &Node {
        // Every index was made by the compiler of the same arena.
        self.nodes.get(id as usize).unwrap_or(&Node::Unknown)
    }

    pub(super) fn slots(&self, object: &ObjectNode) -> &[Slot] {
        self.slots.get(object.first..object.end).unwrap_or_default()
    }

    pub(super) fn variants(&self, union: &UnionNode) -> &[Variant] {
        self.variants
            .get(union.first..union.end)
            .unwrap_or_default()
    }
}

/// What an arena is made from.
pub(super) enum Root<'a> {
    /// A record type of that NSID.
    Record(&'a str, &'a ObjectRule),
    /// An object without a name of its own.
    Object(&'a ObjectRule),
    /// Any other type.
    Schema(&'a Schema),
    /// The messages of a subscription.
    Union(&'a UnionRule),
}

/// Finds documents by NSID.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<Arc<Document>>;

/// Compiles a schema with all that it refers to.
pub(super) fn compile(root: Root<'_>, lookup: Lookup<'_>) -> Arena {
    let mut compiler = Compiler {
        nodes: vec![Node::Unknown],
        slots: Vec::new(),
        variants: Vec::new(),
        known: HashMap::new(),
        queue: Vec::new(),
    };
    let node = match root {
        Root::Record(id, rule) => {
            compiler.known.insert(id.to_owned(), Arena::ROOT);
            compiler.object(rule, Some(id), true)
        }
        Root::Object(rule) => compiler.object(rule, None, false),
        Root::Union(rule) => compiler.union(rule),
        Root::Schema(schema) => compiler.schema(schema),
    };
    compiler.place(Arena::ROOT, node);
    // A queue in place of recursion: chains of references may be longer than a stack is deep.
    while let Some((id, name)) = compiler.queue.pop() {
        let node = compiler.definition(&name, lookup);
        compiler.place(id, node);
    }
    Arena {
        nodes: compiler.nodes.into(),
        slots: compiler.slots.into(),
        variants: compiler.variants.into(),
    }
}

struct Compiler {
    nodes: Vec<Node>,
    slots: Vec<Slot>,
    variants: Vec<Variant>,
    known: HashMap<String, NodeId>,
    queue: Vec<(NodeId, String)>,
}

impl Compiler {
    fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId::try_from(self.nodes.len()).unwrap_or(NodeId::MAX);
        self.nodes.push(node);
        id
    }

    fn place(&mut self, id: NodeId, node: Node) {
        if let Some(slot) = self.nodes.get_mut(id as usize) {
            *slot = node;
        }
    }

    fn child(&mut self, schema: &Schema) -> NodeId {
        if let Schema::Ref(name) = schema {
            return self.reference(name);
        }
        let node = self.schema(schema);
        self.push(node)
    }

    fn reference(&mut self, name: &str) -> NodeId {
        if let Some(id) = self.known.get(name) {
            return *id;
        }
        let id = self.push(Node::Unknown);
        self.known.insert(name.to_owned(), id);
        self.queue.push((id, name.to_owned()));
        id
    }

    fn definition(&mut self, name: &str, lookup: Lookup<'_>) -> Node {
        let (nsid, local) = name
            .split_once('#')
            .unwrap_or((name, super::document::MAIN));
        let document = lookup(nsid);
        match document.as_ref().and_then(|doc| doc.defs.get(local)) {
            Some(Definition::Record(record)) => self.object(&record.record, Some(name), true),
            Some(Definition::Schema(Schema::Object(rule))) => self.object(rule, Some(name), false),
            Some(Definition::Schema(Schema::Token)) => Node::Token(name.into()),
            Some(Definition::Schema(schema)) => self.schema(schema),
            Some(Definition::Method(_) | Definition::PermissionSet(_)) | None => {
                Node::Unresolved(name.into())
            }
        }
    }

    fn schema(&mut self, schema: &Schema) -> Node {
        match schema {
            Schema::Null => Node::Null,
            Schema::Boolean(rule) => Node::Boolean(rule.clone()),
            Schema::Integer(rule) => Node::Integer(Box::new(rule.clone())),
            Schema::String(rule) => Node::String(Box::new(rule.clone())),
            Schema::Bytes(rule) => Node::Bytes(*rule),
            Schema::CidLink => Node::Link,
            Schema::Blob(rule) => Node::Blob(Box::new(rule.clone())),
            Schema::Array(items, length) => Node::Array(self.child(items), *length),
            Schema::Object(rule) => self.object(rule, None, false),
            Schema::Union(rule) => self.union(rule),
            Schema::Unknown => Node::Unknown,
            // Only the body of a method can be a bare reference; elsewhere the target's index is used.
            Schema::Ref(name) => Node::Alias(self.reference(name)),
            Schema::Token => Node::Unresolved("a token without a name".into()),
        }
    }

    fn object(&mut self, rule: &ObjectRule, name: Option<&str>, typed: bool) -> Node {
        let slots: Vec<Slot> = rule
            .properties
            .iter()
            .map(|(name, property)| Slot {
                name: name.as_str().into(),
                node: self.child(&property.schema),
                required: property.required,
                nullable: property.nullable,
            })
            .collect();
        let first = self.slots.len();
        let required = slots.iter().filter(|slot| slot.required).count();
        self.slots.extend(slots);
        Node::Object(ObjectNode {
            name: name.map(Into::into),
            typed,
            required,
            first,
            end: self.slots.len(),
        })
    }

    fn union(&mut self, rule: &UnionRule) -> Node {
        let mut variants: Vec<Variant> = rule
            .refs
            .iter()
            .map(|name| Variant {
                name: name.as_str().into(),
                node: self.reference(name),
            })
            .collect();
        variants.sort_by(|a, b| a.name.cmp(&b.name));
        let first = self.variants.len();
        self.variants.extend(variants);
        Node::Union(UnionNode {
            closed: rule.closed,
            first,
            end: self.variants.len(),
        })
    }
}
