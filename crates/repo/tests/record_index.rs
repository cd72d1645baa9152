//! The record index against a slow reference: queries while writing, replay, status, imports.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::index::{Condition, Filter, Query, RecordProjection, RecordQueries, SortBy};
use ues_repo::lexicon::Lexicons;
use ues_repo::repo::layout::Status;
use ues_repo::repo::write::{Record, RecordPath, Write, WriteKind};
use ues_repo::repo::{KeySource, KeySourceError, Repositories};
use ues_repo::syntax::{Datetime, Did};
use ues_storage::{ProjectionHandle, Store, StoreOptions};

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

struct Fixture {
    repos: Repositories,
    queries: RecordQueries,
    handle: ProjectionHandle,
    dids: Vec<Did>,
    _dir: tempfile::TempDir,
}

const TASK: &str = "com.example.task";

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
    let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
    let repos = Repositories::open(store.clone(), Arc::new(OneKey(Arc::clone(&key)))).unwrap();
    let lexicons = Lexicons::official();
    lexicons
        .register(&json!({
            "lexicon": 1, "id": TASK, "defs": {"main": {
                "type": "record", "key": "any",
                "record": {"type": "object", "properties": {
                    "state": {"type": "string"}, "weight": {"type": "integer"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                }},
                "ues": {"indexes": [
                    {"name": "state", "path": "state", "kind": "text"},
                    {"name": "weight", "path": "weight", "kind": "integer"},
                    {"name": "tag", "path": "tags[]", "kind": "text"},
                ]},
            }},
        }))
        .unwrap();
    let path = dir.path().join("records.sqlite");
    let (projection, queries) = RecordProjection::open(&path, repos.clone(), lexicons).unwrap();
    let handle = store.project(projection).unwrap();
    let mut dids = Vec::new();
    for name in ["ewvi7nxzyoun6zhxrhs64oiz", "44ybard66vv44zksje25o7dz"] {
        let did = Did::parse(&format!("did:plc:{name}")).unwrap();
        repos
            .create(&did, &key, store.batch(), Vec::new())
            .await
            .unwrap();
        dids.push(did);
    }
    Fixture {
        repos,
        queries,
        handle,
        dids,
        _dir: dir,
    }
}

impl Fixture {
    async fn put(&self, who: usize, collection: &str, rkey: &str, value: serde_json::Value) {
        let ipld = ues_data::atproto_json::from_json(&value).unwrap();
        let bytes = ues_data::dag_cbor::encode(&ipld).unwrap();
        self.write(who, collection, rkey, WriteKind::Put, Some(bytes))
            .await;
    }

    async fn write(
        &self,
        who: usize,
        nsid: &str,
        rkey: &str,
        kind: WriteKind,
        bytes: Option<Vec<u8>>,
    ) {
        let write = Write {
            path: RecordPath::parse(&format!("{nsid}/{rkey}")).unwrap(),
            kind,
            record: bytes.map(|b| Record::new(b.into(), Vec::new())),
            swap: None,
        };
        self.repos
            .apply_writes(&self.dids[who], vec![write], None)
            .await
            .unwrap();
    }

    /// The record keys that a query finds, over all pages, after everything written before.
    async fn find(&self, query: Query) -> Vec<String> {
        let now = self.repos.store().log().last_durable();
        self.handle
            .wait_for(now, Duration::from_secs(60))
            .await
            .unwrap();
        let mut out = Vec::new();
        let mut cursor = None;
        loop {
            let page = self
                .queries
                .query(&Query {
                    cursor,
                    ..query.clone()
                })
                .unwrap();
            out.extend(page.records.into_iter().map(|r| r.rkey));
            cursor = page.cursor;
            if cursor.is_none() {
                return out;
            }
        }
    }
}

fn of(collection: &str) -> Query {
    Query {
        collection: collection.into(),
        limit: 2,
        ..Query::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_by_time_author_text_and_declared_index() {
    let f = fixture().await;
    let at = |minute: u8| format!("2024-01-01T00:{minute:02}:00Z");
    let ms = |minute: u8| Datetime::parse(&at(minute)).unwrap().unix_millis();
    for n in 0..6_u8 {
        let value = json!({
            "state": if n % 2 == 0 { "open" } else { "done" }, "weight": i64::from(n) - 3,
            "tags": ["all", format!("t{n}")], "createdAt": at(5 - n), "title": format!("Café number {n}"),
        });
        f.put(usize::from(n >= 4), TASK, &format!("k{n}"), value)
            .await;
    }
    assert_eq!(f.find(of(TASK)).await, ["k5", "k4", "k3", "k2", "k1", "k0"]);
    let newest = Query {
        descending: true,
        ..of(TASK)
    };
    assert_eq!(f.find(newest).await, ["k0", "k1", "k2", "k3", "k4", "k5"]);
    let some = Query {
        created: (Some(ms(1)), Some(ms(3))),
        ..of(TASK)
    };
    assert_eq!(f.find(some).await, ["k4", "k3", "k2"]);
    let mine = Query {
        author: Some(f.dids[1].clone()),
        sort: SortBy::Changed,
        ..of(TASK)
    };
    assert_eq!(f.find(mine).await, ["k4", "k5"]);
    // Case and accents do not matter, and operators are only words.
    for (text, found) in [("cafe 4", 1), ("NUMB*", 6), ("number OR 9", 0), ("\"4", 1)] {
        let query = Query {
            text: Some(text.into()),
            ..of(TASK)
        };
        assert_eq!(f.find(query).await.len(), found, "{text}");
    }
    let condition = |index: &str, filter| Condition {
        index: index.into(),
        filter,
    };
    let query = Query {
        conditions: vec![
            condition("state", Filter::Is("open".into())),
            condition("weight", Filter::Between(Some(-1), None)),
            condition("tag", Filter::StartsWith("t".into())),
        ],
        sort: SortBy::Number("weight".into()),
        descending: true,
        ..of(TASK)
    };
    assert_eq!(f.find(query).await, ["k4", "k2"]);
    for bad in [
        Query {
            limit: 0,
            ..of(TASK)
        },
        Query {
            cursor: Some("x".into()),
            ..of(TASK)
        },
    ] {
        f.queries.query(&bad).unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_deletions_status_and_replay_leave_what_is_there() {
    let f = fixture().await;
    for n in 0..20 {
        f.put(
            n % 2,
            TASK,
            &format!("k{n}"),
            json!({"state": "open", "text": "first"}),
        )
        .await;
    }
    for n in 0..10 {
        f.put(
            n % 2,
            TASK,
            &format!("k{n}"),
            json!({"state": "done", "text": "second"}),
        )
        .await;
    }
    for n in 0..5 {
        f.write(n % 2, TASK, &format!("k{n}"), WriteKind::Delete, None)
            .await;
    }
    let open = Query {
        conditions: vec![Condition {
            index: "state".into(),
            filter: Filter::Is("done".into()),
        }],
        ..of(TASK)
    };
    let word = |w: &str| Query {
        text: Some(w.into()),
        ..of(TASK)
    };
    let mut expected = f.find(of(TASK)).await;
    expected.sort();
    assert_eq!(expected.len(), 15);
    assert_eq!(f.find(open.clone()).await.len(), 5);
    assert_eq!(f.find(word("second")).await.len(), 5);
    assert_eq!(f.find(word("first")).await.len(), 10);
    f.handle.reset();
    let mut replayed = f.find(of(TASK)).await;
    replayed.sort();
    assert_eq!(replayed, expected);
    let none = || f.repos.store().batch();
    f.repos
        .set_status(&f.dids[0], Status::Deactivated, none())
        .await
        .unwrap();
    assert!(f.find(of(TASK)).await.len() < 15);
    f.repos
        .set_status(&f.dids[0], Status::Active, none())
        .await
        .unwrap();
    assert_eq!(f.find(of(TASK)).await.len(), 15);
    // An import replaces what the index knows of the account.
    let pieces: Result<Vec<_>, _> = f.repos.export(&f.dids[0], None).unwrap().collect();
    let car = std::io::Cursor::new(pieces.unwrap().concat());
    f.repos.import(&f.dids[1], car).await.unwrap();
    let mine = |who: usize| Query {
        author: Some(f.dids[who].clone()),
        ..of(TASK)
    };
    let (mut a, mut b) = (f.find(mine(0)).await, f.find(mine(1)).await);
    a.sort();
    b.sort();
    assert_eq!(a, b);
    f.repos.delete(&f.dids[1], none()).await.unwrap();
    assert!(f.find(mine(1)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_beginning_is_made_up_for() {
    let mut f = fixture().await;
    for n in 0..20 {
        f.put(n % 2, TASK, &format!("k{n:02}"), json!({"state": "open"}))
            .await;
    }
    assert_eq!(f.find(of(TASK)).await.len(), 20);
    f.handle.stop();
    // What happens now is trimmed before the index sees it.
    f.write(0, TASK, "k00", WriteKind::Delete, None).await;
    f.put(1, TASK, "k01", json!({"state": "done"})).await;
    f.put(0, TASK, "k20", json!({"state": "done"})).await;
    f.repos
        .delete(&f.dids[1], f.repos.store().batch())
        .await
        .unwrap();
    f.put(0, TASK, "k22", json!({"state": "done"})).await;
    let store = f.repos.store().clone();
    let last = store.log().last_durable();
    let trimmed = tokio::task::spawn_blocking(move || store.log().trim(last).unwrap());
    assert_eq!(trimmed.await.unwrap(), last - 1);
    let mut expected: Vec<String> = (1..=11).map(|n| format!("k{:02}", 2 * n)).collect();
    expected.sort();
    let kept = f._dir.path().join("records.sqlite");
    // One index that knows the past, and one that was deleted.
    for path in [kept, f._dir.path().join("anew.sqlite")] {
        let lexicons = Lexicons::official();
        let (projection, queries) =
            RecordProjection::open(&path, f.repos.clone(), lexicons).unwrap();
        f.handle = f.repos.store().project(projection).unwrap();
        f.queries = queries;
        let mut found = f.find(of(TASK)).await;
        found.sort();
        assert_eq!(found, expected, "{}", path.display());
        f.handle.reset();
        assert_eq!(f.find(of(TASK)).await.len(), expected.len());
        f.handle.stop();
    }
}
