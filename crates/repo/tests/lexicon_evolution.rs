//! What may change in a document under one NSID, and what may not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use ues_repo::lexicon::{ChangeKind, Document, Lexicons, RegisterError, compare};

/// The kinds and paths of the breaking changes between two main definitions.
fn changes(old: Value, new: Value) -> Vec<(ChangeKind, String)> {
    let parse = |main: Value| {
        let document = json!({"lexicon": 1, "id": "com.example.thing", "defs": {"main": main}});
        Document::parse(&document).unwrap()
    };
    compare(&parse(old), &parse(new))
        .into_iter()
        .map(|change| (change.kind, change.path))
        .collect()
}

/// As [`changes`], between two versions of one property of a record; only the kinds.
fn in_record(old: Value, new: Value) -> Vec<ChangeKind> {
    let record = |schema| {
        json!({"type": "record", "key": "tid",
            "record": {"type": "object", "properties": {"a": schema}}})
    };
    kinds(changes(record(old), record(new)))
}

fn in_input(old: Value, new: Value) -> Vec<ChangeKind> {
    in_procedure("input", old, new)
}

fn in_output(old: Value, new: Value) -> Vec<ChangeKind> {
    in_procedure("output", old, new)
}

fn in_procedure(side: &str, old: Value, new: Value) -> Vec<ChangeKind> {
    let procedure = |schema: Value| {
        json!({"type": "procedure", side: {"encoding": "application/json",
            "schema": {"type": "object", "properties": {"a": schema}}}})
    };
    kinds(changes(procedure(old), procedure(new)))
}

fn kinds(changes: Vec<(ChangeKind, String)>) -> Vec<ChangeKind> {
    changes.into_iter().map(|(kind, _)| kind).collect()
}

fn object(required: &[&str], nullable: &[&str], names: &[&str]) -> Value {
    let properties: Value = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"type": "integer"})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({"type": "object", "required": required, "nullable": nullable, "properties": properties})
}

const TIGHTENED: ChangeKind = ChangeKind::Tightened;
const LOOSENED: ChangeKind = ChangeKind::Loosened;

#[test]
fn fields() {
    let record = |object| json!({"type": "record", "key": "tid", "record": object});
    let go = |old, new| kinds(changes(record(old), record(new)));
    let base = || object(&["a"], &[], &["a", "b"]);
    assert_eq!(go(base(), base()), []);
    assert_eq!(go(base(), object(&["a"], &[], &["a", "b", "c"])), []);
    assert_eq!(
        go(base(), object(&["a", "c"], &[], &["a", "b", "c"])),
        [ChangeKind::NewRequired]
    );
    assert_eq!(
        go(base(), object(&["a"], &[], &["a"])),
        [ChangeKind::Removed]
    );
    assert_eq!(
        go(base(), object(&["a", "b"], &[], &["a", "b"])),
        [TIGHTENED]
    );
    assert_eq!(go(base(), object(&[], &[], &["a", "b"])), [LOOSENED]);
    assert_eq!(go(base(), object(&["a"], &["b"], &["a", "b"])), [LOOSENED]);
    assert_eq!(go(object(&["a"], &["b"], &["a", "b"]), base()), [TIGHTENED]);
}

/// Pairs of a narrower and a wider schema.
fn pairs() -> Vec<(Value, Value)> {
    let string = || json!({"type": "string"});
    vec![
        (
            json!({"type": "string", "maxLength": 5}),
            json!({"type": "string", "maxLength": 6}),
        ),
        (json!({"type": "string", "maxLength": 5}), string()),
        (
            json!({"type": "string", "minLength": 2}),
            json!({"type": "string", "minLength": 1}),
        ),
        (json!({"type": "string", "minLength": 2}), string()),
        (json!({"type": "string", "maxGraphemes": 5}), string()),
        (json!({"type": "string", "minGraphemes": 5}), string()),
        (
            json!({"type": "string", "enum": ["x"]}),
            json!({"type": "string", "enum": ["x", "y"]}),
        ),
        (json!({"type": "string", "enum": ["x"]}), string()),
        (json!({"type": "string", "const": "x"}), string()),
        (json!({"type": "string", "format": "did"}), string()),
        (
            json!({"type": "string", "format": "did"}),
            json!({"type": "string", "format": "at-identifier"}),
        ),
        (
            json!({"type": "integer", "maximum": 5}),
            json!({"type": "integer", "maximum": 6}),
        ),
        (
            json!({"type": "integer", "minimum": 5}),
            json!({"type": "integer", "minimum": 4}),
        ),
        (
            json!({"type": "integer", "enum": [1]}),
            json!({"type": "integer"}),
        ),
        (
            json!({"type": "boolean", "const": true}),
            json!({"type": "boolean"}),
        ),
        (
            json!({"type": "bytes", "maxLength": 5}),
            json!({"type": "bytes"}),
        ),
        (
            json!({"type": "blob", "accept": ["image/png"]}),
            json!({"type": "blob", "accept": ["image/*"]}),
        ),
        (
            json!({"type": "blob", "accept": ["image/*"]}),
            json!({"type": "blob"}),
        ),
        (
            json!({"type": "blob", "maxSize": 5}),
            json!({"type": "blob"}),
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "maxLength": 2}),
            json!({"type": "array", "items": {"type": "integer"}}),
        ),
        (
            json!({"type": "array", "items": {"type": "integer", "minimum": 0}}),
            json!({"type": "array", "items": {"type": "integer"}}),
        ),
        (
            json!({"type": "union", "closed": true, "refs": ["#x"]}),
            json!({"type": "union", "closed": true, "refs": ["#x", "#y"]}),
        ),
        (
            json!({"type": "union", "closed": true, "refs": ["#x"]}),
            json!({"type": "union", "refs": ["#x"]}),
        ),
    ]
}

#[test]
fn limits_by_direction() {
    for (narrow, wide) in pairs() {
        let to_narrow = || (wide.clone(), narrow.clone());
        let to_wide = || (narrow.clone(), wide.clone());
        let go = |f: fn(Value, Value) -> Vec<ChangeKind>, (old, new)| f(old, new);
        let name = format!("{narrow} and {wide}");
        assert_eq!(go(in_record, to_narrow()), [TIGHTENED], "{name}");
        assert_eq!(go(in_record, to_wide()), [LOOSENED], "{name}");
        assert_eq!(go(in_input, to_narrow()), [TIGHTENED], "{name}");
        assert_eq!(go(in_input, to_wide()), [], "{name}");
        assert_eq!(go(in_output, to_narrow()), [], "{name}");
        assert_eq!(go(in_output, to_wide()), [LOOSENED], "{name}");
        assert_eq!(in_record(wide.clone(), wide.clone()), [], "{name}");
    }
}

#[test]
fn types_and_references_never_change() {
    let types = [
        json!({"type": "integer"}),
        json!({"type": "string"}),
        json!({"type": "unknown"}),
        json!({"type": "bytes"}),
        json!({"type": "ref", "ref": "#x"}),
        json!({"type": "ref", "ref": "#y"}),
        json!({"type": "array", "items": {"type": "integer"}}),
    ];
    for (i, old) in types.iter().enumerate() {
        for (j, new) in types.iter().enumerate() {
            let expected: &[ChangeKind] = if i == j { &[] } else { &[ChangeKind::Type] };
            assert_eq!(
                in_record(old.clone(), new.clone()),
                expected,
                "{old} to {new}"
            );
        }
    }
}

#[test]
fn what_is_free() {
    let free = [
        (
            json!({"type": "string", "knownValues": ["a"]}),
            json!({"type": "string", "knownValues": ["b"]}),
        ),
        (
            json!({"type": "integer", "default": 1}),
            json!({"type": "integer", "default": 2}),
        ),
        (
            json!({"type": "integer", "description": "old"}),
            json!({"type": "integer"}),
        ),
        (
            json!({"type": "union", "refs": ["#x"]}),
            json!({"type": "union", "refs": ["#x", "#y"]}),
        ),
    ];
    for (old, new) in free {
        assert_eq!(in_record(old.clone(), new.clone()), [], "{old} to {new}");
        assert_eq!(in_record(new.clone(), old.clone()), [], "{new} to {old}");
    }
}

#[test]
fn methods() {
    let query = |parameters: Value| json!({"type": "query", "parameters": parameters});
    let params = |required: &[&str], names: &[&str]| {
        let mut params = object(required, &[], names);
        params["type"] = "params".into();
        query(params)
    };
    assert_eq!(changes(params(&[], &["a"]), params(&[], &["a", "b"])), []);
    assert_eq!(
        kinds(changes(params(&[], &["a"]), params(&["a"], &["a"]))),
        [TIGHTENED]
    );
    assert_eq!(changes(params(&["a"], &["a"]), params(&[], &["a"])), []);
    assert_eq!(
        changes(params(&[], &["a"]), params(&[], &[])),
        [(
            ChangeKind::Removed,
            "$.defs.main.parameters.properties.a".to_owned()
        )]
    );
    let kind = |kind: &str| json!({"type": kind});
    assert_eq!(
        kinds(changes(kind("query"), kind("procedure"))),
        [ChangeKind::Type]
    );
    let body =
        |side: &str, encoding: &str| json!({"type": "procedure", side: {"encoding": encoding}});
    for side in ["input", "output"] {
        assert_eq!(
            kinds(changes(body(side, "image/png"), body(side, "image/gif"))),
            [ChangeKind::Encoding]
        );
        assert_eq!(
            kinds(changes(body(side, "a/b"), kind("procedure"))),
            [ChangeKind::Removed]
        );
    }
    assert_eq!(
        kinds(changes(kind("procedure"), body("input", "a/b"))),
        [TIGHTENED]
    );
    assert_eq!(changes(kind("procedure"), body("output", "a/b")), []);
    let stream = |refs: &[&str]| {
        json!({"type": "subscription", "message": {"schema":
            {"type": "union", "closed": true, "refs": refs}}})
    };
    assert_eq!(
        kinds(changes(stream(&["#a"]), stream(&["#a", "#b"]))),
        [LOOSENED]
    );
    assert_eq!(changes(stream(&["#a", "#b"]), stream(&["#a"])), []);
}

#[test]
fn definitions() {
    let document = |id: &str, defs: Value| {
        Document::parse(&json!({"lexicon": 1, "id": id, "defs": defs})).unwrap()
    };
    let both = document(
        "com.example.defs",
        json!({"a": {"type": "token"}, "b": {"type": "token"}}),
    );
    let one = document("com.example.defs", json!({"a": {"type": "token"}}));
    assert_eq!(compare(&one, &both), []);
    let found = compare(&both, &one);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        format!("$.defs.b: {}", found[0].explanation)
    );
    let other = document("com.example.other", json!({"a": {"type": "token"}}));
    assert_eq!(compare(&one, &other)[0].kind, ChangeKind::Renamed);
    let record = |key: &str| {
        document(
            "com.example.defs",
            json!({"main": {"type": "record", "key": key, "record": {"type": "object"}}}),
        )
    };
    assert_eq!(
        compare(&record("any"), &record("tid"))[0].kind,
        ChangeKind::RecordKey
    );
}

#[test]
fn registration_refuses_a_breaking_change() {
    let lexicons = Lexicons::empty();
    let document = |max: u64| {
        json!({"lexicon": 1, "id": "com.example.note", "defs": {"main": {"type": "record", "key": "tid",
            "record": {"type": "object", "properties": {"text": {"type": "string", "maxLength": max}}}}}})
    };
    assert!(!lexicons.register(&document(10)).unwrap().replaced);
    assert!(lexicons.register(&document(10)).unwrap().replaced);
    let Err(RegisterError::Breaking { changes, .. }) = lexicons.register(&document(9)) else {
        panic!("a tighter limit was taken");
    };
    assert_eq!(
        changes[0].path,
        "$.defs.main.record.properties.text.maxLength"
    );
    assert_eq!(
        changes[0].explanation,
        "maxLength was 10 and would be 9: records that exist would not be valid any more"
    );
}

#[test]
fn official_documents_do_not_break_themselves() {
    let lexicons = Lexicons::official();
    for id in lexicons.documents() {
        let document = lexicons.document(&id).unwrap();
        assert_eq!(compare(&document, &document), [], "{id}");
    }
}
