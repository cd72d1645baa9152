//! Many changes at once.

use ues_data::Cid;

use super::{Pins, PinsError, Wish};
use crate::Owner;
use crate::request::PinRequest;
use crate::request_id::RequestId;
use crate::store::{RemoveIf, RequestChange};

/// One change of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Accept a wish.
    Add(Cid, Box<Wish>),
    /// Remove the owner's request.
    Remove(Cid),
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
    /// Makes many changes; all that are accepted are durable when this returns. One answer for each, in order.
    ///
    /// # Errors
    /// [`PinsError::State`]: then each of them may or may not have been made.
    pub async fn change(
        &self,
        owner: &Owner,
        changes: Vec<Change>,
    ) -> Result<Vec<ChangeAnswer>, PinsError> {
        let now_s = self.now_s();
        let mut answers = Vec::with_capacity(changes.len());
        let mut writes = Vec::with_capacity(changes.len());
        // For each write, the place of its answer.
        let mut places = Vec::with_capacity(changes.len());
        for change in changes {
            let write = match change {
                Change::Add(cid, wish) => match self.0.limits.check(&cid, &wish, now_s) {
                    Err(why) => {
                        answers.push(ChangeAnswer::Refused(why));
                        continue;
                    }
                    Ok(()) => {
                        let request = self.accept(owner, cid, *wish);
                        answers.push(ChangeAnswer::Added(RequestId::of(&request)));
                        RequestChange::Put(Box::new(request))
                    }
                },
                Change::Remove(cid) => {
                    answers.push(ChangeAnswer::Removed);
                    let (owner, only) = (owner.clone(), RemoveIf::Always);
                    RequestChange::Remove { owner, cid, only }
                }
            };
            places.push((answers.len() - 1, *write.cid()));
            writes.push(write);
        }
        let before = self.0.store.change_requests(writes, Vec::new()).await?;
        for ((place, cid), before) in places.into_iter().zip(before) {
            if let Some(answer) = answers.get_mut(place) {
                judge(answer, &cid, before.as_ref());
            }
            self.0.announcer.changed(cid);
        }
        Ok(answers)
    }
}

fn judge(answer: &mut ChangeAnswer, cid: &Cid, before: Option<&PinRequest>) {
    if matches!(answer, ChangeAnswer::Removed) && before.is_none() {
        let why = format!("there is no pin request for {cid}");
        *answer = ChangeAnswer::Refused(PinsError::NotFound(why));
    }
}
