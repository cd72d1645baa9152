//! Many changes at once.

use std::collections::HashMap;

use ues_data::Cid;

use super::{Pins, PinsError, Wish, limits, operations};
use crate::Owner;
use crate::request::PinRequest;
use crate::request_id::RequestId;
use crate::store::{Operation, RemoveIf, RequestChange};

/// One change of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Accept a wish.
    Add(Cid, Box<Wish>),
    /// Remove the owner's request; with the client's id of the operation, if it has one.
    Remove(Cid, Option<String>),
}

/// What came of one change.
#[derive(Clone, Debug)]
pub enum ChangeAnswer {
    /// The wish is accepted and durable.
    Added(RequestId),
    /// The request is removed.
    Removed,
    /// It was refused; the others were not touched by that.
    Refused(PinsError),
}

impl Pins {
    /// Makes many changes; all that are accepted are durable when this returns. One answer for each, in order. A
    /// change whose operation id is known gets the first answer.
    ///
    /// # Errors
    /// [`PinsError::State`]: then each of them may or may not have been made.
    pub async fn change(
        &self,
        owner: &Owner,
        changes: Vec<Change>,
    ) -> Result<Vec<ChangeAnswer>, PinsError> {
        let mut batch = Batch {
            pins: self,
            owner,
            known: self.operations(owner, &changes).await?,
            answers: Vec::with_capacity(changes.len()),
            writes: Vec::with_capacity(changes.len()),
            operations: Vec::new(),
        };
        for change in changes {
            let answer = match change {
                Change::Add(cid, wish) => batch.add(cid, *wish),
                Change::Remove(cid, None) => batch.remove(cid),
                Change::Remove(cid, Some(op_id)) => batch.remove_once(cid, &op_id).await?,
            };
            batch
                .answers
                .push(answer.unwrap_or_else(ChangeAnswer::Refused));
        }
        batch.write().await?;
        Ok(batch.answers)
    }
}

/// Changes that are written together.
struct Batch<'a> {
    pins: &'a Pins,
    owner: &'a Owner,
    /// Operations that were made before, and those of this batch.
    known: HashMap<String, Operation>,
    answers: Vec<ChangeAnswer>,
    /// What is to be written, and the place of the answer that depends on what was there.
    writes: Vec<(RequestChange, Option<usize>)>,
    operations: Vec<Operation>,
}

type Answered = Result<ChangeAnswer, PinsError>;

impl Batch<'_> {
    fn add(&mut self, cid: Cid, wish: Wish) -> Answered {
        let pins = self.pins;
        pins.0.limits.check(&cid, &wish, pins.now_s())?;
        let fingerprint = operations::of_wish(&cid, &wish);
        let op_id = wish.op_id.clone();
        if let Some(known) = op_id.as_ref().and_then(|id| self.known.get(id)) {
            return operations::answer_of(known, fingerprint).map(ChangeAnswer::Added);
        }
        let request = pins.accept(self.owner, cid, wish);
        let id = RequestId::of(&request);
        if let Some(op_id) = op_id {
            self.remember(&op_id, fingerprint, &id);
        }
        let put = RequestChange::Put(Box::new(request));
        self.writes.push((put, None));
        Ok(ChangeAnswer::Added(id))
    }

    fn remove(&mut self, cid: Cid) -> Answered {
        let change = self.removal(cid, RemoveIf::Always);
        self.writes.push((change, Some(self.answers.len())));
        Ok(ChangeAnswer::Removed)
    }

    /// What it removes has to be known first, since the answer is kept together with the removal.
    async fn remove_once(&mut self, cid: Cid, op_id: &str) -> Result<Answered, PinsError> {
        if let Err(why) = limits::check_op_id(op_id) {
            return Ok(Err(why));
        }
        let fingerprint = operations::of_removal(&cid, None);
        if let Some(known) = self.known.get(op_id) {
            let answer = operations::answer_of(known, fingerprint);
            return Ok(answer.map(|_| ChangeAnswer::Removed));
        }
        if self.writes.iter().any(|(write, _)| *write.cid() == cid) {
            self.write().await?;
        }
        let request = self.pins.0.store.request(self.owner, &cid).await?;
        let Some(request) = request else {
            return Ok(Err(missing(&cid)));
        };
        self.remember(op_id, fingerprint, &RequestId::of(&request));
        let change = self.removal(cid, RemoveIf::CreatedAt(request.created_ms));
        self.writes.push((change, None));
        Ok(Ok(ChangeAnswer::Removed))
    }

    fn removal(&self, cid: Cid, only: RemoveIf) -> RequestChange {
        let owner = self.owner.clone();
        RequestChange::Remove { owner, cid, only }
    }

    fn remember(&mut self, op_id: &str, fingerprint: u64, id: &RequestId) {
        let operation = operations::operation(self.owner, op_id, fingerprint, id);
        self.known.insert(op_id.to_owned(), operation.clone());
        self.operations.push(operation);
    }

    /// Makes what was taken durable.
    async fn write(&mut self) -> Result<(), PinsError> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let (writes, places): (Vec<_>, Vec<_>) = self.writes.drain(..).unzip();
        let cids: Vec<Cid> = writes.iter().map(|write| *write.cid()).collect();
        let operations = std::mem::take(&mut self.operations);
        let before = self
            .pins
            .0
            .store
            .change_requests(writes, operations)
            .await?;
        for ((place, cid), before) in places.into_iter().zip(cids).zip(before) {
            if let Some(answer) = place.and_then(|place| self.answers.get_mut(place)) {
                judge(answer, &cid, before.as_ref());
            }
            self.pins.0.announcer.changed(cid);
        }
        Ok(())
    }
}

fn judge(answer: &mut ChangeAnswer, cid: &Cid, before: Option<&PinRequest>) {
    if before.is_none() {
        *answer = ChangeAnswer::Refused(missing(cid));
    }
}

fn missing(cid: &Cid) -> PinsError {
    PinsError::NotFound(format!("there is no pin request for {cid}"))
}
