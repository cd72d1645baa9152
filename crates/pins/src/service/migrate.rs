//! Taking over pins that were made elsewhere, and comparing what came of them.

use ues_data::Cid;

use super::{Pins, PinsError, Wish};
use crate::Owner;
use crate::migration::PinSetDigest;
use crate::model::Pin;
use crate::request::PinRequest;
use crate::store::{OwnerQuery, RequestChange};

/// Requests that are read at a time.
const PIECE: usize = 1000;

/// What came of a pin that was taken over.
#[derive(Clone, Debug)]
pub enum TakenOver {
    /// It is accepted and durable; what the owner had asked for the same CID before.
    Accepted(Option<Box<PinRequest>>),
    /// It was refused; the others were not touched by that.
    Refused(PinsError),
}

/// A part of a digest, and where to go on; `None` at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct DigestPage {
    /// Of the pins of this part.
    pub digest: PinSetDigest,
    /// The time and CID of the last request.
    pub cursor: Option<(u64, Cid)>,
}

impl Pins {
    /// Makes requests of pins as they are, with their time and allocations; each gets the tag. All that are accepted
    /// are durable when this returns. One answer for each, in order. Taking over the same again changes nothing.
    ///
    /// # Errors
    /// [`PinsError::State`]: then each of them may or may not have been taken over.
    pub async fn take_over(
        &self,
        owner: &Owner,
        tag: &str,
        pins: Vec<Pin>,
    ) -> Result<Vec<TakenOver>, PinsError> {
        let now_ms = self.now_ms();
        let mut answers = Vec::with_capacity(pins.len());
        let (mut writes, mut places) = (Vec::new(), Vec::new());
        for pin in pins {
            let cid = pin.cid;
            let wish = Wish {
                options: pin.options.clone(),
                tags: vec![tag.to_owned()],
                op_id: None,
            };
            if let Err(why) = self.0.limits.check(&cid, &wish, now_ms / 1000) {
                answers.push(TakenOver::Refused(why));
                continue;
            }
            places.push((answers.len(), cid));
            answers.push(TakenOver::Accepted(None));
            writes.push(RequestChange::Put(Box::new(PinRequest {
                owner: owner.clone(),
                created_ms: created_ms(&pin, now_ms),
                tags: wish.tags,
                pin,
            })));
        }
        let before = self.0.store.change_requests(writes, Vec::new()).await?;
        for ((place, cid), before) in places.into_iter().zip(before) {
            if let Some(answer) = answers.get_mut(place) {
                *answer = TakenOver::Accepted(before.map(Box::new));
            }
            self.0.announcer.changed(cid);
        }
        Ok(answers)
    }

    /// The digest of an owner's pins with a tag, as they are stored: of up to `limit` of them, from behind a cursor
    /// on. Pins that end by `horizon_s`, in seconds since the Unix epoch, are not part of it.
    ///
    /// # Errors
    /// [`PinsError::State`].
    pub async fn digest(
        &self,
        owner: &Owner,
        tag: &str,
        horizon_s: u64,
        cursor: Option<(u64, Cid)>,
        limit: usize,
    ) -> Result<DigestPage, PinsError> {
        let mut page = DigestPage {
            cursor,
            ..DigestPage::default()
        };
        let mut looks = 0;
        while looks < limit {
            let query = OwnerQuery {
                tag: Some(tag.to_owned()),
                cursor: page.cursor,
                limit: PIECE,
                ..OwnerQuery::default()
            };
            let found = self.0.store.owner_requests(owner, query).await?;
            looks += found.requests.len();
            for request in found.requests.iter().filter(|r| !r.is_expired(horizon_s)) {
                page.digest.add(&request.pin);
            }
            page.cursor = found.cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        Ok(page)
    }
}

/// When the request counts as accepted: when the pin was made, so that lists keep their order and the same pin has the
/// same request id whenever it is taken over.
fn created_ms(pin: &Pin, now_ms: u64) -> u64 {
    match pin.timestamp.saturating_mul(1000) {
        0 => now_ms,
        made => made.min(now_ms),
    }
}
