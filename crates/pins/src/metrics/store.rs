//! A state store whose operations are measured, and the changes of requests counted.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use ues_data::Cid;

use super::{EventType, FailureKind, Group, Metrics};
use crate::Owner;
use crate::fleet::Worker;
use crate::model::PeerId;
use crate::placement::PinRecord;
use crate::request::PinRequest;
use crate::store::{
    End, Lease, Operation, OwnerPage, OwnerQuery, PlacementChange, RemoveIf, RequestChange,
    StateError, StateStore, TokenRange,
};

/// Another store, measured.
pub(super) struct MeasuredStore {
    store: Arc<dyn StateStore>,
    metrics: Metrics,
}

impl MeasuredStore {
    pub(super) fn new(store: Arc<dyn StateStore>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    async fn measure<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, StateError> {
        let begun = Instant::now();
        let done = work.await;
        let status = match &done {
            Ok(_) => "ok",
            Err(StateError::Unavailable(_)) => "unavailable",
            Err(StateError::Damaged(_)) => "damaged",
            Err(StateError::Refused(_)) => "refused",
        };
        if done.is_err() {
            self.metrics.failure(FailureKind::Scylla);
        }
        let took = begun.elapsed();
        self.metrics.store_operation(operation, status, took);
        done
    }
}

#[async_trait]
impl StateStore for MeasuredStore {
    fn token(&self, cid: &Cid) -> u64 {
        self.store.token(cid)
    }

    async fn change_requests(
        &self,
        changes: Vec<RequestChange>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Option<PinRequest>>, StateError> {
        let marks: Vec<_> = changes.iter().map(mark).collect();
        let work = self.store.change_requests(changes, operations);
        let before = self.measure("change_requests", work).await?;
        for ((event, group, only), before) in marks.into_iter().zip(&before) {
            if happened(only, before.as_ref()) {
                self.metrics.event(event, group);
            }
        }
        Ok(before)
    }

    async fn change_placements(&self, changes: Vec<PlacementChange>) -> Result<(), StateError> {
        let work = self.store.change_placements(changes);
        self.measure("change_placements", work).await
    }

    async fn records(&self, cids: &[Cid]) -> Result<Vec<PinRecord>, StateError> {
        self.measure("records", self.store.records(cids)).await
    }

    async fn request(&self, owner: &Owner, cid: &Cid) -> Result<Option<PinRequest>, StateError> {
        let work = self.store.request(owner, cid);
        self.measure("request", work).await
    }

    async fn owner_requests(
        &self,
        owner: &Owner,
        query: OwnerQuery,
    ) -> Result<OwnerPage, StateError> {
        let work = self.store.owner_requests(owner, query);
        self.measure("owner_requests", work).await
    }

    fn scan(
        &self,
        range: TokenRange,
        after: Option<Cid>,
    ) -> BoxStream<'static, Result<PinRecord, StateError>> {
        let metrics = self.metrics.clone();
        let records = self.store.scan(range, after);
        // How long it takes is up to the reader.
        let counted = records.inspect(move |record| {
            if record.is_err() {
                metrics.failure(FailureKind::Scylla);
            }
        });
        counted.boxed()
    }

    async fn ends(&self, now_s: u64, limit: usize) -> Result<Vec<End>, StateError> {
        self.measure("ends", self.store.ends(now_s, limit)).await
    }

    async fn settle_ends(&self, ends: Vec<End>) -> Result<(), StateError> {
        let work = self.store.settle_ends(ends);
        self.measure("settle_ends", work).await
    }

    async fn operation(&self, owner: &Owner, id: &str) -> Result<Option<Operation>, StateError> {
        let work = self.store.operation(owner, id);
        self.measure("operation", work).await
    }

    async fn workers(&self) -> Result<Vec<Worker>, StateError> {
        self.measure("workers", self.store.workers()).await
    }

    async fn put_worker(&self, worker: Worker) -> Result<(), StateError> {
        let work = self.store.put_worker(worker);
        self.measure("put_worker", work).await
    }

    async fn remove_worker(&self, id: &PeerId) -> Result<(), StateError> {
        let work = self.store.remove_worker(id);
        self.measure("remove_worker", work).await
    }

    async fn set_draining(&self, id: &PeerId, draining: bool) -> Result<(), StateError> {
        let work = self.store.set_draining(id, draining);
        self.measure("set_draining", work).await
    }

    async fn lease(&self, name: &str, wish: Lease, now_ms: u64) -> Result<Lease, StateError> {
        let work = self.store.lease(name, wish, now_ms);
        self.measure("lease", work).await
    }

    async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.measure("note", self.store.note(name)).await
    }

    async fn put_note(&self, name: &str, value: Vec<u8>) -> Result<(), StateError> {
        let work = self.store.put_note(name, value);
        self.measure("put_note", work).await
    }
}

/// What a change counts as, where, and on what condition.
fn mark(change: &RequestChange) -> (EventType, Group, Option<RemoveIf>) {
    let group = Group::of(change.cid());
    match change {
        RequestChange::Put(_) => (EventType::Upsert, group, None),
        RequestChange::Remove { only, .. } => match only {
            RemoveIf::EndedBy(_) => (EventType::Ttl, group, Some(*only)),
            _ => (EventType::Upsert, group, Some(*only)),
        },
    }
}

/// Whether a change was made, as far as the request before it tells.
fn happened(only: Option<RemoveIf>, before: Option<&PinRequest>) -> bool {
    match (only, before) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(RemoveIf::Always), Some(_)) => true,
        (Some(RemoveIf::CreatedAt(time)), Some(before)) => before.created_ms == time,
        (Some(RemoveIf::EndedBy(now_s)), Some(before)) => before.is_expired(now_s),
    }
}
