//! The house order of the workspace: a crate uses only crates below its own floor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Every crate of `crates/`, lowest first. A crate may use those before it.
const HOUSE: &[&str] = &[
    "ues-storage",
    "ues-data",
    "ues-repo",
    "ues-sync",
    "ues-access",
    "ues-oauth",
    "ues-atproto",
    "ues-p2p",
    "ues-gateway",
    "ues-feed",
    "ues-chat",
    "ues-assets",
    "ues-lenses",
    "ues-bus",
    "ues-pins",
    "ues-worker",
    "ues-billing",
    "ues",
];

/// The pin service stands beside the node: of the node's crates it uses only these, and its own.
const PIN_SERVICE: &[&str] = &["ues-bus", "ues-pins", "ues-worker", "ues-billing"];
const PIN_SERVICE_MAY_USE: &[&str] = &["ues-storage", "ues-data", "ues-access"];

/// What cargo says of the workspace.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("metadata is JSON")
}

/// The package names of the workspace's `crates/` folder, each with the workspace crates it depends on.
fn arrows() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let root = metadata["workspace_root"].as_str().expect("workspace root");
    let crates_dir = format!("{root}/crates/");
    let in_house = |package: &&Value| {
        package["manifest_path"]
            .as_str()
            .is_some_and(|path| path.starts_with(&crates_dir))
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .filter(in_house)
        .map(|package| {
            let uses = list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["path"].is_string())
                .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
                .collect();
            (
                package["name"].as_str().expect("package name").to_owned(),
                uses,
            )
        })
        .collect()
}

/// What is wrong with one arrow, if anything.
fn complaint(from: &str, to: &str) -> Option<String> {
    let floor = |name: &str| HOUSE.iter().position(|known| *known == name);
    let (Some(from_floor), Some(to_floor)) = (floor(from), floor(to)) else {
        return Some(format!(
            "{from} -> {to}: a crate that the house order does not name"
        ));
    };
    if to_floor >= from_floor {
        return Some(format!("{from} -> {to} points up"));
    }
    let in_pin_service = |name: &str| PIN_SERVICE.contains(&name);
    if in_pin_service(from) && !in_pin_service(to) && !PIN_SERVICE_MAY_USE.contains(&to) {
        return Some(format!(
            "{from} -> {to}: the pin service does not use this part of the node"
        ));
    }
    None
}

#[test]
fn no_dependency_points_up() {
    let arrows = arrows();
    assert!(
        arrows.contains_key("ues"),
        "the binary is a crate of the workspace: {arrows:?}"
    );
    let unknown: Vec<_> = arrows
        .keys()
        .filter(|name| !HOUSE.contains(&name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "not in the house order: {unknown:?}; add each at its floor"
    );
    let complaints: Vec<_> = arrows
        .iter()
        .flat_map(|(from, uses)| uses.iter().filter_map(|to| complaint(from, to)))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// `cargo run`, as the README has it, must know which program is meant: the benches are programs too.
#[test]
fn cargo_run_runs_the_node() {
    let metadata = metadata();
    let defaults = metadata["workspace_default_members"].as_array();
    let [only] = defaults.expect("default members").as_slice() else {
        panic!("one default member expected: {defaults:?}");
    };
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|p| p["id"] == *only);
    let targets = package.and_then(|p| p["targets"].as_array());
    let programs: Vec<_> = targets
        .expect("its targets")
        .iter()
        .filter(|t| t["kind"] == serde_json::json!(["bin"]))
        .map(|t| &t["name"])
        .collect();
    assert_eq!(programs, ["ues"]);
}

#[test]
fn an_arrow_that_points_up_is_seen() {
    assert_eq!(
        complaint("ues-storage", "ues-repo").as_deref(),
        Some("ues-storage -> ues-repo points up")
    );
    assert!(complaint("ues-data", "ues-data").is_some());
    assert!(complaint("ues-pins", "ues-repo").is_some());
    assert!(complaint("ues-pins", "ues-access").is_none());
    assert!(complaint("ues", "ues-worker").is_none());
    assert!(complaint("ues", "ues-unheard-of").is_some());
}
