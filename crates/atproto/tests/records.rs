//! Records: written, read, swapped, refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Node, User, post, rkey, text};
use serde_json::{Value, json};

const CREATE: &str = "com.atproto.repo.createRecord";
const PUT: &str = "com.atproto.repo.putRecord";
const DELETE: &str = "com.atproto.repo.deleteRecord";
const APPLY: &str = "com.atproto.repo.applyWrites";
const POST: &str = "app.bsky.feed.post";

async fn record(node: &Node, user: &User, rkey: &str) -> common::Answer {
    let params = [
        ("repo", user.did.as_str()),
        ("collection", POST),
        ("rkey", rkey),
    ];
    node.query("com.atproto.repo.getRecord", &params).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_written_and_read_back() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let written = node.post_text(&alice, "hello \"world\" \u{1f600}").await;
    assert_eq!(written["validationStatus"], "valid");
    let key = rkey(&written);
    let read = record(&node, &alice, &key).await.ok();
    assert_eq!(read["uri"], written["uri"]);
    assert_eq!(read["cid"], written["cid"]);
    assert_eq!(read["value"], post("hello \"world\" \u{1f600}"));
    let latest = node
        .query("com.atproto.sync.getLatestCommit", &[("did", &alice.did)])
        .await
        .ok();
    assert_eq!(latest, written["commit"]);
    let params = [
        ("repo", "alice.test"),
        ("collection", POST),
        ("rkey", &key),
        ("cid", &text(&read["cid"])),
    ];
    node.query("com.atproto.repo.getRecord", &params).await.ok();
    assert_eq!(
        record(&node, &alice, "nothing").await.refused(),
        (400, "RecordNotFound".into())
    );
    let params = [("repo", "bob.test"), ("collection", POST), ("rkey", "x")];
    let nobody = node.query("com.atproto.repo.getRecord", &params).await;
    assert_eq!(nobody.refused(), (400, "InvalidRequest".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn integers_that_not_every_reader_keeps_are_refused() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let collection = "com.example.number";
    let safe = 9_007_199_254_740_991_i64;
    for (number, good) in [
        (json!(safe), true),
        (json!(-safe), true),
        (json!(safe + 1), false),
        (json!(-safe - 1), false),
        (json!(i64::MIN), false),
        (json!(u64::MAX), false),
    ] {
        let record = json!({ "$type": collection, "list": [{ "n": number }] });
        let one = json!({
            "repo": alice.did, "collection": collection, "rkey": "self", "record": record,
            "validate": false,
        });
        let many = json!({ "repo": alice.did, "validate": false, "writes": [{
            "$type": "com.atproto.repo.applyWrites#create", "collection": collection, "value": record,
        }] });
        for (method, body) in [(PUT, &one), (APPLY, &many), (CREATE, &one)] {
            if good && method == CREATE {
                continue;
            }
            let answer = node.call(&alice, method, body).await;
            match good {
                true => drop(answer.ok()),
                false => assert_eq!(
                    answer.refused(),
                    (400, "InvalidRequest".into()),
                    "{method} {number}"
                ),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_writes() {
    let node = Node::new();
    let (alice, bob) = (node.user("alice").await, node.user("bob").await);
    let body = json!({"repo": alice.did, "collection": POST, "record": post("x")});
    assert_eq!(
        node.post(None, CREATE, &body).await.refused(),
        (401, "AuthMissing".into())
    );
    let other = node.call(&bob, CREATE, &body).await;
    assert_eq!(other.refused(), (401, "AuthenticationRequired".into()));
    let body = json!({"repo": "alice.test", "collection": POST, "record": post("x")});
    node.call(&alice, CREATE, &body).await.ok();
    let body = json!({"repo": "nobody.test", "collection": POST, "record": post("x")});
    assert_eq!(
        node.call(&alice, CREATE, &body).await.refused(),
        (403, "AccountNotFound".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_checked_as_asked() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let create = async |collection: &str, record: Value, validate: Option<bool>| {
        let mut body = json!({"repo": alice.did, "collection": collection, "record": record});
        if let Some(validate) = validate {
            body["validate"] = validate.into();
        }
        node.call(&alice, CREATE, &body).await
    };
    let bad = json!({"text": 2, "createdAt": "2026-01-01T00:00:00Z"});
    let refused = create(POST, bad.clone(), None).await;
    assert_eq!(refused.refused(), (400, "InvalidRequest".into()));
    let message = refused.message();
    assert!(
        message.starts_with("Invalid app.bsky.feed.post record: "),
        "{message}"
    );
    assert!(
        create(POST, bad, Some(false))
            .await
            .ok()
            .get("validationStatus")
            .is_none()
    );
    let unknown = json!({"anything": 1});
    let answer = create("com.example.thing", unknown.clone(), None)
        .await
        .ok();
    assert_eq!(answer["validationStatus"], "unknown");
    let refused = create("com.example.thing", unknown, Some(true)).await;
    assert_eq!(refused.message(), "Unknown lexicon type: com.example.thing");
    let refused = create(POST, json!({"$type": "app.bsky.feed.like"}), None).await;
    assert_eq!(
        refused.message(),
        "Invalid $type: expected app.bsky.feed.post, got app.bsky.feed.like"
    );
    let refused = create("com.example.thing", json!({"number": 1.5}), None).await;
    assert_eq!(refused.refused(), (400, "InvalidRequest".into()));
    let refused = create("not a collection", json!({}), None).await;
    assert_eq!(refused.refused(), (400, "InvalidRequest".into()));
    let body =
        json!({"repo": alice.did, "collection": POST, "rkey": "not a tid", "record": post("x")});
    assert_eq!(
        node.call(&alice, CREATE, &body).await.refused(),
        (400, "InvalidRequest".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_both_ways_in_pages() {
    let node = Node::new();
    let alice = node.user("alice").await;
    for n in 0..7 {
        let body = json!({
            "repo": alice.did, "collection": "com.example.item", "rkey": format!("key{n}"),
            "record": {"n": n},
        });
        node.call(&alice, CREATE, &body).await.ok();
    }
    let page = async |params: &[(&str, &str)]| {
        let mut all = vec![("repo", "alice.test"), ("collection", "com.example.item")];
        all.extend_from_slice(params);
        let page = node.query("com.atproto.repo.listRecords", &all).await.ok();
        let numbers: Vec<i64> = page["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["value"]["n"].as_i64().unwrap())
            .collect();
        (numbers, page["cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(
        page(&[]).await,
        (vec![6, 5, 4, 3, 2, 1, 0], Some("key0".into()))
    );
    assert_eq!(
        page(&[("limit", "3")]).await,
        (vec![6, 5, 4], Some("key4".into()))
    );
    let rest = page(&[("limit", "3"), ("cursor", "key4")]).await;
    assert_eq!(rest, (vec![3, 2, 1], Some("key1".into())));
    let up = page(&[("limit", "2"), ("reverse", "true"), ("cursor", "key1")]).await;
    assert_eq!(up, (vec![2, 3], Some("key3".into())));
    assert_eq!(page(&[("cursor", "key0")]).await, (vec![], None));
    let params = [
        ("repo", "alice.test"),
        ("collection", "com.example.item"),
        ("limit", "101"),
    ];
    let refused = node.query("com.atproto.repo.listRecords", &params).await;
    assert_eq!(refused.refused(), (400, "InvalidRequest".into()));
    assert!(
        refused
            .message()
            .starts_with("Invalid com.atproto.repo.listRecords params: ")
    );
    let described = node
        .query("com.atproto.repo.describeRepo", &[("repo", &alice.did)])
        .await
        .ok();
    assert_eq!(described["collections"], json!(["com.example.item"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_like_replaces_the_older_unless_not_validated() {
    const LIKE: &str = "app.bsky.feed.like";
    let node = Node::new();
    let alice = node.user("alice").await;
    let post = node.post_text(&alice, "likeable").await;
    let like = async |validate: Option<bool>| {
        let mut body = json!({"repo": alice.did, "collection": LIKE, "record": {
            "subject": {"uri": post["uri"], "cid": post["cid"]}, "createdAt": "2026-01-01T00:00:00Z",
        }});
        if let Some(validate) = validate {
            body["validate"] = validate.into();
        }
        text(&node.call(&alice, CREATE, &body).await.ok()["uri"])
    };
    let likes = async || {
        let params = [("repo", alice.did.as_str()), ("collection", LIKE)];
        let page = node
            .query("com.atproto.repo.listRecords", &params)
            .await
            .ok();
        let records = page["records"].as_array().unwrap().clone();
        records.iter().map(|r| text(&r["uri"])).collect::<Vec<_>>()
    };
    like(None).await;
    let second = like(Some(true)).await;
    assert_eq!(likes().await, std::slice::from_ref(&second));
    let third = like(Some(false)).await;
    assert_eq!(likes().await, [third, second]);
    let fourth = like(None).await;
    assert_eq!(likes().await, [fourth]);
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_update_and_swap() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let body = |value: Value, swap: Option<Value>| {
        let mut body = json!({
            "repo": alice.did, "collection": "com.example.item", "rkey": "self", "record": value,
        });
        if let Some(swap) = swap {
            body["swapRecord"] = swap;
        }
        body
    };
    let first = node
        .call(&alice, PUT, &body(json!({"n": 1}), Some(Value::Null)))
        .await
        .ok();
    let again = node
        .call(&alice, PUT, &body(json!({"n": 1}), None))
        .await
        .ok();
    assert_eq!(again["cid"], first["cid"]);
    assert!(again.get("commit").is_none(), "nothing changed: {again}");
    let refused = node
        .call(&alice, PUT, &body(json!({"n": 2}), Some(Value::Null)))
        .await;
    assert_eq!(refused.refused(), (400, "InvalidSwap".into()));
    assert_eq!(
        refused.message(),
        format!("Record was at {}", text(&first["cid"]))
    );
    let second = node
        .call(
            &alice,
            PUT,
            &body(json!({"n": 2}), Some(first["cid"].clone())),
        )
        .await
        .ok();
    assert_ne!(second["cid"], first["cid"]);
    let mut stale = body(json!({"n": 3}), None);
    stale["swapCommit"] = first["commit"]["cid"].clone();
    assert_eq!(
        node.call(&alice, PUT, &stale).await.refused(),
        (400, "InvalidSwap".into())
    );
    // What is so already needs no swap.
    let mut same = body(json!({"n": 2}), Some(Value::Null));
    same["swapCommit"] = first["commit"]["cid"].clone();
    let same = node.call(&alice, PUT, &same).await.ok();
    assert!(same.get("commit").is_none(), "{same}");
    stale["swapCommit"] = second["commit"]["cid"].clone();
    node.call(&alice, PUT, &stale).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_of_what_is_and_is_not_there() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let written = node.post_text(&alice, "to go").await;
    let key = rkey(&written);
    let body = json!({"repo": alice.did, "collection": POST, "rkey": key, "swapRecord": written["commit"]["cid"]});
    assert_eq!(
        node.call(&alice, DELETE, &body).await.refused(),
        (400, "InvalidSwap".into())
    );
    let body =
        json!({"repo": alice.did, "collection": POST, "rkey": key, "swapRecord": written["cid"]});
    assert!(
        node.call(&alice, DELETE, &body)
            .await
            .ok()
            .get("commit")
            .is_some()
    );
    assert!(
        node.call(&alice, DELETE, &body)
            .await
            .ok()
            .get("commit")
            .is_none()
    );
    let stale =
        json!({"repo": alice.did, "collection": POST, "rkey": key, "swapCommit": written["cid"]});
    node.call(&alice, DELETE, &stale).await.ok();
    assert_eq!(
        record(&node, &alice, &key).await.refused(),
        (400, "RecordNotFound".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writes_are_one_commit() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let old = rkey(&node.post_text(&alice, "old").await);
    let gone = rkey(&node.post_text(&alice, "gone").await);
    let before = node.ctx.store.log().last_durable();
    let body = json!({"repo": alice.did, "writes": [
        {"$type": "com.atproto.repo.applyWrites#create", "collection": POST, "value": post("new")},
        {"$type": "com.atproto.repo.applyWrites#update", "collection": POST, "rkey": old, "value": post("changed")},
        {"$type": "com.atproto.repo.applyWrites#delete", "collection": POST, "rkey": gone},
    ]});
    let answer = node.call(&alice, APPLY, &body).await.ok();
    assert_eq!(node.ctx.store.log().last_durable(), before + 1);
    let kinds: Vec<String> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| text(&r["$type"]))
        .collect();
    assert_eq!(
        kinds,
        [
            "com.atproto.repo.applyWrites#createResult",
            "com.atproto.repo.applyWrites#updateResult",
            "com.atproto.repo.applyWrites#deleteResult",
        ]
    );
    assert_eq!(
        record(&node, &alice, &old).await.ok()["value"]["text"],
        "changed"
    );
    // All or nothing.
    let body = json!({"repo": alice.did, "writes": [
        {"$type": "com.atproto.repo.applyWrites#create", "collection": POST, "rkey": "3jzfcijpj2z2a", "value": post("new")},
        {"$type": "com.atproto.repo.applyWrites#delete", "collection": POST, "rkey": gone},
    ]});
    assert_eq!(node.call(&alice, APPLY, &body).await.refused().0, 400);
    assert_eq!(
        record(&node, &alice, "3jzfcijpj2z2a").await.refused().1,
        "RecordNotFound"
    );
    let write = json!({"$type": "com.atproto.repo.applyWrites#create", "collection": POST, "value": post("x")});
    let many = json!({"repo": alice.did, "writes": vec![write; 201]});
    let refused = node.call(&alice, APPLY, &many).await;
    assert_eq!(refused.message(), "Too many writes. Max: 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_concurrency_let_one_through() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let start = node.post_text(&alice, "start").await;
    let head = start["commit"]["cid"].clone();
    let tries = (0..16).map(|n| {
        let body = json!({
            "repo": alice.did, "collection": POST, "record": post(&n.to_string()), "swapCommit": head,
        });
        let (node, alice) = (&node, &alice);
        async move { node.call(alice, CREATE, &body).await.status.as_u16() }
    });
    let statuses = futures::future::join_all(tries).await;
    assert_eq!(
        statuses.iter().filter(|s| **s == 200).count(),
        1,
        "{statuses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_all_land() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let writes = (0..100).map(|n| {
        let (node, alice) = (&node, &alice);
        async move { node.post_text(alice, &format!("post {n}")).await }
    });
    let written = futures::future::join_all(writes).await;
    let uris: std::collections::HashSet<String> = written.iter().map(|w| text(&w["uri"])).collect();
    assert_eq!(uris.len(), 100);
    let params = [
        ("repo", alice.did.as_str()),
        ("collection", POST),
        ("limit", "100"),
    ];
    let page = node
        .query("com.atproto.repo.listRecords", &params)
        .await
        .ok();
    assert_eq!(page["records"].as_array().unwrap().len(), 100);
}
