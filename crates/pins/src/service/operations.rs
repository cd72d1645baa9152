//! Operations that carry an id of the client's: asked for again, they get the first answer.

use std::collections::HashMap;

use ues_data::Cid;

use super::{Change, Pins, PinsError, Wish, limits, read_id};
use crate::Owner;
use crate::request_id::RequestId;
use crate::store::{Operation, RemoveIf, RequestChange};

/// Operations that are looked up at a time.
const LOOKUPS: usize = 32;

impl Pins {
    /// Removes an owner's request as [`remove`](Self::remove) does, once for each operation id: asked for again, it
    /// says again which request it was.
    ///
    /// # Errors
    /// As [`remove`](Self::remove); [`PinsError::Conflict`] for an operation id that was used for something else.
    pub async fn remove_once(
        &self,
        owner: &Owner,
        id: &str,
        op_id: &str,
    ) -> Result<RequestId, PinsError> {
        limits::check_op_id(op_id)?;
        let (cid, created_ms) = read_id(owner, id)?;
        let fingerprint = of_removal(&cid, created_ms);
        if let Some(known) = self.0.store.operation(owner, op_id).await? {
            return answer_of(&known, fingerprint);
        }
        let request = self.request(owner, id).await?;
        let removed = RequestId::of(&request);
        let change = RequestChange::Remove {
            owner: owner.clone(),
            cid,
            only: RemoveIf::CreatedAt(request.created_ms),
        };
        let operation = operation(owner, op_id, fingerprint, &removed);
        self.0
            .store
            .change_requests(vec![change], vec![operation])
            .await?;
        self.0.announcer.changed(cid);
        Ok(removed)
    }

    /// Those of the changes' operations that were made before, by their ids.
    pub(super) async fn operations(
        &self,
        owner: &Owner,
        changes: &[Change],
    ) -> Result<HashMap<String, Operation>, PinsError> {
        let ids = changes.iter().filter_map(|change| match change {
            Change::Add(_, wish) => wish.op_id.as_deref(),
            Change::Remove(_, op_id) => op_id.as_deref(),
        });
        // The others are refused before they are looked for.
        let ids: Vec<&str> = ids.filter(|id| limits::check_op_id(id).is_ok()).collect();
        let mut known = HashMap::new();
        for ids in ids.chunks(LOOKUPS) {
            let lookups: Vec<_> = ids
                .iter()
                .map(|id| self.0.store.operation(owner, id))
                .collect();
            let found = futures::future::try_join_all(lookups).await?;
            known.extend(found.into_iter().flatten().map(|op| (op.id.clone(), op)));
        }
        Ok(known)
    }
}

/// An operation that made, or removed, a request.
pub(super) fn operation(
    owner: &Owner,
    id: &str,
    fingerprint: u64,
    request: &RequestId,
) -> Operation {
    Operation {
        owner: owner.clone(),
        id: id.to_owned(),
        fingerprint,
        answer: request.to_string().into_bytes(),
    }
}

/// The request that an operation made or removed.
///
/// # Errors
/// [`PinsError::Conflict`] if it was about something else.
pub(super) fn answer_of(known: &Operation, fingerprint: u64) -> Result<RequestId, PinsError> {
    let id = &known.id;
    if known.fingerprint != fingerprint {
        return Err(PinsError::Conflict(format!(
            "the operation id {id} was used for something else before"
        )));
    }
    let text = String::from_utf8_lossy(&known.answer);
    text.parse()
        .map_err(|_| PinsError::Conflict(format!("the answer to operation {id} is lost")))
}

/// A hash of what is asked for, to tell a repeated operation from another one under the same id.
pub(super) fn of_wish(cid: &Cid, wish: &Wish) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&cid.to_bytes());
    hasher.update(format!("{:?} {:?}", wish.options, wish.tags).as_bytes());
    first(&hasher)
}

/// The same of a removal.
pub(super) fn of_removal(cid: &Cid, created_ms: Option<u64>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"unpin");
    hasher.update(&cid.to_bytes());
    hasher.update(&created_ms.unwrap_or_default().to_be_bytes());
    first(&hasher)
}

fn first(hasher: &blake3::Hasher) -> u64 {
    let hash = hasher.finalize();
    let first = hash.as_bytes().first_chunk::<8>();
    first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
