//! Changes as they happen.

use futures::{FutureExt, StreamExt};
use ues_pins::grpc::v1;
use ues_pins::grpc::v1::watch_response::Event;

use crate::desk::{Desk, by, cid, pin_request};

#[tokio::test]
async fn an_owner_hears_of_their_own_pins() {
    let desk = Desk::new().await;
    let watch = |who| {
        let mut client = desk.client();
        async move {
            let stream = client.watch(by(who, v1::WatchRequest::default())).await;
            stream.unwrap().into_inner()
        }
    };
    let mut alice = watch("alice").await;
    let mut bob = watch("bob").await;
    let mut operator = watch("operator").await;
    let of_two = v1::WatchRequest {
        cids: vec![cid(2).to_string()],
    };
    let two = desk.client().watch(by("operator", of_two)).await.unwrap();
    let mut two = two.into_inner();
    for number in [1, 2] {
        let request = by("alice", pin_request(cid(number)));
        desk.client().pin(request).await.unwrap();
    }
    for stream in [&mut alice, &mut operator] {
        let mut cids = Vec::new();
        for _ in 0..2 {
            let event = stream.next().await.unwrap().unwrap().event;
            let Some(Event::Change(change)) = event else {
                panic!("{event:?}")
            };
            assert_eq!(change.worker, desk.worker.to_string());
            assert_eq!(change.state(), v1::PlacementState::Queued);
            cids.push(change.cid);
        }
        cids.sort_unstable();
        let mut expected = [cid(1).to_string(), cid(2).to_string()];
        expected.sort_unstable();
        assert_eq!(cids, expected);
    }
    let Some(Event::Change(change)) = two.next().await.unwrap().unwrap().event else {
        panic!("a change expected")
    };
    assert_eq!(change.cid, cid(2).to_string());
    assert!(bob.next().now_or_never().is_none());
}
