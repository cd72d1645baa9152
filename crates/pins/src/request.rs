//! A pin request: one owner wants one CID kept. The pin of the CID is the union of its requests.

use ues_data::Cid;

use crate::Owner;
use crate::model::{Pin, PinMode, PinOptions};

/// Workers and origins that a union carries at most: what is more is of no use to anybody.
const MAX_HINTS: usize = 64;

/// One owner's wish. There is at most one for each owner and CID; a second one replaces the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRequest {
    /// Whose wish it is.
    pub owner: Owner,
    /// What is wanted, without allocations: those are the planner's.
    pub pin: Pin,
    /// Words by which the owner finds it again.
    pub tags: Vec<String>,
    /// When it was accepted, in milliseconds since the Unix epoch; part of its [id](crate::RequestId).
    pub created_ms: u64,
}

impl PinRequest {
    /// What is wanted.
    pub fn cid(&self) -> &Cid {
        &self.pin.cid
    }

    /// Whether it has ended at a time in seconds since the Unix epoch.
    pub fn is_expired(&self, now_s: u64) -> bool {
        self.pin.options.expire_at.is_some_and(|end| end <= now_s)
    }
}

/// The union of all requests for one CID: what the service has to make true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Highest replication, latest end, recursive if anybody wants it so; name and notes of the oldest request.
    pub pin: Pin,
    /// How many requests there are.
    pub requests: u64,
    /// When the oldest request was accepted, in milliseconds.
    pub created_ms: u64,
    /// Whose the oldest request is.
    pub owner: Owner,
}

impl Wanted {
    /// The union of one request.
    pub fn of(request: PinRequest) -> Self {
        Self {
            pin: request.pin,
            requests: 1,
            created_ms: request.created_ms,
            owner: request.owner,
        }
    }

    /// Adds a request. The order in which requests are added does not matter.
    pub fn join(&mut self, other: PinRequest) {
        self.requests += 1;
        let older = (other.created_ms, &other.owner) < (self.created_ms, &self.owner);
        let mine = std::mem::take(&mut self.pin.options);
        let theirs = other.pin.options.clone();
        let (mut base, extra) = if older {
            (theirs, mine)
        } else {
            (mine, theirs)
        };
        unite(&mut base, extra);
        let max_depth = wider_depth(self.pin.max_depth, other.pin.max_depth);
        let timestamp = self.pin.timestamp.min(other.pin.timestamp);
        if older {
            self.pin = other.pin;
            self.created_ms = other.created_ms;
            self.owner = other.owner;
        }
        self.pin.options = base;
        self.pin.max_depth = max_depth;
        self.pin.timestamp = timestamp;
    }
}

fn unite(base: &mut PinOptions, extra: PinOptions) {
    base.replication_min = more_copies(base.replication_min, extra.replication_min);
    base.replication_max = more_copies(base.replication_max, extra.replication_max);
    if extra.mode == PinMode::Recursive {
        base.mode = PinMode::Recursive;
    }
    base.expire_at = match (base.expire_at, extra.expire_at) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    };
    unite_hints(&mut base.user_allocations, extra.user_allocations);
    unite_hints(&mut base.origins, extra.origins);
}

fn unite_hints<T: Ord>(base: &mut Vec<T>, extra: Vec<T>) {
    base.extend(extra);
    base.sort_unstable();
    base.dedup();
    base.truncate(MAX_HINTS);
}

/// -1 is everywhere and beats any number; 0 is the default, which is taken to be the least anybody asks for.
fn more_copies(a: i32, b: i32) -> i32 {
    if a < 0 || b < 0 { -1 } else { a.max(b) }
}

/// -1 is any depth and beats any number.
fn wider_depth(a: i32, b: i32) -> i32 {
    if a < 0 || b < 0 { -1 } else { a.max(b) }
}
