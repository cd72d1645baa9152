//! Each command by which the operator does something leaves one row in the audit, on a node that runs and on one that
//! does not; those that only look leave none.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use serde_json::Value;
use support::Place;

fn acts(place: &Place) -> Vec<Value> {
    let all = place.json(&["admin", "audit", "--limit", "1000"]);
    all.as_array().unwrap().clone()
}

fn walk(place: &Place) {
    place.ok(&["account", "create", "alice.test"]);
    place.ok(&["account", "create", "bob.test"]);
    let post = place.json(&["post", "hello", "--as", "alice.test"]);
    let post = post["uri"].as_str().unwrap().to_owned();
    let lexicon = r#"{ "lexicon": 1, "id": "com.example.thing", "defs": { "main": {
        "type": "record", "key": "tid", "record": { "type": "object", "properties": {} } } } }"#;
    let lexicon = place.file("thing.json", lexicon);
    let code = place.json(&["admin", "invite"])[0]
        .as_str()
        .unwrap()
        .to_owned();
    let mut mail = String::new();
    let ways: &[(&[&str], usize)] = &[
        (&["admin", "invite", "--for", "alice.test"], 1),
        (&["admin", "uninvite", &code], 1),
        (&["admin", "invites"], 0),
        (&["admin", "takedown", &post, "--reason", "rude"], 1),
        (&["admin", "restore", &post], 1),
        (&["admin", "takedown", "alice.test"], 1),
        (&["admin", "subject", "alice.test"], 0),
        (&["admin", "restore", "alice.test"], 1),
        (
            &[
                "admin",
                "suspend",
                "alice.test",
                "--for",
                "7d",
                "--reason",
                "rude",
            ],
            1,
        ),
        (&["admin", "suspend", "alice.test", "--lift"], 1),
        (&["admin", "search"], 0),
        (&["admin", "events"], 0),
        (&["admin", "write", "alice.test", "Hello"], 1),
        (&["mail", "ls"], 0),
        (&["mail", "show", "MAIL"], 1),
        (&["mail", "again", "MAIL"], 1),
        (&["admin", "reports"], 0),
        (&["admin", "quota", "alice.test"], 0),
        (&["admin", "quota", "alice.test", "1000000"], 1),
        (&["admin", "label", "add", "alice.test", "spam"], 1),
        (&["admin", "label", "ls"], 0),
        (&["admin", "label", "rm", "alice.test", "spam"], 1),
        (&["lexicon", "add", &lexicon], 1),
        (&["account", "ls"], 0),
        (&["account", "show", "alice.test"], 0),
        (&["account", "password", "alice.test"], 1),
        (&["account", "token", "alice.test"], 1),
        (&["account", "sessions", "alice.test"], 0),
        (&["account", "sessions", "alice.test", "--end-all"], 1),
        (&["account", "totp", "alice.test"], 1),
        (&["account", "totp", "alice.test", "--off"], 1),
        (&["account", "deactivate", "alice.test"], 1),
        (&["account", "activate", "alice.test"], 1),
        (&["post", "as its owner", "--as", "alice.test"], 1),
        (&["repo", "repair", "alice.test"], 1),
        (&["reindex"], 1),
        (&["check"], 0),
        (&["account", "handle", "alice.test", "eve.test"], 1),
        (&["account", "delete", "bob.test", "--yes"], 1),
    ];
    for (args, rows) in ways {
        let args: Vec<&str> = args
            .iter()
            .map(|arg| if *arg == "MAIL" { mail.as_str() } else { arg })
            .collect();
        let before = acts(place).len();
        place.ok(&args);
        assert_eq!(acts(place).len() - before, *rows, "{args:?}");
        if args.starts_with(&["admin", "write"]) {
            mail = place.json(&["mail", "ls"])[0]["id"].to_string();
        }
    }
    for act in acts(place) {
        assert_eq!(
            (&act["by"], &act["place"]),
            (&"operator".into(), &"cli".into()),
            "{act}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_the_same_everywhere() {
    let place = Place::new();
    assert_eq!(place.up().stop().code(), Some(0));
    place.ok(&["account", "create", "alice.test"]);
    let invite = |flag, number| ["admin", "invite", flag, number];
    for (flag, number) in [("--count", "0"), ("--count", "5000"), ("--uses", "0")] {
        let refused = place.fails(2, &invite(flag, number));
        assert!(
            refused.contains("expected a number from 1 to "),
            "{refused}"
        );
    }
    let before = acts(&place).len();
    for args in [
        ["admin", "takedown", "zzz"],
        ["admin", "suspend", "zzz"],
        ["admin", "quota", "zzz"],
        ["account", "show", ""],
        ["admin", "subject", ""],
    ] {
        let refused = place.fails(2, &args);
        assert!(refused.contains("neither a handle nor a DID"), "{refused}");
    }
    let refused = place.fails(1, &["account", "create", "al ice.test"]);
    assert!(!refused.contains("$."), "{refused}");
    assert_eq!(acts(&place).len(), before);
}

#[test]
fn on_a_node_that_runs() {
    let place = Place::new();
    let node = place.up();
    walk(&place);
    assert_eq!(node.stop().code(), Some(0));
}

#[test]
fn on_a_node_that_does_not() {
    let place = Place::new();
    assert_eq!(place.up().stop().code(), Some(0));
    walk(&place);
}
