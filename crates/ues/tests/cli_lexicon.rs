//! `ues lexicon check` of the real program.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod support;

use serde_json::{Value, json};
use support::Place;

fn task(properties: Value, required: &[&str]) -> String {
    json!({
        "lexicon": 1, "id": "com.example.task",
        "defs": { "main": {
            "type": "record", "key": "tid",
            "record": { "type": "object", "required": required, "properties": properties },
        }},
    })
    .to_string()
}

#[test]
fn an_added_optional_property_is_compatible() {
    let place = Place::new();
    let old = place.file(
        "old.json",
        task(json!({ "title": { "type": "string" } }), &["title"]),
    );
    let new = place.file(
        "new.json",
        task(
            json!({ "title": { "type": "string" }, "done": { "type": "boolean" } }),
            &["title"],
        ),
    );
    assert!(
        place
            .ok(&["lexicon", "check", &old, &new])
            .starts_with("compatible")
    );
    assert_eq!(
        place.json(&["lexicon", "check", &old, &new])["compatible"],
        true
    );
}

#[test]
fn a_breaking_change_is_named() {
    let place = Place::new();
    let old = place.file(
        "old.json",
        task(json!({ "title": { "type": "string" } }), &[]),
    );
    let new = place.file(
        "new.json",
        task(json!({ "title": { "type": "integer" } }), &["title"]),
    );
    let ended = place.run(&["lexicon", "check", &old, &new]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stdout.contains("title"), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("publish the new version under another name"),
        "{ended:?}"
    );
}

#[test]
fn what_is_no_lexicon_is_refused() {
    let place = Place::new();
    let bad = place.file("bad.json", "{}");
    let not_json = place.file("not.json", "lexicon");
    assert!(
        place
            .fails(2, &["lexicon", "check", &bad, &bad])
            .contains("bad.json is not a lexicon")
    );
    assert!(
        place
            .fails(2, &["lexicon", "check", &not_json, &bad])
            .contains("not.json is not JSON")
    );
    assert!(
        place
            .fails(1, &["lexicon", "check", "gone.json", &bad])
            .contains("cannot read gone.json")
    );
}
