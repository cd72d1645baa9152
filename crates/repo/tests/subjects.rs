//! Likes, reposts, follows and blocks: one for each subject, when the writer asks for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::event::{Action, LogEvent};
use ues_repo::repo::write::{Applied, Record, RecordPath, Write, WriteError, WriteKind};
use ues_repo::repo::{KeySource, KeySourceError, Repositories};
use ues_repo::syntax::Did;
use ues_storage::{Store, StoreOptions};

const LIKE: &str = "app.bsky.feed.like";
const REPOST: &str = "app.bsky.feed.repost";
const FOLLOW: &str = "app.bsky.graph.follow";
const BLOCK: &str = "app.bsky.graph.block";

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

fn did() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

fn open(dir: &Path, key: &Arc<SigningKey>) -> Repositories {
    let store = Store::open(dir, StoreOptions::default()).unwrap();
    Repositories::open(store, Arc::new(OneKey(Arc::clone(key)))).unwrap()
}

async fn repository() -> (tempfile::TempDir, Arc<SigningKey>, Repositories) {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
    let repos = open(dir.path(), &key);
    let batch = repos.store().batch();
    repos.create(&did(), &key, batch, Vec::new()).await.unwrap();
    (dir, key, repos)
}

/// A record of the collection about subject number `n`; `time` makes it another record.
fn about(collection: &str, n: u64, time: u64) -> Record {
    let subject: Value = match collection {
        FOLLOW | BLOCK => format!("did:plc:subject{n}").into(),
        _ => json!({"uri": format!("at://did:plc:author/app.bsky.feed.post/{n}"), "cid": "x"}),
    };
    let value = json!({"$type": collection, "subject": subject, "time": time});
    let ipld = ues_data::atproto_json::record_from_json(&value).unwrap();
    Record::new(
        ues_data::dag_cbor::encode(&ipld).unwrap().into(),
        Vec::new(),
    )
}

fn write(kind: WriteKind, collection: &str, rkey: &str, record: Option<Record>) -> Write {
    Write {
        path: RecordPath::parse(&format!("{collection}/{rkey}")).unwrap(),
        kind,
        record,
        swap: None,
    }
}

async fn apply(repos: &Repositories, writes: Vec<Write>) -> Result<Applied, WriteError> {
    repos.apply_writes(&did(), writes, None).await
}

/// Creates a record about a subject in place of the others.
async fn replace(repos: &Repositories, collection: &str, rkey: &str, n: u64) -> Applied {
    let record = about(collection, n, 0);
    let write = write(WriteKind::CreateReplacing, collection, rkey, Some(record));
    apply(repos, vec![write]).await.unwrap()
}

fn paths(repos: &Repositories) -> BTreeSet<String> {
    let records = repos.records(&did()).unwrap();
    records.map(|record| record.unwrap().0).collect()
}

fn keys(repos: &Repositories, collection: &str) -> Vec<String> {
    let prefix = format!("{collection}/");
    let keys = paths(repos);
    let keys = keys.iter().filter_map(|path| path.strip_prefix(&prefix));
    keys.map(str::to_owned).collect()
}

#[track_caller]
fn sound(repos: &Repositories) {
    let report = repos.check(&did(), &mut |_| ()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_one_replaces_the_older_in_the_same_commit() {
    let (_dir, _key, repos) = repository().await;
    for collection in [LIKE, REPOST, FOLLOW, BLOCK] {
        replace(&repos, collection, "old", 1).await;
        replace(&repos, collection, "other", 2).await;
        let before = repos.store().log().last_durable();
        replace(&repos, collection, "new", 1).await;
        assert_eq!(keys(&repos, collection), ["new", "other"]);
        let events = repos.store().log().read(before, 10, 1 << 20).unwrap();
        let [event] = &events[..] else {
            panic!("one commit: {events:?}");
        };
        let LogEvent::Commit(commit) = LogEvent::decode(&event.payload).unwrap() else {
            panic!("a commit");
        };
        let ops: Vec<(Action, &str)> = commit.ops.iter().map(|op| (op.action, &*op.path)).collect();
        let (new, old) = (format!("{collection}/new"), format!("{collection}/old"));
        assert_eq!(ops, [(Action::Create, &*new), (Action::Delete, &*old)]);
    }
    sound(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_older_one_goes_and_other_kinds_of_write_replace_nothing() {
    let (_dir, _key, repos) = repository().await;
    let mut writes = Vec::new();
    for (n, kind) in [WriteKind::Create, WriteKind::Put, WriteKind::Create]
        .into_iter()
        .enumerate()
    {
        let record = about(LIKE, 1, n as u64);
        writes.push(write(kind, LIKE, &format!("k{n}"), Some(record)));
    }
    apply(&repos, writes).await.unwrap();
    assert_eq!(keys(&repos, LIKE), ["k0", "k1", "k2"]);
    replace(&repos, LIKE, "k3", 1).await;
    assert_eq!(keys(&repos, LIKE), ["k3"]);
    // At its own path it is an update, and nothing when it is the same.
    let other = about(LIKE, 1, 9);
    let again = write(WriteKind::CreateReplacing, LIKE, "k3", Some(other));
    assert!(
        apply(&repos, vec![again.clone()])
            .await
            .unwrap()
            .commit
            .is_some()
    );
    assert!(apply(&repos, vec![again]).await.unwrap().commit.is_none());
    let taken = write(
        WriteKind::CreateReplacing,
        LIKE,
        "k3",
        Some(about(LIKE, 2, 0)),
    );
    let refused = apply(&repos, vec![taken]).await;
    assert!(matches!(refused, Err(WriteError::RecordExists(_))));
    sound(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_and_deletions_move_the_subject() {
    let (_dir, _key, repos) = repository().await;
    replace(&repos, FOLLOW, "a", 1).await;
    let moved = write(WriteKind::Update, FOLLOW, "a", Some(about(FOLLOW, 2, 0)));
    apply(&repos, vec![moved]).await.unwrap();
    replace(&repos, FOLLOW, "b", 1).await;
    assert_eq!(keys(&repos, FOLLOW), ["a", "b"]);
    replace(&repos, FOLLOW, "c", 2).await;
    assert_eq!(keys(&repos, FOLLOW), ["b", "c"]);
    apply(&repos, vec![write(WriteKind::Delete, FOLLOW, "b", None)])
        .await
        .unwrap();
    sound(&repos);
    // The same key again, about something else, is nobody's older one.
    let put = write(WriteKind::Put, FOLLOW, "b", Some(about(FOLLOW, 3, 0)));
    apply(&repos, vec![put]).await.unwrap();
    replace(&repos, FOLLOW, "d", 1).await;
    assert_eq!(keys(&repos, FOLLOW), ["b", "c", "d"]);
    sound(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_one_request_count() {
    let (_dir, _key, repos) = repository().await;
    replace(&repos, LIKE, "old", 1).await;
    let writes = vec![
        write(WriteKind::Delete, LIKE, "old", None),
        write(WriteKind::Create, LIKE, "x", Some(about(LIKE, 1, 0))),
        write(
            WriteKind::CreateReplacing,
            LIKE,
            "y",
            Some(about(LIKE, 1, 0)),
        ),
        write(
            WriteKind::CreateReplacing,
            LIKE,
            "z",
            Some(about(LIKE, 2, 0)),
        ),
    ];
    apply(&repos, writes).await.unwrap();
    assert_eq!(keys(&repos, LIKE), ["y", "z"]);
    sound(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_come_at_once_leave_one() {
    let (_dir, _key, repos) = repository().await;
    let mut tasks = Vec::new();
    for n in 0..300u64 {
        let repos = repos.clone();
        tasks.push(tokio::spawn(async move {
            match n % 10 {
                // In between somebody takes one back, or writes one that replaces nothing.
                0 => {
                    let rkey = format!("k{:03}", n + 1);
                    let write = write(WriteKind::DeleteIfPresent, LIKE, &rkey, None);
                    apply(&repos, vec![write]).await.unwrap();
                }
                1 => {
                    let rkey = format!("z{n:03}");
                    let write = write(WriteKind::Put, LIKE, &rkey, Some(about(LIKE, n % 7, n)));
                    apply(&repos, vec![write]).await.unwrap();
                }
                _ => {
                    replace(&repos, LIKE, &format!("k{n:03}"), n % 7).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    sound(&repos);
    for n in 0..7 {
        replace(&repos, LIKE, &format!("last{n}"), n).await;
    }
    let last: Vec<String> = (0..7).map(|n| format!("last{n}")).collect();
    assert_eq!(keys(&repos, LIKE), last);
    sound(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_commit_can_hold_are_refused() {
    let (_dir, _key, repos) = repository().await;
    let many = |from: u64, to: u64| {
        let keys = from..to;
        let like = |n| {
            write(
                WriteKind::Create,
                LIKE,
                &format!("k{n:03}"),
                Some(about(LIKE, 1, n)),
            )
        };
        keys.map(like).collect::<Vec<_>>()
    };
    apply(&repos, many(0, 200)).await.unwrap();
    let again = write(
        WriteKind::CreateReplacing,
        LIKE,
        "new",
        Some(about(LIKE, 1, 0)),
    );
    let refused = apply(&repos, vec![again.clone()]).await;
    assert!(matches!(refused, Err(WriteError::TooManyOps)));
    apply(&repos, vec![write(WriteKind::Delete, LIKE, "k000", None)])
        .await
        .unwrap();
    apply(&repos, vec![again]).await.unwrap();
    assert_eq!(keys(&repos, LIKE), ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_imported_counts() {
    let (_dir, _key, from) = repository().await;
    replace(&from, LIKE, "theirs", 1).await;
    let archive: Result<Vec<_>, _> = from.export(&did(), None).unwrap().collect();
    let archive = archive.unwrap().concat();
    let (_dir, _key, repos) = repository().await;
    replace(&repos, LIKE, "mine", 2).await;
    repos
        .import(&did(), std::io::Cursor::new(archive))
        .await
        .unwrap();
    sound(&repos);
    replace(&repos, LIKE, "new", 1).await;
    assert_eq!(keys(&repos, LIKE), ["new"]);
    replace(&repos, LIKE, "mine", 2).await;
    assert_eq!(keys(&repos, LIKE), ["mine", "new"]);
    sound(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_the_rows_gets_them() {
    let (dir, key, repos) = repository().await;
    for n in 0..50 {
        replace(&repos, LIKE, &format!("k{n}"), n).await;
    }
    // As an older version left it.
    let rows = repos.store().keyspace("repo_subjects").unwrap();
    let mut batch = repos.store().batch();
    for row in rows.prefix([]) {
        batch.delete(&rows, row.unwrap().0);
    }
    repos.store().commit(batch).await.unwrap();
    repos.store().clone().close();
    drop((rows, repos));
    let repos = open(dir.path(), &key);
    sound(&repos);
    replace(&repos, LIKE, "new", 7).await;
    assert_eq!(keys(&repos, LIKE).len(), 50);
    assert!(!keys(&repos, LIKE).contains(&"k7".to_owned()));
    sound(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_repository_leaves_no_rows() {
    let (_dir, key, repos) = repository().await;
    replace(&repos, LIKE, "a", 1).await;
    repos.delete(&did(), repos.store().batch()).await.unwrap();
    let rows = repos.store().keyspace("repo_subjects").unwrap();
    assert_eq!(rows.prefix([]).count(), 0);
    let batch = repos.store().batch();
    repos.create(&did(), &key, batch, Vec::new()).await.unwrap();
    replace(&repos, LIKE, "b", 1).await;
    assert_eq!(keys(&repos, LIKE), ["b"]);
    sound(&repos);
}
