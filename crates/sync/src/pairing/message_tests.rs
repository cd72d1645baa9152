#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use proptest::prelude::*;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};

use super::*;

fn bodies() -> impl Strategy<Value = Body> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        (any::<u32>(), bytes(), ".{0,70}", bytes()).prop_map(
            |(version, lookup_id, device_name, commitment)| Body::Hello(Hello {
                version,
                lookup_id,
                device_name,
                commitment,
            })
        ),
        (bytes(), ".{0,70}", ".{0,70}", ".{0,70}").prop_map(|(nonce, device_name, did, handle)| {
            Body::Offer(Offer {
                nonce,
                device_name,
                did,
                handle,
            })
        }),
        (bytes(), bytes()).prop_map(|(nonce, proof)| Body::Reveal(Reveal { nonce, proof })),
        Just(Body::Confirm(Confirm {})),
        (bytes(), bytes()).prop_map(|(payload, proof)| Body::Grant(Grant { payload, proof })),
        Just(Body::Joined(Joined {})),
        ".{0,70}".prop_map(|reason| Body::Refuse(Refuse { reason })),
    ]
}

proptest! {
    #[test]
    fn round_trip(body in bodies()) {
        prop_assert_eq!(Body::read(&body.clone().write()).unwrap(), body);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        match Body::read(&bytes) {
            Ok(Body::Hello(hello)) => drop(hello.checked()),
            Ok(Body::Offer(offer)) => drop(offer.checked()),
            _ => {}
        }
    }
}

#[test]
fn the_schema_says_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = protox::compile(["pairing.proto"], [path]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    let schema = pool
        .get_message_by_name("ues.pairing.v1.PairingMessage")
        .unwrap();
    let bytes = |n: u8| vec![n; 3];
    let text = str::to_owned;
    let all = [
        Body::Hello(Hello {
            version: 7,
            lookup_id: bytes(1),
            device_name: text("n"),
            commitment: bytes(2),
        }),
        Body::Offer(Offer {
            nonce: bytes(1),
            device_name: text("n"),
            did: text("d"),
            handle: text("h"),
        }),
        Body::Reveal(Reveal {
            nonce: bytes(1),
            proof: bytes(2),
        }),
        Body::Confirm(Confirm {}),
        Body::Grant(Grant {
            payload: bytes(1),
            proof: bytes(2),
        }),
        Body::Joined(Joined {}),
        Body::Refuse(Refuse { reason: text("r") }),
    ];
    assert_eq!(schema.fields().len(), all.len());
    let expected = [
        r#"version: 7 lookup_id: [1, 1, 1] device_name: "n" commitment: [2, 2, 2]"#,
        r#"nonce: [1, 1, 1] device_name: "n" did: "d" handle: "h""#,
        "nonce: [1, 1, 1] proof: [2, 2, 2]",
        "",
        "payload: [1, 1, 1] proof: [2, 2, 2]",
        "",
        r#"reason: "r""#,
    ];
    for (body, expected) in all.into_iter().zip(expected) {
        let name = body.name();
        let read = DynamicMessage::decode(schema.clone(), &*body.write()).unwrap();
        let field = read.get_field_by_name(&name.to_lowercase()).unwrap();
        let inner = field.as_message().unwrap();
        assert_eq!(inner.descriptor().name(), name);
        assert_eq!(inner.unknown_fields().count(), 0);
        let fields: Vec<String> = inner
            .fields()
            .map(|(field, value)| match value {
                Value::Bytes(b) => format!("{}: {:?}", field.name(), b.to_vec()),
                Value::String(s) => format!("{}: {s:?}", field.name()),
                Value::U32(n) => format!("{}: {n}", field.name()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(fields.join(" "), expected);
        assert_eq!(inner.descriptor().fields().len(), fields.len());
    }
}

#[test]
fn is_bounded() {
    let found = MAX_MESSAGE + 1;
    assert_eq!(
        Body::read(&vec![0; found]),
        Err(MessageError::Length { found })
    );
    let full = Body::Grant(Grant {
        payload: vec![1; MAX_PAYLOAD],
        proof: vec![2; 32],
    });
    assert!(full.clone().write().len() <= MAX_MESSAGE);
    assert!(Body::read(&full.write()).is_ok());
}

#[test]
fn unknown_kinds_are_refused() {
    assert_eq!(Body::read(&[]), Err(MessageError::Kind));
    assert_eq!(Body::read(&[0x42, 0x00]), Err(MessageError::Kind));
    assert!(matches!(
        Body::read(&[0x0a, 0x05, 0x00]),
        Err(MessageError::Malformed(_))
    ));
}

#[test]
fn fields_are_checked() {
    let hello = |f: &dyn Fn(&mut Hello)| {
        let mut hello = Hello {
            version: 1,
            lookup_id: vec![1; 16],
            device_name: "phone".into(),
            commitment: vec![2; 32],
        };
        f(&mut hello);
        hello.checked()
    };
    assert!(hello(&|_| ()).is_ok());
    assert!(hello(&|h| h.lookup_id.push(1)).is_err());
    assert!(hello(&|h| h.commitment.clear()).is_err());
    assert!(hello(&|h| h.device_name.push('\u{1b}')).is_err());
    let offer = |f: &dyn Fn(&mut Offer)| {
        let mut offer = Offer {
            nonce: vec![1; 32],
            device_name: "laptop".into(),
            did: "did:plc:ewvi7nxzyoun6zhxrhs64oiz".into(),
            handle: "alice.example.com".into(),
        };
        f(&mut offer);
        offer.checked()
    };
    assert!(offer(&|_| ()).unwrap().1.handle.is_some());
    assert!(offer(&|o| o.handle.clear()).unwrap().1.handle.is_none());
    assert!(offer(&|o| o.nonce.clear()).is_err());
    assert!(offer(&|o| o.device_name.clear()).is_err());
    assert!(offer(&|o| o.did = "did:".into()).is_err());
    assert!(offer(&|o| o.handle = "not a handle".into()).is_err());
}

#[test]
fn refusals_are_short_and_plain() {
    let Body::Refuse(refuse) = Body::refuse(&"ü\n".repeat(500)) else {
        panic!("a refusal");
    };
    assert_eq!(refuse.reason, "ü".repeat(128));
    let reason = "\u{1b}]0;x\u{7}\u{202e}no".to_owned();
    assert_eq!(Refuse { reason }.shown(), "]0;xno");
}

#[test]
fn debug_does_not_show_a_grant() {
    let body = Body::Grant(Grant {
        payload: b"secret".to_vec(),
        proof: vec![],
    });
    let expected = "Grant(Grant(6 bytes))";
    assert_eq!(format!("{body:?}"), expected);
    assert!(format!("{:?}", body.write()).starts_with("SecretBytes("));
}
