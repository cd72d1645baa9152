//! Hostile documents and values: an answer, never a panic, and no more depth than the stack has.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};
use ues_data::Ipld;
use ues_repo::lexicon::{Document, LexiconError, Lexicons, Strictness, blobs_in, compare};

/// Names that mean something to the language, and some that do not.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "type",
            "lexicon",
            "id",
            "defs",
            "main",
            "record",
            "key",
            "properties",
            "required",
            "nullable",
            "items",
            "refs",
            "ref",
            "closed",
            "parameters",
            "input",
            "output",
            "message",
            "schema",
            "encoding",
            "errors",
            "enum",
            "const",
            "default",
            "format",
            "minLength",
            "maxLength",
            "maxGraphemes",
            "accept",
            "maxSize",
            "permissions",
            "ues",
            "indexes",
            "a",
            "$type",
        ])
        .prop_map(str::to_owned),
        "[a-z#.]{0,6}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "object",
            "string",
            "integer",
            "array",
            "ref",
            "union",
            "record",
            "query",
            "procedure",
            "subscription",
            "permission-set",
            "params",
            "unknown",
            "blob",
            "bytes",
            "cid-link",
            "token",
            "boolean",
            "null",
            "#main",
            "#a",
            "com.example.thing",
            "tid",
            "application/json",
            "datetime",
            "did",
            "cid",
            "at-uri",
            "language",
            "uri",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u64..5).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// A type that is mostly right.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "unknown"})),
        Just(json!({"type": "blob", "accept": ["image/*"], "maxSize": 9})),
        Just(json!({"type": "cid-link"})),
        (0u64..9, 0u64..9)
            .prop_map(|(a, b)| json!({"type": "string", "minLength": a, "maxGraphemes": b})),
        prop::sample::select(vec![
            "did", "datetime", "uri", "at-uri", "cid", "language", "tid"
        ])
        .prop_map(|format| json!({"type": "string", "format": format})),
        any::<i64>().prop_map(|max| json!({"type": "integer", "maximum": max})),
        (0u64..5).prop_map(|max| json!({"type": "bytes", "maxLength": max})),
        Just(json!({"type": "ref", "ref": "#a"})),
        Just(json!({"type": "ref", "ref": "#b"})),
        Just(json!({"type": "union", "refs": ["#a", "com.example.else"], "closed": true})),
        Just(json!({"type": "union", "refs": ["#b", "#main"]})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|items| json!({"type": "array", "items": items})),
            object_of(inner),
        ]
    })
}

fn object_of(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-c]", (inner, any::<bool>(), any::<bool>()), 0..4).prop_map(
        |entries| {
            let pick = |which: fn(&(Value, bool, bool)) -> bool| -> Vec<&String> {
                let chosen = entries.iter().filter(|(_, entry)| which(entry));
                chosen.map(|(name, _)| name).collect()
            };
            let properties: serde_json::Map<_, _> = entries
                .iter()
                .map(|(name, (schema, _, _))| (name.clone(), schema.clone()))
                .collect();
            json!({"type": "object", "required": pick(|e| e.1), "nullable": pick(|e| e.2),
                "properties": properties})
        },
    )
}

fn document() -> impl Strategy<Value = Value> {
    (object_of(schema()), object_of(schema()), schema()).prop_map(|(record, a, b)| {
        json!({"lexicon": 1, "id": "com.example.thing", "defs": {
            "main": {"type": "record", "key": "any", "record": record}, "a": a, "b": b}})
    })
}

fn ipld() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<i128>().prop_map(Ipld::Integer),
        (0i64..9).prop_map(Ipld::from),
        any::<f64>().prop_map(Ipld::Float),
        text().prop_map(Ipld::String),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Ipld::Bytes),
        Just(Ipld::Link(ues_data::raw_cid(b"x"))),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Ipld::List),
            (
                prop::collection::btree_map("[a-c]", inner, 0..4),
                any::<bool>()
            )
                .prop_map(|(mut map, typed)| {
                    if typed {
                        map.insert("$type".into(), Ipld::from("com.example.thing#a"));
                    }
                    Ipld::Map(map)
                }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_json_is_judged_as_a_document(json in json_value()) {
        let _ = Document::parse(&json);
        let wrapped = json!({"lexicon": 1, "id": "com.example.thing", "defs": {"main": json}});
        let _ = Lexicons::empty().register(&wrapped);
    }

    #[test]
    fn any_value_is_judged_by_any_document(document in document(), values in prop::collection::vec(ipld(), 1..9)) {
        let lexicons = Lexicons::empty();
        if lexicons.register(&document).is_ok() {
            for value in &values {
                let strict = lexicons.validate_record("com.example.thing", value);
                if let Err(LexiconError::Invalid(error)) = &strict {
                    prop_assert!(error.path().starts_with('$'));
                    prop_assert!(error.lexicon_message("Record").len() < 10_000);
                }
                // What is strictly valid is leniently valid.
                let lenient = lexicons.validate_record_with("com.example.thing", value, Strictness::Lenient);
                prop_assert!(strict.is_err() || lenient.is_ok(), "{lenient:?}");
                let _ = blobs_in(value);
            }
        }
    }

    /// A document that takes another's place without a breaking change accepts what the other accepts,
    /// and the other way round.
    #[test]
    fn compatible_documents_accept_the_same_records(
        old in document(), new in document(), values in prop::collection::vec(ipld(), 1..9)
    ) {
        let (Ok(old_parsed), Ok(new_parsed)) = (Document::parse(&old), Document::parse(&new)) else {
            return Ok(());
        };
        prop_assert_eq!(compare(&old_parsed, &old_parsed), []);
        if compare(&old_parsed, &new_parsed).is_empty() && compare(&new_parsed, &old_parsed).is_empty() {
            let (a, b) = (Lexicons::empty(), Lexicons::empty());
            if a.register(&old).is_ok() && b.register(&new).is_ok() {
                for value in &values {
                    let by_old = a.validate_record("com.example.thing", value).is_ok();
                    let by_new = b.validate_record("com.example.thing", value).is_ok();
                    prop_assert_eq!(by_old, by_new);
                }
            }
        }
    }

    #[test]
    fn any_query_string_gives_an_answer(pairs in prop::collection::vec((name(), text()), 0..9)) {
        let lexicons = Lexicons::official();
        for nsid in ["com.atproto.repo.listRecords", "app.bsky.feed.searchPosts"] {
            let _ = lexicons.validate_params(nsid, pairs.iter().map(|(k, v)| (k, v)));
        }
    }
}

#[test]
fn depth_is_bounded() {
    let lexicons = Lexicons::empty();
    let tree = json!({"lexicon": 1, "id": "com.example.tree", "defs": {
        "main": {"type": "record", "key": "any", "record": {"type": "object", "properties": {
            "n": {"type": "ref", "ref": "#node"}}}},
        "node": {"type": "object", "properties": {"n": {"type": "ref", "ref": "#node"}}}}});
    lexicons.register(&tree).unwrap();
    let nested = |levels: usize| {
        let mut value = Ipld::Map([].into());
        for _ in 0..levels {
            value = Ipld::Map([("n".to_owned(), value)].into());
        }
        if let Ipld::Map(map) = &mut value {
            map.insert("$type".into(), "com.example.tree".into());
        }
        value
    };
    assert!(
        lexicons
            .validate_record("com.example.tree", &nested(100))
            .is_ok()
    );
    let error = lexicons
        .validate_record("com.example.tree", &nested(1_000))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Nested deeper than 128 levels at $.n.n")
    );

    let mut deep = json!({"type": "integer"});
    for _ in 0..60 {
        deep = json!({"type": "array", "items": deep});
    }
    let document = json!({"lexicon": 1, "id": "com.example.deep", "defs": {"a": deep}});
    assert!(lexicons.register(&document).is_err());
}

#[test]
fn a_long_chain_of_references_is_compiled() {
    let lexicons = Lexicons::empty();
    let mut defs: serde_json::Map<String, Value> = (0..1_500)
        .map(|i| {
            let next = format!("#d{}", (i + 1) % 1_500);
            let def = json!({"type": "object", "properties": {"n": {"type": "ref", "ref": next}}});
            (format!("d{i}"), def)
        })
        .collect();
    let main = json!({"type": "record", "key": "any", "record": {"type": "object", "properties": {
        "n": {"type": "ref", "ref": "#d0"}}}});
    defs.insert("main".into(), main);
    lexicons
        .register(&json!({"lexicon": 1, "id": "com.example.chain", "defs": defs}))
        .unwrap();
    let record = Ipld::Map([("$type".to_owned(), "com.example.chain".into())].into());
    assert_eq!(
        lexicons.validate_record("com.example.chain", &record),
        Ok(())
    );
}
