//! A whole node over a medium that fails: at every single write and sync in turn, in every way, it must answer with an
//! error, and after the crash show every acknowledged write, sound repositories and a log without gap or double.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{Node, User};
use serde_json::{Value, json};
use ues_atproto::{Admins, NodeKeys};
use ues_data::car::CarLimits;
use ues_repo::repo::event::LogEvent;
use ues_repo::repo::verify::{Archive, invert};
use ues_repo::syntax::Did;
use ues_storage::engine::{Fault, MemoryEngine};
use ues_storage::{Store, StoreOptions};

const THING: &str = "com.example.thing";
/// Writes of each account.
const WRITES: usize = 9;

/// What one account's owner knows: the acknowledged content by record key, and what the write said whose answer was
/// an error.
#[derive(Default)]
struct Known {
    acknowledged: BTreeMap<String, Option<u64>>,
    doubtful: BTreeMap<String, Option<u64>>,
}

fn options(nursery_bytes: usize) -> StoreOptions {
    StoreOptions {
        housekeeping: None,
        nursery_bytes,
        ..StoreOptions::default()
    }
}

fn open(engine: &MemoryEngine, keys: &NodeKeys, nursery_bytes: usize) -> Node {
    let store = Store::with_engine(Arc::new(engine.clone()), options(nursery_bytes)).unwrap();
    let keys = NodeKeys {
        accounts: keys.accounts.clone(),
        sessions: keys.sessions.clone(),
        plc_rotation: keys.plc_rotation.clone(),
        labels: keys.labels.clone(),
        admins: Admins::default(),
    };
    Node::over(common::config(), store, keys)
}

/// The node's end, with nothing left that writes.
fn stop(mut node: Node) {
    node.server.take().unwrap().stop();
    node.ctx.store.clone().close();
}

fn thing(n: u64) -> Value {
    json!({"$type": THING, "n": n, "fill": "x".repeat(n as usize * 7)})
}

/// Writes one after another; ends with the first answer that is not 200.
async fn write(node: &Node, user: &User) -> Known {
    let mut known = Known::default();
    let plan: [&[(&str, Option<u64>)]; WRITES] = [
        &[("a", Some(1))],
        &[("b", Some(2))],
        &[("a", Some(3))],
        &[("c", Some(4)), ("d", Some(5)), ("b", None)],
        &[("a", None)],
        &[("e", Some(6))],
        &[("c", Some(7)), ("e", None)],
        &[("a", Some(8))],
        &[("f", Some(9))],
    ];
    for writes in plan {
        let list: Vec<Value> = writes
            .iter()
            .map(|(rkey, n)| {
                let exists = known.acknowledged.get(*rkey).copied().flatten().is_some();
                match n {
                    None => json!({"$type": "com.atproto.repo.applyWrites#delete", "collection": THING, "rkey": rkey}),
                    Some(n) => json!({
                        "$type": format!("com.atproto.repo.applyWrites#{}", if exists { "update" } else { "create" }),
                        "collection": THING, "rkey": rkey, "value": thing(*n),
                    }),
                }
            })
            .collect();
        let body = json!({"repo": user.did, "writes": list});
        let answer = node.call(user, "com.atproto.repo.applyWrites", &body).await;
        let these = writes.iter().map(|(rkey, n)| ((*rkey).to_owned(), *n));
        if answer.status != 200 {
            assert!(answer.status.is_server_error(), "{answer:?}");
            assert!(!answer.message().is_empty());
            known.doubtful.extend(these);
            break;
        }
        known.acknowledged.extend(these);
    }
    known
}

async fn both(node: &Node, users: &[User; 2]) -> [Known; 2] {
    let (a, b) = tokio::join!(write(node, &users[0]), write(node, &users[1]));
    [a, b]
}

async fn shows_what_was_acknowledged(node: &Node, user: &User, known: &Known) {
    let get = async |rkey: &str| {
        let params = [
            ("repo", user.did.as_str()),
            ("collection", THING),
            ("rkey", rkey),
        ];
        let answer = node.query("com.atproto.repo.getRecord", &params).await;
        (answer.status == 200).then(|| answer.json()["value"]["n"].as_u64().unwrap())
    };
    // A write is there as a whole or not at all.
    let mut applied = BTreeSet::new();
    for (rkey, n) in &known.doubtful {
        let found = get(rkey).await;
        let before = known.acknowledged.get(rkey).copied().flatten();
        assert!(found == *n || found == before, "{rkey}: {found:?}");
        if *n != before {
            applied.insert(found == *n);
        }
    }
    assert!(applied.len() < 2, "half of a write is there");
    for (rkey, n) in &known.acknowledged {
        if !known.doubtful.contains_key(rkey) {
            assert_eq!(get(rkey).await, *n, "{rkey} of {}", user.handle);
        }
    }
}

/// Repositories, log and store as strangers see them.
fn is_sound(node: &Node, users: &[User; 2]) {
    for user in users {
        let did = Did::parse(&user.did).unwrap();
        let report = node.ctx.repos.check(&did, &mut |_| ()).unwrap();
        assert_eq!(report.problem_count, 0, "{:?}", report.problems);
    }
    let mut heads = BTreeMap::new();
    let mut after = 0;
    loop {
        let events = node.ctx.store.log().read(after, 100, 1 << 20).unwrap();
        if events.is_empty() {
            break;
        }
        for event in events {
            assert_eq!(event.seq, after + 1, "no gap, no double");
            after = event.seq;
            let LogEvent::Commit(commit) = LogEvent::decode(&event.payload).unwrap() else {
                continue;
            };
            let archive = Archive::read(&commit.blocks[..], CarLimits::default()).unwrap();
            let data = archive.commit().unwrap().data;
            let before = heads.insert(commit.repo.clone(), (commit.rev, data));
            assert_eq!(commit.since, before.map(|(rev, _)| rev));
            assert_eq!(commit.prev_data, before.map(|(_, data)| data));
            if let Some((_, before)) = before {
                assert_eq!(invert(&archive, &commit).unwrap(), before);
            }
        }
    }
    for (did, (rev, data)) in heads {
        let head = node.ctx.repos.head(&did).unwrap().unwrap();
        assert_eq!((head.rev, head.data), (rev, data));
    }
    let report = node.ctx.store.check(&mut |_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_survives_a_failure_at_every_call() {
    let keys = NodeKeys::generate().unwrap();
    let base = MemoryEngine::new();
    let node = open(&base, &keys, 0);
    let users = [node.user("alice").await, node.user("bob").await];
    stop(node);
    for fault in [Fault::TornWrite, Fault::FailedSync, Fault::DiskFull] {
        // The nursery that moves at once, now and then, and never.
        for nursery_bytes in [0, 6000, 1 << 20] {
            let mut nth = 1;
            loop {
                let engine = base.crash(0);
                let node = open(&engine, &keys, nursery_bytes);
                let before = engine.calls();
                engine.inject(nth, fault);
                let known = both(&node, &users).await;
                let failed = known.iter().any(|k| !k.doubtful.is_empty());
                assert_eq!(failed, node.ctx.store.poisoned().is_some());
                let met = engine.calls() - before >= nth;
                stop(node);

                let node = open(&engine.crash((nth % 3) as usize), &keys, nursery_bytes);
                for (user, known) in users.iter().zip(&known) {
                    shows_what_was_acknowledged(&node, user, known).await;
                }
                is_sound(&node, &users);
                let again = json!({"repo": users[0].did, "collection": THING, "record": thing(1)});
                node.call(&users[0], "com.atproto.repo.createRecord", &again)
                    .await
                    .ok();
                stop(node);
                if !met {
                    // Each account's writes come one after another: at least as many rounds, each a batch and a sync.
                    assert!(nth > 2 * WRITES as u64, "{nth} calls");
                    break;
                }
                assert!(failed, "{fault:?} at call {nth} was not noticed");
                nth += 1;
            }
        }
    }
}
