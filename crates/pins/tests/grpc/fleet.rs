//! What belongs to everybody.

use bytes::Bytes;
use tonic::Code;
use ues_bus::{Message, Subject};
use ues_pins::grpc::v1;

use crate::desk::{Desk, by, cid, pin_request};

#[tokio::test]
async fn only_operators_are_let_in() {
    let desk = Desk::new().await;
    let mut fleet = desk.fleet();
    let refused = fleet.list_workers(by("alice", v1::ListWorkersRequest {}));
    assert_eq!(refused.await.unwrap_err().code(), Code::PermissionDenied);
    let nobody = fleet.get_totals(v1::GetTotalsRequest {});
    assert_eq!(nobody.await.unwrap_err().code(), Code::Unauthenticated);
    let drain = v1::DrainWorkerRequest {
        worker: "alpha".to_owned(),
        draining: true,
    };
    let refused = fleet.drain_worker(by("alice", drain)).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn workers_are_shown_drained_and_removed() {
    let desk = Desk::new().await;
    let mut fleet = desk.fleet();
    let all = || by("operator", v1::ListWorkersRequest {});
    let workers = fleet.list_workers(all()).await.unwrap().into_inner();
    let [worker] = workers.workers.as_slice() else {
        panic!("{workers:?}")
    };
    assert_eq!(worker.id, desk.worker.to_string());
    assert_eq!(worker.state(), v1::WorkerState::Ready);
    assert_eq!((worker.used_bytes, worker.pins), (7, Some(3)));
    assert_eq!(worker.tags["region"], "eu");
    for named in ["alpha", worker.id.as_str()] {
        for draining in [true, false] {
            let drain = v1::DrainWorkerRequest {
                worker: named.to_owned(),
                draining,
            };
            let done = fleet.drain_worker(by("operator", drain)).await.unwrap();
            assert_eq!(done.get_ref().id, worker.id);
            let workers = fleet.list_workers(all()).await.unwrap().into_inner();
            let expected = if draining {
                v1::WorkerState::Draining
            } else {
                v1::WorkerState::Ready
            };
            assert_eq!(workers.workers[0].state(), expected);
        }
    }
    let remove = |worker: &str| v1::RemoveWorkerRequest {
        worker: worker.to_owned(),
    };
    let unknown = fleet.remove_worker(by("operator", remove("beta"))).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let removed = fleet.remove_worker(by("operator", remove("alpha"))).await;
    removed.unwrap();
    let workers = fleet.list_workers(all()).await.unwrap().into_inner();
    assert!(workers.workers.is_empty());
}

#[tokio::test]
async fn a_record_is_shown_whoever_asked_for_it() {
    let desk = Desk::new().await;
    let watched = v1::WatchRequest::default();
    let watcher = desk.client().watch(by("operator", watched)).await.unwrap();
    for who in ["alice", "bob"] {
        let pinned = desk.client().pin(by(who, pin_request(cid(1)))).await;
        pinned.unwrap();
    }
    // The first change is the assignment.
    watcher.into_inner().message().await.unwrap().unwrap();
    let record = |cid: &str| v1::GetRecordRequest {
        cid: cid.to_owned(),
    };
    let mut fleet = desk.fleet();
    let of = fleet.get_record(by("operator", record(&cid(1).to_string())));
    let of = of.await.unwrap().into_inner();
    assert_eq!(of.requests, 2);
    assert_eq!(of.placements.len(), 1);
    assert_eq!(of.placements[0].worker_name, "alpha");
    assert_eq!(of.placements[0].state(), v1::PlacementState::Queued);
    let unknown = fleet.get_record(by("operator", record(&cid(9).to_string())));
    assert_eq!(unknown.await.unwrap().get_ref().requests, 0);
    let wrong = fleet.get_record(by("operator", record("x"))).await;
    assert_eq!(wrong.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn dead_letters_are_shown_replayed_and_discarded() {
    let desk = Desk::new().await;
    // What is published before its queue is made may be lost: the first change says that there are queues.
    let watched = v1::WatchRequest::default();
    let watcher = desk.client().watch(by("operator", watched)).await.unwrap();
    let pinned = desk.client().pin(by("alice", pin_request(cid(1)))).await;
    pinned.unwrap();
    watcher.into_inner().message().await.unwrap().unwrap();
    let shard = ues_pins::shard::Shards::default().of(&*desk.store, &cid(1));
    let subject = shard.request_subject().unwrap();
    let junk = || Message::new(subject.clone(), Bytes::from_static(b"junk"));
    let subject = Subject::clone(&subject);
    desk.bus.publish(vec![junk(), junk()]).await.unwrap();
    let mut fleet = desk.fleet();
    let letters = loop {
        let asked = v1::ListDeadLettersRequest { after: 0 };
        let letters = fleet.list_dead_letters(by("operator", asked)).await;
        let letters = letters.unwrap().into_inner().letters;
        if letters.len() == 2 {
            break letters;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(letters[0].content, b"junk");
    assert_eq!(letters[0].subject, subject.as_str());
    let after = v1::ListDeadLettersRequest {
        after: letters[0].id,
    };
    let rest = fleet.list_dead_letters(by("operator", after)).await;
    assert_eq!(rest.unwrap().get_ref().letters.len(), 1);
    let discard = |id| by("operator", v1::DiscardDeadLetterRequest { id });
    fleet
        .discard_dead_letter(discard(letters[0].id))
        .await
        .unwrap();
    let again = fleet.discard_dead_letter(discard(letters[0].id)).await;
    assert_eq!(again.unwrap_err().code(), Code::NotFound);
    let replay = v1::ReplayDeadLetterRequest { id: letters[1].id };
    let replayed = fleet.replay_dead_letter(by("operator", replay)).await;
    replayed.unwrap();

    let queues = fleet.list_queues(by("operator", v1::ListQueuesRequest {}));
    let queues = queues.await.unwrap().into_inner().queues;
    assert!(queues.iter().any(|q| q.name.starts_with("pin-request-")));
    let totals = fleet.get_totals(by("operator", v1::GetTotalsRequest {}));
    totals.await.unwrap();
}
