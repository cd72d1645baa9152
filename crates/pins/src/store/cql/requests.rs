//! Requests: read and changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use scylla::value::{CqlTimestamp, MaybeUnset};
use ues_data::Cid;

use super::changes::{self, Outcome, Version};
use super::retry::What;
use super::session::together;
use super::stamp::MARKER_SECONDS;
use super::{CqlStore, listing, timestamp};
use crate::Owner;
use crate::model::PinMode;
use crate::request::PinRequest;
use crate::store::rows::{self, Row};
use crate::store::{Operation, RequestChange, StateError};

/// The changes of one call for one request.
struct Group {
    owner: Owner,
    cid: Cid,
    /// Each with its place in the call.
    changes: Vec<RequestChange>,
    places: Vec<usize>,
}

impl CqlStore {
    /// Makes changes. What leads to a request is written before it, so that a crash in between leaves at most rows that
    /// lead nowhere; readers drop those.
    pub(super) async fn change(
        &self,
        changes: Vec<RequestChange>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Option<PinRequest>>, StateError> {
        let mut before = vec![None; changes.len()];
        let mut groups = grouped(changes);
        let keys: HashSet<u64> = groups.iter().map(|g| key(&g.owner, &g.cid)).collect();
        let _guard = self.locks.lock(keys).await;
        let reads = groups.iter().map(|g| self.version(&g.owner, &g.cid));
        let stored = together(reads.collect()).await?;
        let mut outcomes = Vec::with_capacity(groups.len());
        for (group, stored) in groups.iter_mut().zip(&stored) {
            let changes = std::mem::take(&mut group.changes);
            let mut outcome = changes::fold(stored, changes, &self.stamps);
            for (place, found) in group.places.iter().zip(outcome.before.drain(..)) {
                if let Some(before) = before.get_mut(*place) {
                    *before = found;
                }
            }
            outcomes.push(outcome);
        }
        self.write_hints(&outcomes).await?;
        let writes = groups.iter().zip(&stored).zip(&outcomes);
        let writes = writes.map(|((group, stored), outcome)| self.write(group, stored, outcome));
        together(writes.collect()).await?;
        let operations = operations.iter().map(|o| self.put_operation(o));
        together(operations.collect()).await?;
        self.unlist(&stored, &outcomes).await;
        Ok(before)
    }

    /// Everything that leads to requests that are put.
    async fn write_hints(&self, outcomes: &[Outcome]) -> Result<(), StateError> {
        let puts: Vec<(&PinRequest, i64)> = outcomes
            .iter()
            .filter_map(|outcome| outcome.write.as_ref())
            .filter_map(|write| Some((write.request.as_ref()?, write.at)))
            .collect();
        if let Some((request, _)) = puts
            .iter()
            .find(|(request, _)| i64::try_from(request.created_ms).is_err())
        {
            return Err(StateError::Refused(format!(
                "a request of before the year 292 million expected, found one of {} ms",
                request.created_ms
            )));
        }
        let listed = self.list(&puts);
        let ends = puts.iter().map(|(request, at)| self.put_end(request, *at));
        let ends = together(ends.collect());
        futures::try_join!(listed, ends)?;
        Ok(())
    }

    async fn write(
        &self,
        group: &Group,
        stored: &Version,
        outcome: &Outcome,
    ) -> Result<(), StateError> {
        match &outcome.write {
            None => Ok(()),
            Some(write) => match &write.request {
                Some(request) => self.put_request(request, write.at, stored).await,
                None => self.mark_request(&group.owner, &group.cid, write.at).await,
            },
        }
    }

    async fn put_request(
        &self,
        request: &PinRequest,
        at: i64,
        stored: &Version,
    ) -> Result<(), StateError> {
        let cid = request.cid();
        let options = &request.pin.options;
        let pin_type = i32::from(options.mode == PinMode::Recursive);
        let metadata: BTreeMap<&str, &str> = options
            .metadata
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let ended = stored
            .request
            .as_ref()
            .is_some_and(|old| old.pin.options.expire_at.is_some());
        // Null where nothing is would be a tombstone in every row.
        let ttl = match options.expire_at {
            Some(end) => MaybeUnset::Set(Some(timestamp(end.saturating_mul(1000)))),
            None if ended => MaybeUnset::Set(None::<CqlTimestamp>),
            None => MaybeUnset::Unset,
        };
        let values = (
            cid.hash().to_bytes(),
            cid.to_bytes(),
            request.owner.as_str(),
            request.to_row(),
            pin_type,
            options.replication_max,
            &request.tags,
            ttl,
            metadata,
            timestamp(request.created_ms),
            timestamp(self.stamps.clock().now_ms()),
            at,
        );
        let what = What::of("put_request", cid);
        let statement = &self.db.statements.put_request;
        self.db.execute(what, statement, values).await?;
        Ok(())
    }

    async fn mark_request(&self, owner: &Owner, cid: &Cid, at: i64) -> Result<(), StateError> {
        let values = (
            cid.hash().to_bytes(),
            cid.to_bytes(),
            owner.as_str(),
            at,
            MARKER_SECONDS,
        );
        let what = What::of("remove_request", cid);
        let statement = &self.db.statements.mark_request;
        self.db.execute(what, statement, values).await?;
        Ok(())
    }

    /// The stored version of a request.
    pub(super) async fn version(&self, owner: &Owner, cid: &Cid) -> Result<Version, StateError> {
        let values = (cid.hash().to_bytes(), cid.to_bytes(), owner.as_str());
        let what = What::of("request", cid);
        let row: Option<(Option<Vec<u8>>, Option<i64>)> = self
            .db
            .row(what, &self.db.statements.request, values)
            .await?;
        let Some((Some(row), at)) = row else {
            return Ok(Version::default());
        };
        let request = match row.as_slice() {
            [] => None,
            row => Some(rows::read_request(owner.as_str().as_bytes(), row)?),
        };
        Ok(Version { request, at })
    }

    /// Removes rows of the listing that led to versions that are replaced. Whoever finds one that stays drops it, so a
    /// failure is none.
    async fn unlist(&self, stored: &[Version], outcomes: &[Outcome]) {
        let mut rows = Vec::new();
        for (stored, outcome) in stored.iter().zip(outcomes) {
            if let (Some(old), Some(at), Some(write)) = (&stored.request, stored.at, &outcome.write)
            {
                rows.extend(listing::replaced(old, at, write.request.as_ref()));
            }
        }
        let deletes = rows.iter().map(|row| self.delete_owned(row));
        if let Err(error) = together(deletes.collect()).await {
            tracing::debug!(%error, "rows of a listing that lead nowhere are left to its readers");
        }
    }

    async fn put_operation(&self, operation: &Operation) -> Result<(), StateError> {
        let values = (
            operation.owner.as_str(),
            &operation.id,
            operation.fingerprint.cast_signed(),
            &operation.answer,
            self.stamps.next(),
            i32::try_from(crate::store::OP_SECONDS).unwrap_or(i32::MAX),
        );
        let statement = &self.db.statements.put_operation;
        self.db
            .execute(What::new("put_operation"), statement, values)
            .await?;
        Ok(())
    }

    pub(super) async fn read_operation(
        &self,
        owner: &Owner,
        id: &str,
    ) -> Result<Option<Operation>, StateError> {
        let statement = &self.db.statements.operation;
        let values = (owner.as_str(), id);
        let row: Option<(Option<i64>, Option<Vec<u8>>)> = self
            .db
            .row(What::new("operation"), statement, values)
            .await?;
        Ok(row.and_then(|(fingerprint, answer)| {
            Some(Operation {
                owner: owner.clone(),
                id: id.to_owned(),
                fingerprint: fingerprint?.cast_unsigned(),
                answer: answer.unwrap_or_default(),
            })
        }))
    }
}

/// Changes by request, in the order of the first one of each.
fn grouped(changes: Vec<RequestChange>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(changes.len());
    let mut known = HashMap::with_capacity(changes.len());
    for (place, change) in changes.into_iter().enumerate() {
        let (owner, cid) = (change.owner().clone(), *change.cid());
        let at = *known.entry((owner.clone(), cid)).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Group {
                owner,
                cid,
                changes: Vec::new(),
                places: Vec::new(),
            });
        }
        if let Some(group) = groups.get_mut(at) {
            group.changes.push(change);
            group.places.push(place);
        }
    }
    groups
}

fn key(owner: &Owner, cid: &Cid) -> u64 {
    let mut hasher = DefaultHasher::new();
    (owner.as_str(), cid.to_bytes()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RemoveIf;

    #[test]
    fn changes_are_grouped_in_order() {
        let owner = |name: &str| name.parse::<Owner>().unwrap();
        let cid = |n: u8| ues_data::raw_cid(&[n]);
        let remove = |name: &str, n: u8, time: u64| RequestChange::Remove {
            owner: owner(name),
            cid: cid(n),
            only: RemoveIf::CreatedAt(time),
        };
        let changes = vec![
            remove("a", 1, 0),
            remove("b", 1, 1),
            remove("a", 1, 2),
            remove("a", 2, 3),
        ];
        let groups = grouped(changes);
        let places: Vec<_> = groups.iter().map(|g| g.places.clone()).collect();
        assert_eq!(places, [vec![0, 2], vec![1], vec![3]]);
        assert_eq!(groups[0].changes[1], remove("a", 1, 2));
        assert_ne!(key(&owner("a"), &cid(1)), key(&owner("b"), &cid(1)));
    }
}
