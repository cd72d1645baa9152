//! The description of the pin service's HTTP interfaces says what its routes are, no more and no less.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use ues::config::Layers;
use ues::node::Node;

/// Methods of a path.
type Methods = BTreeMap<String, BTreeSet<String>>;

/// The paths that are the pin service's own on HTTP. gRPC describes itself by reflection.
fn is_described(path: &str) -> bool {
    path == "/pins"
        || path == "/metrics"
        || ["/pins/", "/admin/v1/pins/", "/admin/v1/keys"]
            .iter()
            .any(|prefix| path.starts_with(prefix))
}

/// The paths of a router. It has no list of them, but it shows them to who debugs: `paths: {RouteId(1): "/pins", …}`.
fn paths(router: &Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    let (_, rest) = shown.split_once("paths: {").unwrap();
    let (paths, _) = rest.split_once("\"}").unwrap();
    let paths = paths.split("RouteId(").filter_map(|entry| {
        let (_, path) = entry.split_once("): \"")?;
        Some(path.trim_end_matches("\", ").to_owned())
    });
    paths.collect()
}

/// The methods that a path is routed for, as the refusal of one that nothing is routed for names them.
async fn methods(router: &Router, secret: &str, path: &str) -> BTreeSet<String> {
    let path = path.replace("{id}", "some");
    let request = Request::builder().method("PROPFIND").uri(path);
    let request = request.header("authorization", format!("Bearer {secret}"));
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    let allow = response.headers()["allow"].to_str().unwrap();
    let methods = allow.split(',').map(str::to_ascii_lowercase);
    // HEAD comes with GET by itself.
    methods.filter(|method| method != "head").collect()
}

fn described(document: &Value) -> Methods {
    let paths = document["paths"].as_object().unwrap();
    let methods = |of: &Value| {
        let keys = of.as_object().unwrap().keys();
        keys.filter(|key| *key != "parameters").cloned().collect()
    };
    let path = |(path, of): (&String, &Value)| (path.clone(), methods(of));
    paths.iter().map(path).collect()
}

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let (true, Some(to)) = (key == "$ref", value.as_str()) {
                    found.insert(to.to_owned());
                }
                references(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

async fn document(router: &Router) -> Value {
    let request = Request::get("/pins/openapi.json")
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_is_routed() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Layers::defaults().unwrap().config().unwrap();
    config.data = dir.path().join("data");
    let node = Node::open(&config).await.unwrap();
    let router = node.router();
    let document = document(&router).await;

    let mut routed = Methods::new();
    for path in paths(&router) {
        if is_described(&path) {
            let methods = methods(&router, node.secret(), &path).await;
            routed.insert(path, methods);
        }
    }
    assert!(routed.len() > 10, "{routed:?}");
    assert_eq!(described(&document), routed);

    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    let mut there = BTreeSet::new();
    for (kind, entries) in document["components"].as_object().unwrap() {
        if kind != "securitySchemes" {
            let entries = entries.as_object().unwrap().keys();
            there.extend(entries.map(|name| format!("#/components/{kind}/{name}")));
        }
    }
    assert_eq!(
        named, there,
        "what is named is there, and the other way round"
    );
    node.close().await;
}
