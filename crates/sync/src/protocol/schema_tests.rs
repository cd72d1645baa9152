#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;

use prost::Message;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};

use super::frame::*;
use super::snapshot_archive::Archive;

fn pool() -> DescriptorPool {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = protox::compile(["sync.proto"], [path]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

/// All fields of a message as text, those within it too; fails on one that the schema does not have, or that is empty.
fn show(message: &DynamicMessage) -> String {
    assert_eq!(message.unknown_fields().count(), 0, "{message:?}");
    assert_eq!(
        message.descriptor().fields().len(),
        message.fields().count()
    );
    let fields = message
        .fields()
        .map(|(field, value)| format!("{}={}", field.name(), show_value(value)));
    fields.collect::<Vec<_>>().join(" ")
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Bytes(b) => format!("x{}", b.iter().map(|b| b.to_string()).collect::<String>()),
        Value::String(s) => format!("{s:?}"),
        Value::U32(n) => format!("u32:{n}"),
        Value::U64(n) => format!("u64:{n}"),
        Value::Message(m) => format!("({})", show(m)),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(show_value).collect();
            format!("[{}]", items.join(","))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_schema_says_the_same() {
    let b = |n: u8| vec![n].into();
    let frames = [
        Body::Hello(Hello {
            version: 1,
            repo: "r".into(),
            log: b(1),
            records: b(2),
        }),
        Body::Same(Same {
            log: b(1),
            records: b(2),
        }),
        Body::Heads(Heads {
            heads: vec![HeadFrame {
                writer: 1,
                seq: 2,
                id: b(3),
                fork: 4,
            }],
        }),
        Body::Operations(Operations {
            operations: vec![OperationFrame {
                block: b(1),
                value: b(2),
            }],
        }),
        Body::Taken(TakenFrame {
            log: b(1),
            records: b(2),
            refused: vec!["no".into()],
        }),
        Body::Proofs(Proofs {
            proofs: vec![ProofFrame {
                one: b(1),
                other: b(2),
            }],
        }),
        Body::Probe(Probe {
            writer: 1,
            seqs: vec![2, 3],
        }),
        Body::Probed(Probed {
            writer: 1,
            seqs: vec![2],
            ids: vec![b(3)],
        }),
        Body::Want(Want { writer: 1, seq: 2 }),
        Body::SnapshotPart(SnapshotPart {
            bytes: b(1),
            total: 2,
        }),
        Body::Refusal(Refusal {
            reason: "no".into(),
        }),
    ];
    let expected = [
        r#"hello version=u32:1 repo="r" log=x1 records=x2"#,
        "same log=x1 records=x2",
        "heads heads=[(writer=u32:1 seq=u64:2 id=x3 fork=u64:4)]",
        "operations operations=[(block=x1 value=x2)]",
        r#"taken log=x1 records=x2 refused=["no"]"#,
        "proofs proofs=[(one=x1 other=x2)]",
        "probe writer=u32:1 seqs=[u64:2,u64:3]",
        "probed writer=u32:1 seqs=[u64:2] ids=[x3]",
        "want writer=u32:1 seq=u64:2",
        "snapshot_part bytes=x1 total=u64:2",
        r#"refusal reason="no""#,
    ];
    let schema = pool().get_message_by_name("ues.sync.v1.Frame").unwrap();
    assert_eq!(schema.fields().len(), frames.len());
    for (body, expected) in frames.into_iter().zip(expected) {
        let frame = DynamicMessage::decode(schema.clone(), body.clone().write()).unwrap();
        let fields: BTreeMap<_, _> = frame
            .fields()
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(f, v)| (f.name().to_owned(), v))
            .collect();
        let (name, value) = fields.into_iter().next().unwrap();
        let Value::Message(inner) = value else {
            panic!("{value:?}")
        };
        assert_eq!(format!("{name} {}", show(inner)), expected);
        assert_eq!(Frame::read(body.clone().write()).unwrap(), body);
    }
}

#[test]
fn the_schema_of_an_archive_says_the_same() {
    let b = |n: u8| vec![n].into();
    let archive = Archive {
        root_chain: vec![b(1)],
        tips: vec![b(2)],
        proofs: vec![b(3)],
        paths: vec!["p".into()],
        states: vec![b(4)],
        blocks: vec![b(5)],
        records: b(6),
        car: b(7),
    };
    let schema = pool().get_message_by_name("ues.sync.v1.Archive").unwrap();
    let read = DynamicMessage::decode(schema, &*archive.encode_to_vec()).unwrap();
    let expected = r#"root_chain=[x1] tips=[x2] proofs=[x3] paths=["p"] states=[x4] blocks=[x5] records=x6 car=x7"#;
    assert_eq!(show(&read), expected);
}

#[test]
fn frames_are_bounded() {
    let too_many = Body::Operations(Operations {
        operations: vec![OperationFrame::default(); MAX_OPERATIONS + 1],
    });
    assert!(matches!(
        Frame::read(too_many.write()),
        Err(FrameError::Malformed(_))
    ));
    let most = Body::Operations(Operations {
        operations: vec![OperationFrame::default(); MAX_OPERATIONS],
    });
    assert!(Frame::read(most.write()).is_ok());
    let probe = Body::Probe(Probe {
        writer: 1,
        seqs: vec![1; MAX_PROBES + 1],
    });
    assert!(matches!(
        Frame::read(probe.write()),
        Err(FrameError::Malformed(_))
    ));
    let uneven = Body::Probed(Probed {
        writer: 1,
        seqs: vec![1, 2],
        ids: vec![vec![0; 32].into()],
    });
    assert!(matches!(
        Frame::read(uneven.write()),
        Err(FrameError::Malformed(_))
    ));
    let large = vec![0; MAX_FRAME_BYTES + 1];
    assert_eq!(
        Frame::read(large.into()),
        Err(FrameError::TooLarge(MAX_FRAME_BYTES + 1))
    );
    assert!(matches!(
        Frame::read(Vec::new().into()),
        Err(FrameError::Malformed(_))
    ));
    // Two million empty entries are counted, not made.
    let mut bomb = vec![0x22];
    prost::encoding::encode_varint(4_000_000, &mut bomb);
    bomb.extend([0x0a, 0].iter().cycle().take(4_000_000));
    assert_eq!(entries(&bomb), None);
    assert!(matches!(
        Frame::read(bomb.into()),
        Err(FrameError::Malformed(_))
    ));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        if let Ok(body) = Frame::read(bytes.into()) {
            proptest::prop_assert_eq!(Frame::read(body.clone().write()), Ok(body));
        }
    }
}
