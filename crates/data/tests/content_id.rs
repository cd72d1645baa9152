//! CIDs as people write them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use multibase::Base;
use proptest::prelude::*;
use ues_data::content_id::{CidError, cid_from_bytes, parse_atproto_cid, parse_cid, write_cid};
use ues_data::{Cid, raw_cid};

mod common;
use common::any_cid;

/// Every base of the multibase table that a CID may be written in.
const BASES: [Base; 23] = [
    Base::Base2,
    Base::Base8,
    Base::Base10,
    Base::Base16Lower,
    Base::Base16Upper,
    Base::Base32Lower,
    Base::Base32Upper,
    Base::Base32PadLower,
    Base::Base32PadUpper,
    Base::Base32HexLower,
    Base::Base32HexUpper,
    Base::Base32HexPadLower,
    Base::Base32HexPadUpper,
    Base::Base32Z,
    Base::Base36Lower,
    Base::Base36Upper,
    Base::Base58Flickr,
    Base::Base58Btc,
    Base::Base64,
    Base::Base64Pad,
    Base::Base64Url,
    Base::Base64UrlPad,
    Base::Base256Emoji,
];

fn vectors(name: &str) -> Vec<String> {
    let path = format!(
        "{}/../../../shared/vectors/atproto-interop/syntax/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("the interop vectors are needed at {path}: {e}"));
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn real_cids_of_the_vectors_parse() {
    // The others of that file only look like CIDs: what they decode to has no version 0 or 1.
    let contrived = [
        "mBcDxtdWx0aWhhc2g+",
        "z7x3CtScH765HvShXT",
        "7134036155352661643226414134664076",
    ];
    for text in vectors("cid_syntax_valid.txt") {
        let parsed = parse_cid(&text);
        assert_eq!(
            parsed.is_ok(),
            !contrived.contains(&text.as_str()),
            "{text}: {parsed:?}"
        );
    }
    for text in vectors("cid_syntax_invalid.txt") {
        assert!(parse_atproto_cid(&text).is_err(), "{text}");
    }
}

#[test]
fn every_base_reads_back() {
    let cid = raw_cid(b"a");
    for base in BASES {
        let text = cid.to_string_of_base(base).unwrap();
        assert_eq!(parse_cid(&text), Ok(cid), "{base:?}: {text}");
    }
}

#[test]
fn version_0_is_plain() {
    let text = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
    let cid = parse_cid(text).unwrap();
    assert_eq!(cid.version(), cid::Version::V0);
    assert_eq!(cid.to_string(), text);
    assert_eq!(parse_cid(&format!("z{text}")), Err(CidError::PrefixedV0));
    assert!(matches!(
        parse_atproto_cid(text),
        Err(CidError::NotAtproto(_))
    ));
    assert!(parse_cid(&text[..45]).is_err());
}

#[test]
fn noise_is_refused() {
    let good = raw_cid(b"a").to_string();
    for text in [
        String::new(),
        "b".into(),
        "\0abc".into(),
        "é".repeat(4),
        format!(" {good}"),
        format!("{good} "),
        format!("/ipfs/{good}"),
        format!("{good}a"),
        format!("{good}="),
        good[..good.len() - 1].to_owned(),
        "b".repeat(2000),
    ] {
        assert!(parse_cid(&text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn bytes_and_text_round_trip(cid in any_cid()) {
        let mut bytes = Vec::new();
        write_cid(&cid, &mut bytes);
        prop_assert_eq!(cid_from_bytes(&bytes), Ok(cid));
        prop_assert_eq!(parse_cid(&cid.to_string()), Ok(cid));
        prop_assert_eq!(Cid::try_from(&bytes[..]).ok(), Some(cid));
    }
}
