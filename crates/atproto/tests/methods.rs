//! Every method of `com.atproto`: served here, passed on to another service, or refused. The same stands in
//! `docs/methods.md`; `UPDATE_DOCS=1` writes it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use axum::body::Body;
use common::Node;
use http::Request;
use ues_repo::lexicon::{Definition, Lexicons, MethodKind};

const DOC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/methods.md");
const BEGIN: &str = "<!-- table: written by crates/atproto/tests/methods.rs -->\n";

/// Streams are served by the dispatcher itself.
const STREAMS: [&str; 2] = [
    "com.atproto.label.subscribeLabels",
    "com.atproto.sync.subscribeRepos",
];

/// Methods that are neither served nor passed on by default, and why not.
const NOT_HERE: [(&str, &str); 1] = [(
    "com.atproto.sync.notifyOfUpdate",
    "deprecated; relays follow the event stream",
)];

fn methods() -> Vec<(String, MethodKind)> {
    let lexicons = Lexicons::official();
    let mut names = lexicons.documents();
    names.sort();
    let all = names.into_iter().filter(|n| n.starts_with("com.atproto."));
    all.filter_map(|name| match lexicons.document(&name)?.main()? {
        Definition::Method(method) => Some((name, method.kind)),
        _ => None,
    })
    .collect()
}

async fn row(node: &Node, served: &[&str], name: &str, kind: MethodKind) -> String {
    let kind_name = match kind {
        MethodKind::Query => "query",
        MethodKind::Procedure => "procedure",
        _ => "stream",
    };
    if served.contains(&name) || STREAMS.contains(&name) {
        return format!("| `{name}` | {kind_name} | served | |\n");
    }
    let verb = if kind == MethodKind::Procedure {
        "POST"
    } else {
        "GET"
    };
    let request = Request::builder()
        .method(verb)
        .uri(format!("/xrpc/{name}"))
        .body(Body::empty())
        .unwrap();
    let answer = node.send(request).await;
    let (status, error) = answer.refused();
    let (state, reason) = match error.as_str() {
        "InvalidToken" => (
            "refused",
            "about the account itself: never passed on, and not served yet",
        ),
        "InvalidRequest" if answer.message().starts_with("No service configured") => (
            "passed on",
            "to the service that `atproto-proxy` names, or to the AppView",
        ),
        other => panic!("{name}: {status} {other}"),
    };
    let reason = NOT_HERE
        .iter()
        .find(|(n, _)| *n == name)
        .map_or(reason, |(_, r)| r);
    format!("| `{name}` | {kind_name} | {state} | {reason} |\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_accounted_for() {
    let node = Node::new();
    let served = node.server.as_ref().unwrap().methods();
    let mut table = String::from("| method | kind | here | |\n|---|---|---|---|\n");
    let methods = methods();
    assert!(methods.len() > 80, "{} methods", methods.len());
    for (name, _) in NOT_HERE {
        assert!(!served.contains(&name), "{name} is served");
    }
    for (name, kind) in &methods {
        table.push_str(&row(&node, &served, name, *kind).await);
    }
    let doc = std::fs::read_to_string(DOC).unwrap();
    let (head, found) = doc
        .split_once(BEGIN)
        .expect("docs/methods.md has the table's mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(DOC, format!("{head}{BEGIN}{table}")).unwrap();
    } else {
        assert_eq!(
            found, table,
            "docs/methods.md is old: run this test with UPDATE_DOCS=1"
        );
    }
}
