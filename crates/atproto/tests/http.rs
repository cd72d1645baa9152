//! What holds for every method: routes, methods, bodies, limits, browsers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use axum::body::Body;
use common::Node;
use http::Request;
use serde_json::json;

const SESSION: &str = "/xrpc/com.atproto.server.createSession";

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_are_not_served() {
    let node = Node::new();
    let unknown = node.get("/xrpc/com.example.nothing").await;
    assert_eq!(unknown.refused(), (400, "InvalidRequest".into()));
    let timeline = node.get("/xrpc/app.bsky.feed.getTimeline").await;
    assert_eq!(timeline.refused(), (400, "InvalidRequest".into()));
    assert!(timeline.message().contains("appview.url"));
    assert_eq!(
        node.get("/xrpc/nonsense..x").await.refused(),
        (400, "InvalidRequest".into())
    );
    let wrong = node.get(SESSION).await;
    assert_eq!(wrong.message(), "Incorrect HTTP method (GET) expected POST");
    let subscription = node.get("/xrpc/com.atproto.sync.subscribeRepos").await;
    assert_eq!(subscription.refused().0, 400);
    let health = node.get("/xrpc/_health").await.ok();
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_what_the_lexicon_says() {
    let node = Node::new();
    let send = async |mime: Option<&str>, body: &'static str| {
        let mut request = Request::post(SESSION).header("content-length", body.len());
        if let Some(mime) = mime {
            request = request.header("content-type", mime);
        }
        node.send(request.body(Body::from(body)).unwrap()).await
    };
    let json = Some("application/json; charset=utf-8");
    assert_eq!(send(json, "{").await.refused(), (400, "SyntaxError".into()));
    let missing = send(json, "{}").await;
    assert_eq!(missing.refused(), (400, "InvalidRequest".into()));
    assert!(
        missing.message().contains("identifier"),
        "{}",
        missing.message()
    );
    let wrong = send(Some("text/plain"), "{}").await;
    assert_eq!(
        wrong.message(),
        "Wrong request encoding (Content-Type): text/plain"
    );
    let none = send(None, "{}").await;
    assert_eq!(
        none.message(),
        "Request encoding (Content-Type) required but not provided"
    );
    let empty = node
        .send(Request::post(SESSION).body(Body::empty()).unwrap())
        .await;
    assert_eq!(
        empty.message(),
        "A request body is expected but none was provided"
    );
    let large = "x".repeat(200_000);
    let large = node
        .post(None, "com.atproto.server.createSession", &json!(large))
        .await;
    assert_eq!(large.refused(), (413, "PayloadTooLargeError".into()));
    let packed = Request::post(SESSION)
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .header("content-length", 2);
    assert_eq!(
        node.send(packed.body(Body::from("{}")).unwrap())
            .await
            .status,
        415
    );
    let extra = Request::get("/xrpc/com.atproto.server.describeServer").header("content-length", 2);
    let extra = node.send(extra.body(Body::from("{}")).unwrap()).await;
    assert_eq!(
        extra.message(),
        "A request body was provided when none was expected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_browser_origin_is_welcome() {
    let node = Node::new();
    let preflight = Request::options(SESSION)
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        );
    let answer = node.send(preflight.body(Body::empty()).unwrap()).await;
    assert!(answer.status.is_success());
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(
        answer.headers["access-control-allow-headers"],
        "authorization,content-type"
    );
    let get = Request::get("/xrpc/com.atproto.server.describeServer")
        .header("origin", "https://app.example.com");
    let answer = node.send(get.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_too_many_requests_is_told() {
    let mut config = common::config();
    config.rate_limits.enabled = true;
    config.rate_limits.bypass_key = Some("let me".into());
    let node = Node::with(config);
    let first = node.get("/xrpc/com.atproto.server.describeServer").await;
    assert_eq!(first.headers["ratelimit-limit"], "3000");
    assert_eq!(first.headers["ratelimit-policy"], "3000;w=300");
    let mut last = first;
    for _ in 0..30 {
        let body = json!({"identifier": "nobody.test", "password": "x".repeat(600)});
        last = node
            .post(None, "com.atproto.server.createSession", &body)
            .await;
    }
    assert_eq!(last.status, 401);
    assert_eq!(last.headers["ratelimit-remaining"], "0");
    let body = json!({"identifier": "nobody.test", "password": "x"});
    let over = node
        .post(None, "com.atproto.server.createSession", &body)
        .await;
    assert_eq!(over.refused(), (429, "RateLimitExceeded".into()));
    let bypass = Request::get("/xrpc/com.atproto.server.describeServer")
        .header("x-ratelimit-bypass", "let me");
    let bypass = node.send(bypass.body(Body::empty()).unwrap()).await;
    assert!(!bypass.headers.contains_key("ratelimit-limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_nothing_browsers_get_a_page_and_others_text() {
    let node = Node::new();
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/oauth/<b>nothing", 404),
        ("DELETE", "/account", 405),
        ("POST", "/robots.txt", 405),
    ] {
        let ask = async |accept: &str| {
            let path = path.replace('<', "%3C").replace('>', "%3E");
            let request = Request::builder().method(method).uri(path);
            let request = request.header("accept", accept).body(Body::empty());
            node.send(request.unwrap()).await
        };
        let page = ask("text/html,application/xhtml+xml,*/*;q=0.8").await;
        let html = String::from_utf8(page.body).unwrap();
        assert_eq!(page.status, status, "{method} {path}");
        assert!(html.contains("<h1>Not ") && !html.contains("<b>"), "{html}");
        assert_eq!(page.headers["x-frame-options"], "DENY");
        assert_eq!(page.headers.contains_key("allow"), status == 405);
        let text = ask("*/*").await;
        assert_eq!(text.status, status);
        assert!(
            text.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/plain")
        );
        assert!(!text.body.is_empty() && !text.body.contains(&b'<'));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_node() {
    let node = Node::new();
    let alice = node.user("alice").await;
    node.post_text(&alice, "hello").await;
    let page = node.get("/").await;
    assert_eq!(page.status, 200);
    let html = String::from_utf8(page.body).unwrap();
    assert!(html.contains("did:web:localhost%3A2583"));
    assert!(html.contains("alice.test"));
    assert!(html.contains("create app.bsky.feed.post/"));
    assert_eq!(node.get("/robots.txt").await.status, 200);
}
