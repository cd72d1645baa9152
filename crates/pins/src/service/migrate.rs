//! Taking over pins that were made elsewhere, and comparing what came of them.

use serde::{Deserialize, Serialize};
use ues_data::Cid;

use super::{Pins, PinsError, Wish};
use crate::Owner;
use crate::migration::PinSetDigest;
use crate::model::Pin;
use crate::request::PinRequest;
use crate::store::{OwnerQuery, RequestChange};

/// Requests that are read at a time.
const PIECE: usize = 1000;
/// Most peers that a pin may name.
const MAX_PEERS: usize = 1000;

/// What came of pins that were taken over together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// Those that were refused; the others were not touched by that.
    pub refused: Vec<Refused>,
    /// Those that were there already, with the same tag and as they are.
    pub again: PinSetDigest,
    /// What was there with the same tag and differed, as it was before.
    pub changed: PinSetDigest,
    /// How many other requests of the owner were replaced.
    pub replaced: u64,
}

/// A pin that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its place among those that were taken over together.
    pub index: usize,
    /// A sentence.
    pub why: String,
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
    /// Makes requests of pins as they are, with their time and allocations; each gets the tag. All that are not refused
    /// are durable when this returns. Taking over the same again changes nothing. Pins that end by `horizon_s`, in
    /// seconds since the Unix epoch, are not part of the digests of the answer.
    ///
    /// # Errors
    /// [`PinsError::State`]: then each of them may or may not have been taken over.
    pub async fn take_over(
        &self,
        owner: &Owner,
        tag: &str,
        horizon_s: u64,
        pins: Vec<Pin>,
    ) -> Result<TakenOver, PinsError> {
        let now_ms = self.now_ms();
        let mut taken = TakenOver::default();
        let mut requests = Vec::with_capacity(pins.len());
        for (index, pin) in pins.into_iter().enumerate() {
            let wish = Wish {
                options: pin.options.clone(),
                tags: vec![tag.to_owned()],
                op_id: None,
            };
            let sound = self.0.limits.check(&pin.cid, &wish, now_ms / 1000);
            match sound.and_then(|()| is_storable(&pin)) {
                Err(why) => taken.refused.push(Refused {
                    index,
                    why: why.to_string(),
                }),
                Ok(()) => requests.push(PinRequest {
                    owner: owner.clone(),
                    created_ms: created_ms(&pin, now_ms),
                    tags: wish.tags,
                    pin,
                }),
            }
        }
        let puts = requests.iter().cloned().map(Box::new);
        let puts = puts.map(RequestChange::Put).collect();
        let before = self.0.store.change_requests(puts, Vec::new()).await?;
        for (request, before) in requests.iter().zip(before) {
            self.0.announcer.changed(*request.cid());
            match before {
                None => {}
                Some(before) if before.tags != request.tags => taken.replaced += 1,
                Some(before) if before.is_expired(horizon_s) => {}
                Some(before) if before.pin == request.pin => taken.again.add(&before.pin),
                Some(before) => taken.changed.add(&before.pin),
            }
        }
        Ok(taken)
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

/// What is read back would have to be the same.
fn is_storable(pin: &Pin) -> Result<(), PinsError> {
    let user_allocations = &pin.options.user_allocations;
    for (what, peers) in [
        ("allocations", &pin.allocations),
        ("user_allocations", user_allocations),
    ] {
        if peers.len() > MAX_PEERS {
            let found = peers.len();
            let why = format!("{what}: at most {MAX_PEERS} peers expected, found {found}");
            return Err(PinsError::Invalid(why));
        }
    }
    let mut again = Pin::from_proto(&pin.to_proto())
        .map_err(|why| PinsError::Invalid(format!("the pin cannot be kept: {why}")))?;
    again.options.user_allocations.clone_from(user_allocations);
    if again == *pin {
        return Ok(());
    }
    let why = "the pin contradicts itself, such as in its mode and its depth";
    Err(PinsError::Invalid(why.to_owned()))
}

/// When the request counts as accepted: when the pin was made, so that lists keep their order and the same pin has the
/// same request id whenever it is taken over.
fn created_ms(pin: &Pin, now_ms: u64) -> u64 {
    match pin.timestamp.saturating_mul(1000) {
        0 => now_ms,
        made => made.min(now_ms),
    }
}
