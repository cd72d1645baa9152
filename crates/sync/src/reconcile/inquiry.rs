//! How many symbols to ask for.

use std::sync::Arc;

use super::batch::{Batch, BatchError};
use super::decoder::{DecodeError, Decoder, Difference};
use super::sketch::{MAX_SYMBOLS, Sketch};

/// How many symbols are enough for a difference of this size in about 19 of 20 cases.
///
/// On average 1.36 symbols an item are enough for large differences and 1.7 for small ones, and how far single cases lie
/// from that grows with the square root. Measured over 40 to 2,000 cases of each size from 1 to 10,000.
#[must_use]
pub fn symbols_for(difference: u64) -> usize {
    let symbols = match difference {
        0 | 1 => 1,
        few => few
            .saturating_add(few.saturating_mul(3) / 8)
            .saturating_add(3 * few.isqrt())
            .saturating_add(4),
    };
    usize::try_from(symbols)
        .unwrap_or(usize::MAX)
        .min(MAX_SYMBOLS)
}

/// How many symbols are asked for at first when nothing is known about the difference.
const BLIND: usize = 24;

/// Below this many symbols, their counts say too little about the difference.
const TELLING: usize = 16;

/// Asks a peer for symbols `start..start + count` of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The first index.
    pub start: usize,
    /// How many.
    pub count: usize,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for more.
    Ask(Request),
    /// The own sketch is too short: [`Sketch::grow`] it to this length and begin again, or go on with
    /// [`Inquiry::lengthen`].
    Grow(usize),
    /// The difference is known.
    Done(Difference),
}

/// Why an inquiry ends without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InquiryError {
    /// The batch is not one.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The symbols lead nowhere.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The peer has no more symbols, or does not want to give them.
    #[error("{expected} symbols asked for, none received")]
    Silent {
        /// How many were asked for.
        expected: usize,
    },
    /// The longer sketch is one of another set than the inquiry began with.
    #[error("the own set has changed since the inquiry began")]
    Changed,
}

/// One side's way to the difference: it asks, takes answers, and says what to do next. The other side only answers with
/// [`Sketch::batch`].
///
/// Both sides must stay with the sets they began with; a sketch in an [`Arc`] that is copied when it changes does that.
pub struct Inquiry {
    local: Arc<Sketch>,
    decoder: Decoder,
    asked: Request,
    limit: usize,
}

impl Inquiry {
    /// Begins, with the size that the difference probably has if there is any sign of it (what the clocks of both sides
    /// are apart, say), and a limit on symbols. Gives the first step too.
    #[must_use]
    pub fn new(local: Arc<Sketch>, estimate: Option<u64>, limit: usize) -> (Self, Step) {
        let limit = limit.clamp(1, MAX_SYMBOLS);
        let count = estimate.map_or(BLIND, symbols_for).min(limit);
        let decoder = Decoder::new(*local.key(), limit);
        let inquiry = Self {
            local,
            decoder,
            asked: Request { start: 0, count },
            limit,
        };
        let step = inquiry.ask();
        (inquiry, step)
    }

    /// How many symbols came so far.
    #[must_use]
    pub fn received(&self) -> usize {
        self.decoder.received()
    }

    /// Takes the answer to the last request. It may have fewer symbols than were asked for, but not none.
    ///
    /// # Errors
    /// If it is malformed, is none to this request, contradicts itself, or if no difference was found within the limit.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<Step, InquiryError> {
        let batch = Batch::decode(bytes, self.asked.count)?;
        if batch.start != self.asked.start {
            return Err(InquiryError::Batch(BatchError::Start {
                expected: self.asked.start,
                found: batch.start,
            }));
        }
        if batch.symbols.is_empty() {
            return Err(InquiryError::Silent {
                expected: self.asked.count,
            });
        }
        self.decoder.push(&batch.symbols, self.local.symbols())?;
        if self.decoder.is_complete() {
            return Ok(Step::Done(self.decoder.difference().clone()));
        }
        let received = self.decoder.received();
        if received >= self.limit {
            return Err(InquiryError::Decode(DecodeError::Limit(self.limit)));
        }
        self.asked = Request {
            start: received,
            count: self.next(received).min(self.limit - received),
        };
        Ok(self.ask())
    }

    /// Goes on with a longer sketch of the same set.
    ///
    /// # Errors
    /// If it is one of another set.
    pub fn lengthen(&mut self, local: Arc<Sketch>) -> Result<Step, InquiryError> {
        if !local.symbols().starts_with(self.local.symbols()) {
            return Err(InquiryError::Changed);
        }
        self.local = local;
        Ok(self.ask())
    }

    fn ask(&self) -> Step {
        let end = self.asked.start + self.asked.count;
        if end > self.local.symbols().len() {
            return Step::Grow(end);
        }
        Step::Ask(self.asked)
    }

    /// As many symbols as there are, so that the number doubles; or what the difference seems to need, if its size can be
    /// told by now, but a quarter at least.
    fn next(&self, received: usize) -> usize {
        if received < TELLING {
            return received.max(4);
        }
        let estimate = self.decoder.estimate();
        // The estimate is off by a part of √(2/received) on average.
        let slack = 2.0 * (2.0 / received as f64).sqrt();
        let likely = estimate.saturating_add((estimate as f64 * slack) as u64);
        let more = symbols_for(likely).saturating_sub(received);
        more.max(received / 4).max(TELLING)
    }
}
