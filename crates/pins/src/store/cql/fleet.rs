//! Workers, notes and leases.

use std::time::Instant;

use scylla::errors::ExecutionError;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use super::retry::{What, may_repeat};
use super::stamp::MARKER_SECONDS;
use super::{CqlStore, long, was_applied};
use crate::fleet::Worker;
use crate::model::PeerId;
use crate::store::rows::{self, Row};
use crate::store::{Lease, StateError};

/// Kinds of rows about workers.
const WORKER: &str = "worker";
const DRAINING: &str = "draining";

impl CqlStore {
    pub(super) async fn read_workers(&self) -> Result<Vec<Worker>, StateError> {
        let (workers, draining) = futures::try_join!(self.fleet(WORKER), self.fleet(DRAINING))?;
        workers
            .into_iter()
            .map(|(id, row)| {
                let drains = draining.iter().any(|(drained, _)| *drained == id);
                rows::read_worker(&id, &row, drains)
            })
            .collect()
    }

    async fn fleet(&self, kind: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StateError> {
        let mut found = Vec::new();
        let take = |(id, value, at): (Vec<u8>, Option<Vec<u8>>, Option<i64>)| {
            self.stamps.seen(at);
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                found.push((id, value));
            }
            Ok(())
        };
        let statement = &self.db.statements.fleet;
        self.db
            .each(What::new("fleet"), statement, (kind,), take)
            .await?;
        Ok(found)
    }

    pub(super) async fn write_worker(&self, worker: &Worker) -> Result<(), StateError> {
        self.put_fleet(WORKER, &worker.id, &worker.to_row(), 0)
            .await
    }

    pub(super) async fn delete_worker(&self, id: &PeerId) -> Result<(), StateError> {
        self.put_fleet(WORKER, id, &[], MARKER_SECONDS).await?;
        self.put_fleet(DRAINING, id, &[], MARKER_SECONDS).await
    }

    pub(super) async fn drain(&self, id: &PeerId, draining: bool) -> Result<(), StateError> {
        if draining {
            self.put_fleet(DRAINING, id, &[1], 0).await
        } else {
            self.put_fleet(DRAINING, id, &[], MARKER_SECONDS).await
        }
    }

    /// Writes over whatever is there, even when it is from a clock that is ahead.
    async fn put_fleet(
        &self,
        kind: &str,
        id: &PeerId,
        value: &[u8],
        ttl: i32,
    ) -> Result<(), StateError> {
        let statements = &self.db.statements;
        let key = (kind, id.as_bytes());
        let what = What::new("put_fleet");
        let version: Option<(Option<i64>,)> =
            self.db.row(what, &statements.fleet_version, key).await?;
        let at = self.stamps.after(version.and_then(|row| row.0));
        let values = (kind, id.as_bytes(), value, at, ttl);
        self.db.execute(what, &statements.put_fleet, values).await?;
        Ok(())
    }

    pub(super) async fn read_note(
        &self,
        name: &str,
    ) -> Result<(Option<Vec<u8>>, Option<i64>), StateError> {
        let statement = &self.db.statements.note;
        let row = self.db.row(What::new("note"), statement, (name,)).await?;
        Ok(row.unwrap_or_default())
    }

    pub(super) async fn write_note(&self, name: &str, value: &[u8]) -> Result<(), StateError> {
        let (_, version) = self.read_note(name).await?;
        let values = (name, value, self.stamps.after(version));
        let statement = &self.db.statements.put_note;
        self.db
            .execute(What::new("put_note"), statement, values)
            .await?;
        Ok(())
    }

    /// Takes a lease if it is free. A transaction whose outcome is not known is not repeated: the lease is read again,
    /// which shows it.
    pub(super) async fn take_lease(
        &self,
        name: &str,
        wish: Lease,
        now_ms: u64,
    ) -> Result<Lease, StateError> {
        let what = What::new("lease");
        let begun = Instant::now();
        let mut attempts = 1;
        loop {
            let held = self.held(name).await?;
            if held.as_ref() == Some(&wish) {
                return Ok(wish);
            }
            let error = match self.try_lease(name, held, &wish, now_ms).await {
                Ok(Some(lease)) => return Ok(lease),
                // Another was faster.
                Ok(None) if attempts >= self.db.retries.attempts() => {
                    return self.held(name).await?.ok_or_else(|| {
                        StateError::Unavailable(format!("too many want the lease {name}"))
                    });
                }
                Ok(None) => {
                    attempts += 1;
                    continue;
                }
                Err(Tried::Final(error)) => return Err(error),
                Err(Tried::Unknown(error)) => error,
            };
            if !may_repeat(&error) || attempts >= self.db.retries.attempts() {
                return Err(self.db.retries.give_up(what, attempts, begun, &error));
            }
            self.db.retries.pause(what, attempts, &error).await;
            attempts += 1;
        }
    }

    async fn held(&self, name: &str) -> Result<Option<Lease>, StateError> {
        let statement = &self.db.statements.lease;
        let row: Option<(Option<String>, Option<i64>)> =
            self.db.row(What::new("lease"), statement, (name,)).await?;
        Ok(row.and_then(|(holder, until_ms)| {
            Some(Lease {
                holder: holder?,
                until_ms: until_ms?.max(0).cast_unsigned(),
            })
        }))
    }

    /// Tries to take a lease; `None` when it is another than was thought.
    async fn try_lease(
        &self,
        name: &str,
        held: Option<Lease>,
        wish: &Lease,
        now_ms: u64,
    ) -> Result<Option<Lease>, Tried> {
        let statements = &self.db.statements;
        let until = long(wish.until_ms);
        let taken = match held {
            Some(held) if held.holder != wish.holder && held.until_ms > now_ms => {
                return Ok(Some(held));
            }
            Some(held) => {
                let values = (&wish.holder, until, name, &held.holder, long(held.until_ms));
                self.transact(&statements.change_lease, values).await?
            }
            None => {
                let values = (name, &wish.holder, until);
                self.transact(&statements.take_lease, values).await?
            }
        };
        Ok(taken.then(|| wish.clone()))
    }

    async fn transact(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<bool, Tried> {
        let attempt = self.db.session.execute_unpaged(statement, values);
        let tried = self.db.retries.once(What::new("lease"), attempt).await;
        let done = tried.map_err(|error| Tried::Unknown(Box::new(error)))?;
        was_applied(done).map_err(Tried::Final)
    }
}

/// How a transaction failed.
enum Tried {
    /// It may have taken effect.
    Unknown(Box<ExecutionError>),
    /// Its answer cannot be read.
    Final(StateError),
}
