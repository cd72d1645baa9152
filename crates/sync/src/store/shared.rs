//! One repository's log while the node runs.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use ues_data::Cid;

use crate::log::Replica;

/// What is durable of a repository.
#[derive(Clone, Debug)]
pub struct State {
    /// The log.
    pub replica: Arc<Replica>,
    /// Root of the record tree that follows from it.
    pub records: Cid,
}

/// The log of one repository.
pub(super) struct Shared {
    /// Number of the repository.
    pub owner: u64,
    /// What is in a batch that is not durable yet.
    pub pending: Mutex<Option<Replica>>,
    /// What is durable; whoever watches it hears of each change.
    pub state: watch::Sender<State>,
}

impl Shared {
    pub fn new(owner: u64, state: State) -> Self {
        Self {
            owner,
            pending: Mutex::new(None),
            state: watch::Sender::new(state),
        }
    }

    /// The log to work on, with nothing in flight.
    pub fn working(&self) -> Replica {
        Replica::clone(&self.state.borrow().replica)
    }
}
