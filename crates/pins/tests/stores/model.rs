//! Random changes, compared with the store in memory.

use futures::StreamExt;
use ues_pins::store::{
    MemoryStore, OwnerQuery, PlacementChange, RemoveIf, RequestChange, StateStore, TokenRange,
};
use ues_pins::{PinRecord, PlacementState};

use crate::conformance::{cid, owner, peer, placement, put, request};

/// Changes that are made.
const CHANGES: u32 = 1500;

/// Makes the same random changes in a store and in memory, and compares what both show.
pub async fn compare(store: &dyn StateStore, seed: u64) {
    let model = MemoryStore::default();
    let mut state = seed;
    let mut below = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for step in 0..CHANGES {
        let (who, what) = (owner(&format!("o{}", below(3))), cid(below(30)));
        if below(3) == 0 {
            let gone = below(4) == 0;
            let change = PlacementChange {
                cid: what,
                peer: peer(u8::try_from(below(4)).unwrap()),
                placement: (!gone).then(|| placement(PlacementState::Pinned)),
            };
            model.change_placements(vec![change.clone()]).await.unwrap();
            store.change_placements(vec![change]).await.unwrap();
            continue;
        }
        let change = if below(3) == 0 {
            let only = match below(3) {
                0 => RemoveIf::Always,
                1 => RemoveIf::CreatedAt(below(20)),
                _ => RemoveIf::EndedBy(below(20)),
            };
            RequestChange::Remove {
                owner: who.clone(),
                cid: what,
                only,
            }
        } else {
            let mut request = request(&who, what, below(20));
            request.pin.options.expire_at = (below(2) == 0).then(|| 1 + below(20));
            request.tags.truncate(usize::try_from(below(3)).unwrap());
            put(request)
        };
        let expected = model
            .change_requests(vec![change.clone()], Vec::new())
            .await
            .unwrap();
        let found = store
            .change_requests(vec![change], Vec::new())
            .await
            .unwrap();
        assert_eq!(found, expected, "seed {seed}, step {step}");
    }
    let scan = |store: &dyn StateStore| store.scan(TokenRange::ALL, None).collect::<Vec<_>>();
    let (found, expected) = (scan(store).await, scan(&model).await);
    // Each store has tokens of its own.
    let plain = |store: &dyn StateStore, records: Vec<Result<PinRecord, _>>| -> Vec<_> {
        let mut records: Vec<_> = records.into_iter().map(Result::unwrap).collect();
        assert!(
            records.is_sorted_by_key(|record| store.token(&record.cid)),
            "seed {seed}"
        );
        records.sort_by_key(|record| record.cid.to_bytes());
        records
    };
    let (found, expected) = (plain(store, found), plain(&model, expected));
    assert_eq!(found, expected, "seed {seed}");
    for who in ["o0", "o1", "o2"] {
        for tag in [None, Some("blue".to_owned())] {
            let query = OwnerQuery {
                tag,
                limit: 7,
                ..OwnerQuery::default()
            };
            let found = store
                .owner_requests(&owner(who), query.clone())
                .await
                .unwrap();
            let expected = model.owner_requests(&owner(who), query).await.unwrap();
            assert_eq!(found.requests, expected.requests, "seed {seed}, {who}");
        }
    }
}
