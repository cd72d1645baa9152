//! The interface of IPFS-Cluster, call by call, over a state store in memory into which placements are written as a
//! planner would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod adding;
mod changes;
mod desk;
mod lists;
mod proxy;
mod recovering;
mod workers;
