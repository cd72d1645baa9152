//! Accounts, sessions, handles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Node, text};
use serde_json::json;

const CREATE: &str = "com.atproto.server.createAccount";
const SESSION: &str = "com.atproto.server.createSession";

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_and_can_be_found() {
    let node = Node::new();
    let body = json!({"handle": "Alice.test", "email": "Alice@test.com", "password": "secret pw"});
    let made = node.post(None, CREATE, &body).await.ok();
    let did = text(&made["did"]);
    assert!(did.starts_with("did:plc:"));
    assert_eq!(made["handle"], "alice.test");
    assert_eq!(made["didDoc"]["id"], did.as_str());
    assert_eq!(
        made["didDoc"]["service"][0]["serviceEndpoint"],
        "http://localhost:2583"
    );
    let found = node
        .query(
            "com.atproto.identity.resolveHandle",
            &[("handle", "ALICE.test")],
        )
        .await
        .ok();
    assert_eq!(found["did"], did.as_str());
    let plc = node.get(&format!("/plc/{did}")).await.ok();
    assert_eq!(plc["alsoKnownAs"][0], "at://alice.test");
    let log = node.get(&format!("/plc/{did}/log/audit")).await.ok();
    assert_eq!(log.as_array().unwrap().len(), 1);
    let repo = node
        .query("com.atproto.repo.describeRepo", &[("repo", "alice.test")])
        .await
        .ok();
    assert_eq!(repo["handleIsCorrect"], true);
    assert_eq!(repo["collections"], json!([]));
    let status = node
        .query("com.atproto.sync.getRepoStatus", &[("did", &did)])
        .await
        .ok();
    assert_eq!(status["active"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_accounts_are_refused() {
    let node = Node::new();
    node.user("alice").await;
    let refused = async |body: serde_json::Value| {
        let answer = node.post(None, CREATE, &body).await;
        let (status, name) = answer.refused();
        assert_eq!(status, 400, "{body}");
        (name, answer.message())
    };
    let body =
        |handle: &str, email: &str| json!({"handle": handle, "email": email, "password": "pw"});
    for (handle, name) in [
        ("admin.test", "HandleNotAvailable"),
        ("a.b.test", "InvalidHandle"),
        ("ab.test", "InvalidHandle"),
        ("bob.example.com", "UnsupportedDomain"),
        ("bob.local", "InvalidHandle"),
    ] {
        assert_eq!(
            refused(body(handle, "bob@test.com")).await.0,
            name,
            "{handle}"
        );
    }
    let taken = refused(body("alice.test", "bob@test.com")).await;
    assert_eq!(taken.1, "Handle already taken: alice.test");
    let taken = refused(body("bob.test", "ALICE@test.com")).await;
    assert!(taken.1.starts_with("Email already taken: "), "{}", taken.1);
    let wrong = refused(body("bob.test", "nonsense")).await;
    assert!(wrong.1.contains("not supported"));
    let missing = refused(json!({"handle": "bob.test", "password": "pw"})).await;
    assert_eq!(missing.1, "Email is required");
    let long = json!({"handle": "bob.test", "email": "b@test.com", "password": "x".repeat(257)});
    assert!(refused(long).await.1.starts_with("Password too long"));
    let own = json!({
        "handle": "bob.test", "email": "b@test.com", "password": "pw", "did": "did:plc:abc222222222222222222222",
    });
    let answer = node.post(None, CREATE, &own).await;
    assert_eq!(answer.refused(), (401, "AuthenticationRequired".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_handle_goes_to_one_of_many_at_the_same_time() {
    let node = Node::new();
    let tries = (0..8).map(|n| {
        let body =
            json!({"handle": "alice.test", "email": format!("a{n}@test.com"), "password": "pw"});
        let node = &node;
        async move { node.post(None, CREATE, &body).await.status.as_u16() }
    });
    let mut statuses = futures::future::join_all(tries).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400, 400, 400]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_are_asked_for() {
    let mut config = common::config();
    config.invite_required = true;
    let node = Node::with(config);
    let body = json!({"handle": "alice.test", "email": "a@test.com", "password": "pw"});
    assert_eq!(
        node.post(None, CREATE, &body).await.refused(),
        (400, "InvalidInviteCode".into())
    );
    let described = node
        .query("com.atproto.server.describeServer", &[])
        .await
        .ok();
    assert_eq!(described["inviteCodeRequired"], true);
    assert_eq!(described["did"], "did:web:localhost%3A2583");
    assert_eq!(described["availableUserDomains"], json!([".test"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_by_handle_did_and_address() {
    let node = Node::new();
    let alice = node.user("alice").await;
    for identifier in ["alice.test", "ALICE.test", &alice.did, "alice@test.com"] {
        let body = json!({"identifier": identifier, "password": "a password"});
        let session = node.post(None, SESSION, &body).await.ok();
        assert_eq!(session["did"], alice.did.as_str());
        assert_eq!(session["email"], "alice@test.com");
        assert_eq!(session["active"], true);
    }
    for (identifier, password) in [
        ("alice.test", "wrong"),
        ("bob.test", "a password"),
        ("?", "x"),
    ] {
        let body = json!({"identifier": identifier, "password": password});
        let answer = node.post(None, SESSION, &body).await;
        assert_eq!(answer.refused(), (401, "AuthenticationRequired".into()));
        assert_eq!(answer.message(), "Invalid identifier or password");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_refreshed_and_ended() {
    const REFRESH: &str = "com.atproto.server.refreshSession";
    let node = Node::new();
    let alice = node.user("alice").await;
    let own = node
        .query_as(&alice, "com.atproto.server.getSession", &[])
        .await
        .ok();
    assert_eq!(own["handle"], "alice.test");
    let next = node.post_empty(&alice.refresh, REFRESH).await.ok();
    // A client that did not get the answer may ask again, and gets the same successor.
    let again = node.post_empty(&alice.refresh, REFRESH).await.ok();
    assert_eq!(name_of(&next["refreshJwt"]), name_of(&again["refreshJwt"]));
    let access = text(&next["accessJwt"]);
    node.get_as(&access, "/xrpc/com.atproto.server.getSession")
        .await
        .ok();

    let wrong_kind = node.post_empty(&alice.access, REFRESH).await;
    assert_eq!(wrong_kind.refused(), (400, "InvalidToken".into()));
    let wrong_kind = node
        .get_as(&alice.refresh, "/xrpc/com.atproto.server.getSession")
        .await;
    assert_eq!(wrong_kind.refused(), (400, "InvalidToken".into()));

    let refresh = text(&next["refreshJwt"]);
    assert_eq!(
        node.post_empty(&refresh, "com.atproto.server.deleteSession")
            .await
            .status,
        200
    );
    let ended = node.post_empty(&refresh, REFRESH).await;
    assert_eq!(ended.refused(), (400, "ExpiredToken".into()));
    assert_eq!(ended.message(), "Token has been revoked");
}

fn name_of(token: &serde_json::Value) -> String {
    let body = text(token);
    let body = body.split('.').nth(1).unwrap();
    let body = data_encoding::BASE64URL_NOPAD
        .decode(body.as_bytes())
        .unwrap();
    text(&serde_json::from_slice::<serde_json::Value>(&body).unwrap()["jti"])
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_good_token_are_refused() {
    let node = Node::new();
    let path = "/xrpc/com.atproto.server.getSession";
    assert_eq!(node.get(path).await.refused(), (401, "AuthMissing".into()));
    assert_eq!(
        node.get_as("nonsense", path).await.refused(),
        (400, "InvalidToken".into())
    );
    let basic = http::Request::get(path).header("authorization", "Basic YTpi");
    let basic = node
        .send(basic.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(basic.refused(), (400, "InvalidToken".into()));
    let odd = http::Request::get(path).header("authorization", "Sesame open");
    let odd = node
        .send(odd.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(odd.message(), "Unsupported authorization type: Sesame");
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_change_and_are_announced() {
    const UPDATE: &str = "com.atproto.identity.updateHandle";
    let node = Node::new();
    let alice = node.user("alice").await;
    node.user("bob").await;
    let before = node.ctx.store.log().last_durable();
    node.call(&alice, UPDATE, &json!({"handle": "alicia.test"}))
        .await
        .ok();
    assert_eq!(node.ctx.store.log().last_durable(), before + 1);
    let document = node.get(&format!("/plc/{}", alice.did)).await.ok();
    assert_eq!(document["alsoKnownAs"], json!(["at://alicia.test"]));
    let old = node
        .query(
            "com.atproto.identity.resolveHandle",
            &[("handle", "alice.test")],
        )
        .await;
    assert_eq!(old.refused(), (400, "HandleNotFound".into()));
    let taken = node
        .call(&alice, UPDATE, &json!({"handle": "bob.test"}))
        .await;
    assert_eq!(taken.refused(), (400, "HandleNotAvailable".into()));
    let by_host = http::Request::get("/.well-known/atproto-did").header("host", "alicia.test:2583");
    let by_host = node
        .send(by_host.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(by_host.body, alice.did.as_bytes());
    assert_eq!(node.get("/.well-known/atproto-did").await.status, 404);
    // The old name is free again.
    let body = json!({"handle": "alice.test", "email": "other@test.com", "password": "pw"});
    node.post(None, CREATE, &body).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_has_a_document() {
    let node = Node::new();
    let document = node.get("/.well-known/did.json").await.ok();
    assert_eq!(document["id"], "did:web:localhost%3A2583");
    assert_eq!(document["service"][0]["type"], "AtprotoPersonalDataServer");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_costs_as_many_hashes_as_who_is() {
    let node = Node::new();
    let alice = node.user("alice").await;
    let computed = || node.ctx.passwords.computed();
    for identifier in [
        &alice.handle,
        "alice@test.com",
        &alice.did,
        "nobody.test",
        "nobody@test.com",
        "did:plc:abc222222222222222222222",
    ] {
        let before = computed();
        let body = json!({"identifier": identifier, "password": "not the right one"});
        let answer = node.post(None, SESSION, &body).await;
        assert_eq!(
            answer.refused(),
            (401, "AuthenticationRequired".into()),
            "{identifier}"
        );
        assert_eq!(computed() - before, 1, "{identifier}");
    }
}
