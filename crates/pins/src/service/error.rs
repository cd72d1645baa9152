//! What can go wrong with a call of the pin service.

use ues_bus::BusError;

use crate::store::StateError;

/// Why the pin service did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PinsError {
    /// The wish itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// What is named is not there.
    #[error("{0}")]
    NotFound(String),
    /// It contradicts what was asked before.
    #[error("{0}")]
    Conflict(String),
    /// The state store.
    #[error(transparent)]
    State(#[from] StateError),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
}
