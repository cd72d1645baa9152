//! Validation of records, parameters and bodies by the official documents and by registered ones.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use ues_data::{Ipld, atproto_json};
use ues_repo::lexicon::{
    IndexKind, LexiconError, Lexicons, MethodKind, RecordKeyType, RegisterError, Strictness,
    ValidationError, ValidationMode, ValidationStatus, blobs_in, check_key,
};

const CID: &str = "bafkreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq";

fn ipld(json: &Value) -> Ipld {
    atproto_json::from_json(json).unwrap()
}

fn post() -> Value {
    json!({
        "$type": "app.bsky.feed.post",
        "text": "hello @alice",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "langs": ["en"],
        "facets": [{
            "index": {"byteStart": 6, "byteEnd": 12},
            "features": [{"$type": "app.bsky.richtext.facet#mention", "did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz"}],
        }],
        "embed": {
            "$type": "app.bsky.embed.images",
            "images": [{"alt": "", "image": {
                "$type": "blob", "ref": {"$link": CID}, "mimeType": "image/png", "size": 100,
            }}],
        },
    })
}

fn invalid(result: Result<(), LexiconError>) -> ValidationError {
    match result {
        Err(LexiconError::Invalid(error)) => *error,
        other => panic!("expected an invalid value, found {other:?}"),
    }
}

/// The texts, new and old, of the fault in a post after a change.
fn fault(change: impl FnOnce(&mut Value)) -> (String, String) {
    let mut post = post();
    change(&mut post);
    let result = Lexicons::official().validate_record("app.bsky.feed.post", &ipld(&post));
    let error = invalid(result);
    (error.to_string(), error.lexicon_message("Record"))
}

#[test]
fn messages_of_the_official_server() {
    let lexicons = Lexicons::official();
    assert_eq!(
        lexicons.validate_record("app.bsky.feed.post", &ipld(&post())),
        Ok(())
    );
    let cases: Vec<((String, String), &str, &str)> = vec![
        (
            fault(|p| p["text"] = 2.into()),
            "Expected string value type (got 2) at $.text",
            "Record/text must be a string",
        ),
        (
            fault(|p| drop(p.as_object_mut().unwrap().remove("text"))),
            "Missing required key \"text\" at $",
            "Record must have the property \"text\"",
        ),
        (
            fault(|p| p["createdAt"] = "yesterday".into()),
            "Invalid datetime (got \"yesterday\") at $.createdAt",
            "Record/createdAt must be an valid atproto datetime (both RFC-3339 and ISO-8601)",
        ),
        (
            fault(|p| p["facets"][0]["features"][0]["did"] = "alice".into()),
            "Invalid DID (got \"alice\") at $.facets[0].features[0].did",
            "Record/facets/0/features/0/did must be a valid did",
        ),
        (
            fault(|p| p["text"] = "é".repeat(301).into()),
            "grapheme too big (maximum 300, got 301) at $.text",
            "Record/text must not be longer than 300 graphemes",
        ),
        (
            fault(|p| p["text"] = "x".repeat(3001).into()),
            "string too big (maximum 3000, got 3001) at $.text",
            "Record/text must not be longer than 3000 characters",
        ),
        (
            fault(|p| p["langs"] = json!(["en", "de", "fr", "it"])),
            "array too big (maximum 3, got 4) at $.langs",
            "Record/langs must not have more than 3 elements",
        ),
        (
            fault(|p| p["facets"][0]["index"]["byteStart"] = (-1).into()),
            "integer too small (minimum 0, got -1) at $.facets[0].index.byteStart",
            "Record/facets/0/index/byteStart can not be less than 0",
        ),
        (
            fault(|p| p["embed"] = json!({"images": []})),
            "Expected an object which includes the \"$type\" property value type (got {\"images\": ...}) at $.embed",
            "Record/embed must be an object which includes the \"$type\" property",
        ),
        (
            fault(|p| p["embed"]["images"][0]["image"]["size"] = 3_000_000.into()),
            "blob too big (maximum 2000000, got 3000000) at $.embed.images[0].image",
            "Record/embed/images/0/image must not be larger than 2000000 bytes",
        ),
        (
            fault(|p| p["embed"]["images"][0]["image"]["mimeType"] = "text/plain".into()),
            "Expected \"image/*\" (got \"text/plain\") at $.embed.images[0].image.mimeType",
            "Record/embed/images/0/image/mimeType must be image/*",
        ),
        (
            fault(|p| p["$type"] = "app.bsky.feed.like".into()),
            "Expected \"app.bsky.feed.post\" (got \"app.bsky.feed.like\") at $.$type",
            "Record $type must be one of app.bsky.feed.post",
        ),
        (
            fault(|p| p["langs"][0] = Value::Null),
            "Expected string value type (got null) at $.langs[0]",
            "Record/langs/0 must be a string",
        ),
    ];
    for ((new, old), expected_new, expected_old) in cases {
        assert_eq!(new, expected_new);
        assert_eq!(old, expected_old);
    }
}

#[test]
fn modes_of_a_write() {
    let lexicons = Lexicons::official();
    let go = |mode, collection: &str, rkey: &str, record: Value| {
        lexicons
            .check_write(mode, collection, rkey, &ipld(&record))
            .map_err(|error| error.to_string())
    };
    let tid = "3kznmn7xqxl22";
    let (required, optimistic, skip) = (
        ValidationMode::Required,
        ValidationMode::Optimistic,
        ValidationMode::Skip,
    );
    let post_name = "app.bsky.feed.post";
    assert_eq!(
        go(required, post_name, tid, post()),
        Ok(Some(ValidationStatus::Valid))
    );
    assert_eq!(
        go(optimistic, post_name, tid, json!({"$type": post_name})),
        Err(
            "Invalid app.bsky.feed.post record: Missing required key \"createdAt\" at $.record"
                .into()
        )
    );
    assert_eq!(
        go(skip, post_name, tid, json!({"$type": post_name})),
        Ok(None)
    );
    let foreign = || json!({"$type": "com.example.foreign"});
    assert_eq!(
        go(optimistic, "com.example.foreign", "x", foreign()),
        Ok(Some(ValidationStatus::Unknown))
    );
    assert_eq!(
        go(required, "com.example.foreign", "x", foreign()),
        Err("Unknown lexicon type: com.example.foreign".into())
    );
    assert_eq!(
        go(required, post_name, "nope", post()),
        Err(
            "Invalid record key for app.bsky.feed.post: Invalid TID string (got \"nope\") at $"
                .into()
        )
    );
    let profile = || json!({"$type": "app.bsky.actor.profile"});
    assert!(go(required, "app.bsky.actor.profile", "self", profile()).is_ok());
    assert_eq!(
        go(required, "app.bsky.actor.profile", "other", profile()),
        Err(
            "Invalid record key for app.bsky.actor.profile: Expected \"self\" (got \"other\") at $"
                .into()
        )
    );
    let method = "com.atproto.repo.createRecord";
    assert!(go(optimistic, method, "x", json!({"$type": method})).is_err());
}

#[test]
fn record_keys() {
    assert_eq!(check_key(&RecordKeyType::Any, "any:thing~1"), Ok(()));
    assert!(check_key(&RecordKeyType::Any, "..").is_err());
    assert_eq!(check_key(&RecordKeyType::Nsid, "com.example.thing"), Ok(()));
    assert!(check_key(&RecordKeyType::Nsid, "thing").is_err());
}

#[test]
fn parameters() {
    let lexicons = Lexicons::official();
    let go =
        |nsid: &str, pairs: &[(&str, &str)]| lexicons.validate_params(nsid, pairs.iter().copied());
    let list = "com.atproto.repo.listRecords";
    assert_eq!(
        go(
            list,
            &[
                ("repo", "alice.test"),
                ("collection", "app.bsky.feed.post"),
                ("reverse", "true"),
                ("cursor", "")
            ]
        ),
        Ok(
            json!({"repo": "alice.test", "collection": "app.bsky.feed.post", "reverse": true, "limit": 50})
        )
    );
    assert_eq!(
        go(
            "com.atproto.sync.getBlocks",
            &[("did", "did:web:a.test"), ("cids", CID)]
        ),
        Ok(json!({"did": "did:web:a.test", "cids": [CID]}))
    );
    let text = |result: Result<Value, LexiconError>| match result {
        Err(LexiconError::Invalid(error)) => {
            (error.problem.to_string(), error.lexicon_message("Params"))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text(go(
            list,
            &[
                ("repo", "alice.test"),
                ("collection", "app.bsky.feed.post"),
                ("limit", "x")
            ]
        ))
        .0,
        "Expected integer value type (got \"x\")"
    );
    assert_eq!(
        text(go(list, &[("repo", "alice.test")])),
        (
            "Missing required key \"collection\"".to_owned(),
            "Params must have the property \"collection\"".to_owned()
        )
    );
    assert_eq!(
        text(go(
            list,
            &[
                ("repo", "a.test"),
                ("repo", "b.test"),
                ("collection", "com.example.a")
            ]
        ))
        .0,
        "Expected string value type (got [\"a.test\", \"b.test\"])"
    );
    let many = (0..100_000).map(|i| (i.to_string(), "x"));
    assert!(lexicons.validate_params(list, many).is_err());
    assert!(matches!(
        go("com.example.nothing", &[]),
        Err(LexiconError::Unknown { .. })
    ));
}

#[test]
fn bodies_and_methods() {
    let lexicons = Lexicons::official();
    let create = "com.atproto.server.createSession";
    let ok = json!({"identifier": "alice.test", "password": "x"});
    assert_eq!(lexicons.validate_input(create, &ok), Ok(()));
    let error =
        invalid(lexicons.validate_input(create, &json!({"identifier": 1, "password": "x"})));
    assert_eq!(
        error.lexicon_message("Input"),
        "Input/identifier must be a string"
    );
    let error = invalid(lexicons.validate_input(create, &json!([])));
    assert_eq!(error.lexicon_message("Input"), "Input must be an object");
    // The writes of a batch are a closed union, and each record in them is of any type.
    let apply = "com.atproto.repo.applyWrites";
    let writes = |kind: &str| {
        json!({"repo": "alice.test", "writes": [{
            "$type": format!("com.atproto.repo.applyWrites#{kind}"),
            "collection": "app.bsky.feed.post", "rkey": "3kznmn7xqxl22", "value": {"any": "thing"},
        }]})
    };
    assert_eq!(lexicons.validate_input(apply, &writes("create")), Ok(()));
    let error = invalid(lexicons.validate_input(apply, &writes("destroy")));
    assert!(
        error.to_string().ends_with("at $.writes[0].$type"),
        "{error}"
    );

    let method = lexicons.method(create).unwrap();
    assert_eq!(method.kind, MethodKind::Procedure);
    assert_eq!(method.input.as_ref().unwrap().encoding, "application/json");
    assert!(
        method
            .errors
            .iter()
            .any(|name| name == "AuthFactorTokenRequired")
    );
    let stream = lexicons.method("com.atproto.sync.subscribeRepos").unwrap();
    assert_eq!(stream.kind, MethodKind::Subscription);
    assert!(lexicons.method("app.bsky.feed.post").is_none());
    let info =
        ipld(&json!({"$type": "com.atproto.sync.subscribeRepos#info", "name": "OutdatedCursor"}));
    assert_eq!(
        lexicons.validate_message("com.atproto.sync.subscribeRepos", &info),
        Ok(())
    );
    let output = json!({"cid": "x"});
    assert!(
        lexicons
            .validate_output("com.atproto.sync.getLatestCommit", &output)
            .is_err()
    );
    // A body that is a bare reference.
    let output =
        json!({"did": "did:web:a.test", "handle": "a.test", "indexedAt": "2026-01-01T00:00:00Z"});
    assert_eq!(
        lexicons.validate_output("com.atproto.admin.getAccountInfo", &output),
        Ok(())
    );
    let mut body = json!({});
    lexicons.fill_input_defaults("com.atproto.server.createInviteCodes", &mut body);
    assert_eq!(body, json!({"codeCount": 1}));
}

fn note(extra: Value) -> Value {
    json!({"lexicon": 1, "id": "com.example.note", "defs": {"main": {"type": "record", "key": "any",
        "record": {"type": "object", "properties": {
            "langs": {"type": "array", "items": {"type": "string", "format": "language"}},
            "at": {"type": "string", "format": "datetime"},
            "part": {"type": "object", "properties": {"size": {"type": "integer"}}},
            "next": {"type": "ref", "ref": "com.example.absent"},
            "any": {"type": "union", "refs": ["com.example.absent"]},
            "file": {"type": "blob", "maxSize": 5},
        }}, "ues": extra}}})
}

#[test]
fn registered_documents() {
    let lexicons = Lexicons::official();
    let shared = lexicons.clone();
    let registered = lexicons.register(&note(json!({}))).unwrap();
    assert_eq!(registered.unresolved, ["com.example.absent"]);
    assert!(shared.contains("com.example.note"));
    let go = |value: Value| shared.validate_record("com.example.note", &ipld(&value));
    let error = invalid(go(json!({"$type": "com.example.note", "next": {}})));
    assert_eq!(
        error.to_string(),
        "The schema refers to com.example.absent, which is not registered at $.next"
    );
    let open = json!({"$type": "com.example.note", "any": {"$type": "com.example.absent"}});
    assert_eq!(go(open.clone()), Ok(()));
    // Once the document is there, its types are checked.
    let absent = json!({"lexicon": 1, "id": "com.example.absent", "defs": {"main":
        {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}}}});
    lexicons.register(&absent).unwrap();
    assert_eq!(
        invalid(go(open)).to_string(),
        "Missing required key \"x\" at $.any"
    );
}

#[test]
fn references_must_lead_somewhere() {
    let lexicons = Lexicons::official();
    for reference in [
        "#nowhere",
        "app.bsky.feed.defs#nowhere",
        "app.bsky.feed.getTimeline",
    ] {
        let document = json!({"lexicon": 1, "id": "com.example.bad", "defs": {"a": {"type": "object",
            "properties": {"b": {"type": "ref", "ref": reference}}}}});
        let result = lexicons.register(&document);
        assert!(
            matches!(result, Err(RegisterError::Missing(_))),
            "{reference}: {result:?}"
        );
    }
    assert!(!lexicons.contains("com.example.bad"));
}

#[test]
fn declared_indexes() {
    let lexicons = Lexicons::empty();
    let declare = |indexes: Value| lexicons.register(&note(json!({"indexes": indexes})));
    let index =
        |name: &str, path: &str, kind: &str| json!({"name": name, "path": path, "kind": kind});
    for (wrong, why) in [
        (
            json!([index("a b", "langs[]", "text")]),
            "a name with a space",
        ),
        (json!([index("a", "langs", "text")]), "an array without []"),
        (json!([index("a", "at[]", "text")]), "[] behind a string"),
        (json!([index("a", "nothing", "text")]), "no such property"),
        (
            json!([index("a", "part.size", "text")]),
            "text over integers",
        ),
        (json!([index("a", "at", "words")]), "an unknown kind"),
        (
            json!([index("a", "at", "text"), index("a", "at", "datetime")]),
            "a name twice",
        ),
    ] {
        assert!(declare(wrong).is_err(), "{why}");
    }
    declare(json!([
        index("byLang", "langs[]", "text"),
        index("byTime", "at", "datetime"),
        index("bySize", "part.size", "integer"),
    ]))
    .unwrap();
    let indexes = lexicons.indexes("com.example.note");
    assert_eq!(indexes.len(), 3);
    assert_eq!(indexes[1].kind, IndexKind::Datetime);
    let record = ipld(&json!({"langs": ["de", "en"], "part": {"size": 7}}));
    let values = |position: usize| {
        let mut found = Vec::new();
        let index = indexes.get(position).unwrap();
        index.values(&record, &mut |value| found.push(value.clone()));
        found
    };
    assert_eq!(values(0), [Ipld::from("de"), Ipld::from("en")]);
    assert_eq!(values(1), []);
    assert_eq!(values(2), [Ipld::from(7)]);
}

fn map<const N: usize>(entries: [(&str, Ipld); N]) -> Ipld {
    let entries = entries.map(|(key, value)| (key.to_owned(), value));
    Ipld::Map(entries.into())
}

/// A blob reference, made directly: the JSON codec would not let a wrong one pass.
fn blob(size: i64) -> Ipld {
    map([
        ("$type", "blob".into()),
        ("ref", Ipld::Link(ues_data::parse_cid(CID).unwrap())),
        ("mimeType", "a/b".into()),
        ("size", size.into()),
    ])
}

#[test]
fn blobs_old_and_new() {
    let lexicons = Lexicons::empty();
    lexicons.register(&note(json!({}))).unwrap();
    let go = |file: &Ipld, strictness| {
        let record = map([("$type", "com.example.note".into()), ("file", file.clone())]);
        lexicons
            .validate_record_with("com.example.note", &record, strictness)
            .is_ok()
    };
    let (strict, lenient) = (Strictness::Strict, Strictness::Lenient);
    let old = map([("cid", CID.into()), ("mimeType", "a/b".into())]);
    let mut more = blob(5);
    if let Ipld::Map(entries) = &mut more {
        entries.insert("extra".into(), true.into());
    }
    assert!(go(&blob(5), strict));
    assert!(!go(&blob(6), strict) && go(&blob(6), lenient));
    assert!(!go(&blob(-1), strict) && go(&blob(-1), lenient));
    assert!(!go(&old, strict) && go(&old, lenient));
    assert!(!go(&more, strict) && !go(&more, lenient));

    let list = Ipld::List(vec![blob(3), map([("b", old)])]);
    let found: Vec<_> = blobs_in(&map([("a", list), ("c", more)]))
        .iter()
        .map(|blob| (blob.size, blob.legacy))
        .collect();
    assert_eq!(found, [(Some(3), false), (None, true)]);
}

#[test]
fn integers_and_datetimes_by_strictness() {
    let lexicons = Lexicons::empty();
    lexicons.register(&note(json!({}))).unwrap();
    let go = |record: Value, strictness| {
        lexicons
            .validate_record_with("com.example.note", &ipld(&record), strictness)
            .is_ok()
    };
    let big = json!({"$type": "com.example.note", "part": {"size": 9_007_199_254_740_993_i64}});
    assert!(!go(big.clone(), Strictness::Strict) && go(big, Strictness::Lenient));
    let odd = json!({"$type": "com.example.note", "at": "2026-02-31T00:00:00Z"});
    assert!(!go(odd.clone(), Strictness::Strict) && go(odd, Strictness::Lenient));
}

#[test]
fn unknown_is_any_object_but_no_blob() {
    let lexicons = Lexicons::empty();
    let document = json!({"lexicon": 1, "id": "com.example.any", "defs": {"main": {"type": "record",
        "key": "any", "record": {"type": "object", "properties": {"u": {"type": "unknown"}}}}}});
    lexicons.register(&document).unwrap();
    let go = |value: Value| {
        let record = ipld(&json!({"$type": "com.example.any", "u": value}));
        lexicons.validate_record("com.example.any", &record).is_ok()
    };
    assert!(go(json!({})) && go(json!({"$type": "com.example.what", "x": [1]})));
    for wrong in [
        json!(1),
        json!([]),
        json!(null),
        json!({"$link": CID}),
        json!({"$bytes": "YQ"}),
        json!({"$type": "blob", "ref": {"$link": CID}, "mimeType": "a/b", "size": 1}),
    ] {
        assert!(!go(wrong.clone()), "{wrong}");
    }
}
