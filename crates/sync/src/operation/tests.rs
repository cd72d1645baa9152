#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use proptest::prelude::*;
use ues_repo::crypto::KeyKind;

use ues_data::Ipld;

use crate::clock::ROOT;

use super::*;

fn key() -> SigningKey {
    SigningKey::from_bytes(KeyKind::Ed25519, &[5; 32]).unwrap()
}

fn record(n: u8) -> Cid {
    ues_data::dag_cbor_cid(&[n])
}

fn paths() -> impl Strategy<Value = RecordPath> {
    "[a-z0-9]{1,20}"
        .prop_map(|key| RecordPath::parse(&format!("app.bsky.feed.post/{key}")).unwrap())
}

fn actions() -> impl Strategy<Value = Action> {
    let tips = proptest::collection::btree_map(1u32..99, (1u64..99, any::<[u8; 32]>()), 0..5);
    prop_oneof![
        (paths(), any::<u8>(), any::<bool>()).prop_map(|(path, n, update)| Action::Put {
            path,
            value: record(n),
            update,
            merge: None
        }),
        paths().prop_map(|path| Action::Delete { path, merge: None }),
        "[a-z é]{0,40}".prop_map(|name| Action::Grant {
            key: key().did_key().into(),
            name: name.into()
        }),
        (any::<u32>(), any::<u64>()).prop_map(|(writer, cut)| Action::Revoke { writer, cut }),
        (any::<u8>(), any::<[u8; 32]>(), tips).prop_map(|(n, states, tips)| {
            let tip = |(writer, (seq, id))| SnapshotTip {
                writer,
                seq,
                id: OperationId(id),
            };
            let tips = tips.into_iter().map(tip).collect();
            Action::Snapshot(SnapshotSums {
                records: record(n),
                states,
                tips,
            })
        }),
    ]
}

fn payloads() -> impl Strategy<Value = Payload> {
    let deps = proptest::collection::btree_map(1000u32..2000, 1u64..u64::MAX, 0..6);
    (
        actions(),
        1u32..999,
        1u64..,
        deps,
        any::<u64>(),
        any::<[u8; 32]>(),
    )
        .prop_map(|(action, writer, seq, deps, time, prev)| Payload {
            repo: Did::parse("did:plc:yk4dd2qkboz2yv6tpubpc6co").unwrap(),
            writer: if action.is_for_root() { ROOT } else { writer },
            seq,
            prev: (seq > 1).then_some(OperationId(prev)),
            deps: deps.into_iter().collect(),
            time: HybridTime(time),
            action,
        })
}

proptest! {
    #[test]
    fn what_is_signed_is_read(payload in payloads()) {
        let signed = payload.clone().sign(&key());
        let read = Operation::decode(signed.block().clone()).unwrap();
        prop_assert_eq!(&read, &signed);
        prop_assert_eq!(&read.payload, &payload);
        prop_assert_eq!(Some(read.cid()), read.id().cid());
        prop_assert!(read.verify(key().verifying_key()));
        let other = SigningKey::from_bytes(KeyKind::Ed25519, &[6; 32]).unwrap();
        prop_assert!(!read.verify(other.verifying_key()));
    }

    #[test]
    fn one_bit_makes_it_another_one_that_nobody_signed(payload in payloads(), at in any::<usize>(), bit in 0u8..8) {
        let signed = payload.sign(&key());
        let mut block = signed.block().to_vec();
        let at = at % block.len();
        block[at] ^= 1 << bit;
        if let Ok(read) = Operation::decode(block.into()) {
            prop_assert_ne!(read.id(), signed.id());
            prop_assert!(!read.verify(key().verifying_key()));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Operation::decode(bytes.into());
    }
}

fn example() -> Payload {
    Payload {
        repo: Did::parse("did:plc:yk4dd2qkboz2yv6tpubpc6co").unwrap(),
        writer: 1,
        seq: 2,
        prev: Some(OperationId([1; 32])),
        deps: VectorClock::from_iter([(ROOT, 1)]),
        time: HybridTime(9),
        action: Action::Put {
            path: RecordPath::parse("app.bsky.feed.post/1").unwrap(),
            value: record(1),
            update: false,
            merge: None,
        },
    }
}

fn fields(payload: &Payload) -> std::collections::BTreeMap<String, Ipld> {
    match dag_cbor::decode(&payload.encode()).unwrap() {
        Ipld::Map(map) => map,
        other => panic!("{other:?}"),
    }
}

fn refused(
    mut map: std::collections::BTreeMap<String, Ipld>,
    name: &str,
    value: Option<Ipld>,
) -> OperationError {
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
    Payload::decode(&dag_cbor::encode(&Ipld::Map(map)).unwrap()).unwrap_err()
}

#[test]
fn every_field_is_needed_and_has_its_kind() {
    let root = |action| Payload {
        writer: ROOT,
        deps: VectorClock::default(),
        action,
        ..example()
    };
    let sums = SnapshotSums {
        records: record(1),
        states: [1; 32],
        tips: Vec::new(),
    };
    let all = [
        example(),
        Payload {
            action: Action::Delete {
                path: RecordPath::parse("a.b.c/1").unwrap(),
                merge: None,
            },
            ..example()
        },
        root(Action::Grant {
            key: "k".into(),
            name: "n".into(),
        }),
        root(Action::Revoke { writer: 1, cut: 2 }),
        root(Action::Snapshot(sums)),
    ];
    for payload in all {
        let map = fields(&payload);
        for name in map.keys() {
            refused(map.clone(), name, None);
            refused(map.clone(), name, Some(Ipld::Null));
            refused(map.clone(), name, Some(Ipld::Bool(true)));
        }
        let unknown = refused(map, "zz", Some(Ipld::Integer(1)));
        assert!(unknown.to_string().contains("zz"), "{unknown}");
    }
}

#[test]
fn wrong_values_are_refused() {
    let text = |s: &str| Some(Ipld::String(s.to_owned()));
    let number = |n: i128| Some(Ipld::Integer(n));
    let map = fields(&example());
    assert_eq!(
        refused(map.clone(), "v", number(3)),
        OperationError::Version(3)
    );
    for (name, value) in [
        ("act", text("jump")),
        ("act", text("grant")),
        ("path", text("no path")),
        ("repo", text("no did")),
        ("w", number(1 << 40)),
        ("w", number(0)),
        ("w", number(-1)),
        ("seq", number(0)),
        ("seq", number(1)),
        ("time", number(-1)),
        (
            "val",
            Some(Ipld::Link(blake3_cid(DAG_CBOR, b"not SHA-256"))),
        ),
        ("prev", Some(Ipld::Link(record(1)))),
        (
            "deps",
            Some(Ipld::List(vec![Ipld::List(vec![
                Ipld::Integer(1),
                Ipld::Integer(1),
            ])])),
        ),
        ("deps", Some(Ipld::List(vec![Ipld::Null]))),
    ] {
        refused(map.clone(), name, value);
    }
    let grant = Action::Grant {
        key: "k".into(),
        name: "n".into(),
    };
    let map = fields(&Payload {
        writer: ROOT,
        deps: VectorClock::default(),
        action: grant,
        ..example()
    });
    refused(map.clone(), "name", text(&"n".repeat(MAX_NAME_BYTES + 1)));
    refused(map.clone(), "name", text("a\nb"));
    refused(map, "w", number(1));
}

#[test]
fn blocks_are_bounded_and_whole() {
    let large = vec![0; MAX_OPERATION_BYTES + 1];
    let found = Operation::decode(large.into()).unwrap_err();
    assert_eq!(found, OperationError::TooLarge(MAX_OPERATION_BYTES + 1));
    let block = example().sign(&key()).block().clone();
    for len in 0..block.len() {
        assert!(
            Operation::decode(block.slice(..len)).is_err(),
            "{len} bytes"
        );
    }
    let mut longer = block.to_vec();
    longer.push(0);
    assert!(Operation::decode(longer.into()).is_err());
}
