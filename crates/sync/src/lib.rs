//! Several writers, one repository: a log of signed operations, a merge that gives the same result in any order of
//! delivery, and a protocol by which two copies become equal. Nothing here does IO of its own: events go in, actions
//! come out.
//!
//! | module | what it does |
//! |---|---|
//! | [`clock`], [`hybrid_time`] | what had been seen, and when |
//! | [`operation`] | what writers sign |
//! | [`merge`] | which fields merge how, and what a client's write becomes |
//! | [`log`] | one device's copy: checks, merge, revocation, snapshots |
//! | [`protocol`] | how two copies become equal |
//! | [`store`] | the logs of a node's repositories |
//! | [`pairing`] | how a device is invited |
//! | [`crdt`] | counters, sets, fields, lists and texts that merge |
//! | [`reconcile`] | differences of large sets in few bytes |

#![allow(
    clippy::result_large_err,
    reason = "errors name the operation they are about"
)]

pub mod clock;
pub mod crdt;
pub mod hybrid_time;
pub mod log;
pub mod merge;
pub mod operation;
pub mod pairing;
pub mod protocol;
pub mod reconcile;
pub mod store;
