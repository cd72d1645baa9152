//! The protobuf of pins against made-up and mutilated input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use ues_data::Cid;
use ues_pins::model::{
    MAX_PIN_BYTES, Multiaddr, PeerId, Pin, PinMode, PinOptions, PinType, ProtoError,
};

fn cids() -> impl Strategy<Value = Cid> {
    (any::<bool>(), vec(any::<u8>(), 0..40)).prop_map(|(v0, content)| {
        let hash = ues_data::sha256_multihash(&content);
        if v0 {
            Cid::new_v0(hash).unwrap()
        } else {
            Cid::new_v1(0x71, hash)
        }
    })
}

fn peers() -> impl Strategy<Value = Vec<PeerId>> {
    vec(
        any::<[u8; 32]>().prop_map(|key| PeerId::from_ed25519(&key)),
        0..6,
    )
}

fn origins() -> impl Strategy<Value = Multiaddr> {
    (any::<[u8; 4]>(), any::<u16>(), any::<[u8; 32]>()).prop_map(|(ip, port, key)| {
        let [a, b, c, d] = ip;
        let peer = PeerId::from_ed25519(&key);
        format!("/ip4/{a}.{b}.{c}.{d}/tcp/{port}/p2p/{peer}")
            .parse()
            .unwrap()
    })
}

prop_compose! {
    fn options()(
        replication_min in any::<i32>(),
        replication_max in any::<i32>(),
        name in ".{0,30}",
        shard_size in any::<u64>(),
        expire_at in proptest::option::of(1..=i64::MAX as u64),
        metadata in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..5),
        pin_update in proptest::option::of(cids()),
        origins in vec(origins(), 0..3),
        unknown in vec(any::<u8>(), 0..20),
    ) -> PinOptions {
        let mut options = PinOptions {
            replication_min, replication_max, name, shard_size, expire_at, pin_update, origins,
            metadata: metadata.into_iter().collect(),
            ..PinOptions::default()
        };
        if !unknown.is_empty() {
            options.unknown = vec![0xa2, 0x01, unknown.len() as u8];
            options.unknown.extend(unknown);
        }
        options
    }
}

prop_compose! {
    fn pins()(
        cid in cids(),
        kind in prop::sample::select(vec![PinType::Data, PinType::Meta, PinType::ClusterDag, PinType::Shard]),
        allocations in peers(),
        max_depth in prop_oneof![Just(-1), Just(0), any::<i32>()],
        reference in proptest::option::of(cids()),
        timestamp in 0..=i64::MAX as u64,
        options in options(),
        // A field of number 99 of every wire type, a group among them.
        unknown in prop::sample::select(vec![
            vec![], vec![0x98, 0x06, 0x05], vec![0x9d, 0x06, 1, 2, 3, 4], vec![0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
            vec![0x9b, 0x06, 0x0b, 0x10, 0x01, 0x0c, 0x9c, 0x06],
        ]),
    ) -> Pin {
        let mode = PinMode::from_depth(max_depth);
        Pin { cid, kind, allocations, max_depth, reference, timestamp, options: PinOptions { mode, ..options }, unknown }
    }
}

proptest! {
    #[test]
    fn a_pin_is_read_as_it_was_written(pin in pins()) {
        let bytes = pin.to_proto();
        prop_assert_eq!(Pin::from_proto(&bytes).unwrap(), pin);
    }

    #[test]
    fn a_pin_has_one_json(pin in pins()) {
        // Only the protobuf carries what this program does not know.
        let mut pin = Pin { unknown: Vec::new(), ..pin };
        pin.options.unknown.clear();
        pin.timestamp = pin.timestamp.min(253_402_300_799);
        pin.options.expire_at = pin.options.expire_at.map(|at| at.min(253_402_300_799));
        let text = serde_json::to_string(&pin).unwrap();
        prop_assert_eq!(serde_json::from_str::<Pin>(&text).unwrap(), pin);
    }

    #[test]
    fn options_survive_a_query(options in options(), peers in peers()) {
        let mut options = PinOptions { user_allocations: peers, unknown: Vec::new(), ..options };
        options.expire_at = options.expire_at.map(|at| at.min(253_402_300_799));
        options.metadata.retain(|(key, _)| !key.is_empty());
        let query = options.to_query();
        prop_assert_eq!(PinOptions::from_query(&query, 0).unwrap(), options);
    }

    #[test]
    fn mutilated_pins_do_no_harm(pin in pins(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5), cut in any::<prop::sample::Index>()) {
        let mut bytes = pin.to_proto();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(read) = Pin::from_proto(bytes) {
                // What can be read can be written, and then stays as it is.
                prop_assert_eq!(&Pin::from_proto(&read.to_proto()).unwrap(), &read);
                let json = serde_json::to_string(&read).unwrap();
                prop_assert!(serde_json::from_str::<Pin>(&json).is_ok());
            }
        }
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        drop(Pin::from_proto(&bytes));
    }

    #[test]
    fn any_query_does_no_harm(values in vec(".{0,20}", 11)) {
        let names = ["replication", "replication-min", "name", "mode", "shard-size", "user-allocations",
            "expire-at", "expire-in", "meta-x", "pin-update", "origins"];
        for (name, value) in names.iter().zip(values) {
            let query = [((*name).to_owned(), value)];
            drop(PinOptions::from_query(&query, u64::MAX));
        }
    }
}

#[test]
fn groups_may_nest_to_any_depth() {
    let pin = Pin::new(ues_data::raw_cid(b"x"), PinOptions::default(), 1);
    let mut bytes = pin.to_proto();
    bytes.extend([0x7b; 100_000]);
    assert!(matches!(Pin::from_proto(&bytes), Err(ProtoError::Wire(_))));
    bytes.extend([0x7c; 100_000]);
    assert_eq!(Pin::from_proto(&bytes).unwrap().unknown.len(), 200_000);
    bytes.resize(MAX_PIN_BYTES + 1, 0);
    assert_eq!(
        Pin::from_proto(&bytes),
        Err(ProtoError::TooLong(MAX_PIN_BYTES + 1))
    );
}

#[test]
fn metadata_is_written_in_the_order_of_its_keys() {
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut pin = Pin::new(ues_data::raw_cid(b"x"), PinOptions::default(), 1);
    pin.options.metadata = vec![entry("b", "1"), entry("a", "2"), entry("b", "3")];
    let read = Pin::from_proto(&pin.to_proto()).unwrap();
    assert_eq!(read.options.metadata, [entry("a", "2"), entry("b", "3")]);
}

#[test]
fn what_ipfs_cluster_would_take_for_absent_is_an_error() {
    let sound = Pin::new(ues_data::raw_cid(b"x"), PinOptions::default(), 1).to_proto();
    let with = |more: &[u8]| Pin::from_proto(&[&sound, more].concat());
    assert!(matches!(
        Pin::from_proto(&[]),
        Err(ProtoError::Cid { field: "Cid", .. })
    ));
    assert!(matches!(
        with(&[0x0a, 0x01, 0x01]),
        Err(ProtoError::Cid { field: "Cid", .. })
    ));
    assert!(matches!(
        with(&[0x2a, 0x01, 0x01]),
        Err(ProtoError::Cid {
            field: "Reference",
            ..
        })
    ));
    assert!(matches!(with(&[0x10, 0x00]), Err(ProtoError::Type(0))));
    assert!(matches!(with(&[0x10, 0x05]), Err(ProtoError::Type(5))));
    let late = [
        0x38, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
    ];
    assert!(matches!(
        with(&late),
        Err(ProtoError::Time {
            field: "Timestamp",
            ..
        })
    ));
}

#[test]
fn peers_are_read_in_both_forms() {
    let peer = PeerId::from_ed25519(&[7; 32]);
    let hash = ues_data::Multihash::from_bytes(peer.as_bytes()).unwrap();
    let as_cid = Cid::new_v1(0x72, hash).to_string();
    assert_eq!(as_cid.parse(), Ok(peer.clone()));
    assert_eq!(peer.to_string().parse(), Ok(peer));
    assert!(
        Cid::new_v1(0x55, hash)
            .to_string()
            .parse::<PeerId>()
            .is_err()
    );
    let map: BTreeMap<String, PeerId> =
        serde_json::from_str(&format!(r#"{{"p":"{as_cid}"}}"#)).unwrap();
    assert_eq!(map.len(), 1);
}
