//! Failures as gRPC has them.

use tonic::Status;
use ues_bus::BusError;

use crate::auth::Denied;
use crate::intake::IntakeError;
use crate::service::PinsError;
use crate::store::StateError;

/// The caller is not let in.
pub(super) fn denied(denied: Denied) -> Status {
    match denied {
        Denied::No(why) => Status::unauthenticated(why),
        Denied::Unknown(why) => Status::unavailable(why),
    }
}

/// The call itself is wrong.
pub(super) fn invalid(why: impl Into<String>) -> Status {
    Status::invalid_argument(why)
}

impl From<PinsError> for Status {
    fn from(error: PinsError) -> Self {
        match error {
            PinsError::Invalid(why) => Self::invalid_argument(why),
            PinsError::NotFound(why) => Self::not_found(why),
            PinsError::Conflict(why) => Self::already_exists(why),
            PinsError::State(error) => state(&error),
            PinsError::Bus(error) => bus(&error),
        }
    }
}

/// The state store failed.
pub(super) fn state(error: &StateError) -> Status {
    tracing::error!(%error, "a call of the pin service failed");
    match error {
        StateError::Unavailable(_) => Status::unavailable(error.to_string()),
        StateError::Damaged(_) => Status::data_loss(error.to_string()),
        StateError::Refused(_) => Status::internal(error.to_string()),
    }
}

/// The bus failed.
pub(super) fn bus(error: &BusError) -> Status {
    tracing::error!(%error, "a call of the pin service failed");
    Status::unavailable(error.to_string())
}

impl From<IntakeError> for Status {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Invalid(why) => Self::invalid_argument(format!("the archive: {why}")),
            IntakeError::Failed(why) => Self::unavailable(why),
        }
    }
}
