#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use proptest::collection::vec;
use proptest::prelude::*;
use ues_data::content_id::{RAW, cid_of, identity_cid};
use ues_data::{HashAlgorithm, raw_cid};

use super::*;

fn algorithm() -> impl Strategy<Value = HashAlgorithm> {
    prop_oneof![
        Just(HashAlgorithm::Sha2_256),
        Just(HashAlgorithm::Sha2_512),
        Just(HashAlgorithm::Blake3)
    ]
}

fn block() -> impl Strategy<Value = (Cid, Bytes)> {
    let named = (algorithm(), 0_u64..1 << 40, vec(any::<u8>(), 0..300))
        .prop_map(|(algorithm, codec, data)| (cid_of(codec, algorithm, &data), Bytes::from(data)));
    let old = vec(any::<u8>(), 0..300).prop_map(|data| {
        let cid = Cid::new_v0(sha256_multihash(&data)).unwrap();
        (cid, Bytes::from(data))
    });
    let identity = vec(any::<u8>(), 0..64)
        .prop_map(|data| (identity_cid(RAW, &data).unwrap(), Bytes::from(data)));
    prop_oneof![named, old, identity]
}

fn cid() -> impl Strategy<Value = Cid> {
    block().prop_map(|(cid, _)| cid)
}

fn wants() -> impl Strategy<Value = Vec<Want>> {
    let want = (cid(), any::<(bool, i32, bool, bool)>()).prop_map(
        |(cid, (block, priority, cancel, send_dont_have))| Want {
            cid,
            kind: if block {
                WantKind::Block
            } else {
                WantKind::Have
            },
            priority,
            cancel,
            send_dont_have,
        },
    );
    vec(want, 0..20)
}

prop_compose! {
    fn message()(
        wants in wants(),
        full: bool,
        blocks in vec(block(), 0..10),
        presences in vec((cid(), any::<bool>()), 0..20),
        pending_bytes: i32,
    ) -> Message {
        Message {
            wants,
            full,
            blocks,
            presences: presences.into_iter().map(|(cid, have)| Presence { cid, have }).collect(),
            pending_bytes,
        }
    }
}

fn body(message: &Message) -> Bytes {
    let bytes = message.encode();
    let (length, used) = varint::read(&bytes).unwrap();
    assert_eq!(bytes.len(), used + length as usize);
    Bytes::from(bytes).slice(used..)
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in message()) {
        prop_assert_eq!(Message::decode(body(&message)).unwrap(), message);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..500)) {
        if let Ok(message) = Message::decode(bytes.into()) {
            prop_assert_eq!(Message::decode(body(&message)).unwrap(), message);
        }
    }

    #[test]
    fn a_damaged_message_names_its_blocks_rightly(
        message in message(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut bytes = body(&message).to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = Message::decode(bytes.into()) {
            for (cid, data) in &message.blocks {
                prop_assert!(ues_data::verify(cid, data).is_ok());
            }
        }
    }
}

#[test]
fn is_the_wire_format_of_others() {
    // as the protobuf specification would have it written by hand
    let cid = raw_cid(b"x");
    let message = Message {
        wants: vec![Want::new(cid, WantKind::Have, 1)],
        ..Message::default()
    };
    let mut expected = vec![50, 0x0a, 48, 0x0a, 46, 0x0a, 36];
    expected.extend(cid.to_bytes());
    expected.extend([0x10, 1, 0x20, 1, 0x28, 1, 0x2a, 0]);
    // proto3 leaves out what has its default value
    expected.truncate(expected.len() - 2);
    expected[0] = (expected.len() - 1) as u8;
    expected[2] = (expected.len() - 3) as u8;
    expected[4] = (expected.len() - 5) as u8;
    assert_eq!(message.encode(), expected);
}

#[test]
fn blocks_of_the_first_version_are_read() {
    let message = proto::Message {
        blocks: vec![Bytes::from_static(b"old")],
        ..proto::Message::default()
    };
    let message = Message::decode(message.encode_to_vec().into()).unwrap();
    let cid = Cid::new_v0(sha256_multihash(b"old")).unwrap();
    assert_eq!(message.blocks, [(cid, Bytes::from_static(b"old"))]);
}

fn with_prefix(numbers: &[u64], data: &'static [u8]) -> Result<Message, MessageError> {
    let mut prefix = Vec::new();
    for number in numbers {
        varint::write(*number, &mut prefix);
    }
    let message = proto::Message {
        payload: vec![proto::message::Block {
            prefix: prefix.into(),
            data: Bytes::from_static(data),
        }],
        ..proto::Message::default()
    };
    Message::decode(message.encode_to_vec().into())
}

#[test]
fn unknown_hashes_and_odd_prefixes_are_refused() {
    assert!(with_prefix(&[1, RAW, SHA2_256, 32], b"x").is_ok());
    // SHA-1, a cut digest, an identity digest of another length
    for (code, size) in [(0x11, 20), (SHA2_256, 20), (IDENTITY, 2)] {
        let found = with_prefix(&[1, RAW, code, size], b"x");
        assert_eq!(found, Err(MessageError::Hash { code, size }));
    }
    for prefix in [
        &[2, RAW, SHA2_256, 32][..],
        &[0, RAW, SHA2_256, 32],
        &[1, RAW, SHA2_256],
        &[1, RAW, SHA2_256, 32, 0],
    ] {
        let found = with_prefix(prefix, b"x");
        assert!(matches!(found, Err(MessageError::Prefix(_))), "{found:?}");
    }
}

#[test]
fn counts_and_lengths_are_bounded() {
    let want = Want::new(raw_cid(b"x"), WantKind::Block, 0);
    let with = |count| Message {
        wants: vec![want.clone(); count],
        ..Message::default()
    };
    assert!(Message::decode(body(&with(MAX_ITEMS))).is_ok());
    let found = Message::decode(body(&with(MAX_ITEMS + 1)));
    assert_eq!(found, Err(MessageError::TooMany("wants")));
    // two million empty wants in two lists
    let mut list = vec![0x0a, 0xff, 0xff, 0x7f];
    list.extend(std::iter::repeat_n([0x0a, 0], 0x1f_ffff / 2).flatten());
    list.push(0);
    let found = Message::decode([list.clone(), list].concat().into());
    assert!(found.is_err());
    let found = Message::decode(vec![0; MAX_MESSAGE + 1].into());
    assert_eq!(found, Err(MessageError::TooLong(MAX_MESSAGE + 1)));
    let data = Bytes::from(vec![1; MAX_BLOCK + 1]);
    let large = Message {
        blocks: vec![(raw_cid(&data), data)],
        ..Message::default()
    };
    let found = Message::decode(body(&large));
    assert_eq!(found, Err(MessageError::BlockTooLong(MAX_BLOCK + 1)));
}
