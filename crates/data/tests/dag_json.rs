//! DAG-JSON: reserved shapes, numbers, canonical form.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use ipld_core::ipld;
use proptest::prelude::*;
use ues_data::dag_json::{self, DecodeErrorKind as E};
use ues_data::{Ipld, raw_cid};

mod common;
use common::any_ipld;

fn refused(text: &str) -> E {
    match dag_json::decode(text.as_bytes()) {
        Ok(value) => panic!("{text} was accepted as {value:?}"),
        Err(e) => e.kind,
    }
}

#[test]
fn known_forms() {
    let cid = raw_cid(b"x");
    for (value, text) in [
        (
            ipld!({ "b": 1, "a": [true, false, null], "aa": "é\n\u{1}\"" }),
            "{\"a\":[true,false,null],\"aa\":\"é\\n\\u0001\\\"\",\"b\":1}".to_owned(),
        ),
        (Ipld::Link(cid), format!("{{\"/\":\"{cid}\"}}")),
        (
            Ipld::Bytes(b"\xff\x00".to_vec()),
            "{\"/\":{\"bytes\":\"/wA\"}}".to_owned(),
        ),
        (Ipld::Float(1.0), "1.0".to_owned()),
        (Ipld::Float(1e300), "1e300".to_owned()),
        (
            Ipld::Integer((1 << 64) - 1),
            "18446744073709551615".to_owned(),
        ),
        (
            Ipld::Integer(-(1 << 64)),
            "-18446744073709551616".to_owned(),
        ),
        (ipld!({ "/": 1 }), "{\"/\":1}".to_owned()),
    ] {
        assert_eq!(dag_json::encode(&value).unwrap(), text);
        assert_eq!(dag_json::decode_canonical(text.as_bytes()).unwrap(), value);
    }
}

#[test]
fn json_of_the_same_meaning_is_read() {
    let value =
        dag_json::decode(b" { \"b\" : [ 1 , -0.5e1 ] ,\n\"a\":\"\\ud83d\\ude00\\/\" } ").unwrap();
    assert_eq!(value, ipld!({ "a": "😀/", "b": [1, -5.0] }));
    assert_eq!(
        dag_json::decode_canonical(b"{\"b\":1,\"a\":1}")
            .unwrap_err()
            .kind,
        E::NotCanonical
    );
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(refused(""), E::Truncated);
    assert_eq!(refused("[1"), E::Truncated);
    assert_eq!(refused("1 2"), E::Trailing);
    assert_eq!(refused("01"), E::Number);
    assert_eq!(refused("-"), E::Number);
    assert_eq!(refused("1."), E::Number);
    assert_eq!(refused("1e400"), E::Range);
    assert_eq!(refused("18446744073709551616"), E::Range);
    assert_eq!(refused("{\"a\":1,\"a\":2}"), E::DuplicateKey("a".into()));
    assert_eq!(refused("\"\\ud800\""), E::Escape);
    assert_eq!(refused("\"\\x\""), E::Escape);
    assert!(matches!(refused("[1,]"), E::Unexpected { .. }));
    assert!(matches!(refused("\"\n\""), E::Unexpected { .. }));
    assert!(matches!(refused("{\"/\":\"nope\"}"), E::Link(_)));
    assert_eq!(refused("{\"/\":{\"bytes\":\"/wA=\"}}"), E::Base64);
    assert_eq!(refused("{\"/\":{\"bytes\":\"\"},\"a\":1}"), E::Reserved);
    assert_eq!(refused("{\"/\":{\"bytes\":\"\",\"a\":1}}"), E::Reserved);
    assert_eq!(refused(&"[".repeat(100_000)), E::TooDeep(128));
    assert!(dag_json::decode(b"\"\xff\"").is_err());
    assert!(dag_json::encode(&ipld!({ "/": "text" })).is_err());
}

proptest! {
    #[test]
    fn values_round_trip(value in any_ipld()) {
        // Only maps that look like links or bytes have no form.
        if let Ok(text) = dag_json::encode(&value) {
            prop_assert_eq!(dag_json::decode_canonical(text.as_bytes()).unwrap(), value);
        }
    }
}
