//! `ues.pins.v1` as a client sees it, and as REST sees what it did.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archives;
mod bounds;
mod changes;
mod desk;
mod fleet;
mod lists;
mod many;
mod watching;
