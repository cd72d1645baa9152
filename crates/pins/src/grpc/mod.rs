//! The pin service over gRPC: `ues.pins.v1`, as `proto/ues/pins/v1/pins.proto` describes it, with reflection
//! (`grpc.reflection.v1` and `v1alpha`) and health (`grpc.health.v1`).
//!
//! It is served by routes beside those of REST: a listener that takes HTTP/2 without TLS serves both.

mod archive;
mod bulk;
mod call_limits;
mod desk;
mod fleet;
mod list;
mod pins;
mod status;
mod watch;
mod wire;

use std::sync::Arc;

use axum::{Router, middleware};
use futures::FutureExt;
use tonic::service::Routes;

use crate::auth::Authenticate;
use crate::intake::Intake;
use crate::service::Pins;
use desk::Desk;

pub use call_limits::CallLimits;

/// Longest message that is taken, in bytes.
pub const MAX_MESSAGE: usize = 256 << 10;
/// Most CIDs that one message names.
const MAX_CIDS: usize = 1000;

/// What is made of `pins.proto`: messages, servers and clients.
pub mod v1 {
    #![allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        rust_2018_idioms,
        reason = "generated"
    )]
    tonic::include_proto!("ues.pins.v1");
}

/// The description of `ues.pins.v1`, as reflection hands it out: an encoded `FileDescriptorSet`.
pub const DESCRIPTOR: &[u8] = tonic::include_file_descriptor_set!("pins_descriptor");

/// The interface cannot be put together: the description of its services is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the description of the gRPC services cannot be read: {0}")]
pub struct DescriptionError(#[from] tonic_reflection::server::Error);

/// The routes. Without an intake no content is taken.
///
/// # Errors
/// [`DescriptionError`].
pub fn routes(
    pins: Pins,
    authenticate: Authenticate,
    intake: Option<Arc<dyn Intake>>,
    limits: CallLimits,
) -> Result<Router, DescriptionError> {
    let desk = Desk {
        pins,
        authenticate,
        intake,
    };
    let (health, health_server) = tonic_health::server::health_reporter();
    let pin_server = v1::pin_service_server::PinServiceServer::new(desk.clone())
        .max_decoding_message_size(MAX_MESSAGE);
    let fleet_server = v1::fleet_service_server::FleetServiceServer::new(desk)
        .max_decoding_message_size(MAX_MESSAGE);
    let describe = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(pin_server)
        .add_service(fleet_server)
        .add_service(health_server)
        .add_service(describe().build_v1()?)
        .add_service(describe().build_v1alpha()?);
    // What answers here serves: the process has no other state. Nobody else holds the reporter, so nothing waits.
    let serving = async {
        health
            .set_serving::<v1::pin_service_server::PinServiceServer<Desk>>()
            .await;
        health
            .set_serving::<v1::fleet_service_server::FleetServiceServer<Desk>>()
            .await;
    };
    if serving.now_or_never().is_none() {
        tracing::error!("the health of the gRPC services is not told");
    }
    let limits = call_limits::Calls::new(limits);
    Ok(routes
        .into_axum_router()
        .reset_fallback()
        .layer(middleware::from_fn_with_state(limits, call_limits::limit)))
}
