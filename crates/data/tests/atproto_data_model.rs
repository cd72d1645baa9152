//! The data model by the vectors that AT Protocol's implementations share.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::Value;
use ues_data::atproto_json::{record_from_json, to_json};
use ues_data::dag_cbor::{self, Limits};
use ues_data::{dag_cbor_cid, parse_cid};

fn vectors(name: &str) -> Vec<Value> {
    let path = format!(
        "{}/../../../shared/vectors/atproto-interop/data-model/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("the interop vectors are needed at {path}: {e}"));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn fixtures_encode_to_the_same_bytes_and_cids() {
    let fixtures = vectors("data-model-fixtures.json");
    assert!(fixtures.len() >= 3);
    for fixture in fixtures {
        let value = record_from_json(&fixture["json"]).unwrap();
        let expected = data_encoding::BASE64_NOPAD
            .decode(fixture["cbor_base64"].as_str().unwrap().as_bytes())
            .unwrap();
        assert_eq!(dag_cbor::encode(&value).unwrap(), expected);
        assert_eq!(
            dag_cbor_cid(&expected),
            parse_cid(fixture["cid"].as_str().unwrap()).unwrap()
        );
        let back = dag_cbor::decode_with(&expected, Limits::RECORD).unwrap();
        assert_eq!(back, value);
        assert_eq!(to_json(&back), fixture["json"]);
    }
}

#[test]
fn valid_data_is_accepted() {
    for case in vectors("data-model-valid.json") {
        let value = record_from_json(&case["json"])
            .unwrap_or_else(|e| panic!("{}: refused: {e}", case["note"]));
        let bytes = dag_cbor::encode_with(&value, Limits::RECORD).unwrap();
        assert_eq!(
            dag_cbor::decode_with(&bytes, Limits::RECORD).unwrap(),
            value
        );
    }
}

#[test]
fn invalid_data_is_refused() {
    for case in vectors("data-model-invalid.json") {
        assert!(
            record_from_json(&case["json"]).is_err(),
            "{}: accepted",
            case["note"]
        );
    }
}
