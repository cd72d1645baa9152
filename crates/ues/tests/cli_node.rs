//! Every command of the real program on a node, once while it runs and once while it does not.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

mod support;

use serde_json::{Value, json};
use support::{Node, Place, same};

const POST: &str = "app.bsky.feed.post";

/// Runs a scenario on a node that runs, and again on one that does not.
fn both(scenario: impl Fn(&Place)) {
    let place = Place::new();
    let node = place.up();
    scenario(&place);
    assert_eq!(node.stop().code(), Some(0));

    let place = Place::new();
    assert_eq!(place.up().stop().code(), Some(0));
    scenario(&place);
}

fn account(place: &Place, handle: &str) -> String {
    let made = place.json(&["account", "create", handle]);
    assert_eq!(made["handle"], handle);
    made["did"].as_str().unwrap().to_owned()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn accounts() {
    both(|place| {
        assert!(place.ok(&["account", "ls"]).contains("no account yet"));
        let error = place.fails(3, &["post", "x"]);
        assert!(error.contains("the node has no account yet"), "{error}");

        let made = place.json(&["account", "create", "Alice"]);
        assert_eq!(made["handle"], "alice.test", "the node's domain is added");
        assert_eq!(text(&made, "password").len(), 23);
        let did = text(&made, "did").to_owned();
        let bob = place.json(&["account", "create", "bob.test", "--password", "open sesame"]);
        assert!(
            bob.get("password").is_none(),
            "a given password is not shown"
        );

        let error = place.fails(1, &["account", "create", "alice.test"]);
        assert!(
            error.contains("Handle already taken") && error.contains("ues account ls"),
            "{error}"
        );
        place.fails(1, &["account", "create", "x.example.com"]);

        let all = place.json(&["account", "ls"]);
        let handles: Vec<&str> = all
            .as_array()
            .unwrap()
            .iter()
            .map(|a| text(a, "handle"))
            .collect();
        assert_eq!(handles, ["alice.test", "bob.test"]);

        let shown = place.json(&["account", "show", "@alice.test"]);
        assert_eq!(
            (text(&shown, "did"), &shown["records"]),
            (did.as_str(), &json!(0))
        );
        assert_eq!(place.json(&["account", "show", &did]), shown);
        let error = place.fails(3, &["account", "show", "nobody.test"]);
        assert!(error.contains("there is no account nobody.test"), "{error}");
        let error = place.fails(2, &["account", "show", "what is this"]);
        assert!(error.contains("neither a handle nor a DID"), "{error}");

        let error = place.fails(2, &["post", "whose?"]);
        assert!(
            error.contains("several accounts") && error.contains("--as alice.test"),
            "{error}"
        );

        place.ok(&[
            "account",
            "password",
            "bob.test",
            "--password",
            "another one",
        ]);
        assert!(place.json(&["account", "password", "bob.test"])["password"].is_string());
        place.ok(&["account", "handle", "bob.test", "robert.test"]);
        assert_eq!(
            place.json(&["account", "show", "robert.test"])["did"],
            bob["did"]
        );
        assert_eq!(
            place
                .ok(&["account", "token", "robert.test"])
                .split('.')
                .count(),
            3
        );

        place.ok(&["account", "deactivate", "robert.test"]);
        assert_eq!(
            place.json(&["account", "show", "robert.test"])["status"],
            "deactivated"
        );
        place.ok(&["account", "activate", "robert.test"]);
        assert_eq!(
            place.json(&["account", "show", "robert.test"])["status"],
            "active"
        );

        let error = place.fails(2, &["account", "delete", "robert.test"]);
        assert!(
            error.contains("cannot be undone") && error.contains("ues repo export"),
            "{error}"
        );
        place.ok(&["account", "delete", "robert.test", "--yes"]);
        place.fails(3, &["account", "show", "robert.test"]);
        let again = place.json(&["account", "create", "robert.test"]);
        assert_ne!(
            again["did"], bob["did"],
            "the handle is free, the identity is another"
        );
        place.ok(&["account", "delete", "robert.test", "--yes"]);
        assert_eq!(place.json(&["account", "ls"]).as_array().unwrap().len(), 1);
    });
}

#[test]
fn posts_and_records() {
    both(|place| {
        account(place, "alice.test");
        let first = place.json(&["post", "Hello"]);
        let answer = place.json(&[
            "post",
            "And again",
            "--as",
            "alice.test",
            "--lang",
            "en",
            "--reply-to",
            text(&first, "uri"),
        ]);
        let read = place.json(&["record", "get", text(&answer, "uri")]);
        assert_eq!(read["value"]["text"], "And again");
        assert_eq!(read["value"]["langs"], json!(["en"]));
        assert_eq!(read["value"]["reply"]["root"]["cid"], first["cid"]);

        let posts = place.lines(&["record", "ls", POST]);
        let texts: Vec<&str> = posts.iter().map(|p| text(&p["value"], "text")).collect();
        assert_eq!(texts, ["And again", "Hello"], "newest first");
        assert_eq!(
            place.lines(&["record", "ls", POST, "--limit", "1", "--reverse"])[0]["uri"],
            first["uri"]
        );
        assert_eq!(place.json(&["record", "ls"]), json!([POST]));

        // The type may be left away; a wrong record is refused with the path of what is wrong.
        let profile = "alice.test/app.bsky.actor.profile/self";
        let put = place.json(&["record", "put", profile, "{\"displayName\": \"Alice\"}"]);
        let error = place.fails(1, &["record", "put", profile, "{\"displayName\": 7}"]);
        assert!(error.contains("displayName"), "{error}");
        let error = place.fails(2, &["record", "put", profile, "{"]);
        assert!(error.contains("is not JSON"), "{error}");
        let file = place.file("profile.json", "{\"displayName\": \"Alice B.\"}");
        let cid = text(&put, "cid");
        place.ok(&["record", "put", profile, &format!("@{file}"), "--swap", cid]);
        let error = place.fails(1, &["record", "put", profile, "{}", "--swap", cid]);
        assert!(error.contains("somebody else changed it first"), "{error}");

        place.json(&[
            "record",
            "create",
            "com.example.note",
            "{\"a\": 1}",
            "--rkey",
            "one",
        ]);
        place.ok(&["record", "delete", "alice.test/com.example.note/one"]);
        let error = place.fails(3, &["record", "delete", "alice.test/com.example.note/one"]);
        assert!(error.contains("Could not locate record"), "{error}");
        place.fails(
            3,
            &["record", "get", "at://alice.test/com.example.note/one"],
        );
        let error = place.fails(2, &["record", "get", "alice.test"]);
        assert!(error.contains("does not name a record"), "{error}");
    });
}

#[test]
fn repositories() {
    both(|place| {
        let did = account(place, "alice.test");
        account(place, "bob.test");
        for n in 0..30 {
            place.ok(&["post", &format!("post {n}"), "--as", "alice.test"]);
        }
        let exported = place.json(&["repo", "export", "alice.test"]);
        assert_eq!(exported["file"], "alice.test.car");
        for what in ["alice.test.car", "alice.test", did.as_str()] {
            let verified = place.json(&["repo", "verify", what]);
            assert_eq!(
                (&verified["records"], &verified["signatureChecked"]),
                (&json!(30), &json!(true))
            );
        }
        let sound = place.lines(&["repo", "verify", "data"]);
        assert_eq!(sound.len(), 2);

        // Into another account: the same tree, signed with another key.
        let imported = place.json(&["repo", "import", "bob.test", "alice.test.car"]);
        assert_eq!(imported["records"], 30);
        place.ok(&["repo", "export", "bob.test", "-o", "bob.car"]);
        let (a, b) = (
            place.json(&["repo", "verify", "alice.test.car"]),
            place.json(&["repo", "verify", "bob.car"]),
        );
        assert_eq!(a["data"], b["data"]);
        assert_ne!(a["did"], b["did"]);
        assert!(
            place
                .lines(&["repo", "diff", "alice.test.car", "bob.test"])
                .is_empty()
        );

        place.ok(&["post", "one more", "--as", "bob.test"]);
        let changes = place.lines(&["repo", "diff", "bob.car", "bob.test"]);
        assert_eq!(
            (changes.len(), &changes[0]["change"]),
            (1, &json!("create"))
        );

        let log = place.lines(&["repo", "log", "bob.test", "--limit", "1"]);
        assert_eq!(
            (&log[0]["kind"], &log[0]["ops"][0]["action"]),
            (&json!("commit"), &json!("create"))
        );
        let all = place.lines(&["repo", "log", "--after", "0", "--limit", "100000"]);
        let numbers: Vec<u64> = all.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
        assert!(
            numbers.iter().zip(1..).all(|(n, expected)| *n == expected),
            "{numbers:?}"
        );

        let tree = place.json(&["repo", "tree", "alice.test", "--depth", "100"]);
        assert_eq!(keys(&tree["tree"]), 30);
        assert_eq!(place.json(&["repo", "ls"]).as_array().unwrap().len(), 2);

        let status = place.json(&["status"]);
        assert!(status["diskBytes"].as_u64().unwrap() > 0);
        let report = place.json(&["check"]);
        assert_eq!(report["problems"], 0, "{report}");
        assert!(place.ok(&["check"]).contains("sound"));
    });
}

fn keys(node: &Value) -> usize {
    let items = node["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| {
            if item["key"].is_string() {
                1
            } else {
                keys(&item["node"])
            }
        })
        .sum()
}

#[test]
fn what_does_not_verify_is_said() {
    let place = Place::new();
    assert_eq!(place.up().stop().code(), Some(0));
    account(&place, "alice.test");
    let bob = account(&place, "bob.test");
    place.ok(&["post", "Hello", "--as", "alice.test"]);
    place.ok(&["repo", "export", "alice.test", "-o", "a.car"]);

    let mut bytes = std::fs::read(place.path("a.car")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    place.file("changed.car", &bytes);
    let error = place.fails(4, &["repo", "verify", "changed.car"]);
    assert!(error.contains("changed.car"), "{error}");
    place.file("cut.car", &bytes[..last - 10]);
    place.fails(4, &["repo", "verify", "cut.car"]);
    place.file("none.car", b"not an archive");
    place.fails(4, &["repo", "verify", "none.car"]);
    let error = place.fails(1, &["repo", "verify", "gone.car"]);
    assert!(error.contains("cannot read gone.car"), "{error}");

    // Signed, but not by this key.
    let key = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
    let error = place.fails(4, &["repo", "verify", "a.car", "--key", key]);
    assert!(error.contains("signature"), "{error}");
    let error = place.fails(2, &["repo", "verify", "a.car", "--key", "zQ3"]);
    assert!(error.contains("is not a key"), "{error}");

    // Elsewhere nobody knows the account; its identity cannot be guessed.
    let elsewhere = Place::new();
    std::fs::copy(place.path("a.car"), elsewhere.path("a.car")).unwrap();
    let said = elsewhere.ok(&["repo", "verify", "a.car", "--no-signature"]);
    assert!(said.contains("signature not checked"), "{said}");

    let error = place.fails(1, &["repo", "import", "bob.test", "changed.car"]);
    assert!(error.contains("error:"), "{error}");
    assert_eq!(
        place.json(&["account", "show", &bob])["records"],
        0,
        "nothing of it was taken"
    );
}

#[test]
fn an_address_is_verified() {
    let place = Place::new();
    let node = place.up();
    let did = account(&place, "alice.test");
    place.ok(&["post", "Hello"]);
    let url = format!("{}/xrpc/com.atproto.sync.getRepo?did={did}", node.url());
    assert_eq!(place.json(&["repo", "verify", &url])["records"], 1);
    let error = place.fails(5, &["repo", "verify", &format!("{}/nothing", node.url())]);
    assert!(
        error.contains("com.atproto.sync.getRepo?did=DID"),
        "{error}"
    );
}

#[test]
fn blobs() {
    both(|place| {
        account(place, "alice.test");
        // The smallest picture there is.
        let gif = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;";
        let file = place.file("dot.gif", gif);
        let blob = place.json(&["blob", "put", &file]);
        assert_eq!(
            (&blob["mimeType"], &blob["size"]),
            (&json!("image/gif"), &json!(gif.len()))
        );
        let cid = blob["ref"]["$link"].as_str().unwrap().to_owned();
        assert!(
            place.lines(&["blob", "ls"]).is_empty(),
            "no record points to it yet"
        );
        let profile = json!({ "pinned": blob }).to_string();
        place.ok(&[
            "record",
            "put",
            "alice.test/com.example.album/self",
            &profile,
        ]);
        assert_eq!(place.lines(&["blob", "ls"]), [json!(cid)]);
        place.ok(&["blob", "get", "alice.test", &cid, "-o", "again.gif"]);
        assert!(same(&place.path("again.gif"), &place.path("dot.gif")));
        assert_eq!(
            place.ok(&["blob", "get", "alice.test", &cid]).as_bytes(),
            gif
        );

        let other = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
        place.fails(3, &["blob", "get", "alice.test", other, "-o", "gone.gif"]);
        assert!(!place.path("gone.gif").exists() && !place.path("gone.gif.part").exists());
        let error = place.fails(1, &["blob", "put", "gone.gif"]);
        assert!(error.contains("cannot read gone.gif"), "{error}");
    });
}

#[test]
fn lexicons() {
    both(|place| {
        let known = place.json(&["lexicon", "ls", "app.bsky.feed.post"]);
        assert_eq!(known[0]["nsid"], POST);
        let task = |title: &str| {
            json!({
                "lexicon": 1, "id": "com.example.task",
                "defs": { "main": { "type": "record", "key": "any", "record": {
                    "type": "object", "required": ["title"], "properties": { "title": { "type": title } },
                }}},
            })
            .to_string()
        };
        let file = place.file("task.json", task("string"));
        assert_eq!(
            place.json(&["lexicon", "add", &file])["nsid"],
            "com.example.task"
        );
        assert_eq!(
            place.json(&["lexicon", "show", "com.example.task"])["id"],
            "com.example.task"
        );
        assert_eq!(
            place.json(&["lexicon", "ls", "com.example"])[0]["from"],
            "operator"
        );
        let breaking = place.file("task2.json", task("integer"));
        let error = place.fails(1, &["lexicon", "add", &breaking]);
        assert!(error.contains("would break"), "{error}");
        place.fails(3, &["lexicon", "show", "com.example.gone"]);

        account(place, "alice.test");
        place.ok(&[
            "record",
            "create",
            "com.example.task",
            "{\"title\": \"write\"}",
        ]);
        let error = place.fails(
            1,
            &["record", "create", "com.example.task", "{\"title\": 1}"],
        );
        assert!(error.contains("title"), "{error}");
    });
}

#[test]
fn queries() {
    both(|place| {
        let task = json!({
            "lexicon": 1, "id": "com.example.task",
            "defs": { "main": { "type": "record", "key": "any",
                "record": { "type": "object", "required": ["state"], "properties": {
                    "state": { "type": "string" }, "size": { "type": "integer" },
                    "due": { "type": "string", "format": "datetime" },
                }},
                "ues": { "indexes": [
                    { "name": "state", "path": "state", "kind": "text" },
                    { "name": "size", "path": "size", "kind": "integer" },
                    { "name": "due", "path": "due", "kind": "datetime" },
                ]},
            }},
        });
        let file = place.file("task.json", task.to_string());
        place.ok(&["lexicon", "add", &file]);
        account(place, "alice.test");
        account(place, "bob.test");
        for (n, who, state) in [
            (1, "alice.test", "open"),
            (2, "bob.test", "open"),
            (3, "bob.test", "done"),
        ] {
            let task =
                json!({ "state": state, "size": n, "due": format!("2026-0{n}-01T00:00:00Z") });
            let (key, task) = (n.to_string(), task.to_string());
            place.ok(&[
                "record",
                "create",
                "com.example.task",
                &task,
                "--rkey",
                &key,
                "--as",
                who,
            ]);
        }
        place.ok(&["post", "The quick brown fox", "--as", "alice.test"]);
        let found = |args: &[&str]| -> Vec<i64> {
            let all = [
                &[
                    "record",
                    "query",
                    "com.example.task",
                    "--sort",
                    "size",
                    "--reverse",
                ],
                args,
            ]
            .concat();
            let answer = place.json(&all);
            let records = answer["records"].as_array().unwrap();
            records
                .iter()
                .map(|r| r["value"]["size"].as_i64().unwrap())
                .collect()
        };
        let scenario = || {
            assert_eq!(found(&[]), [1, 2, 3]);
            assert_eq!(found(&["--where", "state=open"]), [1, 2]);
            assert_eq!(found(&["--where", "state=d*"]), [3]);
            assert_eq!(
                found(&["--where", "size=2..", "--author", "bob.test"]),
                [2, 3]
            );
            assert_eq!(found(&["--where", "due=..2026-02-15T00:00:00Z"]), [1, 2]);
            assert_eq!(
                place.json(&["record", "query", POST, "--text", "brown"])["records"]
                    .as_array()
                    .unwrap()
                    .len(),
                1
            );
        };
        scenario();
        let error = place.fails(
            1,
            &[
                "record",
                "query",
                "com.example.task",
                "--where",
                "colour=red",
            ],
        );
        assert!(
            error.contains("declares no index \"colour\"; it declares: state, size, due"),
            "{error}"
        );
        place.fails(
            1,
            &["record", "query", "com.example.task", "--where", "size=big"],
        );
        place.fails(
            1,
            &[
                "record",
                "query",
                "com.example.task",
                "--where",
                "due=tomorrow",
            ],
        );
        let error = place.fails(
            2,
            &["record", "query", "com.example.task", "--where", "size"],
        );
        assert!(error.contains("--where size has no value"), "{error}");

        // Page by page.
        let first = place.json(&["record", "query", "com.example.task", "--limit", "2"]);
        let cursor = text(&first, "cursor");
        let rest = place.json(&[
            "record",
            "query",
            "com.example.task",
            "--limit",
            "2",
            "--cursor",
            cursor,
        ]);
        assert_eq!(rest["records"].as_array().unwrap().len(), 1);

        // The index holds nothing of its own.
        assert!(place.json(&["reindex"])["cursor"].as_u64().unwrap() > 0);
        scenario();
    });
}

#[test]
fn an_index_that_was_deleted_is_built_again() {
    let place = Place::new();
    assert_eq!(place.up().stop().code(), Some(0));
    account(&place, "alice.test");
    place.ok(&["post", "The quick brown fox"]);
    std::fs::remove_dir_all(place.data().join("indexes")).unwrap();
    let found = place.json(&["record", "query", POST, "--text", "fox"]);
    assert_eq!(found["records"].as_array().unwrap().len(), 1);
}

#[test]
fn a_node_that_keeps_few_events_trims_its_log() {
    let place = Place::new();
    let node = place.up();
    account(&place, "alice.test");
    for n in 0..10 {
        place.ok(&["post", &format!("fox number {n}")]);
    }
    assert_eq!(node.stop().code(), Some(0));
    let node = place.up_with(&["--set", "firehose.keep_events=4"]);
    // It trims once the indexes have read what goes.
    let begun = std::time::Instant::now();
    let status = loop {
        let status = place.json(&["status"]);
        if status["firstEvent"] == 11 {
            break status;
        }
        assert!(begun.elapsed().as_secs() < 60, "{status}");
    };
    assert_eq!(status["events"], 14, "{status}");
    let log = place.lines(&["repo", "log", "alice.test", "--after", "0"]);
    let numbers: Vec<_> = log.iter().map(|event| &event["seq"]).collect();
    assert_eq!(numbers, [11, 12, 13, 14]);
    assert_eq!(place.lines(&["repo", "log"]).len(), 4);
    place.ok(&["check"]);
    place.ok(&["reindex"]);
    assert_eq!(node.stop().code(), Some(0));
    std::fs::remove_dir_all(place.data().join("indexes")).unwrap();
    let found = place.json(&["record", "query", POST, "--text", "fox", "--limit", "20"]);
    assert_eq!(found["records"].as_array().unwrap().len(), 10);
    place.ok(&["check"]);
}

#[test]
fn a_wrong_key_is_said() {
    let place = Place::new();
    assert_eq!(place.up().stop().code(), Some(0));
    account(&place, "alice.test");
    place.ok(&["post", "Hello"]);
    // The keys are the one thing that nothing else can bring back.
    let key = place.data().join("keystore.key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::write(&key, "0".repeat(64)).unwrap();
    let error = place.fails(1, &["post", "x"]);
    assert!(
        error.contains("the node's keys cannot be opened"),
        "{error}"
    );
    assert!(error.contains("keys.key_file"), "{error}");
    std::fs::write(&key, kept).unwrap();
    place.ok(&["post", "x"]);
}

#[test]
fn many_commands_at_once_wait_for_each_other() {
    let place = Place::new();
    assert_eq!(place.up().stop().code(), Some(0));
    account(&place, "alice.test");
    std::thread::scope(|scope| {
        for n in 0..4 {
            let place = &place;
            scope.spawn(move || place.ok(&["post", &format!("post {n}")]));
        }
    });
    assert_eq!(place.lines(&["record", "ls", POST]).len(), 4);
}

#[test]
fn a_node_killed_while_it_ran_keeps_what_it_acknowledged() {
    let place = Place::new();
    let node: Node = place.up();
    account(&place, "alice.test");
    place.ok(&["post", "Hello"]);
    node.kill();
    assert_eq!(place.lines(&["record", "ls", POST]).len(), 1);
    assert_eq!(place.json(&["check"])["problems"], 0);
}
