//! A state store whose calls take time and fail, before or after they took effect.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use ues_data::Cid;
use ues_pins::store::{
    End, Lease, MemoryStore, Operation, OwnerPage, OwnerQuery, PlacementChange, RequestChange,
    StateError, StateStore, TokenRange,
};
use ues_pins::{Owner, PeerId, PinRecord, PinRequest, Worker};

use crate::chance::Chance;

pub struct SimStore {
    pub inner: Arc<MemoryStore>,
    pub chance: Chance,
    /// Calls that fail, of a thousand.
    pub fail: Arc<Mutex<u64>>,
}

impl SimStore {
    async fn before(&self) -> Result<bool, StateError> {
        tokio::time::sleep(Duration::from_millis(self.chance.below(5))).await;
        let fail = self.chance.permille(*self.fail.lock());
        if fail && self.chance.permille(500) {
            return Err(StateError::Unavailable("before".to_owned()));
        }
        Ok(fail)
    }

    async fn around<T>(
        &self,
        work: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, StateError> {
        let fail = self.before().await?;
        let done = work.await?;
        if fail {
            // It took effect, and nobody hears of it.
            return Err(StateError::Unavailable("after".to_owned()));
        }
        Ok(done)
    }
}

#[async_trait]
impl StateStore for SimStore {
    fn token(&self, cid: &Cid) -> u64 {
        self.inner.token(cid)
    }

    async fn change_requests(
        &self,
        changes: Vec<RequestChange>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Option<PinRequest>>, StateError> {
        self.around(self.inner.change_requests(changes, operations))
            .await
    }

    async fn change_placements(&self, changes: Vec<PlacementChange>) -> Result<(), StateError> {
        // Of several rows some may be written when the call fails.
        if changes.len() > 1 && self.chance.permille(*self.fail.lock()) {
            let some = changes.iter().take(changes.len() / 2).cloned().collect();
            self.inner.change_placements(some).await?;
            return Err(StateError::Unavailable("half".to_owned()));
        }
        self.around(self.inner.change_placements(changes)).await
    }

    async fn records(&self, cids: &[Cid]) -> Result<Vec<PinRecord>, StateError> {
        self.around(self.inner.records(cids)).await
    }

    async fn request(&self, owner: &Owner, cid: &Cid) -> Result<Option<PinRequest>, StateError> {
        self.around(self.inner.request(owner, cid)).await
    }

    async fn owner_requests(
        &self,
        owner: &Owner,
        query: OwnerQuery,
    ) -> Result<OwnerPage, StateError> {
        self.around(self.inner.owner_requests(owner, query)).await
    }

    fn scan(
        &self,
        range: TokenRange,
        after: Option<Cid>,
    ) -> BoxStream<'static, Result<PinRecord, StateError>> {
        self.inner.scan(range, after)
    }

    async fn ends(&self, now_s: u64, limit: usize) -> Result<Vec<End>, StateError> {
        self.around(self.inner.ends(now_s, limit)).await
    }

    async fn settle_ends(&self, ends: Vec<End>) -> Result<(), StateError> {
        self.around(self.inner.settle_ends(ends)).await
    }

    async fn operation(&self, owner: &Owner, id: &str) -> Result<Option<Operation>, StateError> {
        self.around(self.inner.operation(owner, id)).await
    }

    async fn workers(&self) -> Result<Vec<Worker>, StateError> {
        self.around(self.inner.workers()).await
    }

    async fn put_worker(&self, worker: Worker) -> Result<(), StateError> {
        self.around(self.inner.put_worker(worker)).await
    }

    async fn remove_worker(&self, id: &PeerId) -> Result<(), StateError> {
        self.around(self.inner.remove_worker(id)).await
    }

    async fn set_draining(&self, id: &PeerId, draining: bool) -> Result<(), StateError> {
        self.around(self.inner.set_draining(id, draining)).await
    }

    async fn lease(&self, name: &str, wish: Lease, now_ms: u64) -> Result<Lease, StateError> {
        self.around(self.inner.lease(name, wish, now_ms)).await
    }

    async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.around(self.inner.note(name)).await
    }

    async fn put_note(&self, name: &str, value: Vec<u8>) -> Result<(), StateError> {
        self.around(self.inner.put_note(name, value)).await
    }
}
