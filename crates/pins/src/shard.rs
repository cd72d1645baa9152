//! Shards: the parts of all pins that planners divide among themselves.

use ues_bus::{Subject, SubjectError};
use ues_data::Cid;

use crate::model::PeerId;
use crate::store::{StateError, StateStore, TokenRange};

/// The note in the state store that says how many shards there are.
const NOTE: &str = "shards";

/// Into how many shards all pins are divided: the most planners that can work at one time. The same for all processes
/// of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards(u32);

/// One shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u32);

impl Default for Shards {
    fn default() -> Self {
        Self(8)
    }
}

impl Shards {
    /// The most.
    pub const MAX: u32 = 1024;

    /// So many; `None` for none, or more than [`MAX`](Self::MAX).
    pub fn new(count: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&count).then_some(Self(count))
    }

    /// How many.
    pub fn count(self) -> u32 {
        self.0
    }

    /// All of them.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(Shard)
    }

    /// The one that a CID belongs to.
    pub fn of(self, store: &dyn StateStore, cid: &Cid) -> Shard {
        let token = u128::from(store.token(cid));
        Shard(u32::try_from((token * u128::from(self.0)) >> 64).unwrap_or(0))
    }

    /// A shard's part of all tokens.
    pub fn range(self, shard: Shard) -> TokenRange {
        TokenRange::part(shard.0, self.0)
    }

    /// What the processes that share a state agreed on: the number in the state, which `wanted` replaces.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn agreed(store: &dyn StateStore, wanted: Option<Self>) -> Result<Self, StateError> {
        let known = Self::noted(store).await?;
        let agreed = wanted.or(known).unwrap_or_default();
        if known != Some(agreed) {
            store
                .put_note(NOTE, agreed.0.to_string().into_bytes())
                .await?;
        }
        Ok(agreed)
    }

    /// The number in the state.
    pub(crate) async fn noted(store: &dyn StateStore) -> Result<Option<Self>, StateError> {
        let Some(note) = store.note(NOTE).await? else {
            return Ok(None);
        };
        let count = std::str::from_utf8(&note)
            .ok()
            .and_then(|text| text.parse().ok());
        let shards = count.and_then(Self::new);
        shards.map(Some).ok_or_else(|| {
            StateError::Damaged(format!("a number of shards up to {} expected", Self::MAX))
        })
    }
}

impl Shard {
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
        for shards in [1, 3, 8, 1000].map(|count| Shards::new(count).unwrap()) {
            let mut next = 0u128;
            for shard in shards.all() {
                let range = shards.range(shard);
                assert_eq!(u128::from(range.from), next);
                next = u128::from(range.to) + 1;
            }
            assert_eq!(next, 1 << 64);
            let store = crate::store::MemoryStore::default();
            for number in 0..100u8 {
                let cid = ues_data::raw_cid(&[number]);
                let range = shards.range(shards.of(&store, &cid));
                assert!(range.contains(store.token(&cid)));
            }
        }
    }

    #[tokio::test]
    async fn the_state_says_how_many() {
        let store = crate::store::MemoryStore::default();
        let eight = Shards::default();
        assert_eq!(Shards::agreed(&store, None).await.unwrap(), eight);
        let wanted = Shards::new(40);
        assert_eq!(Some(Shards::agreed(&store, wanted).await.unwrap()), wanted);
        assert_eq!(Some(Shards::agreed(&store, None).await.unwrap()), wanted);
        assert_eq!((Shards::new(0), Shards::new(1025)), (None, None));
    }
}
