//! Pinning and unpinning.

use serde_json::{Value, json};
use ues_pins::store::StateStore;
use ues_pins::{PinMode, PinOptions, PinRequest, PlacementState};

use crate::desk::{ALICE, Desk, cid, owner};

async fn wanted(desk: &Desk, name: &str, number: u64) -> Option<PinRequest> {
    let request = desk.store.request(&owner(name), &cid(number)).await;
    request.unwrap()
}

#[tokio::test]
async fn a_pin_is_made_with_everything_that_was_said() {
    let desk = Desk::new().await;
    let [a, _] = desk.workers.clone();
    let origin = format!("/ip4/1.2.3.4/tcp/4001/p2p/{a}");
    let path = format!(
        "/pins/{}?name=a%20b&meta-k=v&replication-min=1&replication-max=2&user-allocations={a}&expire-in=1h\
         &origins={}&shard-size=5",
        cid(1),
        origin.replace('/', "%2F"),
    );
    let shown = desk.call("POST", &path).await.ok().json();
    assert_eq!(shown["cid"], cid(1).to_string());
    assert_eq!(shown["name"], "a b");
    assert_eq!(shown["expire_at"], "2023-11-14T23:13:20Z");
    assert_eq!(shown["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(shown["metadata"], json!({"k": "v"}));
    assert_eq!(shown["origins"], json!([origin]));
    assert_eq!(shown["user_allocations"], json!([a]));
    assert_eq!(shown["shard_size"], 5);
    let options = wanted(&desk, "default", 1).await.unwrap().pin.options;
    assert_eq!(options.name, "a b");
    assert_eq!(options.user_allocations, [a]);
    assert_eq!(
        desk.get(&format!("/allocations/{}", cid(1)))
            .await
            .ok()
            .json(),
        shown
    );
}

#[tokio::test]
async fn defaults_are_those_of_the_service() {
    let desk = Desk::new().await;
    let shown = desk
        .call("POST", &format!("/pins/{}", cid(1)))
        .await
        .ok()
        .json();
    assert_eq!(shown["replication_factor_min"], 1);
    assert_eq!(shown["replication_factor_max"], 2);
    assert_eq!(shown["mode"], "recursive");
    let stored = wanted(&desk, "default", 1).await.unwrap().pin.options;
    assert_eq!(stored.replication_min, 0, "the default may change later");
}

#[tokio::test]
async fn a_bad_query_pins_nothing() {
    let desk = Desk::new().await;
    for (query, why) in [
        ("replication-min=x", "parameter replication-min invalid"),
        ("shard-size=-1", "parameter shard_size is invalid"),
        ("expire-at=tomorrow", "expire-at cannot be parsed"),
        ("expire-in=1ms", "expire-in duration too short"),
        ("expire-at=2001-01-01T00:00:00Z", "over"),
        ("pin-update=xx", "error decoding update option parameter"),
        ("origins=xx", "error decoding multiaddress"),
        ("replication-min=3&replication-max=2", "more than the most"),
    ] {
        let answer = desk
            .call("POST", &format!("/pins/{}?{query}", cid(1)))
            .await;
        answer.fails(400, why);
        assert_eq!(wanted(&desk, "default", 1).await, None, "{query}");
    }
    desk.call("POST", "/pins/xx")
        .await
        .fails(400, "error decoding Cid: ");
}

#[tokio::test]
async fn direct_pins_stay_direct_and_never_narrow_others() {
    let desk = Desk::new().await;
    let path = format!("/pins/{}?mode=direct", cid(1));
    let shown = desk.call("POST", &path).await.ok().json();
    assert_eq!(
        (&shown["mode"], &shown["max_depth"]),
        (&json!("direct"), &json!(0))
    );
    desk.call("POST", &format!("/pins/{}", cid(1))).await.ok();
    let refused = desk.call("POST", &path).await;
    refused.fails(
        500,
        "cannot repin a CID which is already pinned in recursive mode",
    );
    let mode = wanted(&desk, "default", 1).await.unwrap().pin.options.mode;
    assert_eq!(mode, PinMode::Recursive);
}

#[tokio::test]
async fn an_update_takes_over_the_options_of_the_old_pin() {
    let desk = Desk::new().await;
    let old = PinOptions {
        name: "old".to_owned(),
        replication_min: 2,
        replication_max: 2,
        metadata: vec![("k".to_owned(), "v".to_owned())],
        expire_at: Some(1_900_000_000),
        ..PinOptions::default()
    };
    desk.put("default", cid(1), old.clone()).await;
    let update = |query: &str| format!("/pins/{}?pin-update={}{query}", cid(2), cid(1));
    let shown = desk
        .call("POST", &update("&replication-min=1"))
        .await
        .ok()
        .json();
    assert_eq!(shown["name"], "old");
    assert_eq!(shown["pin_update"], cid(1).to_string());
    let made = wanted(&desk, "default", 2).await.unwrap().pin.options;
    assert_eq!(
        made,
        PinOptions {
            pin_update: Some(cid(1)),
            ..old.clone()
        }
    );
    let again = update("&name=new&expire-at=2031-01-01T00:00:00Z");
    desk.call("POST", &again).await.ok();
    let made = wanted(&desk, "default", 2).await.unwrap().pin.options;
    assert_eq!(made.name, "new");
    assert_eq!(made.expire_at, Some(1_924_992_000));
    assert_eq!(made.metadata, old.metadata);
    let missing = format!("/pins/{}?pin-update={}", cid(3), cid(77));
    desk.call("POST", &missing)
        .await
        .fails(404, "pin is not part of the pinset");
    assert_eq!(wanted(&desk, "default", 3).await, None);
    // The pin of somebody else is not there to be copied from.
    let foreign = desk.call_as(ALICE, "POST", &update("")).await;
    foreign.fails(404, "pin is not part of the pinset");
}

#[tokio::test]
async fn a_pin_is_removed_and_shown_once_more() {
    let desk = Desk::new().await;
    let [a, _] = desk.workers.clone();
    let path = format!("/pins/{}", cid(1));
    desk.call("POST", &format!("{path}?name=n")).await.ok();
    desk.place(cid(1), &a, true, PlacementState::Pinned).await;
    let shown = desk.call("DELETE", &path).await.ok().json();
    assert_eq!(shown["name"], "n");
    assert_eq!(shown["allocations"], json!([a]));
    assert_eq!(wanted(&desk, "default", 1).await, None);
    let again = desk.call("DELETE", &path).await;
    again.fails(404, "pin is not part of the pinset");
    desk.call("DELETE", "/pins/xx")
        .await
        .fails(400, "error decoding Cid: ");
}

#[tokio::test]
async fn owners_remove_their_own_wishes_only() {
    let desk = Desk::new().await;
    let path = format!("/pins/{}", cid(1));
    desk.call_as(ALICE, "POST", &path).await.ok();
    assert!(wanted(&desk, "alice", 1).await.is_some());
    let operator = desk.call("DELETE", &path).await;
    operator.fails(404, "others want it");
    assert!(wanted(&desk, "alice", 1).await.is_some());
    desk.call("POST", &path).await.ok();
    desk.call("DELETE", &path).await.ok();
    assert!(wanted(&desk, "alice", 1).await.is_some());
    desk.call_as(ALICE, "DELETE", &path).await.ok();
    assert_eq!(wanted(&desk, "alice", 1).await, None);
}

#[tokio::test]
async fn paths_name_a_cid() {
    let desk = Desk::new().await;
    for kind in ["ipfs", "ipld"] {
        let path = format!("/pins/{kind}/{}", cid(1));
        let shown = desk
            .call("POST", &format!("{path}?name=n"))
            .await
            .ok()
            .json();
        assert_eq!(shown["cid"], cid(1).to_string());
        assert_eq!(shown["name"], "n");
        desk.call("DELETE", &path).await.ok();
        assert_eq!(wanted(&desk, "default", 1).await, None);
    }
    for method in ["POST", "DELETE"] {
        let below = desk
            .call(method, &format!("/pins/ipfs/{}/a/b", cid(1)))
            .await;
        below.fails(501, "cannot be resolved here");
        let name = desk.call(method, "/pins/ipns/example.org").await;
        name.fails(501, "cannot be resolved here");
        let wrong = desk.call(method, "/pins/ipfs/xx").await;
        wrong.fails(400, "error parsing path");
    }
    let bad = format!("/pins/ipfs/{}?replication-min=x", cid(1));
    desk.call("POST", &bad).await.fails(400, "replication-min");
    assert_eq!(wanted(&desk, "default", 1).await, None);
    let nothing: Value = desk.get(&format!("/pins/{}", cid(1))).await.ok().json();
    assert_eq!(nothing["name"], "");
}
