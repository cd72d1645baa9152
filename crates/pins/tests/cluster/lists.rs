//! `GET /allocations` and `GET /pins`.

use http::StatusCode;
use serde_json::{Value, json};
use ues_data::Cid;
use ues_pins::model::json::GlobalPinInfo;
use ues_pins::{Pin, PinOptions, PinType, PlacementState};

use crate::desk::{ALICE, Desk, cid};

fn named(name: &str) -> PinOptions {
    PinOptions {
        name: name.to_owned(),
        ..PinOptions::default()
    }
}

#[tokio::test]
async fn nothing_is_answered_without_content() {
    let desk = Desk::new().await;
    for path in [
        "/allocations",
        "/pins",
        "/pins?filter=pinned",
        "/pins?local=true",
    ] {
        let answer = desk.get(path).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(answer.text, "");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn a_pin_is_shown_with_the_workers_it_is_meant_for() {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    let options = PinOptions {
        name: "<a> & \"b\"\n".to_owned(),
        metadata: vec![("k".to_owned(), "v".to_owned())],
        user_allocations: vec![b.clone()],
        expire_at: Some(1_900_000_000),
        pin_update: Some(cid(9)),
        origins: vec![format!("/ip4/1.2.3.4/tcp/4001/p2p/{a}").parse().unwrap()],
        ..PinOptions::default()
    };
    desk.put("default", cid(1), options).await;
    desk.place(cid(1), &b, true, PlacementState::Pinned).await;
    desk.place(cid(1), &a, false, PlacementState::Queued).await;
    let expected = json!({
        "replication_factor_min": 1,
        "replication_factor_max": 2,
        "name": "<a> & \"b\"\n",
        "mode": "recursive",
        "shard_size": 0,
        "user_allocations": [b],
        "expire_at": "2030-03-17T17:46:40Z",
        "metadata": {"k": "v"},
        "pin_update": cid(9).to_string(),
        "origins": [format!("/ip4/1.2.3.4/tcp/4001/p2p/{a}")],
        "cid": cid(1).to_string(),
        "type": "pin",
        "allocations": [b],
        "max_depth": -1,
        "reference": null,
        "timestamp": "2023-11-14T22:13:20Z",
    });
    let listed = desk.get("/allocations").await.ok();
    assert_eq!(listed.lines(), std::slice::from_ref(&expected));
    assert_eq!(listed.headers["trailer"], "x-stream-error");
    assert_eq!(listed.trailer.as_deref(), Some(""));
    let one = desk.get(&format!("/allocations/{}", cid(1))).await.ok();
    assert_eq!(one.json(), expected);
}

#[tokio::test]
async fn a_pin_that_goes_everywhere_names_no_worker() {
    let desk = Desk::new().await;
    let everywhere = PinOptions {
        replication_min: -1,
        replication_max: -1,
        ..PinOptions::default()
    };
    desk.put("default", cid(1), everywhere).await;
    for id in desk.workers.clone() {
        desk.place(cid(1), &id, true, PlacementState::Pinned).await;
    }
    let pin = desk.get("/allocations").await.ok().lines().remove(0);
    assert_eq!(pin["allocations"], json!([]));
    assert_eq!(pin["replication_factor_min"], -1);
}

#[tokio::test]
async fn unknown_pins_are_not_part_of_the_pinset() {
    let desk = Desk::new().await;
    let path = format!("/allocations/{}", cid(1));
    desk.get(&path)
        .await
        .fails(404, "pin is not part of the pinset");
    for path in ["/allocations/xx", "/pins/xx", "/pins?cids=xx"] {
        desk.get(path).await.fails(400, "error decoding Cid: ");
    }
}

#[tokio::test]
async fn allocations_are_filtered_by_kind() {
    let desk = Desk::new().await;
    for (number, kind) in [(1, PinType::Data), (2, PinType::Meta), (3, PinType::Shard)] {
        let pin = Pin {
            kind,
            ..Pin::new(cid(number), PinOptions::default(), 1)
        };
        desk.put_pin("default", pin).await;
    }
    for (filter, count) in [
        ("", 3),
        ("all", 3),
        ("pin", 1),
        ("pin,meta-pin", 2),
        ("shard-pin,nonsense", 1),
        ("nonsense,all", 3),
    ] {
        let found = desk.get(&format!("/allocations?filter={filter}")).await;
        assert_eq!(found.ok().lines().len(), count, "{filter}");
    }
    let none = desk.get("/allocations?filter=clusterdag-pin").await;
    assert_eq!(none.status, StatusCode::NO_CONTENT);
    for wrong in ["nonsense", "pin%20", "x,y"] {
        let answer = desk.get(&format!("/allocations?filter={wrong}")).await;
        answer.fails(400, "invalid filter value");
    }
}

/// The pins of the golden file, which the real program wrote, go in as their protobuf and come out as its JSON.
#[tokio::test]
async fn pins_look_as_the_original_writes_them() {
    let desk = Desk::new().await;
    let path = format!("{}/tests/golden/pins.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut seen = 0;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(expected) = line.get("json") else {
            continue;
        };
        let bytes = line["proto"].as_str().unwrap().as_bytes();
        let bytes = data_encoding::HEXLOWER.decode(bytes).unwrap();
        let pin = Pin::from_proto(&bytes).unwrap();
        let whole = pin.options.replication_min > 0 && pin.options.replication_max > 0;
        for id in &pin.allocations {
            desk.place(pin.cid, id, true, PlacementState::Pinned).await;
        }
        let path = format!("/allocations/{}", pin.cid);
        desk.put_pin("default", pin).await;
        let mut shown = desk.get(&path).await.ok().json();
        if !whole {
            for field in ["replication_factor_min", "replication_factor_max"] {
                shown[field] = expected[field].clone();
            }
        }
        let order = |value: &Value| {
            let mut ids = value["allocations"].as_array().unwrap().clone();
            ids.sort_by_key(Value::to_string);
            ids.dedup();
            ids
        };
        if shown["allocations"] != json!([]) {
            assert_eq!(order(&shown), order(expected), "{}", line["name"]);
        }
        shown["allocations"] = expected["allocations"].clone();
        assert_eq!(&shown, expected, "{}", line["name"]);
        seen += 1;
    }
    assert!(seen > 20);
}

#[tokio::test]
async fn a_pin_fares_on_each_worker_in_the_words_of_the_original() {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    desk.put("default", cid(1), named("n")).await;
    let path = format!("/pins/{}", cid(1));
    let unplanned = desk.get(&path).await.ok().json();
    assert_eq!(unplanned["allocations"], json!([]));
    for id in [&a, &b] {
        assert_eq!(
            unplanned["peer_map"][id.to_string()]["status"],
            "pin_queued"
        );
    }
    for (desired, state, word) in [
        (true, PlacementState::Queued, "pin_queued"),
        (true, PlacementState::Pinning, "pinning"),
        (true, PlacementState::Pinned, "pinned"),
        (true, PlacementState::Error, "pin_error"),
        (true, PlacementState::Unpinned, "unexpectedly_unpinned"),
        (false, PlacementState::Queued, "unpin_queued"),
        (false, PlacementState::Pinning, "unpinning"),
        (false, PlacementState::Error, "unpin_error"),
        (false, PlacementState::Unpinned, "remote"),
    ] {
        desk.place(cid(1), &a, true, PlacementState::Pinned).await;
        desk.place(cid(1), &b, desired, state).await;
        let shown = desk.get(&path).await.ok().json();
        let fare = &shown["peer_map"][b.to_string()];
        assert_eq!(fare["status"], word);
        assert_eq!(fare["peername"], "beta");
        let error = fare["error"].as_str().unwrap();
        assert_eq!(
            error.is_empty(),
            !word.contains("error") && !word.contains("unexp")
        );
        let lines = desk.get("/pins").await.ok().lines();
        assert_eq!(lines, [shown], "the list says the same");
    }
}

#[tokio::test]
async fn a_status_is_one_that_the_original_reads() {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    let options = PinOptions {
        metadata: vec![("k".to_owned(), "v".to_owned())],
        ..named("n")
    };
    desk.put("default", cid(1), options).await;
    desk.place(cid(1), &a, true, PlacementState::Error).await;
    let shown = desk.get(&format!("/pins/{}", cid(1))).await.ok();
    let ipfs = ues_pins::PeerId::from_ed25519(&[9; 32]);
    let fare = |name: &str, status: &str, time: &str, error: &str, attempts: u32| {
        json!({
            "peername": name,
            "ipfs_peer_id": ipfs,
            "ipfs_peer_addresses": ["/ip4/127.0.0.1/tcp/4001"],
            "status": status,
            "timestamp": time,
            "error": error,
            "attempt_count": attempts,
            "priority_pin": false,
        })
    };
    let expected = json!({
        "cid": cid(1).to_string(),
        "name": "n",
        "allocations": [a],
        "origins": [],
        "created": "2023-11-14T22:13:20Z",
        "metadata": {"k": "v"},
        "peer_map": {
            a.to_string(): fare("alpha", "pin_error", "2023-11-14T22:13:20.5Z", "no \"space\" left", 3),
            b.to_string(): fare("beta", "remote", "2023-11-14T22:13:20Z", "", 0),
        },
    });
    assert_eq!(shown.json(), expected);
    let read: GlobalPinInfo = serde_json::from_str(&shown.text).unwrap();
    let written = serde_json::to_string(&read).unwrap();
    assert_eq!(shown.text.trim_end(), written, "the same to the letter");
}

#[tokio::test]
async fn what_nobody_pinned_is_unpinned_everywhere() {
    let desk = Desk::new().await;
    let shown = desk.get(&format!("/pins/{}", cid(1))).await.ok().json();
    assert_eq!(shown["created"], "2023-11-14T22:13:20.5Z");
    assert_eq!(shown["metadata"], Value::Null);
    for id in &desk.workers {
        assert_eq!(shown["peer_map"][id.to_string()]["status"], "unpinned");
    }
    let both = desk.get(&format!("/pins?cids={},{}", cid(1), cid(2))).await;
    assert_eq!(both.ok().lines().len(), 2);
}

#[tokio::test]
async fn statuses_are_filtered_worker_by_worker() {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    for number in 1..=3 {
        desk.put("default", cid(number), PinOptions::default())
            .await;
    }
    desk.place(cid(1), &a, true, PlacementState::Pinned).await;
    desk.place(cid(2), &a, true, PlacementState::Pinned).await;
    desk.place(cid(2), &b, true, PlacementState::Error).await;
    // Nobody wants this one any more.
    desk.place(cid(4), &b, false, PlacementState::Queued).await;
    let found = async |path: &str| -> Vec<(String, usize)> {
        let answer = desk.get(path).await;
        let mut rows: Vec<_> = answer
            .lines()
            .iter()
            .map(|line| {
                let peers = line["peer_map"].as_object().unwrap().len();
                (line["cid"].as_str().unwrap().to_owned(), peers)
            })
            .collect();
        rows.sort();
        rows
    };
    let rows = |rows: &[(u64, usize)]| {
        let mut rows: Vec<_> = rows
            .iter()
            .map(|(n, p)| (cid(*n).to_string(), *p))
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(found("/pins").await, rows(&[(1, 2), (2, 2), (3, 2)]));
    assert_eq!(found("/pins?filter=pinned").await, rows(&[(1, 1), (2, 1)]));
    assert_eq!(
        found("/pins?filter=remote,error").await,
        rows(&[(1, 1), (2, 1)])
    );
    assert_eq!(found("/pins?filter=queued").await, rows(&[(3, 2), (4, 1)]));
    assert_eq!(found("/pins?filter=unpin_queued").await, rows(&[(4, 1)]));
    assert_eq!(found("/pins?filter=nonsense,pinned").await.len(), 2);
    assert_eq!(found("/pins?filter=sharded").await, []);
    // What is gone is not listed.
    desk.place(cid(4), &b, false, PlacementState::Unpinned)
        .await;
    assert_eq!(found("/pins?filter=unpinned").await, []);
    let wrong = desk.get("/pins?filter=nonsense").await;
    wrong.fails(400, "invalid filter value");
    assert_eq!(
        found("/pins?local=true").await,
        rows(&[(1, 1), (2, 1), (3, 1)])
    );
    let one = desk.get(&format!("/pins/{}?local=true", cid(2))).await.ok();
    assert_eq!(one.json()["peer_map"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_worker_that_was_removed_is_shown_by_its_id() {
    let desk = Desk::new().await;
    let gone = ues_pins::PeerId::from_ed25519(&[99; 32]);
    desk.put("default", cid(1), PinOptions::default()).await;
    desk.place(cid(1), &gone, true, PlacementState::Pinned)
        .await;
    let shown = desk.get("/pins").await.ok().lines().remove(0);
    assert_eq!(shown["allocations"], json!([gone]));
    assert_eq!(shown["peer_map"][gone.to_string()]["status"], "pinned");
    assert_eq!(shown["peer_map"].as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn an_owner_sees_their_own_pins_only() {
    let desk = Desk::new().await;
    let [a, _] = desk.workers.clone();
    desk.put("default", cid(1), named("older")).await;
    desk.put("alice", cid(1), named("hers")).await;
    desk.put("default", cid(2), named("other")).await;
    desk.place(cid(1), &a, true, PlacementState::Pinned).await;
    let listed = desk
        .call_as(ALICE, "GET", "/allocations")
        .await
        .ok()
        .lines();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["name"], "hers");
    assert_eq!(listed[0]["allocations"], json!([a]));
    let fares = desk.call_as(ALICE, "GET", "/pins").await.ok().lines();
    assert_eq!(fares.len(), 1);
    assert_eq!(fares[0]["name"], "hers");
    assert_eq!(fares[0]["peer_map"][a.to_string()]["status"], "pinned");
    let other = format!("/allocations/{}", cid(2));
    let refused = desk.call_as(ALICE, "GET", &other).await;
    refused.fails(404, "pin is not part of the pinset");
    let fare = desk
        .call_as(ALICE, "GET", &format!("/pins/{}", cid(2)))
        .await;
    assert_eq!(
        fare.ok().json()["peer_map"][a.to_string()]["status"],
        "unpinned"
    );
    assert_eq!(desk.get("/allocations").await.ok().lines().len(), 2);
}

#[tokio::test]
async fn lists_longer_than_a_piece_are_whole() {
    let desk = Desk::new().await;
    let cids: Vec<Cid> = (0..2500).map(cid).collect();
    for cid in &cids {
        desk.put("alice", *cid, named(&"x".repeat(100))).await;
    }
    for who in [None, Some(ALICE)] {
        let answer = match who {
            None => desk.get("/allocations").await,
            Some(who) => desk.call_as(who, "GET", "/allocations").await,
        };
        let mut listed: Vec<String> = answer
            .ok()
            .lines()
            .iter()
            .map(|line| line["cid"].as_str().unwrap().to_owned())
            .collect();
        listed.sort();
        let mut expected: Vec<String> = cids.iter().map(ToString::to_string).collect();
        expected.sort();
        assert!(listed == expected);
    }
}
