//! A node on a temporary folder, and requests to it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use ues_atproto::{Config, Context, NodeKeys, Server};
use ues_storage::{Store, StoreOptions};

/// A node; its folder goes with it.
pub struct Node {
    pub server: Option<Server>,
    pub router: Router,
    pub ctx: Context,
    _dir: Option<tempfile::TempDir>,
}

/// An account with a session.
#[derive(Clone, Debug)]
pub struct User {
    pub did: String,
    pub handle: String,
    pub access: String,
    pub refresh: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The body of a call that must have gone well.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Status and error name of a call that must have been refused.
    #[track_caller]
    pub fn refused(&self) -> (u16, String) {
        assert!(
            self.status.is_client_error(),
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        (
            self.status.as_u16(),
            self.json()["error"].as_str().unwrap().to_owned(),
        )
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// What the tests start from: no rate limits, answers checked.
pub fn config() -> Config {
    let mut config = Config {
        check_outputs: true,
        ..Config::default()
    };
    config.rate_limits.enabled = false;
    config
}

impl Node {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        Self {
            _dir: Some(dir),
            ..Self::over(config, store, NodeKeys::generate().unwrap())
        }
    }

    /// A node over a store that is kept elsewhere.
    pub fn over(config: Config, store: Store, keys: NodeKeys) -> Self {
        Self::of(Server::new(config, store, keys).unwrap())
    }

    /// A server on a folder that outlives it.
    pub fn of(server: Server) -> Self {
        let (router, ctx) = (server.router(), server.context().clone());
        Self {
            server: Some(server),
            router,
            ctx,
            _dir: None,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub async fn get_as(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn query(&self, method: &str, params: &[(&str, &str)]) -> Answer {
        self.get(&path(method, params)).await
    }

    pub async fn query_as(&self, user: &User, method: &str, params: &[(&str, &str)]) -> Answer {
        self.get_as(&user.access, &path(method, params)).await
    }

    pub async fn post(&self, token: Option<&str>, method: &str, body: &Value) -> Answer {
        let mut request = Request::post(format!("/xrpc/{method}"))
            .header("content-type", "application/json")
            .header("content-length", body.to_string().len());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    pub async fn call(&self, user: &User, method: &str, body: &Value) -> Answer {
        self.post(Some(&user.access), method, body).await
    }

    /// A request with a body of any type.
    pub async fn upload(&self, user: &User, method: &str, mime: &str, body: Vec<u8>) -> Answer {
        let request = Request::post(format!("/xrpc/{method}"))
            .header("content-type", mime)
            .header("content-length", body.len())
            .header("authorization", format!("Bearer {}", user.access));
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// A POST without a body.
    pub async fn post_empty(&self, token: &str, method: &str) -> Answer {
        let request = Request::post(format!("/xrpc/{method}"))
            .header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Makes an account `name.test`.
    pub async fn user(&self, name: &str) -> User {
        let handle = format!("{name}.test");
        let body = json!({
            "handle": handle, "email": format!("{name}@test.com"), "password": "a password",
        });
        let made = self
            .post(None, "com.atproto.server.createAccount", &body)
            .await
            .ok();
        User {
            did: text(&made["did"]),
            handle,
            access: text(&made["accessJwt"]),
            refresh: text(&made["refreshJwt"]),
        }
    }

    /// Writes a post and gives the answer.
    pub async fn post_text(&self, user: &User, text: &str) -> Value {
        let body = json!({
            "repo": user.did, "collection": "app.bsky.feed.post", "record": post(text),
        });
        self.call(user, "com.atproto.repo.createRecord", &body)
            .await
            .ok()
    }
}

/// A record of a post.
pub fn post(text: &str) -> Value {
    json!({
        "$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-01-01T00:00:00.000Z",
    })
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// The record key in an AT URI.
pub fn rkey(written: &Value) -> String {
    text(&written["uri"]).rsplit('/').next().unwrap().to_owned()
}

fn path(method: &str, params: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in params {
        query.append_pair(name, value);
    }
    format!("/xrpc/{method}?{}", query.finish())
}
