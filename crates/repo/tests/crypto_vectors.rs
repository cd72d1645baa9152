//! Keys and signatures: the interoperability vectors and properties.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use data_encoding::{BASE64_NOPAD, HEXLOWER};
use proptest::prelude::*;
use serde_json::Value;
use ues_repo::crypto::{KeyError, KeyKind, SignatureError, SigningKey, VerifyingKey};

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/vectors/atproto-interop/crypto"
);

fn vectors(file: &str) -> Vec<Value> {
    let path = format!("{FOLDER}/{file}");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| {
        panic!("the shared vectors folder is needed for this test: {path}: {e}")
    });
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty());
    vectors
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap()
}

#[test]
fn signatures() {
    for vector in vectors("signature-fixtures.json") {
        let comment = text(&vector, "comment");
        let key = VerifyingKey::from_did_key(text(&vector, "publicKeyDid")).unwrap();
        assert_eq!(key.did_key(), text(&vector, "publicKeyDid"));
        assert_eq!(key.kind().jwt_alg(), text(&vector, "algorithm"));
        let older =
            VerifyingKey::from_multibase(key.kind(), text(&vector, "publicKeyMultibase")).unwrap();
        assert_eq!(older, key);

        let message = BASE64_NOPAD
            .decode(text(&vector, "messageBase64").as_bytes())
            .unwrap();
        let signature = BASE64_NOPAD
            .decode(text(&vector, "signatureBase64").as_bytes())
            .unwrap();
        let result = key.verify(&message, &signature);
        match vector["tags"][0].as_str() {
            None => assert_eq!(result, Ok(()), "{comment}"),
            Some("high-s") => assert_eq!(result, Err(SignatureError::HighS), "{comment}"),
            Some("der-encoded") => assert!(
                matches!(result, Err(SignatureError::Length { .. })),
                "{comment}"
            ),
            Some(tag) => panic!("unknown tag {tag}"),
        }
        assert_eq!(result.is_ok(), vector["validSignature"].as_bool().unwrap());
    }
}

#[test]
fn did_keys_of_k256() {
    for vector in vectors("w3c_didkey_K256.json") {
        let secret = HEXLOWER
            .decode(text(&vector, "privateKeyBytesHex").as_bytes())
            .unwrap();
        let key = SigningKey::from_bytes(KeyKind::K256, &secret.try_into().unwrap()).unwrap();
        assert_eq!(key.did_key(), text(&vector, "publicDidKey"));
    }
}

#[test]
fn did_keys_of_p256() {
    for vector in vectors("w3c_didkey_P256.json") {
        let base58 = format!("z{}", text(&vector, "privateKeyBytesBase58"));
        let (_, secret) = multibase::decode(base58).unwrap();
        let key = SigningKey::from_bytes(KeyKind::P256, &secret.try_into().unwrap()).unwrap();
        assert_eq!(key.did_key(), text(&vector, "publicDidKey"));
    }
}

#[test]
fn did_key_of_ed25519() {
    // the first example of the did:key specification, section on Ed25519
    let text = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    let key = VerifyingKey::from_did_key(text).unwrap();
    assert_eq!(key.kind(), KeyKind::Ed25519);
    assert_eq!(key.did_key(), text);
}

#[test]
fn strings_that_are_no_keys() {
    let good = "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc";
    assert!(VerifyingKey::from_did_key(good).is_ok());
    for bad in [
        "",
        "did:key:",
        "did:key:z",
        "did:key:fe701",
        "did:web:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
        "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
        "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJw0",
        "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJw",
        // x25519, which only encrypts
        "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",
    ] {
        assert!(VerifyingKey::from_did_key(bad).is_err(), "{bad:?} accepted");
    }
    let long = format!("did:key:z{}", "2".repeat(1_000_000));
    assert_eq!(
        VerifyingKey::from_did_key(&long),
        Err(KeyError::NotMultibase)
    );
    assert!(SigningKey::from_bytes(KeyKind::K256, &[0; 32]).is_err());
    assert!(SigningKey::from_bytes(KeyKind::P256, &[0xff; 32]).is_err());
}

#[test]
fn debug_shows_no_secret() {
    for kind in [KeyKind::K256, KeyKind::P256, KeyKind::Ed25519] {
        let key = SigningKey::from_bytes(kind, &[0x5a; 32]).unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.did_key()));
        assert!(!shown.contains("5a5a") && !shown.contains("90, 90"));
    }
}

fn kinds() -> impl Strategy<Value = KeyKind> {
    prop_oneof![
        Just(KeyKind::K256),
        Just(KeyKind::P256),
        Just(KeyKind::Ed25519)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does(
        kind in kinds(),
        mut secret in any::<[u8; 32]>(),
        message in proptest::collection::vec(any::<u8>(), 0..200),
        flipped in 0usize..512,
    ) {
        secret[0] &= 0x7f;
        secret[31] |= 1;
        let key = SigningKey::from_bytes(kind, &secret).unwrap();
        let signature = key.sign(&message);
        let public = VerifyingKey::from_did_key(&key.did_key()).unwrap();
        prop_assert_eq!(public.verify(&message, &signature), Ok(()));
        prop_assert_eq!(key.sign(&message), signature);
        prop_assert_eq!(&*key.to_bytes(), &secret);

        let mut changed = signature;
        changed[flipped / 8] ^= 1 << (flipped % 8);
        prop_assert!(public.verify(&message, &changed).is_err());
        let mut other = message.clone();
        other.push(0);
        prop_assert_eq!(public.verify(&other, &signature), Err(SignatureError::Mismatch));
    }

    #[test]
    fn both_multibase_forms_come_back(kind in kinds(), mut secret in any::<[u8; 32]>()) {
        secret[0] &= 0x7f;
        secret[31] |= 1;
        let key = SigningKey::from_bytes(kind, &secret).unwrap().verifying_key().clone();
        prop_assert_eq!(&VerifyingKey::from_multikey(&key.multikey()).unwrap(), &key);
        prop_assert_eq!(
            &VerifyingKey::from_multibase(kind, &key.multibase_uncompressed()).unwrap(),
            &key
        );
    }
}
