//! The interoperability vectors of AT Protocol for Lexicon, and the official documents.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use ues_data::atproto_json;
use ues_repo::lexicon::{Document, LexiconError, Lexicons, RecordKeyType, check_key};

fn vectors() -> PathBuf {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/vectors/atproto-interop/lexicon"
    ));
    assert!(
        folder.is_dir(),
        "the test vectors are not at {}: they are expected beside the repository",
        folder.display()
    );
    folder
}

fn read(name: &str) -> Value {
    let text = fs::read_to_string(vectors().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn catalog() -> Lexicons {
    let lexicons = Lexicons::official();
    for entry in fs::read_dir(vectors().join("catalog")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let registered = lexicons
            .register(&serde_json::from_str(&text).unwrap())
            .unwrap();
        assert_eq!(registered.unresolved, Vec::<String>::new());
    }
    lexicons
}

#[test]
fn valid_documents() {
    let cases = read("lexicon-valid.json");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        if let Err(error) = Document::parse(&case["lexicon"]) {
            panic!("{}: {error}", case["name"]);
        }
    }
}

#[test]
fn invalid_documents() {
    let cases = read("lexicon-invalid.json");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let result = Document::parse(&case["lexicon"]);
        assert!(result.is_err(), "{} was accepted", case["name"]);
    }
}

#[test]
fn valid_records() {
    let lexicons = catalog();
    let cases = read("record-data-valid.json");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let collection = case["data"]["$type"].as_str().unwrap();
        let record = record(&case["data"]);
        if let Err(error) = lexicons.validate_record(collection, &record) {
            panic!("{}: {error}", case["name"]);
        }
        let key_type = lexicons.record_key_type(collection).unwrap();
        assert_eq!(key_type, RecordKeyType::Literal("demo".into()));
        assert_eq!(check_key(&key_type, case["rkey"].as_str().unwrap()), Ok(()));
    }
}

#[test]
fn invalid_records() {
    let lexicons = catalog();
    let cases = read("record-data-invalid.json");
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 50, "{} cases", cases.len());
    for case in cases {
        let collection = case["data"]["$type"].as_str().unwrap();
        // Some faults are of the data model already, and never reach a lexicon.
        if let Ok(record) = atproto_json::from_json(&case["data"]) {
            let result = lexicons.validate_record(collection, &record);
            assert!(
                matches!(result, Err(LexiconError::Invalid(_))),
                "{} gave {result:?}",
                case["name"]
            );
        }
    }
}

fn record(json: &Value) -> ues_data::Ipld {
    atproto_json::from_json(json).unwrap()
}

#[test]
fn every_official_document_is_valid() {
    let lexicons = Lexicons::official();
    let ids = lexicons.documents();
    assert_eq!(ids.len(), Lexicons::origin().unwrap().documents);
    assert!(ids.len() > 350, "{} documents", ids.len());
    for id in &ids {
        let document = lexicons.document(id);
        let document = document.unwrap_or_else(|| panic!("{id} does not parse"));
        assert_eq!(document.id, *id);
    }
}
