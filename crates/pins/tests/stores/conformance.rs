//! The suite.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use ues_data::{Cid, raw_cid};
use ues_pins::store::{
    Lease, Operation, OwnerQuery, PlacementChange, RemoveIf, RequestChange, StateStore, TokenRange,
};
use ues_pins::{
    Owner, PeerId, Pin, PinOptions, PinRecord, PinRequest, Placement, PlacementState, Worker,
};

use crate::model;

pub fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

pub fn peer(number: u8) -> PeerId {
    PeerId::from_ed25519(&[number; 32])
}

pub fn cid(number: u64) -> Cid {
    raw_cid(&number.to_be_bytes())
}

pub fn request(owner: &Owner, cid: Cid, created_ms: u64) -> PinRequest {
    let options = PinOptions {
        name: format!("pin of {owner}"),
        user_allocations: vec![peer(3)],
        ..PinOptions::default()
    };
    PinRequest {
        owner: owner.clone(),
        pin: Pin::new(cid, options, created_ms / 1000),
        tags: vec!["blue".to_owned(), "red".to_owned()],
        created_ms,
    }
}

pub fn put(request: PinRequest) -> RequestChange {
    RequestChange::Put(Box::new(request))
}

fn remove(owner: &Owner, cid: Cid, only: RemoveIf) -> RequestChange {
    RequestChange::Remove {
        owner: owner.clone(),
        cid,
        only,
    }
}

/// Runs all of it, each part on a store of its own.
pub async fn run<S: StateStore>(open: impl Fn() -> Arc<S>) {
    requests(&*open()).await;
    conditions(&*open()).await;
    union(&*open()).await;
    listing(&*open()).await;
    placements(&*open()).await;
    scans(&*open()).await;
    ends(&*open()).await;
    operations(&*open()).await;
    workers(&*open()).await;
    leases(&*open()).await;
    for seed in 0..5 {
        model::compare(&*open(), seed).await;
    }
}

async fn one(store: &dyn StateStore, change: RequestChange) -> Option<PinRequest> {
    let before = store
        .change_requests(vec![change], Vec::new())
        .await
        .unwrap();
    before.into_iter().next().unwrap()
}

async fn requests(store: &dyn StateStore) {
    let (alice, bob) = (owner("alice"), owner("did:plc:bob"));
    let first = request(&alice, cid(1), 1000);
    assert_eq!(one(store, put(first.clone())).await, None);
    assert_eq!(
        store.request(&alice, &cid(1)).await.unwrap(),
        Some(first.clone())
    );
    assert_eq!(store.request(&bob, &cid(1)).await.unwrap(), None);
    let second = request(&alice, cid(1), 2000);
    assert_eq!(one(store, put(second.clone())).await, Some(first));
    assert_eq!(
        one(store, remove(&bob, cid(1), RemoveIf::Always)).await,
        None
    );
    assert_eq!(
        one(store, remove(&alice, cid(1), RemoveIf::Always)).await,
        Some(second)
    );
    assert_eq!(store.request(&alice, &cid(1)).await.unwrap(), None);
    // Changes of one call see each other.
    let (a, b) = (request(&alice, cid(2), 1), request(&alice, cid(2), 2));
    let changes = vec![
        put(a.clone()),
        put(b.clone()),
        remove(&alice, cid(2), RemoveIf::Always),
    ];
    let before = store.change_requests(changes, Vec::new()).await.unwrap();
    assert_eq!(before, vec![None, Some(a), Some(b)]);
    assert_eq!(store.request(&alice, &cid(2)).await.unwrap(), None);
    let page = store.owner_requests(&alice, all()).await.unwrap();
    assert_eq!(page.requests, vec![]);
    // Version 0 and 1 of a CID, and other codecs, are different pins.
    let v0 = Cid::new_v0(*ues_data::cid_of(0x70, ues_data::HashAlgorithm::Sha2_256, b"x").hash())
        .unwrap();
    let v1 = Cid::new_v1(0x70, *v0.hash());
    let raw = Cid::new_v1(0x55, *v0.hash());
    for cid in [v0, v1, raw] {
        one(store, put(request(&alice, cid, 5))).await;
    }
    one(store, remove(&alice, v1, RemoveIf::Always)).await;
    assert!(store.request(&alice, &v0).await.unwrap().is_some());
    assert!(store.request(&alice, &v1).await.unwrap().is_none());
    assert_eq!(
        store.request(&alice, &raw).await.unwrap().unwrap().pin.cid,
        raw
    );
}

async fn conditions(store: &dyn StateStore) {
    let alice = owner("alice");
    let mut ending = request(&alice, cid(1), 1000);
    ending.pin.options.expire_at = Some(50);
    one(store, put(ending.clone())).await;
    one(store, remove(&alice, cid(1), RemoveIf::CreatedAt(999))).await;
    one(store, remove(&alice, cid(1), RemoveIf::EndedBy(49))).await;
    assert_eq!(
        store.request(&alice, &cid(1)).await.unwrap(),
        Some(ending.clone())
    );
    let mut extended = ending;
    extended.pin.options.expire_at = Some(100);
    one(store, put(extended)).await;
    one(store, remove(&alice, cid(1), RemoveIf::EndedBy(60))).await;
    assert!(
        store.request(&alice, &cid(1)).await.unwrap().is_some(),
        "it was extended"
    );
    one(store, remove(&alice, cid(1), RemoveIf::EndedBy(100))).await;
    assert!(store.request(&alice, &cid(1)).await.unwrap().is_none());
    one(store, put(request(&alice, cid(1), 7))).await;
    one(store, remove(&alice, cid(1), RemoveIf::EndedBy(u64::MAX))).await;
    assert!(
        store.request(&alice, &cid(1)).await.unwrap().is_some(),
        "it never ends"
    );
    one(store, remove(&alice, cid(1), RemoveIf::CreatedAt(7))).await;
    assert!(store.request(&alice, &cid(1)).await.unwrap().is_none());
}

async fn record(store: &dyn StateStore, cid: Cid) -> PinRecord {
    store.records(&[cid]).await.unwrap().remove(0)
}

async fn union(store: &dyn StateStore) {
    assert_eq!(record(store, cid(1)).await.wanted, None);
    let mut requests = Vec::new();
    for (name, copies, end) in [
        ("a", 1i32, Some(100)),
        ("b", 3, Some(300)),
        ("c", 2, Some(200)),
    ] {
        let mut request = request(
            &owner(name),
            cid(1),
            1000 + u64::from(copies.unsigned_abs()),
        );
        request.pin.options.replication_max = copies;
        request.pin.options.expire_at = end;
        requests.push(request.clone());
        one(store, put(request)).await;
    }
    let wanted = record(store, cid(1)).await.wanted.unwrap();
    assert_eq!(wanted.requests, 3);
    assert_eq!(wanted.pin.options.replication_max, 3);
    assert_eq!(wanted.pin.options.expire_at, Some(300));
    assert_eq!(wanted.pin.options.name, "pin of a", "the oldest names it");
    one(store, remove(&owner("b"), cid(1), RemoveIf::Always)).await;
    let wanted = record(store, cid(1)).await.wanted.unwrap();
    assert_eq!(
        (wanted.requests, wanted.pin.options.replication_max),
        (2, 2)
    );
    assert_eq!(wanted.pin.options.expire_at, Some(200));
}

pub fn all() -> OwnerQuery {
    OwnerQuery {
        limit: 1000,
        ..OwnerQuery::default()
    }
}

async fn listing(store: &dyn StateStore) {
    let (alice, bob) = (owner("alice"), owner("alic"));
    let mut expected = Vec::new();
    for i in 0..50u64 {
        let mut request = request(&alice, cid(i), 1000 + i / 3);
        if i % 2 == 0 {
            request.tags = vec!["even".to_owned()];
        }
        expected.push(request.clone());
        one(store, put(request)).await;
    }
    one(store, put(request(&bob, cid(1), 1))).await;
    expected.sort_by_key(|r| (std::cmp::Reverse(r.created_ms), r.cid().to_bytes()));
    for limit in [1, 7, 50, 1000] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let query = OwnerQuery {
                cursor,
                limit,
                ..OwnerQuery::default()
            };
            let page = store.owner_requests(&alice, query).await.unwrap();
            assert!(page.requests.len() <= limit);
            found.extend(page.requests);
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "limit {limit}");
    }
    let query = OwnerQuery {
        tag: Some("even".to_owned()),
        ..all()
    };
    assert_eq!(
        store
            .owner_requests(&alice, query)
            .await
            .unwrap()
            .requests
            .len(),
        25
    );
    let query = OwnerQuery {
        before_ms: Some(1010),
        after_ms: Some(1005),
        ..all()
    };
    let page = store.owner_requests(&alice, query).await.unwrap().requests;
    assert!(page.iter().all(|r| (1006..1010).contains(&r.created_ms)));
    assert_eq!(page.len(), 12);
    // A replaced request is listed once, in its new place, and not under its old tags.
    let mut again = request(&alice, cid(0), 5000);
    again.tags = vec!["odd".to_owned()];
    one(store, put(again.clone())).await;
    let page = store.owner_requests(&alice, all()).await.unwrap().requests;
    assert_eq!((page.len(), &page[0]), (50, &again));
    let query = OwnerQuery {
        tag: Some("even".to_owned()),
        ..all()
    };
    assert_eq!(
        store
            .owner_requests(&alice, query)
            .await
            .unwrap()
            .requests
            .len(),
        24
    );
    assert_eq!(
        store
            .owner_requests(&bob, all())
            .await
            .unwrap()
            .requests
            .len(),
        1
    );
}

pub fn placement(state: PlacementState) -> Placement {
    Placement {
        state,
        bytes: 123,
        content: 77,
        heard: 9,
        error: "why".to_owned(),
        terminal: true,
        ..Placement::assigned(true, 1_000_000, 900_000)
    }
}

async fn place(store: &dyn StateStore, cid: Cid, peer: PeerId, placement: Option<Placement>) {
    let change = PlacementChange {
        cid,
        peer,
        placement,
    };
    store.change_placements(vec![change]).await.unwrap();
}

async fn placements(store: &dyn StateStore) {
    for (number, state) in [(2, PlacementState::Pinned), (1, PlacementState::Error)] {
        place(store, cid(1), peer(number), Some(placement(state))).await;
    }
    place(
        store,
        cid(2),
        peer(1),
        Some(placement(PlacementState::Queued)),
    )
    .await;
    let found = record(store, cid(1)).await;
    assert_eq!(
        found.placements,
        vec![
            (peer(1), placement(PlacementState::Error)),
            (peer(2), placement(PlacementState::Pinned)),
        ]
    );
    place(store, cid(1), peer(1), None).await;
    place(store, cid(1), peer(1), None).await;
    assert_eq!(record(store, cid(1)).await.placements.len(), 1);
    assert_eq!(record(store, cid(2)).await.placements.len(), 1);
}

async fn scanned(store: &dyn StateStore, range: TokenRange, after: Option<Cid>) -> Vec<PinRecord> {
    let records: Vec<_> = store.scan(range, after).collect().await;
    records.into_iter().map(Result::unwrap).collect()
}

async fn scans(store: &dyn StateStore) {
    assert_eq!(scanned(store, TokenRange::ALL, None).await, vec![]);
    let mut expected = BTreeMap::new();
    for i in 0..600u64 {
        if i % 3 != 0 {
            one(store, put(request(&owner("alice"), cid(i), i))).await;
        }
        if i % 2 == 0 || i % 3 == 0 {
            place(
                store,
                cid(i),
                peer(1),
                Some(placement(PlacementState::Pinned)),
            )
            .await;
        }
        expected.insert(cid(i).to_bytes(), record(store, cid(i)).await);
    }
    let all = scanned(store, TokenRange::ALL, None).await;
    let by_cid: BTreeMap<_, _> = all.iter().map(|r| (r.cid.to_bytes(), r.clone())).collect();
    assert_eq!((all.len(), by_cid), (600, expected));
    assert!(all.is_sorted_by_key(|record| store.token(&record.cid)));
    let mut parts = Vec::new();
    for part in 0..7 {
        parts.extend(scanned(store, TokenRange::part(part, 7), None).await);
    }
    assert_eq!(parts, all, "the parts are the whole");
    for at in [0, 1, 299, 598, 599] {
        let rest = scanned(store, TokenRange::ALL, Some(all[at].cid)).await;
        assert_eq!(rest, all[at + 1..], "resumed after {at}");
    }
}

async fn ends(store: &dyn StateStore) {
    let alice = owner("alice");
    for (number, end) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        let mut request = request(&alice, cid(number), 1);
        request.pin.options.expire_at = Some(end);
        one(store, put(request)).await;
    }
    one(store, put(request(&alice, cid(5), 1))).await;
    assert_eq!(store.ends(9, 10).await.unwrap(), vec![]);
    let due = store.ends(30, 10).await.unwrap();
    assert_eq!(
        due.iter().map(|end| end.at_s).collect::<Vec<_>>(),
        vec![10, 20, 30]
    );
    assert_eq!((&due[0].owner, due[0].cid), (&alice, cid(2)));
    assert_eq!(store.ends(30, 2).await.unwrap(), due[..2]);
    store.settle_ends(due[..2].to_vec()).await.unwrap();
    store.settle_ends(due[..2].to_vec()).await.unwrap();
    assert_eq!(store.ends(30, 10).await.unwrap(), due[2..]);
}

async fn operations(store: &dyn StateStore) {
    let operation = Operation {
        owner: owner("alice"),
        id: "01J9ZK".to_owned(),
        fingerprint: 42,
        answer: b"answer".to_vec(),
    };
    let change = put(request(&owner("alice"), cid(1), 1));
    store
        .change_requests(vec![change], vec![operation.clone()])
        .await
        .unwrap();
    let found = store.operation(&owner("alice"), "01J9ZK").await.unwrap();
    assert_eq!(found, Some(operation));
    assert_eq!(
        store.operation(&owner("bob"), "01J9ZK").await.unwrap(),
        None
    );
    assert_eq!(
        store.operation(&owner("alice"), "01J9Z").await.unwrap(),
        None
    );
}

pub fn worker(number: u8) -> Worker {
    Worker {
        id: peer(number),
        name: format!("worker {number}"),
        seen_ms: 12_345,
        free: 1 << 40,
        used: 5,
        pins: Some(7),
        tags: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        concurrency: 3,
        draining: false,
        failing: Some("tired".to_owned()),
        content: 99,
        exclusive: true,
        ipfs_id: "12D3".to_owned(),
        ipfs_addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        agent: "kubo".to_owned(),
    }
}

async fn workers(store: &dyn StateStore) {
    assert_eq!(store.workers().await.unwrap(), vec![]);
    for number in [2, 1] {
        store.put_worker(worker(number)).await.unwrap();
    }
    store.set_draining(&peer(1), true).await.unwrap();
    // A heartbeat does not undo what the operator said.
    store.put_worker(worker(1)).await.unwrap();
    let mut found = store.workers().await.unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let drained = Worker {
        draining: true,
        ..worker(1)
    };
    assert_eq!(found, vec![drained, worker(2)]);
    store.set_draining(&peer(1), false).await.unwrap();
    store.remove_worker(&peer(2)).await.unwrap();
    assert_eq!(store.workers().await.unwrap(), vec![worker(1)]);
}

async fn leases(store: &dyn StateStore) {
    let wish = |holder: &str, until_ms| Lease {
        holder: holder.to_owned(),
        until_ms,
    };
    assert_eq!(
        store.lease("x", wish("a", 100), 0).await.unwrap(),
        wish("a", 100)
    );
    assert_eq!(
        store.lease("x", wish("b", 150), 50).await.unwrap(),
        wish("a", 100)
    );
    assert_eq!(
        store.lease("y", wish("b", 150), 50).await.unwrap(),
        wish("b", 150)
    );
    assert_eq!(
        store.lease("x", wish("a", 200), 90).await.unwrap(),
        wish("a", 200)
    );
    assert_eq!(
        store.lease("x", wish("b", 300), 201).await.unwrap(),
        wish("b", 300)
    );
    assert_eq!(store.note("n").await.unwrap(), None);
    store.put_note("n", b"1".to_vec()).await.unwrap();
    store.put_note("n", b"2".to_vec()).await.unwrap();
    assert_eq!(store.note("n").await.unwrap(), Some(b"2".to_vec()));
}

/// Some of everything; returns [`everything`].
pub async fn fill(store: &dyn StateStore) -> String {
    for i in 0..100 {
        one(store, put(request(&owner("alice"), cid(i), i))).await;
        place(
            store,
            cid(i),
            peer(1),
            Some(placement(PlacementState::Pinned)),
        )
        .await;
    }
    store.put_worker(worker(1)).await.unwrap();
    store.put_note("n", b"2".to_vec()).await.unwrap();
    everything(store).await
}

/// All that a store shows, as text.
pub async fn everything(store: &dyn StateStore) -> String {
    format!(
        "{:?} {:?} {:?}",
        scanned(store, TokenRange::ALL, None).await,
        store.owner_requests(&owner("alice"), all()).await.unwrap(),
        store.workers().await.unwrap()
    )
}
