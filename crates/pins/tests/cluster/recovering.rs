//! Trying again what failed.

use http::StatusCode;
use ues_pins::{PinOptions, PlacementState};

use crate::desk::{ALICE, Desk, cid};

async fn failing() -> Desk {
    let desk = Desk::new().await;
    let [a, b] = desk.workers.clone();
    for number in 1..=3 {
        desk.put("default", cid(number), PinOptions::default())
            .await;
        desk.place(cid(number), &a, true, PlacementState::Pinned)
            .await;
    }
    desk.place(cid(2), &b, true, PlacementState::Error).await;
    desk.place(cid(4), &b, false, PlacementState::Error).await;
    desk
}

#[tokio::test]
async fn all_that_failed_is_tried_again() {
    let desk = failing().await;
    let [_, b] = desk.workers.clone();
    let mut lines = desk.call("POST", "/pins/recover").await.ok().lines();
    lines.sort_by_key(|line| line["peer_map"][b.to_string()]["status"].to_string());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["cid"], cid(2).to_string());
    assert_eq!(lines[0]["peer_map"][b.to_string()]["status"], "pin_queued");
    assert_eq!(lines[0]["peer_map"].as_object().unwrap().len(), 1);
    assert_eq!(lines[1]["cid"], cid(4).to_string());
    assert_eq!(
        lines[1]["peer_map"][b.to_string()]["status"],
        "unpin_queued"
    );
    // The first worker has no failures.
    let local = desk.call("POST", "/pins/recover?local=true").await;
    assert_eq!(local.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn one_is_tried_again() {
    let desk = failing().await;
    let [a, b] = desk.workers.clone();
    let path = |number| format!("/pins/{}/recover", cid(number));
    let shown = desk.call("POST", &path(2)).await.ok().json();
    assert_eq!(shown["peer_map"][a.to_string()]["status"], "pinned");
    assert_eq!(shown["peer_map"][b.to_string()]["status"], "pin_queued");
    assert_eq!(shown["peer_map"][b.to_string()]["error"], "");
    let healthy = desk.call("POST", &path(1)).await.ok().json();
    assert_eq!(healthy["peer_map"][b.to_string()]["status"], "remote");
    let unknown = desk.call("POST", &path(77)).await.ok().json();
    assert_eq!(unknown["peer_map"][b.to_string()]["status"], "unpinned");
    desk.call("POST", "/pins/xx/recover")
        .await
        .fails(400, "error decoding Cid: ");
    let foreign = desk.call_as(ALICE, "POST", &path(2)).await.ok().json();
    assert_eq!(foreign["peer_map"][b.to_string()]["status"], "unpinned");
}
