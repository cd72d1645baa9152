//! DAG-CBOR accepts one encoding for each value and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use ipld_core::ipld;
use proptest::prelude::*;
use ues_data::dag_cbor::{self, DecodeErrorKind, Kind, Limits, Reader, Writer};
use ues_data::{Ipld, raw_cid};

mod common;
use common::any_ipld;

fn bytes(hex: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn refused(hex: &str) -> DecodeErrorKind {
    match dag_cbor::decode(&bytes(hex)) {
        Ok(value) => panic!("{hex} was accepted as {value:?}"),
        Err(e) => e.kind,
    }
}

#[test]
fn what_is_not_canonical_is_refused_by_name() {
    use DecodeErrorKind as E;
    for long in [
        "1817",
        "190017",
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff",
        "3817",
        "580161",
        "780161",
        "980101",
        "b801616101",
    ] {
        assert_eq!(refused(long), E::NotMinimal, "{long}");
    }
    for open in ["5f4161ff", "7f6161ff", "9f01ff", "bf616101ff", "1c", "ff"] {
        assert!(
            matches!(refused(open), E::Indefinite(_) | E::Simple(_)),
            "{open}"
        );
    }
    for simple in [
        "f7",
        "e0",
        "f0",
        "f818",
        "f8ff",
        "f97e00",
        "f93c00",
        "fa3f800000",
    ] {
        assert!(matches!(refused(simple), E::Simple(_)), "{simple}");
    }
    for not_finite in [
        "fb7ff8000000000000",
        "fb7ff0000000000000",
        "fbfff0000000000000",
    ] {
        assert_eq!(refused(not_finite), E::NotFinite);
    }
    assert_eq!(refused("c249010000000000000000"), E::Tag(2));
    assert_eq!(refused("d9d9f7f6"), E::Tag(0xd9f7));
    assert!(matches!(
        refused("d82a6161"),
        E::Unexpected {
            expected: Kind::Bytes,
            ..
        }
    ));
    assert_eq!(refused("d82a40"), E::LinkPrefix);
    assert_eq!(refused("d82a4101"), E::LinkPrefix);
    assert!(matches!(refused("d82a4100"), E::Link(_)));
    assert_eq!(refused("a2616201616101"), E::KeyOrder("a".into()));
    assert_eq!(refused("a2616101616101"), E::KeyOrder("a".into()));
    assert_eq!(refused("a262616101616201"), E::KeyOrder("b".into()));
    assert!(matches!(
        refused("a10101"),
        E::Unexpected {
            expected: Kind::Text,
            ..
        }
    ));
    assert_eq!(refused("61ff"), E::Utf8);
    assert_eq!(refused("63eda080"), E::Utf8);
    assert_eq!(refused("0000"), E::Trailing(1));
    for short in [
        "",
        "18",
        "61",
        "5b7fffffffffffffff",
        "9b0000000100000000",
        "bb0000000100000000",
        "81",
        "a1",
    ] {
        assert_eq!(refused(short), E::Truncated, "{short}");
    }
}

#[test]
fn integers_reach_from_minus_two_to_the_64() {
    for (hex, value) in [
        ("00", 0i128),
        ("17", 23),
        ("1818", 24),
        ("1bffffffffffffffff", (1 << 64) - 1),
        ("20", -1),
        ("3bffffffffffffffff", -(1 << 64)),
    ] {
        assert_eq!(dag_cbor::decode(&bytes(hex)).unwrap(), Ipld::Integer(value));
        assert_eq!(dag_cbor::encode(&Ipld::Integer(value)).unwrap(), bytes(hex));
    }
    assert!(dag_cbor::encode(&Ipld::Integer(1 << 64)).is_err());
    assert!(dag_cbor::encode(&Ipld::Integer(-(1 << 64) - 1)).is_err());
    assert!(dag_cbor::encode(&Ipld::Float(f64::NAN)).is_err());
}

#[test]
fn keys_are_sorted_by_length_first() {
    let value = ipld!({ "b": 1, "aa": 2, "": 3 });
    assert_eq!(
        dag_cbor::encode(&value).unwrap(),
        bytes("a3600361620162616102")
    );
}

#[test]
fn limits_hold() {
    let deep = |n: usize| [vec![0x81; n], vec![0xf6]].concat();
    assert!(dag_cbor::decode(&deep(128)).is_ok());
    assert_eq!(
        dag_cbor::decode(&deep(129)).unwrap_err().kind,
        DecodeErrorKind::TooDeep(128)
    );
    assert!(dag_cbor::decode(&deep(1_000_000)).is_err());
    let no_floats = bytes("fb3ff0000000000000");
    assert!(dag_cbor::decode(&no_floats).is_ok());
    assert_eq!(
        dag_cbor::decode_with(&no_floats, Limits::RECORD)
            .unwrap_err()
            .kind,
        DecodeErrorKind::Float
    );
    assert!(dag_cbor::encode_with(&Ipld::Float(1.0), Limits::RECORD).is_err());
    let few = Limits {
        max_items: 3,
        ..Limits::GENERAL
    };
    assert!(dag_cbor::decode_with(&bytes("820101"), few).is_ok());
    assert!(dag_cbor::decode_with(&bytes("83010101"), few).is_err());
    let short = Limits {
        max_bytes: 3,
        ..Limits::GENERAL
    };
    assert!(dag_cbor::decode_with(&bytes("83010101"), short).is_err());
    assert!(dag_cbor::decode_from(&bytes("83010101")[..], short).is_err());
    assert!(dag_cbor::encode_with(&ipld!([1, 2, 3]), short).is_err());
    let mut nested = Ipld::Null;
    for _ in 0..200 {
        nested = Ipld::List(vec![nested]);
    }
    assert!(dag_cbor::encode(&nested).is_err());
}

#[test]
fn pieces_are_read_as_they_were_written() {
    let cid = raw_cid(b"x");
    let mut writer = Writer::new();
    writer.map(3);
    writer.text("l");
    writer.link(&cid);
    writer.text("n");
    writer.null();
    writer.text("list");
    writer.array(5);
    writer.int(-7);
    writer.uint(u64::MAX);
    writer.bool(true);
    writer.f64(0.5);
    writer.bytes(b"\x00\x01");
    let encoded = writer.into_bytes();
    assert_eq!(
        dag_cbor::encode(&dag_cbor::decode(&encoded).unwrap()).unwrap(),
        encoded
    );

    let mut reader = Reader::new(&encoded);
    let mut previous = None;
    assert_eq!(reader.map().unwrap(), 3);
    assert_eq!(reader.key(&mut previous).unwrap(), "l");
    assert_eq!(reader.link().unwrap(), cid);
    assert_eq!(reader.key(&mut previous).unwrap(), "n");
    assert!(reader.try_null().unwrap());
    assert_eq!(reader.key(&mut previous).unwrap(), "list");
    assert_eq!(reader.clone().skip().unwrap(), reader.remaining());
    assert_eq!(reader.array().unwrap(), 5);
    assert!(reader.clone().uint().is_err());
    assert_eq!(reader.i64().unwrap(), -7);
    assert!(reader.clone().i64().is_err());
    assert_eq!(reader.uint().unwrap(), u64::MAX);
    assert!(!reader.try_null().unwrap());
    assert!(reader.bool().unwrap());
    assert_eq!(reader.f64().unwrap(), 0.5);
    assert_eq!(reader.bytes().unwrap(), b"\x00\x01");
    assert_eq!(reader.position(), encoded.len());
    reader.finish().unwrap();
}

#[test]
fn large_values_stream_out() {
    let value = ipld!({ "a": Ipld::Bytes(vec![1; 300_000]), "b": vec![Ipld::String("text".repeat(20)); 5_000] });
    let mut out = Vec::new();
    let written = dag_cbor::encode_to(&value, &mut out, Limits::GENERAL).unwrap();
    assert_eq!(written, out.len() as u64);
    assert_eq!(out, dag_cbor::encode(&value).unwrap());
    assert_eq!(
        dag_cbor::decode_from(&out[..], Limits::GENERAL).unwrap(),
        value
    );
}

proptest! {
    #[test]
    fn values_round_trip(value in any_ipld()) {
        let encoded = dag_cbor::encode(&value).unwrap();
        prop_assert_eq!(&dag_cbor::decode(&encoded).unwrap(), &value);
        let mut streamed = Vec::new();
        dag_cbor::encode_to(&value, &mut streamed, Limits::GENERAL).unwrap();
        prop_assert_eq!(&streamed, &encoded);
        let mut reader = Reader::new(&encoded);
        prop_assert_eq!(reader.skip().unwrap(), &encoded[..]);
        let (prefix, used) = dag_cbor::decode_prefix(&[&encoded[..], b"tail"].concat(), Limits::GENERAL).unwrap();
        prop_assert_eq!((prefix, used), (value, encoded.len()));
    }

    #[test]
    fn whatever_decodes_is_canonical(input in proptest::collection::vec(any::<u8>(), 0..24)) {
        if let Ok(value) = dag_cbor::decode(&input) {
            prop_assert_eq!(dag_cbor::encode(&value).unwrap(), input);
        }
    }
}
