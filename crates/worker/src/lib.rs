//! The pin worker: takes assignments from the bus and makes them true in its backend.

#![allow(
    clippy::result_large_err,
    reason = "errors name the block they are about, and a CID alone takes 96 bytes"
)]

pub mod agent;
pub mod backend;
pub mod embedded;
pub mod fake;
pub mod kubo;
mod links;

pub use agent::{Agent, AgentOptions};
pub use embedded::EmbeddedBackend;
pub use kubo::{KuboBackend, KuboOptions};
pub use links::links;
