//! What a node clears away by itself, with the time as a parameter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Node, User, rkey, text};
use serde_json::{Value, json};
use ues_atproto::upkeep;
use ues_atproto::{Admins, NodeKeys, Server, Upkeep};
use ues_data::parse_cid;
use ues_repo::repo::event::LogEvent;
use ues_repo::syntax::{Datetime, Did};
use ues_storage::{OpenError, Store, StoreOptions};

const HOUR_MS: u64 = 3_600_000;
/// Long enough for any machine; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY_MS: u64 = 24 * HOUR_MS;
const CREATE: &str = "com.atproto.repo.createRecord";

async fn upload(node: &Node, user: &User, content: &[u8]) -> Value {
    let upload = "com.atproto.repo.uploadBlob";
    let answer = node.upload(user, upload, "text/plain", content.to_vec());
    answer.await.ok()["blob"].clone()
}

/// A record that refers to a blob.
fn file(user: &User, blob: &Value) -> Value {
    json!({"repo": user.did, "collection": "com.example.file", "record": {"file": blob}})
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_without_a_record_are_removed_after_a_time() {
    let node = Node::new();
    let (alice, bob) = (node.user("alice").await, node.user("bob").await);
    let used = upload(&node, &alice, b"used").await;
    node.call(&alice, CREATE, &file(&alice, &used)).await.ok();
    let unused = upload(&node, &alice, b"unused").await;
    let same = upload(&node, &bob, b"unused").await;
    node.call(&bob, CREATE, &file(&bob, &same)).await.ok();
    let large: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
    let large = upload(&node, &bob, &large).await;
    let (did, cid) = (Did::parse(&bob.did).unwrap(), text(&large["ref"]["$link"]));
    let entry = node.ctx.repos.blob(&did, &parse_cid(&cid).unwrap());
    let entry = entry.unwrap().unwrap();
    let owner = node.ctx.repos.head(&did).unwrap().unwrap().owner;
    let is_there = || {
        node.ctx
            .repos
            .open_blob(owner, &entry, 0)
            .unwrap()
            .is_some()
    };
    let now = node.ctx.now_ms();

    assert_eq!(upkeep::sweep_blobs(&node.ctx, now).await.unwrap(), 0);
    let soon = now + 23 * HOUR_MS;
    assert_eq!(upkeep::sweep_blobs(&node.ctx, soon).await.unwrap(), 0);
    let late = now + 25 * HOUR_MS;
    assert_eq!(upkeep::sweep_blobs(&node.ctx, late).await.unwrap(), 2);
    assert_eq!(upkeep::sweep_blobs(&node.ctx, late).await.unwrap(), 0);

    let refused = node.call(&alice, CREATE, &file(&alice, &unused)).await;
    assert_eq!(refused.refused(), (400, "BlobNotFound".into()));
    for (user, blob) in [(&alice, &used), (&bob, &same)] {
        let cid = text(&blob["ref"]["$link"]);
        let params = [("did", user.did.as_str()), ("cid", cid.as_str())];
        let got = node.query("com.atproto.sync.getBlob", &params).await;
        assert_eq!(got.status, 200);
    }
    // The content goes, too.
    assert!(is_there());
    let repos = node.ctx.repos.clone();
    let freed = tokio::task::spawn_blocking(move || repos.empty_blob_trash().unwrap());
    assert!(freed.await.unwrap() >= 2);
    assert!(!is_there());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_time_blobs_wait_for_ever() {
    let mut config = common::config();
    config.upkeep.temporary_blob_hours = 0;
    let node = Node::with(config);
    let alice = node.user("alice").await;
    let blob = upload(&node, &alice, b"patient").await;
    assert_eq!(upkeep::sweep_blobs(&node.ctx, u64::MAX).await.unwrap(), 0);
    node.call(&alice, CREATE, &file(&alice, &blob)).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_writes_and_sweeps_at_once_lose_nothing() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let now = node.ctx.now_ms();
    let sweeps = async {
        for _ in 0..50 {
            upkeep::sweep_blobs(&node.ctx, now + 20 * HOUR_MS)
                .await
                .unwrap();
        }
    };
    let uploads = async {
        // One content again and again, and the record that refers to it comes and goes.
        for _ in 0..50 {
            let blob = upload(&node, &alice, b"busy").await;
            let written = node.call(&alice, CREATE, &file(&alice, &blob)).await.ok();
            let body = json!({"repo": alice.did, "collection": "com.example.file", "rkey": rkey(&written)});
            let delete = "com.atproto.repo.deleteRecord";
            node.call(&alice, delete, &body).await.ok();
        }
    };
    let posts = async {
        for n in 0..50 {
            node.post_text(&alice, &format!("post {n}")).await;
        }
    };
    futures::join!(sweeps, uploads, posts);
    let blob = upload(&node, &alice, b"busy").await;
    node.call(&alice, CREATE, &file(&alice, &blob)).await.ok();
}

/// A node that keeps so much of its log, with an account and a few posts: 4 events and one for each.
async fn node_with_posts(upkeep: Upkeep, posts: usize) -> (Node, User) {
    let mut config = common::config();
    config.upkeep = upkeep;
    let node = Node::with(config);
    let alice = node.user("alice").await;
    for n in 0..posts {
        node.post_text(&alice, &format!("post {n}")).await;
    }
    taken_in(&node).await;
    (node, alice)
}

/// Waits until the projections have seen all.
async fn taken_in(node: &Node) {
    let last = node.ctx.store.log().last_durable();
    let followed = async {
        while node.ctx.log_readers.slowest() < Some(last) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, followed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_events_are_kept() {
    let keep = Upkeep {
        events: 5,
        ..Upkeep::default()
    };
    let (node, alice) = node_with_posts(keep, 10).await;
    let log = node.ctx.store.log();
    assert_eq!(log.last_durable(), 14);
    assert_eq!(upkeep::trim_log(&node.ctx, 0).await.unwrap(), 9);
    assert_eq!((log.first_seq(), log.last_durable()), (10, 14));
    assert_eq!(upkeep::trim_log(&node.ctx, 0).await.unwrap(), 0);
    node.post_text(&alice, "one more").await;
    taken_in(&node).await;
    assert_eq!(upkeep::trim_log(&node.ctx, 0).await.unwrap(), 1);
    // What a projection has not seen stays.
    let (seen, cursor) = tokio::sync::watch::channel(12);
    node.ctx.log_readers.add(cursor);
    for n in 0..10 {
        node.post_text(&alice, &format!("later {n}")).await;
    }
    assert_eq!(upkeep::trim_log(&node.ctx, 0).await.unwrap(), 2);
    assert_eq!(log.first_seq(), 13);
    drop(seen);
    taken_in(&node).await;
    assert_eq!(upkeep::trim_log(&node.ctx, 0).await.unwrap(), 8);
    assert_eq!((log.first_seq(), log.last_durable()), (21, 25));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_time_are_kept_and_the_newest_in_any_case() {
    let keep = Upkeep {
        event_days: 3,
        ..Upkeep::default()
    };
    let (node, _alice) = node_with_posts(keep, 10).await;
    let log = node.ctx.store.log();
    let time = |seq: u64| {
        let event = log.read(seq - 1, 1, 1).unwrap().remove(0);
        let event = LogEvent::decode(&event.payload).unwrap();
        Datetime::parse(event.time()).unwrap().unix_millis() as u64
    };
    let (middle, newest) = (time(8), time(14));
    assert_eq!(upkeep::trim_log(&node.ctx, middle).await.unwrap(), 0);
    let now = middle + 3 * DAY_MS;
    upkeep::trim_log(&node.ctx, now).await.unwrap();
    let first = log.first_seq();
    assert!(first <= 8 && time(first) == middle, "{first}");
    let late = newest + 4 * DAY_MS;
    assert_eq!(upkeep::trim_log(&node.ctx, late).await.unwrap(), 14 - first);
    assert_eq!((log.first_seq(), log.last_durable()), (14, 14));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_all_events_are_kept() {
    let (node, _alice) = node_with_posts(Upkeep::default(), 3).await;
    assert_eq!(upkeep::trim_log(&node.ctx, u64::MAX).await.unwrap(), 0);
    assert_eq!(node.ctx.store.log().first_seq(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_census_counts_what_was_trimmed_before_it_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let keys = NodeKeys::generate().unwrap();
    let open = async || {
        let keys = NodeKeys {
            accounts: keys.accounts.clone(),
            sessions: keys.sessions.clone(),
            plc_rotation: keys.plc_rotation.clone(),
            labels: keys.labels.clone(),
            admins: Admins::default(),
        };
        let store = async {
            loop {
                match Store::open(dir.path(), StoreOptions::default()) {
                    Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
                    opened => return opened.unwrap(),
                }
            }
        };
        // The tasks of the server before let the folder go when they see that it stopped.
        let store = tokio::time::timeout(PATIENCE, store).await.unwrap();
        Node::of(Server::new(common::config(), store, keys).unwrap())
    };
    let mut node = open().await;
    let (alice, bob) = (node.user("alice").await, node.user("bob").await);
    for n in 0..10 {
        node.post_text(&alice, &format!("post {n}")).await;
        node.post_text(&bob, &format!("post {n}")).await;
    }
    taken_in(&node).await;
    let store = node.ctx.store.clone();
    let close = move || {
        let last = store.log().last_durable();
        store.log().trim(last).unwrap();
        // As a crash leaves it: the counts were not stored.
        let rows = store.keyspace("census").unwrap();
        let mut batch = store.batch();
        for row in rows.prefix("") {
            batch.delete(&rows, row.unwrap().0);
        }
        store.commit_blocking(batch).unwrap();
        store.close();
    };
    node.server.take().unwrap().stop();
    tokio::task::spawn_blocking(close).await.unwrap();
    drop(node);
    let node = open().await;
    taken_in(&node).await;
    let census = &node.ctx.census;
    assert_eq!((census.accounts(), census.records()), (2, 20));
    node.post_text(&alice, "one more").await;
    taken_in(&node).await;
    assert_eq!((census.accounts(), census.records()), (2, 21));
}
