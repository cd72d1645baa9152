//! The encrypted keystore: round trips, wrong locks, tampering.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use ues_repo::crypto::keystore::{Keystore, KeystoreError, PassphraseCost, Unlock};
use ues_repo::crypto::{KeyKind, SigningKey};

const CHEAP: PassphraseCost = PassphraseCost {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(text.to_owned().into())
}

fn open(path: &Path, unlock: &Unlock) -> Result<Keystore, KeystoreError> {
    Keystore::open_with_cost(path, unlock, CHEAP)
}

fn key_file(folder: &Path) -> Unlock {
    Unlock::KeyFile(folder.join("key"))
}

#[test]
fn keys_come_back_under_either_lock() {
    let folder = tempfile::tempdir().unwrap();
    for (file, unlock) in [
        ("a", key_file(folder.path())),
        ("b", passphrase("correct horse")),
    ] {
        let path = folder.path().join(file);
        let mut expected = Vec::new();
        let mut keystore = open(&path, &unlock).unwrap();
        assert!(keystore.is_empty());
        for kind in [KeyKind::K256, KeyKind::P256, KeyKind::Ed25519] {
            let key = SigningKey::generate(kind).unwrap();
            let name = format!("{kind:?}");
            keystore.insert(&name, key.clone()).unwrap();
            expected.push((name, key));
        }
        drop(keystore);

        let mut keystore = open(&path, &unlock).unwrap();
        assert_eq!(keystore.len(), 3);
        for (name, key) in &expected {
            assert_eq!(keystore.get(name).unwrap().to_bytes(), key.to_bytes());
        }
        assert!(keystore.remove("P256").unwrap());
        assert!(!keystore.remove("P256").unwrap());
        let keystore = open(&path, &unlock).unwrap();
        assert_eq!(keystore.names().collect::<Vec<_>>(), ["Ed25519", "K256"]);
    }
}

#[test]
fn nothing_secret_is_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let mut keystore = open(&path, &key_file(folder.path())).unwrap();
    let key = SigningKey::from_bytes(KeyKind::K256, &[0x5a; 32]).unwrap();
    keystore.insert("did:plc:someone", key).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        !text.contains("5a5a") && !text.contains("someone"),
        "{text}"
    );
    let shown = format!("{keystore:?} {:?}", passphrase("correct horse"));
    assert!(!shown.contains("5a5a") && !shown.contains("horse"));
    #[cfg(unix)]
    for file in ["keys", "key"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn the_wrong_lock_is_told_apart_from_the_wrong_kind_of_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    open(&path, &passphrase("right")).unwrap();
    assert!(matches!(
        open(&path, &passphrase("wrong")),
        Err(KeystoreError::WrongOrTampered { lock: "passphrase" })
    ));
    assert!(matches!(
        open(&path, &key_file(folder.path())),
        Err(KeystoreError::OtherLock {
            expected: "passphrase"
        })
    ));
    fs::write(folder.path().join("key"), "not hexadecimal").unwrap();
    assert!(matches!(
        open(&folder.path().join("other"), &key_file(folder.path())),
        Err(KeystoreError::KeyFile { .. })
    ));
}

#[test]
fn a_lost_key_file_is_not_replaced_by_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    open(&path, &key_file(folder.path())).unwrap();
    fs::remove_file(folder.path().join("key")).unwrap();
    assert!(matches!(
        open(&path, &key_file(folder.path())),
        Err(KeystoreError::Io { .. })
    ));
    assert!(!folder.path().join("key").exists());
}

#[test]
fn every_changed_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let unlock = passphrase("right");
    let mut keystore = open(&path, &unlock).unwrap();
    let key = SigningKey::from_bytes(KeyKind::Ed25519, &[7; 32]).unwrap();
    keystore.insert("one", key).unwrap();
    let good = fs::read(&path).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&good).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        // a change of white space between the fields changes nothing
        if serde_json::from_slice::<serde_json::Value>(&bad).is_ok_and(|v| v == value) {
            continue;
        }
        fs::write(&path, &bad).unwrap();
        assert!(open(&path, &unlock).is_err(), "byte {at} changed");
    }
    for end in 0..good.len() - 2 {
        fs::write(&path, &good[..end]).unwrap();
        assert!(open(&path, &unlock).is_err(), "cut off at {end}");
    }
}

#[test]
fn a_newer_format_and_an_absurd_cost_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let unlock = passphrase("right");
    open(&path, &unlock).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    assert!(matches!(
        open(&path, &unlock),
        Err(KeystoreError::Newer {
            found: 2,
            supported: 1
        })
    ));
    let costly = text.replace("\"memory_kib\": 64", "\"memory_kib\": 4000000000");
    fs::write(&path, costly).unwrap();
    assert!(matches!(open(&path, &unlock), Err(KeystoreError::Cost(_))));
}

#[test]
fn the_lock_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let mut keystore = open(&path, &key_file(folder.path())).unwrap();
    keystore
        .insert("one", SigningKey::generate(KeyKind::K256).unwrap())
        .unwrap();
    keystore.relock(&passphrase("new"), CHEAP).unwrap();
    assert_eq!(open(&path, &passphrase("new")).unwrap().len(), 1);
    assert!(open(&path, &key_file(folder.path())).is_err());
}

#[test]
fn names_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut keystore = open(&folder.path().join("keys"), &key_file(folder.path())).unwrap();
    let key = SigningKey::generate(KeyKind::K256).unwrap();
    for name in ["", "a\nb", &"x".repeat(257)] {
        assert!(matches!(
            keystore.insert(name, key.clone()),
            Err(KeystoreError::Name(_))
        ));
    }
}
