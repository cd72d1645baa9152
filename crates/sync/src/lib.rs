//! Several writers, one repository: a log of signed operations, a merge that gives the same result in any order of
//! delivery, and a protocol by which two copies become equal. Nothing here does IO of its own: events go in, actions
//! come out.

pub mod crdt;
pub mod reconcile;
