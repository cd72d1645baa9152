//! A state store in memory, for tests and simulation: obvious rather than fast, and the same every time.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use ues_data::Cid;

use super::{
    End, Lease, Operation, OwnerPage, OwnerQuery, PlacementChange, RemoveIf, RequestChange,
    StateError, StateStore, TokenRange, key,
};
use crate::Owner;
use crate::fleet::Worker;
use crate::model::PeerId;
use crate::placement::{PinRecord, Placement};
use crate::request::{PinRequest, Wanted};

/// A state store in memory. It forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    requests: BTreeMap<(Vec<u8>, Owner), PinRequest>,
    placements: BTreeMap<(Vec<u8>, PeerId), Placement>,
    cids: BTreeMap<Vec<u8>, Cid>,
    ends: BTreeMap<(u64, Vec<u8>, Owner), Cid>,
    operations: BTreeMap<(Owner, String), Operation>,
    workers: BTreeMap<PeerId, Worker>,
    draining: BTreeMap<PeerId, ()>,
    leases: BTreeMap<String, Lease>,
    notes: BTreeMap<String, Vec<u8>>,
}

impl Rows {
    fn record(&self, cid: &Cid) -> PinRecord {
        let key = key::cid_key(cid);
        let mut record = PinRecord {
            cid: *cid,
            wanted: None,
            placements: Vec::new(),
        };
        for (_, request) in self.requests.iter().filter(|((k, _), _)| *k == key) {
            match &mut record.wanted {
                Some(wanted) => wanted.join(request.clone()),
                None => record.wanted = Some(Wanted::of(request.clone())),
            }
        }
        let placements = self.placements.iter().filter(|((k, _), _)| *k == key);
        for ((_, peer), placement) in placements {
            record.placements.push((peer.clone(), placement.clone()));
        }
        record
    }

    fn change(&mut self, change: RequestChange) -> Option<PinRequest> {
        let row = (key::cid_key(change.cid()), change.owner().clone());
        let before = self.requests.get(&row).cloned();
        match change {
            RequestChange::Put(request) => {
                self.cids.insert(row.0.clone(), *request.cid());
                if let Some(end) = request.pin.options.expire_at {
                    let end = (end, row.0.clone(), row.1.clone());
                    self.ends.insert(end, *request.cid());
                }
                self.requests.insert(row, *request);
            }
            RequestChange::Remove { only, .. } => {
                let holds = before.as_ref().is_some_and(|request| match only {
                    RemoveIf::Always => true,
                    RemoveIf::CreatedAt(time) => request.created_ms == time,
                    RemoveIf::EndedBy(now_s) => request.is_expired(now_s),
                });
                if holds {
                    self.requests.remove(&row);
                }
            }
        }
        before
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    fn token(&self, cid: &Cid) -> u64 {
        key::token(cid)
    }

    async fn change_requests(
        &self,
        changes: Vec<RequestChange>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Option<PinRequest>>, StateError> {
        let mut rows = self.0.lock();
        for operation in operations {
            let key = (operation.owner.clone(), operation.id.clone());
            rows.operations.insert(key, operation);
        }
        Ok(changes
            .into_iter()
            .map(|change| rows.change(change))
            .collect())
    }

    async fn change_placements(&self, changes: Vec<PlacementChange>) -> Result<(), StateError> {
        let mut rows = self.0.lock();
        for change in changes {
            let row = (key::cid_key(&change.cid), change.peer);
            rows.cids.insert(row.0.clone(), change.cid);
            match change.placement {
                Some(placement) => rows.placements.insert(row, placement),
                None => rows.placements.remove(&row),
            };
        }
        Ok(())
    }

    async fn records(&self, cids: &[Cid]) -> Result<Vec<PinRecord>, StateError> {
        let rows = self.0.lock();
        Ok(cids.iter().map(|cid| rows.record(cid)).collect())
    }

    async fn request(&self, owner: &Owner, cid: &Cid) -> Result<Option<PinRequest>, StateError> {
        let rows = self.0.lock();
        Ok(rows
            .requests
            .get(&(key::cid_key(cid), owner.clone()))
            .cloned())
    }

    async fn owner_requests(
        &self,
        owner: &Owner,
        query: OwnerQuery,
    ) -> Result<OwnerPage, StateError> {
        let rows = self.0.lock();
        let place = |r: &PinRequest| key::owned_place(r.created_ms, r.cid());
        let fits = |r: &&PinRequest| {
            r.owner == *owner
                && query.tag.as_ref().is_none_or(|tag| r.tags.contains(tag))
                && query.before_ms.is_none_or(|time| r.created_ms < time)
                && query.after_ms.is_none_or(|time| r.created_ms > time)
                && query
                    .cursor
                    .as_ref()
                    .is_none_or(|(time, cid)| place(r) > key::owned_place(*time, cid))
        };
        let mut found: Vec<_> = rows.requests.values().filter(fits).cloned().collect();
        found.sort_by_key(place);
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        Ok(OwnerPage {
            cursor: found
                .last()
                .filter(|_| more)
                .map(|r| (r.created_ms, *r.cid())),
            requests: found,
        })
    }

    fn scan(
        &self,
        range: TokenRange,
        after: Option<Cid>,
    ) -> BoxStream<'static, Result<PinRecord, StateError>> {
        let rows = self.0.lock();
        let after = after.map(|cid| key::cid_key(&cid));
        let inside = |(k, cid): &(&Vec<u8>, &Cid)| {
            range.contains(key::token(cid)) && after.as_ref().is_none_or(|after| *k > after)
        };
        let known = |record: &PinRecord| record.wanted.is_some() || !record.placements.is_empty();
        let records: Vec<_> = rows
            .cids
            .iter()
            .filter(inside)
            .map(|(_, cid)| rows.record(cid))
            .filter(known)
            .map(Ok)
            .collect();
        futures::stream::iter(records).boxed()
    }

    async fn ends(&self, now_s: u64, limit: usize) -> Result<Vec<End>, StateError> {
        let rows = self.0.lock();
        let due = rows
            .ends
            .iter()
            .take_while(|((at_s, _, _), _)| *at_s <= now_s);
        let end = |((at_s, _, owner), cid): (&(u64, Vec<u8>, Owner), &Cid)| End {
            at_s: *at_s,
            owner: owner.clone(),
            cid: *cid,
        };
        Ok(due.take(limit).map(end).collect())
    }

    async fn settle_ends(&self, ends: Vec<End>) -> Result<(), StateError> {
        let mut rows = self.0.lock();
        for end in ends {
            let key = (end.at_s, key::cid_key(&end.cid), end.owner);
            rows.ends.remove(&key);
        }
        Ok(())
    }

    async fn operation(&self, owner: &Owner, id: &str) -> Result<Option<Operation>, StateError> {
        let rows = self.0.lock();
        Ok(rows
            .operations
            .get(&(owner.clone(), id.to_owned()))
            .cloned())
    }

    async fn workers(&self) -> Result<Vec<Worker>, StateError> {
        let rows = self.0.lock();
        let drained = |worker: &Worker| Worker {
            draining: rows.draining.contains_key(&worker.id),
            ..worker.clone()
        };
        Ok(rows.workers.values().map(drained).collect())
    }

    async fn put_worker(&self, worker: Worker) -> Result<(), StateError> {
        self.0.lock().workers.insert(worker.id.clone(), worker);
        Ok(())
    }

    async fn remove_worker(&self, id: &PeerId) -> Result<(), StateError> {
        let mut rows = self.0.lock();
        rows.workers.remove(id);
        rows.draining.remove(id);
        Ok(())
    }

    async fn set_draining(&self, id: &PeerId, draining: bool) -> Result<(), StateError> {
        let mut rows = self.0.lock();
        if draining {
            rows.draining.insert(id.clone(), ());
        } else {
            rows.draining.remove(id);
        }
        Ok(())
    }

    async fn lease(&self, name: &str, wish: Lease, now_ms: u64) -> Result<Lease, StateError> {
        let mut rows = self.0.lock();
        match rows.leases.get(name) {
            Some(held) if held.holder != wish.holder && held.until_ms > now_ms => Ok(held.clone()),
            _ => {
                rows.leases.insert(name.to_owned(), wish.clone());
                Ok(wish)
            }
        }
    }

    async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.lock().notes.get(name).cloned())
    }

    async fn put_note(&self, name: &str, value: Vec<u8>) -> Result<(), StateError> {
        self.0.lock().notes.insert(name.to_owned(), value);
        Ok(())
    }
}
