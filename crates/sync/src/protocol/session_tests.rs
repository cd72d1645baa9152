#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use ues_data::Cid;
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::syntax::Did;

use super::frame::*;
use super::session::*;
use super::snapshot_archive::{MAX_ARCHIVE_BYTES, SnapshotArchive};
use crate::log::{Change, MemoryRows, Replica, ReplicaError, Rows, Snapshot};

struct Disk {
    replica: Option<Replica>,
    rows: MemoryRows,
}

impl Copy for Disk {
    fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }
    fn rows(&self) -> &dyn Rows {
        &self.rows
    }
    fn records(&self) -> Option<Cid> {
        Some(ues_data::raw_cid(b"records"))
    }
    fn block(&self, _: &Cid) -> Result<Option<Bytes>, ReplicaError> {
        Ok(None)
    }
}

const REPO: &str = "did:plc:yk4dd2qkboz2yv6tpubpc6co";

fn disk() -> Disk {
    let root = SigningKey::from_bytes(KeyKind::K256, &[9; 32]).unwrap();
    let device = SigningKey::from_bytes(KeyKind::Ed25519, &[7; 32]).unwrap();
    let key = device.verifying_key();
    let (mut replica, begin) = Replica::begin(Did::parse(REPO).unwrap(), root.verifying_key(), key);
    let mut rows = MemoryRows::default();
    let mut change = Change::default();
    replica
        .grant(&rows, key, "one", 1_000_000, &root, &mut change)
        .unwrap();
    for (key, value) in begin.rows.into_iter().chain(change.rows) {
        rows.rows.insert(key, value.unwrap());
    }
    Disk {
        replica: Some(replica),
        rows,
    }
}

/// A session that has begun, with another log on the other side.
fn opened(disk: &Disk) -> Session {
    let mut session = Session::accept();
    let log = Bytes::from(vec![1; 16]);
    let hello = Hello {
        version: 1,
        repo: REPO.into(),
        log,
        records: vec![2; 8].into(),
    };
    session.receive(disk, Body::Hello(hello).write()).unwrap();
    while session.step(disk, REPO).unwrap().is_some() {}
    session
}

fn proofs() -> Bytes {
    let one = ProofFrame {
        one: vec![1].into(),
        other: vec![2].into(),
    };
    Body::Proofs(Proofs { proofs: vec![one] }).write()
}

#[test]
fn what_does_not_belong_ends_the_session() {
    let disk = disk();
    let want = || Body::Want(Want { writer: 1, seq: 1 }).write();
    let refused = Session::accept().receive(&disk, want());
    assert!(matches!(refused, Err(Failure::Protocol(_))));
    let hello = |version| {
        Body::Hello(Hello {
            version,
            repo: REPO.into(),
            ..Hello::default()
        })
        .write()
    };
    assert!(matches!(
        Session::accept().receive(&disk, hello(2)),
        Err(Failure::Protocol(_))
    ));
    assert!(matches!(
        Session::open().receive(&disk, hello(1)),
        Err(Failure::Protocol(_))
    ));
    assert!(matches!(
        opened(&disk).receive(&disk, hello(1)),
        Err(Failure::Protocol(_))
    ));
    let taken = Body::Taken(TakenFrame::default()).write();
    // Nothing is on its way, or less than is answered.
    let mut session = opened(&disk);
    let results: Vec<_> = (0..6)
        .map(|_| session.receive(&disk, taken.clone()))
        .collect();
    assert!(matches!(results.last().unwrap(), Err(Failure::Protocol(_))));
    let part = |total| {
        let bytes = vec![1].into();
        Body::SnapshotPart(SnapshotPart { bytes, total }).write()
    };
    for (mut session, total) in [
        (Session::accept(), 1),
        (opened(&disk), 0),
        (opened(&disk), MAX_ARCHIVE_BYTES + 1),
    ] {
        let refused = session.receive(&disk, part(total));
        assert!(matches!(refused, Err(Failure::Protocol(_))));
    }
    let refusal = opened(&disk).receive(&disk, Session::refusal("no"));
    assert!(matches!(refusal, Err(Failure::Refused(reason)) if reason == "no"));
    assert!(matches!(
        opened(&disk).receive(&disk, vec![0xff; 9].into()),
        Err(Failure::Frame(_))
    ));
    let operations = vec![OperationFrame {
        block: vec![1].into(),
        value: Bytes::new(),
    }];
    let garbage = Body::Operations(Operations { operations }).write();
    assert!(matches!(
        opened(&disk).receive(&disk, garbage),
        Err(Failure::Protocol(_))
    ));
}

#[test]
fn a_flood_ends_the_session() {
    let disk = disk();
    let mut session = opened(&disk);
    let taken = (0..100)
        .take_while(|_| session.receive(&disk, proofs()).is_ok())
        .count();
    assert_eq!(taken, 8);
    let operations = Body::Operations(Operations::default()).write();
    let mut session = opened(&disk);
    let taken = (0..100)
        .take_while(|_| session.receive(&disk, operations.clone()).is_ok())
        .count();
    assert_eq!(taken, 8);
    // Who waits for answers goes on.
    let mut session = opened(&disk);
    for _ in 0..100 {
        session.receive(&disk, proofs()).unwrap();
        while session.step(&disk, REPO).unwrap().is_some() {}
        session.taken(&disk, &Taken::default());
        while session.step(&disk, REPO).unwrap().is_some() {}
    }
}

#[test]
fn equal_logs_with_different_records_are_an_error() {
    let disk = disk();
    let log = Bytes::copy_from_slice(&disk.replica.as_ref().unwrap().summary().fingerprint());
    let hello = Hello {
        version: 1,
        repo: REPO.into(),
        log,
        records: vec![2; 8].into(),
    };
    let found = Session::accept().receive(&disk, Body::Hello(hello).write());
    assert!(matches!(found, Err(Failure::Different)));
}

#[test]
fn a_snapshot_is_no_larger_than_it_says() {
    let none = Disk {
        replica: None,
        rows: MemoryRows::default(),
    };
    let part = |len: usize, total| {
        Body::SnapshotPart(SnapshotPart {
            bytes: vec![1; len].into(),
            total,
        })
        .write()
    };
    let mut session = Session::open();
    session.receive(&none, part(3, 5)).unwrap();
    assert!(matches!(
        session.receive(&none, part(3, 5)),
        Err(Failure::Protocol(_))
    ));
    for bad in [part(1, (256 << 20) + 1), part(0, 5)] {
        assert!(matches!(
            Session::open().receive(&none, bad),
            Err(Failure::Protocol(_))
        ));
    }
    let mut session = Session::open();
    session.receive(&none, part(3, 3)).unwrap();
    assert!(
        matches!(session.step(&none, REPO), Ok(Some(Action::Restore(bytes))) if bytes.len() == 3)
    );
}

fn archive() -> SnapshotArchive {
    let path = |n: u8| ues_repo::repo::write::RecordPath::parse(&format!("a.b.c/{n}")).unwrap();
    let block = Bytes::from_static(&[0xa0]);
    SnapshotArchive {
        snapshot: Snapshot {
            root_chain: vec![vec![1].into()],
            tips: vec![vec![2].into()],
            proofs: vec![[vec![3].into(), vec![4].into()]],
            states: vec![(path(1), vec![5].into()), (path(2), vec![6].into())],
            records: ues_data::dag_cbor_cid(&block),
        },
        blocks: BTreeMap::from([(ues_data::dag_cbor_cid(&block), block)]),
        car: vec![7].into(),
    }
}

proptest! {
    #[test]
    fn a_hostile_archive_is_read_or_refused(at in 0usize..400, bit in 0u8..8, cut in 0usize..400) {
        let good = archive().write();
        prop_assert_eq!(SnapshotArchive::read(good.clone()).unwrap().write(), good.clone());
        let mut bad = good.to_vec();
        let at = at % bad.len();
        bad[at] ^= 1 << bit;
        bad.truncate(bad.len().saturating_sub(cut % 9));
        if let Ok(read) = SnapshotArchive::read(bad.into()) {
            prop_assert!(read.write().len() <= good.len() + 64);
        }
    }
}
