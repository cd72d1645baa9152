//! did:plc operations and the rules of their log.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use ues_repo::crypto::{KeyKind, SigningKey, VerifyingKey};
use ues_repo::identity::plc::{
    self, AccountIdentity, LegacyCreate, LogEntry, Operation, PlcError, PlcOperation,
    RECOVERY_WINDOW_MS, check_next, validate_log,
};
use ues_repo::syntax::{Datetime, Did, Handle};

fn key(number: u8) -> SigningKey {
    let kind = if number.is_multiple_of(2) {
        KeyKind::K256
    } else {
        KeyKind::P256
    };
    SigningKey::from_bytes(kind, &[number + 1; 32]).unwrap()
}

fn genesis(rotation: &[u8]) -> plc::Genesis {
    let identity = AccountIdentity {
        signing_key: key(100).verifying_key().clone(),
        rotation_keys: rotation
            .iter()
            .map(|&number| key(number).verifying_key().clone())
            .collect(),
        handle: Handle::parse("alice.test").unwrap(),
        pds: "pds.test".to_owned(),
    };
    plc::create(&identity, &key(*rotation.last().unwrap())).unwrap()
}

fn entry(did: &Did, operation: Operation, ms: i64) -> LogEntry {
    LogEntry {
        did: did.clone(),
        cid: operation.cid().unwrap().to_string(),
        operation,
        nullified: false,
        created_at: Datetime::from_unix_millis(ms),
    }
}

fn rename(last: &Operation, by: &SigningKey, handle: &str) -> Operation {
    let handle = Handle::parse(handle).unwrap();
    plc::update(last, by, |op| op.set_handle(&handle)).unwrap()
}

#[test]
fn a_real_account_of_the_public_directory() {
    // did:plc:z72i7hdynmk6r22z27h6tvur as https://plc.directory gives it
    let json = json!({
        "sig": "9NuYV7AqwHVTc0YuWzNV3CJafsSZWH7qCxHRUIP2xWlB-YexXC1OaYAnUayiCXLVzRQ8WBXIqF-SvZdNalwcjA",
        "prev": null,
        "type": "plc_operation",
        "services": {
            "atproto_pds": {
                "type": "AtprotoPersonalDataServer",
                "endpoint": "https://bsky.social"
            }
        },
        "alsoKnownAs": ["at://bluesky-team.bsky.social"],
        "rotationKeys": [
            "did:key:zQ3shhCGUqDKjStzuDxPkTxN6ujddP4RkEKJJouJGRRkaLGbg",
            "did:key:zQ3shpKnbdPx3g3CmPf5cRVTPe1HtSwVn5ish3wSnDPQCbLJK"
        ],
        "verificationMethods": {
            "atproto": "did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
        }
    });
    let operation = Operation::from_json(&json).unwrap();
    let did = Did::parse("did:plc:z72i7hdynmk6r22z27h6tvur").unwrap();
    assert_eq!(operation.did().unwrap(), did);
    assert!(check_next(&did, &[], &operation, 0).is_ok());
    assert_eq!(serde_json::to_value(&operation).unwrap(), json);
}

#[test]
fn a_created_identity_says_what_it_was_made_of() {
    let made = genesis(&[0, 1]);
    assert_eq!(made.did.as_str().len(), 32);
    let log = [entry(&made.did, made.operation.clone(), 1)];
    let data = validate_log(&made.did, &log).unwrap().data.unwrap();
    let document = data.document();
    assert_eq!(document.handle().unwrap(), "alice.test");
    assert_eq!(document.pds_endpoint(), Some("https://pds.test"));
    assert_eq!(&document.signing_key().unwrap(), key(100).verifying_key());
    let json = serde_json::to_value(&document).unwrap();
    assert_eq!(
        json["verificationMethod"][0]["id"],
        format!("{}#atproto", made.did)
    );
    assert_eq!(json["service"][0]["id"], "#atproto_pds");
    assert_eq!(json["verificationMethod"][0]["type"], "Multikey");
    assert_eq!(
        serde_json::from_value::<ues_repo::identity::DidDocument>(json).unwrap(),
        document
    );
}

#[test]
fn a_legacy_creation_still_counts() {
    let unsigned = Operation::LegacyCreate(LegacyCreate {
        signing_key: key(3).did_key(),
        recovery_key: key(4).did_key(),
        handle: "old.test".to_owned(),
        service: "old.example.com".to_owned(),
        prev: (),
        sig: String::new(),
    });
    let first = plc::sign(unsigned, &key(3)).unwrap();
    let did = first.did().unwrap();
    let second = rename(&first, &key(4), "new.test");
    let log = [entry(&did, first.clone(), 1), entry(&did, second, 2)];
    let data = validate_log(&did, &log).unwrap().data.unwrap();
    assert_eq!(data.also_known_as, ["at://new.test"]);
    assert_eq!(
        data.services["atproto_pds"].endpoint,
        "https://old.example.com"
    );
    assert_eq!(data.rotation_keys, [key(4).did_key(), key(3).did_key()]);
    let json = serde_json::to_value(&first).unwrap();
    assert!(json["prev"].is_null() && json["type"] == "create");
    assert_eq!(Operation::from_json(&json).unwrap(), first);
}

#[test]
fn json_has_all_fields_and_no_others() {
    let good = serde_json::to_value(genesis(&[0]).operation).unwrap();
    assert!(Operation::from_json(&good).is_ok());
    for field in [
        "type",
        "rotationKeys",
        "verificationMethods",
        "alsoKnownAs",
        "services",
        "prev",
        "sig",
    ] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(field);
        assert!(Operation::from_json(&bad).is_err(), "without {field}");
    }
    let mut bad = good.clone();
    bad["more"] = json!(1);
    assert!(Operation::from_json(&bad).is_err());
    for bad in [
        json!(null),
        json!([]),
        json!({"type": "plc_tombstone"}),
        json!({"type": "x"}),
    ] {
        assert!(matches!(
            Operation::from_json(&bad),
            Err(PlcError::NotAnOperation(_))
        ));
    }
}

#[test]
fn constraints_of_the_directory() {
    let change = |change: &dyn Fn(&mut PlcOperation)| {
        let Operation::Update(mut op) = genesis(&[0]).operation else {
            panic!("a creation is an update")
        };
        change(&mut op);
        plc::check_constraints(&Operation::Update(op))
            .err()
            .map(|e| e.to_string())
    };
    assert_eq!(change(&|_| ()), None);
    let many = |count: usize| (0..count).map(|n| format!("at://{n}.test")).collect();
    assert_eq!(change(&|op| op.also_known_as = many(10)), None);
    assert_eq!(
        change(&|op| op.also_known_as = many(11)).unwrap(),
        "To many alsoKnownAs entries (max 10)"
    );
    assert_eq!(
        change(&|op| op.also_known_as = vec!["a".to_owned(); 2]).unwrap(),
        "duplicate alsoKnownAs entry: a"
    );
    assert!(change(&|op| op.also_known_as = vec!["a".repeat(259)]).is_some());
    assert!(
        change(&|op| op.also_known_as = vec!["é".repeat(5000)])
            .unwrap()
            .contains("4000 bytes")
    );
    assert_eq!(
        change(&|op| op.rotation_keys = vec![key(0).did_key(); 11]).unwrap(),
        "Too many rotationKey entries (max 10)"
    );
    assert_eq!(
        change(&|op| op.rotation_keys = vec!["did:key:x".to_owned()]).unwrap(),
        "Invalid rotationKey: did:key:x"
    );
    let device = SigningKey::from_bytes(KeyKind::Ed25519, &[1; 32])
        .unwrap()
        .did_key();
    assert!(change(&|op| op.rotation_keys = vec![device.clone()]).is_some());
    // any kind of key may verify, as long as it is one by its looks
    let insert = |op: &mut PlcOperation, id: &str, key: &str| {
        op.verification_methods
            .insert(id.to_owned(), key.to_owned());
    };
    assert_eq!(change(&|op| insert(op, "device", &device)), None);
    assert!(change(&|op| insert(op, "device", "did:web:x")).is_some());
    assert!(change(&|op| insert(op, &"i".repeat(33), &device)).is_some());
    assert!(change(&|op| op.set_pds(&"e".repeat(520))).is_some());
    let tombstone = plc::tombstone(&genesis(&[0]).operation, &key(0)).unwrap();
    assert!(plc::check_constraints(&tombstone).is_ok());
}

#[test]
fn a_mightier_key_undoes_within_72_hours() {
    let made = genesis(&[0, 1, 2]);
    let did = &made.did;
    let first = entry(did, made.operation.clone(), 0);
    let stolen = rename(&made.operation, &key(1), "thief.test");
    let more = rename(&stolen, &key(2), "more.test");
    let log = [&first, &entry(did, stolen, 1000), &entry(did, more, 2000)];
    let rescue = |number: u8| rename(&made.operation, &key(number), "rescued.test");

    let accepted = check_next(did, &log, &rescue(0), 1000 + RECOVERY_WINDOW_MS).unwrap();
    assert_eq!(accepted.kept, 1);
    assert_eq!(
        check_next(did, &log, &rescue(0), 1001 + RECOVERY_WINDOW_MS),
        Err(PlcError::LateRecovery {
            lapsed_ms: RECOVERY_WINDOW_MS + 1
        })
    );
    for number in [1, 2, 9] {
        assert!(matches!(
            check_next(did, &log, &rescue(number), 3000),
            Err(PlcError::InvalidSignature(_))
        ));
    }
    assert_eq!(
        check_next(did, &log, &rescue(0), 2000),
        Err(PlcError::Misordered)
    );
}

#[test]
fn a_tombstone_ends_it_and_can_be_undone() {
    let made = genesis(&[0, 1]);
    let did = &made.did;
    let end = plc::tombstone(&made.operation, &key(1)).unwrap();
    let first = entry(did, made.operation.clone(), 0);
    let last = entry(did, end.clone(), 10);
    let valid = validate_log(did, &[first.clone(), last.clone()]).unwrap();
    assert_eq!((valid.data, valid.length), (None, 2));
    assert!(plc::update(&end, &key(0), |_| ()).is_err());

    let after = PlcOperation {
        prev: Some(end.cid().unwrap().to_string()),
        ..made.operation.normalized().unwrap()
    };
    let after = plc::sign(Operation::Update(after), &key(0)).unwrap();
    assert_eq!(
        check_next(did, &[&first, &last], &after, 20),
        Err(PlcError::Misordered)
    );
    let undo = rename(&made.operation, &key(0), "back.test");
    assert_eq!(
        check_next(did, &[&first, &last], &undo, 20).unwrap().kept,
        1
    );
}

#[test]
fn signatures_in_other_clothes_are_refused() {
    let made = genesis(&[0]);
    let Operation::Update(op) = made.operation else {
        panic!("a creation is an update")
    };
    let good = op.sig.clone();
    for sig in [
        format!("{good}=="),
        good.replace(['-', '_'], "+"),
        String::new(),
        good[1..].to_owned(),
        format!("{}B", &good[..good.len() - 1]),
    ] {
        if sig == good {
            continue;
        }
        let bad = Operation::Update(PlcOperation {
            sig: sig.clone(),
            ..op.clone()
        });
        assert!(bad.signer(&[&key(0).did_key()]).is_err(), "{sig}");
    }
    // a device key never rotates
    let device = SigningKey::from_bytes(KeyKind::Ed25519, &[1; 32]).unwrap();
    let by_device = plc::sign(Operation::Update(op), &device).unwrap();
    assert!(by_device.signer(&[&device.did_key()]).is_err());
}

#[test]
fn an_audit_log_that_lies_is_found_out() {
    let made = genesis(&[0, 1]);
    let did = &made.did;
    let second = rename(&made.operation, &key(1), "b.test");
    let fork = rename(&made.operation, &key(0), "c.test");
    let mut good = vec![
        entry(did, made.operation, 0),
        entry(did, second, 10),
        entry(did, fork, 20),
    ];
    good[1].nullified = true;
    assert_eq!(validate_log(did, &good).unwrap().length, 2);

    let lie = |change: &dyn Fn(&mut Vec<LogEntry>)| {
        let mut log = good.clone();
        change(&mut log);
        validate_log(did, &log).unwrap_err()
    };
    assert!(matches!(
        lie(&|log| log[1].nullified = false),
        PlcError::WrongNullified { .. }
    ));
    assert!(matches!(
        lie(&|log| log[2].nullified = true),
        PlcError::WrongNullified { .. }
    ));
    assert!(matches!(
        lie(&|log| log[2].cid = log[1].cid.clone()),
        PlcError::WrongCid { .. }
    ));
    assert!(matches!(lie(&|log| log.swap(1, 2)), PlcError::Misordered));
    assert!(matches!(
        lie(&|log| log[0].did = Did::parse("did:plc:other").unwrap()),
        PlcError::WrongDid { .. }
    ));
    assert!(matches!(
        lie(&|log| drop(log.remove(0))),
        PlcError::GenesisHash { .. } | PlcError::Improper { .. } | PlcError::InvalidSignature(_)
    ));
    assert_eq!(lie(&Vec::clear), PlcError::EmptyLog);
    let late = Datetime::from_unix_millis(11 + RECOVERY_WINDOW_MS);
    assert!(matches!(
        lie(&|log| log[2].created_at = late.clone()),
        PlcError::LateRecovery { .. }
    ));
}

/// What happens next in a random history.
#[derive(Debug, Clone)]
struct Step {
    /// Which of all operations so far it follows.
    base: prop::sample::Index,
    signer: u8,
    end: bool,
    /// Which keys may go on.
    rotation: Vec<u8>,
    elapsed_ms: i64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        any::<prop::sample::Index>(),
        0u8..4,
        prop::bool::weighted(0.1),
        prop::sample::subsequence(vec![0u8, 1, 2, 3], 1..4).prop_shuffle(),
        prop_oneof![
            0i64..3,
            Just(RECOVERY_WINDOW_MS / 2),
            Just(RECOVERY_WINDOW_MS + 1)
        ],
    );
    let step = step.prop_map(|(base, signer, end, rotation, elapsed_ms)| Step {
        base,
        signer,
        end,
        rotation,
        elapsed_ms,
    });
    prop::collection::vec(step, 1..12)
}

/// An operation as the slow reference sees it: everything is written down, nothing is derived.
struct Known {
    cid: String,
    prev: usize,
    rotation: Vec<u8>,
    signer: u8,
    end: bool,
    ms: i64,
    nullified: bool,
}

/// Says by the words of the specification whether an operation is taken, and marks what it nullifies.
fn reference(known: &mut [Known], base: usize, signer: u8, now_ms: i64) -> bool {
    if known[base].nullified || known[base].end {
        return false;
    }
    let Some(allowed) = known[base].rotation.iter().position(|&k| k == signer) else {
        return false;
    };
    let standing_child =
        (1..known.len()).find(|&at| known[at].prev == base && !known[at].nullified);
    let Some(child) = standing_child else {
        return true;
    };
    let disputed = known[base]
        .rotation
        .iter()
        .position(|&k| k == known[child].signer)
        .unwrap();
    let newest = known
        .iter()
        .filter(|k| !k.nullified)
        .map(|k| k.ms)
        .max()
        .unwrap();
    if allowed >= disputed || now_ms <= newest || now_ms - known[child].ms > RECOVERY_WINDOW_MS {
        return false;
    }
    let mut undone = vec![child];
    while let Some(at) = undone.pop() {
        known[at].nullified = true;
        undone.extend(
            (1..known.len()).filter(|&next| known[next].prev == at && !known[next].nullified),
        );
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_forks_and_times_against_a_reference(steps in steps()) {
        let made = genesis(&[0, 1, 2]);
        let did = made.did.clone();
        let mut now_ms = 1_700_000_000_000;
        let mut log = vec![entry(&did, made.operation, now_ms)];
        let mut known = vec![Known {
            cid: log[0].cid.clone(),
            prev: usize::MAX,
            rotation: vec![0, 1, 2],
            signer: 2,
            end: false,
            ms: now_ms,
            nullified: false,
        }];
        for step in steps {
            now_ms += step.elapsed_ms;
            let base = step.base.index(log.len());
            let prev = known[base].cid.clone();
            let operation = if step.end {
                Operation::Tombstone(plc::Tombstone { prev, sig: String::new() })
            } else {
                Operation::Update(PlcOperation {
                    rotation_keys: step.rotation.iter().map(|&k| key(k).did_key()).collect(),
                    verification_methods: BTreeMap::new(),
                    // makes every operation another one
                    also_known_as: vec![format!("at://n{}.test", log.len())],
                    services: BTreeMap::new(),
                    prev: Some(prev),
                    sig: String::new(),
                })
            };
            let operation = plc::sign(operation, &key(step.signer)).unwrap();
            let cid = operation.cid().unwrap().to_string();
            if known.iter().any(|k| k.cid == cid) {
                continue;
            }
            let history: Vec<&LogEntry> = log.iter().filter(|e| !e.nullified).collect();
            let taken = check_next(&did, &history, &operation, now_ms);
            let expected = reference(&mut known, base, step.signer, now_ms);
            prop_assert_eq!(taken.is_ok(), expected, "{:?}", taken);
            if let Ok(accepted) = taken {
                let standing: Vec<String> = history[..accepted.kept].iter().map(|e| e.cid.clone()).collect();
                for old in &mut log {
                    old.nullified = !standing.contains(&old.cid);
                }
                known.push(Known {
                    cid,
                    prev: base,
                    rotation: if step.end { Vec::new() } else { step.rotation },
                    signer: step.signer,
                    end: step.end,
                    ms: now_ms,
                    nullified: false,
                });
                log.push(entry(&did, operation, now_ms));
            }
            let marks: Vec<bool> = log.iter().map(|e| e.nullified).collect();
            let expected: Vec<bool> = known.iter().map(|k| k.nullified).collect();
            prop_assert_eq!(marks, expected);
            prop_assert!(validate_log(&did, &log).is_ok());
        }
    }

    #[test]
    fn signed_bytes_are_canonical(handles in prop::collection::vec("[a-z]{1,10}", 0..5), rotation in 1u8..4) {
        let operation = Operation::Update(PlcOperation {
            rotation_keys: (0..rotation).map(|k| key(k).did_key()).collect(),
            verification_methods: handles.iter().map(|h| (h.clone(), key(0).did_key())).collect(),
            also_known_as: handles,
            services: BTreeMap::new(),
            prev: None,
            sig: "s".to_owned(),
        });
        let bytes = operation.to_bytes().unwrap();
        let value = ues_data::dag_cbor::decode(&bytes).unwrap();
        prop_assert_eq!(ues_data::dag_cbor::encode(&value).unwrap(), bytes);
        let json = serde_json::to_value(&operation).unwrap();
        prop_assert_eq!(Operation::from_json(&json).unwrap(), operation);
    }
}

#[test]
fn keys_in_documents_have_the_old_suites_too() {
    let document = |kind: &str, text: String| {
        serde_json::from_value::<ues_repo::identity::DidDocument>(json!({
            "id": "did:web:a.test",
            "verificationMethod": [
                {"id": "#atproto", "type": kind, "controller": "did:web:a.test", "publicKeyMultibase": text}
            ]
        }))
        .unwrap()
        .signing_key()
    };
    let k256: VerifyingKey = key(0).verifying_key().clone();
    let p256: VerifyingKey = key(1).verifying_key().clone();
    assert_eq!(document("Multikey", k256.multikey()).unwrap(), k256);
    assert_eq!(
        document(
            "EcdsaSecp256k1VerificationKey2019",
            k256.multibase_uncompressed()
        )
        .unwrap(),
        k256
    );
    assert_eq!(
        document(
            "EcdsaSecp256r1VerificationKey2019",
            p256.multibase_uncompressed()
        )
        .unwrap(),
        p256
    );
    assert!(document("Ed25519VerificationKey2020", k256.multikey()).is_err());
}
