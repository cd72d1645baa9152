//! The interoperability vectors of AT Protocol syntax.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use proptest::prelude::*;
use ues_repo::syntax::*;

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/vectors/atproto-interop/syntax"
);

/// The lines of a vector file that are neither empty nor comments.
fn lines(file: &str) -> Vec<String> {
    let path = format!("{FOLDER}/{file}");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| {
        panic!("the shared vectors folder is needed for this test: {path}: {e}")
    });
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert!(!lines.is_empty(), "{path} has no vectors");
    lines
}

macro_rules! vectors {
    ($test:ident, $type:ident, $file:literal) => {
        #[test]
        fn $test() {
            for line in lines(concat!($file, "_syntax_valid.txt")) {
                let value = $type::parse(&line).unwrap_or_else(|e| panic!("{line:?} refused: {e}"));
                assert_eq!(value.as_str(), line);
                let json = serde_json::to_string(&value).unwrap();
                assert_eq!(serde_json::from_str::<$type>(&json).unwrap(), value);
            }
            for line in lines(concat!($file, "_syntax_invalid.txt")) {
                assert!($type::check(&line).is_err(), "{line:?} accepted");
                assert!($type::parse(&line).is_err(), "{line:?} accepted");
                let json = serde_json::to_string(&line).unwrap();
                assert!(serde_json::from_str::<$type>(&json).is_err());
            }
        }
    };
}

vectors!(at_identifiers, AtIdentifier, "atidentifier");
vectors!(at_uris, AtUri, "aturi");
vectors!(cids, CidString, "cid");
vectors!(datetimes, Datetime, "datetime");
vectors!(dids, Did, "did");
vectors!(handles, Handle, "handle");
vectors!(languages, Language, "language");
vectors!(nsids, Nsid, "nsid");
vectors!(record_keys, RecordKey, "recordkey");
vectors!(tids, Tid, "tid");
vectors!(uris, Uri, "uri");

#[test]
fn datetimes_with_the_right_shape_and_wrong_numbers() {
    for line in lines("datetime_parse_invalid.txt") {
        assert!(Datetime::has_shape(&line), "{line:?}");
        assert!(Datetime::parse(&line).is_err(), "{line:?} accepted");
    }
    for line in lines("datetime_syntax_invalid.txt") {
        assert!(!Datetime::has_shape(&line), "{line:?}");
    }
}

#[test]
fn languages_with_the_right_shape_and_repeated_subtags() {
    for line in lines("language_parse_invalid.txt") {
        assert!(Language::has_shape(&line), "{line:?}");
        assert!(Language::parse(&line).is_err(), "{line:?} accepted");
    }
}

#[test]
fn parts() {
    let uri = AtUri::parse("at://did:plc:asdf123/com.atproto.feed.post/record").unwrap();
    assert_eq!(uri.authority_str(), "did:plc:asdf123");
    assert_eq!(uri.collection().unwrap(), "com.atproto.feed.post");
    assert_eq!(uri.rkey().unwrap(), "record");
    let did = uri.authority().unwrap().did().unwrap().clone();
    assert_eq!((did.method(), did.method_specific()), ("plc", "asdf123"));
    assert_eq!(AtUri::of_repository(&did).collection_str(), None);
    let nsid = uri.collection().unwrap();
    assert_eq!(AtUri::of_record(&did, &nsid, &uri.rkey().unwrap()), uri);
    assert_eq!(nsid.domain(), "feed.atproto.com");
    assert_eq!(nsid.name(), "post");
    assert_eq!(
        Handle::parse("Alice.TEST").unwrap().normalize(),
        "alice.test"
    );
    assert!(!Handle::parse("alice.local").unwrap().has_allowed_tld());
}

#[test]
fn an_error_names_the_rule_and_the_input() {
    let error = Did::parse("did:plc").unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a valid DID: has a method and an identifier, divided by a colon, found \"did:plc\""
    );
    let long = "é".repeat(5000);
    assert!(Did::parse(&long).unwrap_err().to_string().len() < 250);
}

proptest! {
    #[test]
    fn tids_keep_number_and_order(a in 0u64..1 << 63, b in 0u64..1 << 63) {
        let (x, y) = (Tid::from_number(a), Tid::from_number(b));
        prop_assert_eq!(x.number(), a);
        prop_assert_eq!(Tid::parse(x.as_str()).unwrap(), x);
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x.as_str().cmp(y.as_str()), a.cmp(&b));
        prop_assert_eq!(Tid::new(x.micros(), x.clock()), x);
    }

    #[test]
    fn anything_is_judged_without_a_panic(text in "(at://|did:|x-|http:)?[-a-zA-Z0-9.:/%~#é_ ]{0,40}") {
        let _ = (Did::parse(&text), Handle::parse(&text), AtIdentifier::parse(&text), Nsid::parse(&text));
        let _ = (RecordKey::parse(&text), Tid::parse(&text), AtUri::parse(&text), Datetime::parse(&text));
        let _ = (Language::parse(&text), Uri::parse(&text), CidString::parse(&text));
    }
}
