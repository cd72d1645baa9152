//! Who is let in, from where, and by which paths.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use ues_pins::auth::Credentials;
use ues_pins::cluster;

use crate::desk::{ALICE, Answer, Desk, cid};

async fn preflight(desk: &Desk, method: &str, names: Option<&str>) -> Answer {
    let mut request = Request::builder()
        .method("OPTIONS")
        .uri("/pins")
        .header("origin", "https://example.org")
        .header("access-control-request-method", method);
    if let Some(names) = names {
        request = request.header("access-control-request-headers", names);
    }
    desk.request(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn wrong_credentials_are_refused_in_the_words_of_the_original() {
    let desk = Desk::new().await;
    let challenges = |answer: &Answer| -> Vec<String> {
        let all = answer.headers.get_all("www-authenticate").iter();
        all.map(|value| value.to_str().unwrap().to_owned())
            .collect()
    };
    let wrong = desk.call_as("Basic YWxpY2U6d3Jvbmc=", "GET", "/id").await;
    assert_eq!(
        challenges(&wrong),
        ["Basic realm=\"Restricted IPFS Cluster API\""]
    );
    wrong.fails(401, "unauthorized: access denied");
    let wrong = desk.call_as("Bearer nobody", "GET", "/id").await;
    assert_eq!(
        challenges(&wrong),
        ["Bearer realm=\"Restricted IPFS Cluster API\", error=\"invalid_token\""]
    );
    wrong.fails(401, "unauthorized: invalid token");
    let wrong = desk.call_as("Nonsense", "GET", "/nothing").await;
    assert_eq!(challenges(&wrong).len(), 2);
    wrong.fails(401, "unauthorized: no auth provided");
    let health = desk.call_as("Bearer nobody", "GET", "/health").await;
    assert_eq!(health.status, StatusCode::NO_CONTENT);
    let more = desk.call_as("Bearer nobody", "GET", "/health/graph").await;
    assert_eq!(more.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_reader_changes_nothing() {
    let desk = Desk::new().await;
    let path = format!("/pins/{}", cid(1));
    for (method, path) in [
        ("POST", path.as_str()),
        ("DELETE", &path),
        ("POST", "/pins/recover"),
        ("POST", "/add"),
        ("POST", "/ipfs/gc"),
        ("POST", "/peers"),
    ] {
        let refused = desk.call_as("Bearer reader", method, path).await;
        refused.fails(403, "forbidden");
    }
    desk.call_as("Bearer reader", "GET", "/peers").await.ok();
}

#[tokio::test]
async fn tokens_are_made_for_those_who_may_have_one() {
    let desk = Desk::new().await;
    desk.call("POST", "/token").await.fails(401, "unauthorized");
    desk.call_as(ALICE, "POST", "/token")
        .await
        .fails(401, "unauthorized");
    let options = cluster::Options {
        tokens: Some(Arc::new(|shown| match shown {
            Credentials::Basic(name, _) => Some(format!("token of {name}")),
            _ => None,
        })),
        ..cluster::Options::default()
    };
    let desk = Desk::with(None, options).await;
    let made = desk.call_as(ALICE, "POST", "/token").await.ok().json();
    assert_eq!(made["token"], "token of alice");
    desk.call("POST", "/token").await.fails(401, "unauthorized");
}

#[tokio::test]
async fn any_page_may_read_and_none_may_change() {
    let desk = Desk::new().await;
    let request = Request::builder()
        .uri("/id")
        .header("origin", "https://example.org");
    let answer = desk
        .request(request.body(Body::empty()).unwrap())
        .await
        .ok();
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    let exposed = answer.headers["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(exposed.contains("X-Chunked-Output"));
    let plain = desk.get("/id").await.ok();
    assert!(!plain.headers.contains_key("access-control-allow-origin"));

    let allowed = preflight(&desk, "GET", Some("content-type")).await;
    assert_eq!(allowed.status, StatusCode::NO_CONTENT);
    assert_eq!(allowed.headers["access-control-allow-methods"], "GET");
    for (method, names) in [
        ("POST", None),
        ("DELETE", None),
        ("GET", Some("authorization")),
    ] {
        let refused = preflight(&desk, method, names).await;
        assert_eq!(refused.status, StatusCode::NO_CONTENT);
        assert!(
            !refused.headers.contains_key("access-control-allow-origin"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn paths_are_strict() {
    let desk = Desk::new().await;
    for (path, place) in [
        ("/id/", "/id"),
        ("/pins/?local=true", "/pins?local=true"),
        ("//example.org/", "/example.org"),
    ] {
        let answer = desk.get(path).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{path}");
        assert_eq!(answer.headers["location"], place);
    }
    desk.get("/nothing").await.fails(404, "not found");
    assert_eq!(
        desk.call("PUT", "/id").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}
