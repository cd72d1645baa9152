//! Shards: the parts of all pins that planners divide among themselves.

use ues_bus::{Subject, SubjectError};
use ues_data::Cid;

use crate::model::PeerId;
use crate::store::{StateStore, TokenRange};

/// How many shards there are: the most planners that can work at one time.
pub const SHARDS: u32 = 8;

/// One shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u32);

impl Shard {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// The one that a CID belongs to.
    pub fn of(store: &dyn StateStore, cid: &Cid) -> Self {
        let token = u128::from(store.token(cid));
        Self(u32::try_from((token * u128::from(SHARDS)) >> 64).unwrap_or(0))
    }

    /// Its part of all tokens.
    pub fn range(self) -> TokenRange {
        TokenRange::part(self.0, SHARDS)
    }

    /// Where it is told that requests changed.
    pub fn request_subject(self) -> Result<Subject, SubjectError> {
        Subject::new(format!("pin.request.{}", self.0))
    }

    /// Where it hears from workers.
    pub fn status_subject(self) -> Result<Subject, SubjectError> {
        Subject::new(format!("pin.status.{}", self.0))
    }
}

/// Where a worker is told what to do.
pub fn assign_subject(worker: &PeerId) -> Result<Subject, SubjectError> {
    Subject::new(format!("pin.assign.{worker}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_all_of_the_tokens() {
        let mut next = 0u128;
        for shard in Shard::all() {
            let range = shard.range();
            assert_eq!(u128::from(range.from), next);
            for token in [range.from, range.to] {
                assert_eq!(
                    (u128::from(token) * u128::from(SHARDS)) >> 64,
                    shard.0.into()
                );
            }
            next = u128::from(range.to) + 1;
        }
        assert_eq!(next, 1 << 64);
    }
}
