//! The state store: what is wanted and where it is. The one source of truth of the pin service.
//!
//! | founding schema | here |
//! |---|---|
//! | `pins_by_cid`, `pin_metadata` | requests, one row for each CID and owner; the pin is their union |
//! | `placements_by_cid`, `pins_by_peer`, `pin_locations` | placements, one row for each CID and worker |
//! | `owner_pins`, `tags_index` | the listing of an owner, by time and by tag |
//! | `pin_ttl_queue` | the queue of ends |
//! | `op_dedup` | operations, kept for seven days |

mod cql;
mod embedded;
mod embedded_read;
mod key;
mod memory;

mod rows;

use async_trait::async_trait;
use futures::stream::BoxStream;
use ues_data::Cid;

use crate::Owner;
use crate::fleet::Worker;
use crate::model::PeerId;
use crate::placement::{PinRecord, Placement};
use crate::request::PinRequest;

pub use cql::{
    CqlError, CqlReplication, CqlRetries, CqlSettings, CqlStore, CqlTls, Password as CqlPassword,
    TlsError as CqlTlsError,
};
pub use embedded::EmbeddedStore;
pub use memory::MemoryStore;

/// Seconds for which an operation is remembered: seven days.
pub const OP_SECONDS: u64 = 604_800;

/// Why the state store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It cannot be reached, or not in time. A write may have taken effect all the same; it may be repeated.
    #[error("the state store does not answer: {0}")]
    Unavailable(String),
    /// A row that cannot be read.
    #[error("the state store holds a damaged row: {0}")]
    Damaged(String),
    /// A write that it does not take.
    #[error("the state store refuses: {0}")]
    Refused(String),
}

/// A range of tokens, both ends included. A token is where the store puts a multihash: evenly spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenRange {
    /// The first token.
    pub from: u64,
    /// The last token.
    pub to: u64,
}

impl TokenRange {
    /// All tokens.
    pub const ALL: Self = Self {
        from: 0,
        to: u64::MAX,
    };

    /// The part of number `index` of so many equal parts; the last one takes the rest.
    pub fn part(index: u32, of: u32) -> Self {
        let of = u128::from(of.max(1));
        let at = |i: u128| (i << 64) / of;
        let index = u128::from(index).min(of - 1);
        let narrow = |token: u128| u64::try_from(token).unwrap_or(u64::MAX);
        Self {
            from: narrow(at(index)),
            to: narrow(at(index + 1) - 1),
        }
    }

    /// Whether a token is inside.
    pub fn contains(&self, token: u64) -> bool {
        (self.from..=self.to).contains(&token)
    }
}

/// A change of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestChange {
    /// Makes the request, or replaces the owner's earlier one for the same CID.
    Put(Box<PinRequest>),
    /// Removes an owner's request.
    Remove {
        /// Whose.
        owner: Owner,
        /// For what.
        cid: Cid,
        /// Only under this condition.
        only: RemoveIf,
    },
}

impl RequestChange {
    /// Whose request.
    pub fn owner(&self) -> &Owner {
        match self {
            Self::Put(request) => &request.owner,
            Self::Remove { owner, .. } => owner,
        }
    }

    /// For what.
    pub fn cid(&self) -> &Cid {
        match self {
            Self::Put(request) => request.cid(),
            Self::Remove { cid, .. } => cid,
        }
    }
}

/// When a request may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveIf {
    /// In any case.
    Always,
    /// If it was accepted at this time: not when it was replaced since.
    CreatedAt(u64),
    /// If it has ended by this time in seconds: not when it was extended since.
    EndedBy(u64),
}

/// What a client's operation was and what was answered, so that a repeated one gets the first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub owner: Owner,
    /// The client's id of it, a ULID or UUID.
    pub id: String,
    /// Hash of what was asked: the same id with another question is a mistake of the client.
    pub fingerprint: u64,
    /// What was answered.
    pub answer: Vec<u8>,
}

/// A change of one placement; `None` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementChange {
    /// What.
    pub cid: Cid,
    /// Where.
    pub peer: PeerId,
    /// How it is from now on.
    pub placement: Option<Placement>,
}

/// What of an owner's requests is asked for; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerQuery {
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those accepted before this time, in milliseconds.
    pub before_ms: Option<u64>,
    /// Only those accepted after this time, in milliseconds.
    pub after_ms: Option<u64>,
    /// Go on after the request of this time for this CID.
    pub cursor: Option<(u64, Cid)>,
    /// At most so many.
    pub limit: usize,
}

/// A part of an owner's requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerPage {
    /// The requests.
    pub requests: Vec<PinRequest>,
    /// Where to go on; `None` at the end.
    pub cursor: Option<(u64, Cid)>,
}

/// A right to act on something that only one may act on at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub holder: String,
    /// Until when, in milliseconds since the Unix epoch.
    pub until_ms: u64,
}

/// Keeps the state of the pin service. Every write is durable when its call returns, and may be repeated.
#[async_trait]
pub trait StateStore: Send + Sync + 'static {
    /// Where a CID's rows lie.
    fn token(&self, cid: &Cid) -> u64;

    /// Makes changes to requests, together with their rows in listings, queue of ends and operations. Returns the
    /// request that was there before each change, in order. Changes for one owner and CID in one call apply in
    /// order.
    ///
    /// # Errors
    /// [`StateError`]; after one, each change may or may not have been made.
    async fn change_requests(
        &self,
        changes: Vec<RequestChange>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Option<PinRequest>>, StateError>;

    /// Makes changes to placements.
    ///
    /// # Errors
    /// As [`change_requests`](Self::change_requests).
    async fn change_placements(&self, changes: Vec<PlacementChange>) -> Result<(), StateError>;

    /// Everything about CIDs, in the order of the question; records without request and placement for unknown ones.
    ///
    /// # Errors
    /// [`StateError`].
    async fn records(&self, cids: &[Cid]) -> Result<Vec<PinRecord>, StateError>;

    /// An owner's request for a CID.
    ///
    /// # Errors
    /// [`StateError`].
    async fn request(&self, owner: &Owner, cid: &Cid) -> Result<Option<PinRequest>, StateError>;

    /// An owner's requests, newest first.
    ///
    /// # Errors
    /// [`StateError`].
    async fn owner_requests(
        &self,
        owner: &Owner,
        query: OwnerQuery,
    ) -> Result<OwnerPage, StateError>;

    /// All records in a range of tokens, in the order of the tokens, from behind the given CID on. Each record is
    /// as it was at some time during the scan.
    fn scan(
        &self,
        range: TokenRange,
        after: Option<Cid>,
    ) -> BoxStream<'static, Result<PinRecord, StateError>>;

    /// Up to `limit` entries of the queue of ends whose time has come by `now_s`, oldest first. They stay until
    /// [`settle_ends`](Self::settle_ends).
    ///
    /// # Errors
    /// [`StateError`].
    async fn ends(&self, now_s: u64, limit: usize) -> Result<Vec<End>, StateError>;

    /// Forgets entries of the queue of ends.
    ///
    /// # Errors
    /// [`StateError`].
    async fn settle_ends(&self, ends: Vec<End>) -> Result<(), StateError>;

    /// An operation that was made before.
    ///
    /// # Errors
    /// [`StateError`].
    async fn operation(&self, owner: &Owner, id: &str) -> Result<Option<Operation>, StateError>;

    /// All workers that ever registered and were not removed.
    ///
    /// # Errors
    /// [`StateError`].
    async fn workers(&self) -> Result<Vec<Worker>, StateError>;

    /// Writes what a worker tells of itself.
    ///
    /// # Errors
    /// [`StateError`].
    async fn put_worker(&self, worker: Worker) -> Result<(), StateError>;

    /// Forgets a worker.
    ///
    /// # Errors
    /// [`StateError`].
    async fn remove_worker(&self, id: &PeerId) -> Result<(), StateError>;

    /// Whether a worker is to be emptied, as its operator says.
    ///
    /// # Errors
    /// [`StateError`].
    async fn set_draining(&self, id: &PeerId, draining: bool) -> Result<(), StateError>;

    /// Takes or renews a lease. Returns who has it now.
    ///
    /// # Errors
    /// [`StateError`].
    async fn lease(&self, name: &str, wish: Lease, now_ms: u64) -> Result<Lease, StateError>;

    /// A small value of the service's own, such as a cursor.
    ///
    /// # Errors
    /// [`StateError`].
    async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StateError>;

    /// Writes a small value of the service's own.
    ///
    /// # Errors
    /// [`StateError`].
    async fn put_note(&self, name: &str, value: Vec<u8>) -> Result<(), StateError>;
}

/// An entry of the queue of ends: a request that ends at some time, if it was not extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When, in seconds since the Unix epoch.
    pub at_s: u64,
    /// Whose request.
    pub owner: Owner,
    /// For what.
    pub cid: Cid,
}
