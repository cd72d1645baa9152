#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_data::{Cid, Ipld};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Did;

use super::*;
use crate::clock::{ROOT, VectorClock, WriterId};
use crate::hybrid_time::HybridTime;
use crate::operation::{Action, Operation, Payload};

const NOW: u64 = 1_700_000_000_000;

fn device(n: u8) -> SigningKey {
    SigningKey::from_bytes(KeyKind::Ed25519, &[n; 32]).unwrap()
}

fn root() -> SigningKey {
    SigningKey::from_bytes(KeyKind::K256, &[9; 32]).unwrap()
}

fn repo() -> Did {
    Did::parse("did:plc:yk4dd2qkboz2yv6tpubpc6co").unwrap()
}

fn path(n: u64) -> RecordPath {
    RecordPath::parse(&format!("app.bsky.feed.post/{n}")).unwrap()
}

fn content(text: &str) -> (Cid, Bytes) {
    let map = BTreeMap::from([("text".to_owned(), Ipld::String(text.to_owned()))]);
    let bytes = Bytes::from(ues_data::dag_cbor::encode(&Ipld::Map(map)).unwrap());
    (ues_data::dag_cbor_cid(&bytes), bytes)
}

/// The log of one device, and the keys of all: whatever a test wants is signed.
struct Log {
    replica: Replica,
    rows: MemoryRows,
}

impl Log {
    /// Writers 1, 2 and 3 are granted, with the keys of that number.
    fn new() -> Self {
        let (replica, change) =
            Replica::begin(repo(), root().verifying_key(), device(1).verifying_key());
        let mut log = Self {
            replica,
            rows: MemoryRows::default(),
        };
        log.write(change);
        for n in 1..4 {
            let mut change = Change::default();
            let key = device(n);
            let number = log
                .replica
                .grant(
                    &log.rows,
                    key.verifying_key(),
                    "d",
                    NOW,
                    &root(),
                    &mut change,
                )
                .unwrap();
            assert_eq!(number, u32::from(n));
            log.write(change);
        }
        log
    }

    fn write(&mut self, change: Change) {
        for (key, value) in change.rows {
            match value {
                Some(value) => self.rows.rows.insert(key, value),
                None => self.rows.rows.remove(&key),
            };
        }
    }

    fn admit(&mut self, incoming: &Incoming) -> Result<Admitted, Refused> {
        let mut change = Change::default();
        let before = (self.replica.summary(), self.rows.clone());
        let result = self
            .replica
            .admit(&self.rows, incoming.clone(), NOW, &mut change)
            .unwrap();
        self.write(change);
        if result.is_err() {
            let after = (self.replica.summary(), self.rows.clone());
            assert_eq!(after, before, "{result:?} changed something");
        }
        result
    }

    fn seq(&self, writer: WriterId) -> u64 {
        self.replica.clock().get(writer)
    }
}

/// A writer that says what a test wants it to.
#[derive(Clone)]
struct Signer {
    writer: WriterId,
    last: Option<Operation>,
}

impl Signer {
    fn new(writer: WriterId) -> Self {
        Self { writer, last: None }
    }

    fn payload(&self, deps: &[(WriterId, u64)]) -> (Payload, Bytes) {
        let seq = self.last.as_ref().map_or(1, |last| last.payload.seq + 1);
        let (value, bytes) = content(&format!("{} {seq}", self.writer));
        let payload = Payload {
            repo: repo(),
            writer: self.writer,
            seq,
            prev: self.last.as_ref().map(Operation::id),
            deps: deps.iter().copied().collect(),
            time: HybridTime(HybridTime::from_ms(NOW).0 + seq),
            action: Action::Put {
                path: path(seq),
                value,
                update: false,
                merge: None,
            },
        };
        (payload, bytes)
    }

    fn sign(&mut self, deps: &[(WriterId, u64)]) -> Incoming {
        let (payload, value) = self.payload(deps);
        self.signed(payload, value)
    }

    fn signed(&mut self, payload: Payload, value: Bytes) -> Incoming {
        let operation = payload.sign(&device(u8::try_from(self.writer).unwrap()));
        self.last = Some(operation.clone());
        Incoming {
            operation,
            value: Some(value),
        }
    }
}

fn root_next(log: &Log, action: Action) -> Incoming {
    let tip = log.replica.roster().get(ROOT).unwrap().tip.clone().unwrap();
    let payload = Payload {
        repo: repo(),
        writer: ROOT,
        seq: tip.seq + 1,
        prev: Some(tip.id),
        deps: tip.deps,
        time: HybridTime(tip.time.0 + 1),
        action,
    };
    Incoming {
        operation: payload.sign(&root()),
        value: None,
    }
}

const SEEN: &[(WriterId, u64)] = &[(ROOT, 3)];

#[test]
fn each_refusal() {
    let mut log = Log::new();
    let mut one = Signer::new(1);
    assert_eq!(log.admit(&one.sign(SEEN)), Ok(Admitted::New));
    let last = one.clone();
    let mut with = |change: &dyn Fn(&mut Payload, &mut Bytes)| {
        let mut signer = last.clone();
        let (mut payload, mut value) = signer.payload(SEEN);
        change(&mut payload, &mut value);
        log.admit(&signer.signed(payload, value))
    };
    let other = with(&|p, _| p.repo = Did::parse("did:web:example.com").unwrap());
    assert_eq!(other, Err(Refused::OtherRepository));
    assert_eq!(with(&|p, _| p.writer = 77), Err(Refused::UnknownWriter(77)));
    let gap = Refused::Gap {
        writer: 1,
        expected: 2,
        found: 4,
    };
    assert_eq!(with(&|p, _| p.seq = 4), Err(gap));
    let missing = Refused::Missing { writer: 2, seq: 1 };
    assert_eq!(with(&|p, _| p.deps.set(2, 9)), Err(missing));
    let missing = Refused::Missing { writer: 50, seq: 1 };
    assert_eq!(with(&|p, _| p.deps.set(50, 1)), Err(missing));
    for order in [
        with(&|p, _| p.deps.set(ROOT, 0)),
        with(&|p, _| p.deps.set(ROOT, 2)),
        with(&|p, _| p.time = HybridTime(HybridTime::from_ms(NOW).0 + 1)),
    ] {
        assert!(matches!(order, Err(Refused::Order(_))), "{order:?}");
    }
    let ahead = with(&|p, _| p.time = HybridTime::from_ms(NOW + 10 * 60_000 + 5));
    assert_eq!(ahead, Err(Refused::Ahead(10 * 60_000 + 5)));
    for value in [
        with(&|_, v| *v = Bytes::from_static(b"another")),
        with(&|p, v| {
            *v = vec![0; 1_000_001].into();
            p.action = Action::Put {
                path: path(1),
                value: ues_data::dag_cbor_cid(v),
                update: true,
                merge: None,
            };
        }),
        with(&|p, v| {
            *v = Bytes::from_static(&[1]);
            p.action = Action::Put {
                path: path(1),
                value: ues_data::dag_cbor_cid(v),
                update: true,
                merge: None,
            };
        }),
        with(&|p, _| {
            p.action = Action::Delete {
                path: path(1),
                merge: None,
            }
        }),
    ] {
        assert!(matches!(value, Err(Refused::Value(_))), "{value:?}");
    }
    let mut forged = Signer::new(2);
    forged.last = last.last.clone();
    let (mut payload, value) = forged.payload(SEEN);
    payload.writer = 1;
    let found = log.admit(&forged.signed(payload, value));
    assert_eq!(found, Err(Refused::BadSignature(1)));
    let bare = Incoming {
        value: None,
        ..last.clone().sign(SEEN)
    };
    assert!(matches!(log.admit(&bare), Err(Refused::Value(_))));
    for action in [
        Action::Revoke {
            writer: ROOT,
            cut: 0,
        },
        Action::Grant {
            key: root().did_key().into(),
            name: "k256".into(),
        },
    ] {
        let found = log.admit(&root_next(&log, action));
        assert!(matches!(found, Err(Refused::Action(_))), "{found:?}");
    }
    let unknown = root_next(&log, Action::Revoke { writer: 77, cut: 0 });
    assert_eq!(log.admit(&unknown), Err(Refused::UnknownWriter(77)));
    assert_eq!(log.admit(&one.sign(SEEN)), Ok(Admitted::New));
    assert_eq!(log.seq(1), 2);
}

#[test]
fn what_waits_is_bounded() {
    let mut log = Log::new();
    log.admit(&root_next(&log, Action::Revoke { writer: 1, cut: 0 }))
        .unwrap();
    let mut one = Signer::new(1);
    let (mut count, refused) = loop {
        let (mut payload, _) = one.payload(SEEN);
        let map = BTreeMap::from([("t".to_owned(), Ipld::String("x".repeat(900_000)))]);
        let value = Bytes::from(ues_data::dag_cbor::encode(&Ipld::Map(map)).unwrap());
        payload.action = Action::Put {
            path: path(1),
            value: ues_data::dag_cbor_cid(&value),
            update: true,
            merge: None,
        };
        let seq = payload.seq;
        match log.admit(&one.signed(payload, value)) {
            Ok(found) => assert_eq!(found, Admitted::Beyond),
            Err(refused) => break (seq, refused),
        }
    };
    count -= 1;
    assert_eq!(
        refused,
        Refused::BeyondLimit {
            writer: 1,
            limit: 0
        }
    );
    assert!((30..=38).contains(&count), "{count}");
    assert!(log.replica.waiting_bytes() <= 32 << 20);
}

/// Writer 2 had seen two operations of writer 1 before it knew that 1 was revoked: they count, the third does not.
#[test]
fn what_others_had_seen_counts() {
    let (mut one, mut two) = (Signer::new(1), Signer::new(2));
    let of_one: Vec<_> = (0..3).map(|_| one.sign(SEEN)).collect();
    let witness = two.sign(&[(ROOT, 3), (1, 2)]);
    let later = two.sign(&[(ROOT, 4), (1, 2)]);
    // The revocation comes last.
    let mut after = Log::new();
    for incoming in of_one.iter().chain([&witness]) {
        assert_eq!(after.admit(incoming), Ok(Admitted::New));
    }
    let revoke = root_next(&after, Action::Revoke { writer: 1, cut: 0 });
    assert_eq!(after.admit(&revoke), Ok(Admitted::New));
    assert_eq!(after.seq(1), 2);
    // It comes first.
    let mut before = Log::new();
    assert_eq!(before.admit(&revoke), Ok(Admitted::New));
    assert!(matches!(
        before.admit(&witness),
        Err(Refused::Missing { writer: 1, .. })
    ));
    for incoming in &of_one {
        assert_eq!(before.admit(incoming), Ok(Admitted::Beyond));
    }
    assert_eq!(before.seq(1), 0);
    assert_eq!(before.admit(&witness), Ok(Admitted::New));
    assert_eq!(before.seq(1), 2);
    for log in [&mut before, &mut after] {
        assert_eq!(log.admit(&later), Ok(Admitted::New));
    }
    assert_eq!(before.replica.summary(), after.replica.summary());
}

/// Writers 1 and 2 are both revoked, and each has seen only what the other signed after its cut.
#[test]
fn revoked_writers_do_not_vouch_for_each_other() {
    let (mut one, mut two) = (Signer::new(1), Signer::new(2));
    let a = one.sign(SEEN);
    let b = two.sign(&[(ROOT, 3), (1, 1)]);
    let c = one.sign(&[(ROOT, 3), (2, 1)]);
    let revoke_one = |log: &Log| root_next(log, Action::Revoke { writer: 1, cut: 0 });
    let revoke_two = |log: &Log| root_next(log, Action::Revoke { writer: 2, cut: 0 });
    let mut late = Log::new();
    for incoming in [&a, &b, &c] {
        assert_eq!(late.admit(incoming), Ok(Admitted::New));
    }
    late.admit(&revoke_one(&late)).unwrap();
    assert_eq!((late.seq(1), late.seq(2)), (1, 1), "two vouches for one");
    late.admit(&revoke_two(&late)).unwrap();
    assert_eq!((late.seq(1), late.seq(2)), (0, 0));
    let mut early = Log::new();
    early.admit(&revoke_one(&early)).unwrap();
    early.admit(&revoke_two(&early)).unwrap();
    for incoming in [&a, &b, &c] {
        assert_eq!(early.admit(incoming), Ok(Admitted::Beyond));
    }
    assert_eq!(early.replica.summary(), late.replica.summary());
    // One that is not revoked vouches for both, and for nothing else.
    let witness = Signer::new(3).sign(&[(ROOT, 3), (1, 1), (2, 1)]);
    assert_eq!(early.admit(&witness), Ok(Admitted::New));
    assert_eq!((early.seq(1), early.seq(2)), (1, 1));
}

#[test]
fn a_fork_freezes_a_writer_before_it() {
    let mut log = Log::new();
    let mut one = Signer::new(1);
    assert_eq!(log.admit(&one.sign(SEEN)), Ok(Admitted::New));
    let mut twin = one.clone();
    assert_eq!(log.admit(&one.sign(SEEN)), Ok(Admitted::New));
    let (mut payload, value) = twin.payload(SEEN);
    payload.action = Action::Put {
        path: path(9),
        value: ues_data::dag_cbor_cid(&value),
        update: true,
        merge: None,
    };
    let other = twin.signed(payload, value);
    assert_eq!(log.admit(&other), Ok(Admitted::Fork(1)));
    assert_eq!(log.seq(1), 1);
    assert!(log.replica.proof(&log.rows, 1).unwrap().is_some());
    assert_eq!(log.admit(&one.sign(SEEN)), Ok(Admitted::Beyond));
}

#[test]
fn a_root_that_contradicts_itself_ends_the_log() {
    let mut log = Log::new();
    let one = root_next(&log, Action::Revoke { writer: 1, cut: 0 });
    let other = root_next(&log, Action::Revoke { writer: 2, cut: 0 });
    assert_eq!(log.admit(&one), Ok(Admitted::New));
    assert_eq!(log.admit(&other), Ok(Admitted::Fork(ROOT)));
    assert!(log.replica.is_ended());
    assert_eq!(log.admit(&Signer::new(3).sign(SEEN)), Err(Refused::Ended));
    let again = Replica::open(&log.rows).unwrap().unwrap();
    assert!(again.is_ended());
    assert_eq!(again.clock().get(ROOT), 4);
}

/// Writer 3 says that it had seen 2's operation, but not the one of 1 that 2 had seen. What 2 had seen is replaced all
/// the same, in whatever order the three are put together.
#[test]
fn a_state_does_not_depend_on_the_order() {
    let put = |signer: &mut Signer, deps: &[(WriterId, u64)]| {
        let (mut payload, value) = signer.payload(deps);
        payload.action = Action::Put {
            path: path(1),
            value: ues_data::dag_cbor_cid(&value),
            update: true,
            merge: None,
        };
        signer.signed(payload, value).operation
    };
    let a = put(&mut Signer::new(1), SEEN);
    let b = put(&mut Signer::new(2), &[(ROOT, 3), (1, 1)]);
    let c = put(&mut Signer::new(3), &[(ROOT, 3), (2, 1)]);
    let all = [&a, &b, &c];
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut state = TargetState::default();
        for index in order {
            state.insert(all[index], "");
        }
        let left: Vec<_> = state.candidates.iter().map(|c| c.writer).collect();
        assert_eq!(left, [3], "{order:?}");
        assert_eq!(
            state.seen,
            VectorClock::from_iter([(ROOT, 3), (1, 1), (2, 1)])
        );
        assert_eq!(TargetState::decode(&state.encode()), Some(state));
    }
}

/// A revoked writer has another chain here than what another writer had seen of it: the fork is found all the same.
#[test]
fn chains_that_part_before_a_cut_are_found() {
    let mut log = Log::new();
    let mut here = Signer::new(1);
    let mut there = here.clone();
    assert_eq!(log.admit(&here.sign(SEEN)), Ok(Admitted::New));
    log.admit(&root_next(&log, Action::Revoke { writer: 1, cut: 1 }))
        .unwrap();
    let (mut payload, value) = there.payload(SEEN);
    payload.time = HybridTime(payload.time.0 + 1);
    there.signed(payload, value);
    let (mut payload, value) = there.payload(SEEN);
    payload.time = HybridTime(payload.time.0 + 1);
    let diverged = Admitted::Diverged { writer: 1, seq: 1 };
    assert_eq!(log.admit(&there.signed(payload, value)), Ok(diverged));
}

/// The first row had no number of a snapshot before logs could be pruned.
#[test]
fn a_log_of_an_earlier_program_opens() {
    let mut log = Log::new();
    let first = vec![
        Ipld::String(repo().to_string()),
        Ipld::String(device(1).verifying_key().did_key()),
    ];
    let first = ues_data::dag_cbor::encode(&Ipld::List(first)).unwrap();
    log.rows.rows.insert(b"m".to_vec(), first.into());
    let opened = Replica::open(&log.rows).unwrap().unwrap();
    assert_eq!(opened.clock(), log.replica.clock());
    assert_eq!(opened.floor(), None);
}
