//! Accounts over time and across restarts: with the time as a parameter, and what the store holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod common;

use common::{Node, User, config, rkey};
use serde_json::json;
use ues_atproto::admin::{Actor, Place, lift_suspension, suspend};
use ues_atproto::{NodeKeys, lifecycle, upkeep};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{Datetime, Did};
use ues_storage::{OpenError, Store, StoreOptions};

const HOUR_MS: u64 = 3_600_000;
const SERVER: &str = "com.atproto.server";

fn did(user: &User) -> Did {
    Did::parse(&user.did).unwrap()
}

fn time(ms: u64) -> String {
    Datetime::from_unix_millis(ms.cast_signed()).to_string()
}

/// The code in the newest letter.
fn code(node: &Node) -> String {
    let mail = &node.ctx.outbox.list(1).unwrap()[0];
    let (_, text) = node
        .ctx
        .outbox
        .get(&node.ctx.seal, mail.id)
        .unwrap()
        .unwrap();
    let text = text.unwrap();
    let code = text.lines().find_map(|line| line.strip_prefix("    "));
    code.unwrap().to_owned()
}

/// Node keys that are the same each time.
fn keys(seed: &NodeKeys) -> NodeKeys {
    let mut keys = NodeKeys::generate().unwrap();
    keys.accounts = seed.accounts.clone();
    keys.sessions = seed.sessions.clone();
    keys.plc_rotation = seed.plc_rotation.clone();
    keys.admins.add("admin", "secret");
    keys
}

/// The store of a folder, once a server that was stopped has let go of it.
fn open(dir: &std::path::Path) -> Store {
    loop {
        match Store::open(dir, StoreOptions::default()) {
            Err(OpenError::InUse(_)) => std::thread::yield_now(),
            store => return store.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_switched_off_is_deleted_when_it_is_time() {
    let node = Node::new();
    let (alice, bob) = (node.user("alice").await, node.user("bob").await);
    node.post_text(&alice, "here for a while").await;
    let now = node.ctx.now_ms();
    let deactivate = format!("{SERVER}.deactivateAccount");
    for user in [&alice, &bob] {
        let body = json!({ "deleteAfter": time(now + 10 * HOUR_MS) });
        node.call(user, &deactivate, &body).await.ok();
    }
    let activate = format!("{SERVER}.activateAccount");
    node.post_empty(&bob.access, &activate).await.ok();

    let soon = now + 9 * HOUR_MS;
    assert_eq!(lifecycle::delete_due(&node.ctx, soon).await.unwrap(), 0);
    let late = now + 11 * HOUR_MS;
    assert_eq!(lifecycle::delete_due(&node.ctx, late).await.unwrap(), 1);
    assert_eq!(lifecycle::delete_due(&node.ctx, late).await.unwrap(), 0);

    let gone = did(&alice);
    let account = node.ctx.accounts.by_did(&gone).unwrap().unwrap();
    assert_eq!(account.status(), Status::Deleted);
    assert_eq!((&account.email, &account.password), (&None, &None));
    assert!(node.ctx.keys.get(&gone).unwrap().is_none());
    assert_eq!(node.ctx.repos.list(None, 10).unwrap().len(), 1);
    assert!(node.ctx.sessions.list(&gone, now).unwrap().is_empty());
    node.post_text(&bob, "still here").await;
    assert_eq!(upkeep::sweep_blobs(&node.ctx, late).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_name_through_all_its_tokens_and_ends_with_the_first() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let list = || {
        node.ctx
            .sessions
            .list(&did(&alice), node.ctx.now_ms())
            .unwrap()
    };
    let first = list();
    assert_eq!(first.len(), 1);
    let refresh = format!("{SERVER}.refreshSession");
    let second = node.post_empty(&alice.refresh, &refresh).await.ok();
    let now = list();
    assert_eq!((now.len(), &now[0].id), (1, &first[0].id));
    assert_eq!(now[0].started_ms, first[0].started_ms);

    // The one before is good for a while; with the session it ends as well.
    let token = common::text(&second["refreshJwt"]);
    let end = format!("{SERVER}.deleteSession");
    node.post_empty(&token, &end).await.ok();
    assert!(list().is_empty());
    let refused = node.post_empty(&alice.refresh, &refresh).await.refused();
    assert_eq!(refused, (400, "ExpiredToken".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_and_codes_outlive_a_restart_and_are_not_readable_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let seed = NodeKeys::generate().unwrap();
    let node = Node::over(config(), open(dir.path()), keys(&seed));
    let alice = node.user("alice").await;
    let ask = format!("{SERVER}.requestEmailConfirmation");
    node.post_empty(&alice.access, &ask).await.ok();
    let token = code(&node);
    node.end().await;

    let mut found = 0;
    for entry in walk(dir.path()) {
        let bytes = std::fs::read(entry).unwrap();
        found += bytes
            .windows(token.len())
            .filter(|w| *w == token.as_bytes())
            .count();
    }
    assert_eq!(found, 0, "the code stands in the store's files");

    let node = Node::over(config(), open(dir.path()), keys(&seed));
    assert_eq!(code(&node), token);
    let confirm = format!("{SERVER}.confirmEmail");
    let body = json!({ "email": "alice@test.com", "token": token });
    node.call(&alice, &confirm, &body).await.ok();
    let once = node.call(&alice, &confirm, &body).await.refused();
    assert_eq!(once, (400, "InvalidToken".into()));
    node.end().await;
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn takedowns_and_the_audit_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let seed = NodeKeys::generate().unwrap();
    let node = Node::over(config(), open(dir.path()), keys(&seed));
    let (alice, bob) = (node.user("alice").await, node.user("bob").await);
    let written = node.post_text(&alice, "rude").await;
    let subject = json!({
        "$type": "com.atproto.repo.strongRef", "uri": written["uri"], "cid": written["cid"],
    });
    let repo = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": bob.did });
    for subject in [&subject, &repo] {
        let body = json!({ "subject": subject, "takedown": { "applied": true } });
        let basic = data_encoding::BASE64.encode(b"admin:secret");
        let answer = node
            .send(
                http::Request::post("/xrpc/com.atproto.admin.updateSubjectStatus")
                    .header("content-type", "application/json")
                    .header("content-length", body.to_string().len())
                    .header("authorization", format!("Basic {basic}"))
                    .body(axum::body::Body::from(body.to_string()))
                    .unwrap(),
            )
            .await;
        answer.ok();
    }
    node.end().await;

    let node = Node::over(config(), open(dir.path()), keys(&seed));
    let rkey = rkey(&written);
    let record = [
        ("repo", &*alice.did),
        ("collection", "app.bsky.feed.post"),
        ("rkey", &rkey),
    ];
    let hidden = node.query("com.atproto.repo.getRecord", &record).await;
    assert_eq!(hidden.refused().1, "RecordNotFound");
    let whose = [("did", &*bob.did)];
    let status = node.query("com.atproto.sync.getRepoStatus", &whose).await;
    assert_eq!(status.ok()["status"], "takendown");
    assert!(node.ctx.withheld.until(&did(&bob)).is_some());
    let acts = node.ctx.acts.page(None, 10).unwrap();
    let acts: Vec<_> = acts
        .iter()
        .map(|(_, act)| (&*act.by, &*act.subject))
        .collect();
    let uri = written["uri"].as_str().unwrap();
    assert_eq!(acts, [("admin", &*bob.did), ("admin", uri)]);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_ends_by_itself_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let seed = NodeKeys::generate().unwrap();
    let node = Node::over(config(), open(dir.path()), keys(&seed));
    let alice = node.user("alice").await;
    node.post_text(&alice, "before").await;
    let operator = Actor::new("operator", Place::CommandLine);
    let (who, now) = (did(&alice), node.ctx.now_ms());
    let end = time(now + HOUR_MS);
    for (term, good) in [
        ("soon", false),
        ("2001-01-01T00:00:00Z", false),
        (&*end, true),
    ] {
        let done = suspend(&node.ctx, &operator, &who, Some(term), Some("rude".into())).await;
        assert_eq!(done.is_ok(), good, "{term}");
    }
    let whose = [("did", &*alice.did)];
    for name in ["getRepo", "getLatestCommit", "listBlobs"] {
        let refused = node
            .query(&format!("com.atproto.sync.{name}"), &whose)
            .await;
        assert_eq!(refused.refused(), (400, "RepoSuspended".into()), "{name}");
    }
    let body = json!({
        "repo": alice.did, "collection": "app.bsky.feed.post", "record": common::post("no"),
    });
    let create = "com.atproto.repo.createRecord";
    let refused = node.call(&alice, create, &body).await;
    assert_eq!(refused.refused(), (401, "AccountTakedown".into()));
    assert_eq!(lifecycle::end_suspensions(&node.ctx, now).await.unwrap(), 0);
    node.end().await;

    let node = Node::over(config(), open(dir.path()), keys(&seed));
    let status = node
        .query("com.atproto.sync.getRepoStatus", &whose)
        .await
        .ok();
    assert_eq!(
        (&status["active"], &status["status"]),
        (&json!(false), &json!("suspended"))
    );
    assert!(node.ctx.withheld.until(&who).is_some());
    let ctx = &node.ctx;
    assert_eq!(
        lifecycle::end_suspensions(ctx, now + HOUR_MS - 1000)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        lifecycle::end_suspensions(ctx, now + HOUR_MS)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        lifecycle::end_suspensions(ctx, now + HOUR_MS)
            .await
            .unwrap(),
        0
    );
    let status = node
        .query("com.atproto.sync.getRepoStatus", &whose)
        .await
        .ok();
    assert_eq!(status["active"], json!(true));
    assert!(node.ctx.withheld.until(&who).is_none());
    // Who was signed in is so again.
    node.post_text(&alice, "afterwards").await;

    // A new term takes the place of the one before, and what was lifted has none.
    suspend(ctx, &operator, &who, Some(&end), None)
        .await
        .unwrap();
    suspend(ctx, &operator, &who, None, None).await.unwrap();
    assert_eq!(
        lifecycle::end_suspensions(ctx, now + HOUR_MS)
            .await
            .unwrap(),
        0
    );
    lift_suspension(ctx, &operator, &who).await.unwrap();
    assert!(lift_suspension(ctx, &operator, &who).await.is_err());
    node.post_text(&alice, "at last").await;
    let acts = node.ctx.acts.page(None, 10).unwrap();
    assert!(acts.iter().all(|(_, act)| act.what == "suspendAccount"));
    assert_eq!(acts.len(), 4);
    assert_eq!(
        acts[3].1.details,
        json!({ "suspended": true, "until": end, "reason": "rude" })
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_is_answered_like_a_known_one() {
    let node = Node::new();
    node.user("alice").await;
    let ask = format!("{SERVER}.requestPasswordReset");
    for (email, letters) in [("nobody@test.com", 0), ("alice@test.com", 1)] {
        let answer = node.post(None, &ask, &json!({ "email": email })).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
        assert_eq!(node.ctx.outbox.list(10).unwrap().len(), letters);
    }
    let token = code(&node).to_lowercase();
    let reset = format!("{SERVER}.resetPassword");
    let body = json!({ "token": token, "password": "a new one" });
    node.post(None, &reset, &body).await.ok();
    let once = node.post(None, &reset, &body).await.refused();
    assert_eq!(once, (400, "InvalidToken".into()));
}

impl Node {
    /// Stops and closes it, so that its folder can be opened again.
    async fn end(mut self) {
        let store = self.ctx.store.clone();
        if let Some(server) = self.server.take() {
            server.stop();
        }
        drop(self);
        tokio::task::spawn_blocking(move || store.close())
            .await
            .unwrap();
    }
}
