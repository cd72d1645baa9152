//! X25519: the vectors of RFC 7748, keys as text, and keys that must be refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use ues_repo::crypto::{
    AgreementError, AgreementKey, AgreementSecret, KeyError, KeyKind, SigningKey,
};

fn hex(text: &str) -> [u8; 32] {
    HEXLOWER
        .decode(text.as_bytes())
        .unwrap()
        .try_into()
        .unwrap()
}

fn agree(secret: [u8; 32], public: [u8; 32]) -> [u8; 32] {
    let secret = AgreementSecret::from_bytes(&secret);
    *secret.agree(&AgreementKey::from_bytes(public)).unwrap()
}

/// RFC 7748, section 5.2.
#[test]
fn products_of_points() {
    for (scalar, point, product) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        assert_eq!(agree(hex(scalar), hex(point)), hex(product));
    }
}

/// RFC 7748, section 5.2: each result is the next scalar.
#[test]
fn products_a_thousand_times() {
    let mut scalar = [0; 32];
    scalar[0] = 9;
    let mut point = scalar;
    for round in 1..=1000 {
        (scalar, point) = (agree(scalar, point), scalar);
        if round == 1 {
            let once = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079";
            assert_eq!(scalar, hex(once));
        }
    }
    let last = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51";
    assert_eq!(scalar, hex(last));
}

/// RFC 7748, section 6.1.
#[test]
fn two_sides_agree() {
    let secret = |text| AgreementSecret::from_bytes(&hex(text));
    let alice = secret("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = secret("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    assert_eq!(
        alice.public().to_bytes(),
        hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    );
    assert_eq!(
        bob.public().to_bytes(),
        hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    );
    let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(*alice.agree(bob.public()).unwrap(), shared);
    assert_eq!(*bob.agree(alice.public()).unwrap(), shared);
}

#[test]
fn public_keys_of_low_order_are_refused() {
    let secret = AgreementSecret::generate().unwrap();
    let mut one = [0; 32];
    one[0] = 1;
    for point in [
        [0; 32],
        one,
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        // The same points by numbers that are not reduced.
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ] {
        let refused = secret.agree(&AgreementKey::from_bytes(point)).unwrap_err();
        assert_eq!(refused, AgreementError::NotContributory);
    }
}

#[test]
fn keys_as_text() {
    let key = AgreementSecret::generate().unwrap();
    let text = key.public().to_string();
    assert!(text.starts_with("z6LS"), "{text}");
    assert_eq!(&AgreementKey::from_multikey(&text).unwrap(), key.public());
    let shown = format!("{key:?}");
    assert!(shown.contains(&text), "{shown}");
    assert!(!shown.contains(&HEXLOWER.encode(key.to_bytes().as_slice())));
    // A key that signs is none that agrees, and the other way round.
    let signing = SigningKey::generate(KeyKind::Ed25519).unwrap();
    let multikey = signing.did_key().replace("did:key:", "");
    assert_eq!(multikey.parse::<AgreementKey>(), Err(KeyError::NotX25519));
    let refused = ues_repo::crypto::VerifyingKey::from_multikey(&text);
    assert!(matches!(refused, Err(KeyError::UnsupportedKind { .. })));
    for text in ["", "z", "z6LS", "6LS", "zzzz0", "u7AE"] {
        assert!(text.parse::<AgreementKey>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_two_agree_and_any_key_comes_back(a: [u8; 32], b: [u8; 32]) {
        let (a, b) = (AgreementSecret::from_bytes(&a), AgreementSecret::from_bytes(&b));
        prop_assert_eq!(a.agree(b.public()).unwrap(), b.agree(a.public()).unwrap());
        prop_assert_eq!(a.public().to_string().parse::<AgreementKey>().unwrap(), *a.public());
    }
}
