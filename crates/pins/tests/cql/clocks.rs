//! Several processes on one database, with clocks that differ by minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ues_data::Cid;
use ues_pins::store::{CqlStore, PlacementChange, RemoveIf, RequestChange, StateStore};
use ues_pins::{Clock, Owner, PinRequest, Placement, PlacementState};

use crate::conformance::{cid, owner, peer, placement, put, request};
use crate::server::{Server, connect};

const NOW_MS: u64 = 1_900_000_000_000;
const MINUTE_MS: u64 = 60_000;

/// A clock that is moved by hand.
#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn at(ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(ms)))
    }

    fn clock(&self) -> Clock {
        let hand = self.clone();
        Clock::new(move || hand.0.load(Ordering::Relaxed))
    }

    fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

/// Two stores of one database; the clock of the second is five minutes behind.
async fn two() -> (CqlStore, CqlStore) {
    let settings = Server::shared().settings();
    let ahead = connect(settings.clone(), Hand::at(NOW_MS).clock()).await;
    let behind = Hand::at(NOW_MS - 5 * MINUTE_MS).clock();
    (ahead, connect(settings, behind).await)
}

fn remove(owner: &Owner, cid: Cid, only: RemoveIf) -> RequestChange {
    let owner = owner.clone();
    RequestChange::Remove { owner, cid, only }
}

async fn change(store: &CqlStore, change: RequestChange) -> Option<PinRequest> {
    let before = store.change_requests(vec![change], Vec::new()).await;
    before.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn the_later_change_wins_whatever_the_clocks_say() {
    let (ahead, behind) = two().await;
    let alice = owner("alice");
    let of = |time| request(&alice, cid(1), time);
    let stored = || async {
        let cid = cid(1);
        let both = futures::join!(ahead.request(&alice, &cid), behind.request(&alice, &cid));
        let both = (both.0.unwrap(), both.1.unwrap());
        assert_eq!(both.0, both.1);
        both.0.map(|request| request.created_ms)
    };
    change(&ahead, put(of(1))).await;
    assert_eq!(change(&behind, put(of(2))).await, Some(of(1)));
    assert_eq!(stored().await, Some(2));
    change(&ahead, put(of(3))).await;
    // Removed on each condition, and put again, by the one that is behind.
    for only in [
        RemoveIf::Always,
        RemoveIf::CreatedAt(3),
        RemoveIf::EndedBy(u64::MAX),
    ] {
        let mut third = of(3);
        third.pin.options.expire_at = Some(NOW_MS / 1000 + 3600);
        change(&ahead, put(third)).await;
        assert!(
            change(&behind, remove(&alice, cid(1), only))
                .await
                .is_some()
        );
        assert_eq!(stored().await, None, "{only:?}");
        change(&behind, put(of(4))).await;
        assert_eq!(stored().await, Some(4), "{only:?}");
        // The one that is ahead removes, and the other puts over its marker.
        change(&ahead, remove(&alice, cid(1), RemoveIf::Always)).await;
        assert_eq!(change(&behind, put(of(5))).await, None);
        assert_eq!(stored().await, Some(5), "{only:?}");
    }
    let listed = behind
        .owner_requests(&alice, crate::conformance::all())
        .await;
    assert_eq!(listed.unwrap().requests, [of(5)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn a_condition_never_takes_what_is_put_meanwhile() {
    let (ahead, behind) = two().await;
    let alice = owner("alice");
    let mut taken = [0; 2];
    for round in 0..300u64 {
        let (putting, removing) = if round % 2 == 0 {
            (&ahead, &behind)
        } else {
            (&behind, &ahead)
        };
        let old = request(&alice, cid(round), 1);
        let new = request(&alice, cid(round), 2);
        change(
            if round % 4 < 2 { putting } else { removing },
            put(old.clone()),
        )
        .await;
        let only = RemoveIf::CreatedAt(1);
        let (found, _) = tokio::join!(
            change(putting, put(new.clone())),
            change(removing, remove(&alice, cid(round), only))
        );
        taken[usize::from(found.is_none())] += 1;
        let stored = ahead.request(&alice, &cid(round)).await.unwrap();
        assert_eq!(stored, Some(new), "round {round}");
    }
    assert!(taken[0] > 0, "the two never met: {taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn who_has_read_a_placement_writes_over_it() {
    let (ahead, behind) = two().await;
    let place = |store: CqlStore, placement: Option<Placement>| async move {
        let change = PlacementChange {
            cid: cid(1),
            peer: peer(1),
            placement,
        };
        store.change_placements(vec![change]).await.unwrap();
    };
    let states = |store: CqlStore| async move {
        let record = store.records(&[cid(1)]).await.unwrap().remove(0);
        let states = record.placements.iter().map(|(_, p)| p.state);
        states.collect::<Vec<_>>()
    };
    let (queued, pinned) = (
        placement(PlacementState::Queued),
        placement(PlacementState::Pinned),
    );
    place(ahead.clone(), Some(queued.clone())).await;
    assert_eq!(states(behind.clone()).await, [PlacementState::Queued]);
    place(behind.clone(), Some(pinned)).await;
    assert_eq!(states(ahead.clone()).await, [PlacementState::Pinned]);
    place(ahead.clone(), None).await;
    assert_eq!(states(behind.clone()).await, []);
    place(behind.clone(), Some(queued)).await;
    assert_eq!(states(ahead).await, [PlacementState::Queued]);
    // Of two changes in one call the later one stays.
    let both = [PlacementState::Pinning, PlacementState::Error].map(|state| PlacementChange {
        cid: cid(1),
        peer: peer(1),
        placement: Some(placement(state)),
    });
    behind.change_placements(both.to_vec()).await.unwrap();
    assert_eq!(states(behind).await, [PlacementState::Error]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn what_belongs_to_the_service_is_written_over() {
    let (ahead, behind) = two().await;
    ahead.put_note("n", b"1".to_vec()).await.unwrap();
    behind.put_note("n", b"2".to_vec()).await.unwrap();
    assert_eq!(ahead.note("n").await.unwrap(), Some(b"2".to_vec()));
    let worker = crate::conformance::worker(1);
    ahead.put_worker(worker.clone()).await.unwrap();
    ahead.set_draining(&worker.id, true).await.unwrap();
    behind.set_draining(&worker.id, false).await.unwrap();
    assert_eq!(ahead.workers().await.unwrap(), vec![worker.clone()]);
    behind.remove_worker(&worker.id).await.unwrap();
    assert_eq!(ahead.workers().await.unwrap(), []);
    behind.put_worker(worker.clone()).await.unwrap();
    assert_eq!(ahead.workers().await.unwrap(), [worker]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn ends_from_a_clock_that_is_behind_are_found() {
    let settings = Server::shared().settings();
    let hand = Hand::at(NOW_MS);
    let ahead = connect(settings.clone(), hand.clock()).await;
    let late = Hand::at(NOW_MS - 5 * MINUTE_MS).clock();
    let behind = connect(settings.clone(), late).await;
    let now_s = || hand.0.load(Ordering::Relaxed) / 1000;
    let ending = |number: u64, end_s: u64| {
        let mut request = request(&owner("alice"), cid(number), NOW_MS);
        request.pin.options.expire_at = Some(end_s);
        put(request)
    };
    // Everything up to now was read and settled.
    change(&ahead, ending(1, now_s() + 20)).await;
    hand.forward(30_000);
    let first = ahead.ends(now_s(), 10).await.unwrap();
    assert_eq!((first.len(), first[0].at_s), (1, NOW_MS / 1000 + 20));
    ahead.settle_ends(first).await.unwrap();
    // Entered as due four minutes ago.
    change(&behind, ending(2, now_s() - 240)).await;
    let mut found = Vec::new();
    for _ in 0..4 {
        hand.forward(20_000);
        found = ahead.ends(now_s(), 10).await.unwrap();
    }
    let found: Vec<_> = found.iter().map(|end| end.cid).collect();
    assert_eq!(found, [cid(2)]);
    // What was given out and not settled is given out again, by another process as well.
    let other = connect(settings, hand.clock()).await;
    let again = other.ends(now_s(), 10).await.unwrap();
    assert!(again.iter().any(|end| end.cid == cid(2)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn a_queue_that_stood_still_for_weeks_is_caught_up() {
    let settings = Server::shared().settings();
    let hand = Hand::at(NOW_MS);
    let store = connect(settings.clone(), hand.clock()).await;
    let hours: Vec<u64> = (0..30)
        .map(|n| NOW_MS / 1000 + 20 + n * 20 * 3600)
        .collect();
    for (number, end_s) in (0..).zip(&hours) {
        let mut request = request(&owner("alice"), cid(number), NOW_MS);
        request.pin.options.expire_at = Some(*end_s);
        change(&store, put(request)).await;
    }
    hand.forward(28 * 86_400_000);
    let store = connect(settings.clone(), hand.clock()).await;
    let now_s = NOW_MS / 1000 + 28 * 86_400;
    let mut found = Vec::new();
    for _ in 0..30 {
        let ends = store.ends(now_s, 7).await.unwrap();
        found.extend(ends.iter().map(|end| end.at_s));
        store.settle_ends(ends).await.unwrap();
    }
    assert_eq!(found, hours, "each once, the oldest first");
    // The position was stored: another process does not see the old ones again.
    let other = connect(settings, hand.clock()).await;
    assert_eq!(other.ends(now_s, 100).await.unwrap(), []);
}
