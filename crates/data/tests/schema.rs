//! Schemas: the language, its representations, and our own kinds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use ipld_core::ipld;
use ues_data::schema::{Schema, SchemaError, schemas};
use ues_data::{Ipld, raw_cid};

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Checks good and bad values of type `T`.
fn check(text: &str, good: &[Ipld], bad: &[Ipld]) {
    let schema = schema(text);
    for value in good {
        schema
            .check("T", value)
            .unwrap_or_else(|e| panic!("{value:?}: {e}"));
    }
    for value in bad {
        assert!(schema.check("T", value).is_err(), "{value:?} was accepted");
    }
}

#[test]
fn scalars_lists_and_maps() {
    check("type T int", &[1.into()], &[Ipld::Null, "1".into()]);
    check("type T any", &[1.into(), Ipld::Null, ipld!([{}])], &[]);
    check(
        "type T [nullable String]",
        &[ipld!([]), ipld!(["a", null])],
        &[ipld!([1]), ipld!({})],
    );
    check(
        "type T {String:[Int]}",
        &[ipld!({ "a": [1] })],
        &[ipld!({ "a": 1 })],
    );
    check(
        "type T {String:Int} representation listpairs",
        &[ipld!([["a", 1]])],
        &[ipld!([["a"]]), ipld!({ "a": 1 })],
    );
    check(
        "type K enum { | a | b }\ntype T {K:Int}",
        &[ipld!({ "a": 1 })],
        &[ipld!({ "c": 1 })],
    );
    check("type T &Any", &[Ipld::Link(raw_cid(b""))], &["x".into()]);
    check("type A int\ntype T = A", &[1.into()], &["x".into()]);
}

#[test]
fn structs_in_every_representation() {
    let fields = "struct {\n a Int # a comment\n b optional String\n c nullable Bool (rename \"see\")\n d Int (implicit 3)\n}";
    check(
        &format!("type T {fields}"),
        &[
            ipld!({ "a": 1, "see": null }),
            ipld!({ "a": 1, "b": "x", "see": true, "d": 4 }),
        ],
        &[
            ipld!({ "a": 1 }),
            ipld!({ "a": 1, "c": null }),
            ipld!({ "a": 1, "see": null, "e": 1 }),
            ipld!({ "a": 1, "see": null, "b": null }),
        ],
    );
    let plain = "struct {\n a Int\n b String\n}";
    check(
        &format!("type T {plain} representation tuple"),
        &[ipld!([1, "x"])],
        &[ipld!([1]), ipld!([1, "x", 2]), ipld!(["x", 1])],
    );
    check(
        &format!("type T {plain} representation listpairs"),
        &[ipld!([["b", "x"], ["a", 1]])],
        &[ipld!([["a", 1]]), ipld!([["a", 1], ["a", 1], ["b", "x"]])],
    );
    check(
        &format!("type T {plain} representation stringjoin {{ join \":\" }}"),
        &["1:x".into()],
        &["x:1".into(), "1".into(), "1:x:y".into()],
    );
    check(
        &format!(
            "type T {plain} representation stringpairs {{ innerDelim \"=\" entryDelim \",\" }}"
        ),
        &["b=x,a=1".into()],
        &["a=1".into(), "a=1,b=x,c=1".into(), "a".into()],
    );
}

#[test]
fn enums_and_unions_in_every_representation() {
    check(
        "type T enum {\n | Yes (\"y\")\n | No\n}",
        &["y".into(), "No".into()],
        &["Yes".into(), 1.into()],
    );
    check(
        "type T enum { | Yes (\"1\") | No (\"0\") } representation int",
        &[1.into()],
        &[2.into(), "1".into()],
    );
    let types = "type A struct { a Int }\ntype B struct { b Int }\n";
    check(
        &format!("{types}type T union {{ | A \"x\" | B \"y\" }} representation keyed"),
        &[ipld!({ "x": { "a": 1 } })],
        &[ipld!({ "x": { "b": 1 } }), ipld!({ "z": 1 }), ipld!({})],
    );
    check(
        &format!(
            "{types}type T union {{ | A map | Int int | [String] list | &A link }} representation kinded"
        ),
        &[ipld!({ "a": 1 }), 5.into(), ipld!(["x"])],
        &["x".into(), ipld!([1])],
    );
    check(
        &format!(
            "{types}type T union {{ | A \"x\" | B \"y\" }} representation envelope {{ discriminantKey \"t\" contentKey \"c\" }}"
        ),
        &[ipld!({ "t": "x", "c": { "a": 1 } })],
        &[
            ipld!({ "t": "y", "c": { "a": 1 } }),
            ipld!({ "t": "x" }),
            ipld!({ "t": "x", "c": { "a": 1 }, "d": 1 }),
        ],
    );
    check(
        &format!(
            "{types}type T union {{ | A \"x\" | B \"y\" }} representation inline {{ discriminantKey \"t\" }}"
        ),
        &[ipld!({ "t": "x", "a": 1 })],
        &[ipld!({ "t": "y", "a": 1 }), ipld!({ "a": 1 })],
    );
    check(
        "type T union { | String \"s:\" | Int \"i:\" } representation stringprefix",
        &["s:x".into(), "i:1".into()],
        &["i:x".into(), "x".into()],
    );
    check(
        "type T union { | Bytes \"00ff\" } representation bytesprefix",
        &[Ipld::Bytes(vec![0, 255, 1])],
        &[Ipld::Bytes(vec![0])],
    );
}

#[test]
fn mismatches_name_the_place() {
    let schema = schema("type T struct { list [A] }\ntype A struct { name String }");
    let error = schema
        .check("T", &ipld!({ "list": [{ "name": "x" }, { "name": 1 }] }))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "/list/1/name: a text expected, found an integer"
    );
    assert!(schema.check("Nothing", &Ipld::Null).is_err());
}

#[test]
fn bad_schemas_are_refused() {
    for text in [
        "type",
        "type T",
        "type T struct",
        "type T struct {",
        "type T nothing",
        "T int",
        "type T [",
        "type T {Int}",
        "type T struct { a Int a Int }",
        "type T struct { a Int } representation keyed",
        "type T int\ntype T int",
        "type T [Missing]",
        "type T union { | Int \"a\" | String \"a\" } representation keyed",
        "type T union { | Int \"a\" }",
        "type T union { | Int \"a\" } representation kinded",
        "type T enum { | A } representation int",
        "type T int representation map",
        "type T struct { a Int (foo) }",
        "type T \"x",
        "type T $",
        "type T struct { a Int } representation stringjoin",
    ] {
        assert!(Schema::parse(text).is_err(), "{text} was accepted");
    }
    assert!(matches!(
        Schema::parse("type A int\n\ntype B struct {\n a %\n}"),
        Err(SchemaError::Unexpected { line: 4, .. })
    ));
    assert!(Schema::parse(&format!("type T {}", "[".repeat(10_000))).is_err());
}

#[test]
fn types_that_lead_nowhere_end() {
    let schema = schema(
        "type T = U\ntype U = T\ntype L [L]\ntype K union { | K int } representation kinded",
    );
    assert!(schema.check("T", &Ipld::Null).is_err());
    assert!(schema.check("K", &1.into()).is_err());
    let mut deep = Ipld::List(vec![]);
    for _ in 0..1000 {
        deep = Ipld::List(vec![deep]);
    }
    assert!(schema.check("L", &deep).is_err());
}

#[test]
fn our_own_kinds() {
    let schema = schemas::all().unwrap();
    let link = raw_cid(b"x");
    let sig = Ipld::Bytes(vec![0; 64]);
    for (name, value) in [
        (
            "Repository",
            ipld!({ "did": "did:plc:a", "version": 3, "data": link, "rev": "r", "prev": null, "sig": sig.clone() }),
        ),
        (
            "CollectionManifest",
            ipld!({ "repository": "did:plc:a", "collection": "a.b.c", "rev": "r", "root": link, "records": 1 }),
        ),
        ("Record", ipld!({ "$type": "a.b.c", "x": [1] })),
        (
            "Participant",
            ipld!({ "did": "did:plc:a", "role": "admin", "joinedAt": "t" }),
        ),
        (
            "ChatManifest",
            ipld!({ "id": "i", "kind": "group", "createdBy": "d", "createdAt": "t", "epoch": 0, "participants": [link], "head": null }),
        ),
        (
            "Message",
            ipld!({ "room": "i", "sender": "d", "seq": 1, "epoch": 0, "sentAt": "t", "previous": [], "content": sig.clone(), "sig": sig.clone() }),
        ),
        (
            "Asset",
            ipld!({ "kind": "token", "id": "i", "collection": link, "creator": "d", "name": "n", "createdAt": "t" }),
        ),
        (
            "Transfer",
            ipld!({ "asset": link, "from": null, "to": "d", "previous": null, "at": "t", "sig": sig }),
        ),
        (
            "AssetRegistry",
            ipld!({ "owner": "d", "assets": { "i": link }, "transfers": {}, "rev": "r" }),
        ),
    ] {
        schema
            .check(name, &value)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(schema.check(name, &1.into()).is_err());
    }
    assert!(
        schema
            .check(
                "Participant",
                &ipld!({ "did": "d", "role": "boss", "joinedAt": "t" })
            )
            .is_err()
    );
}
