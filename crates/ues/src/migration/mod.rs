//! Moving an account between this node and another server, by the methods that both serve.
//!
//! The identity says where an account lives. As long as it names the old server, everything here is a copy that can be
//! thrown away; from the operation that names the new one on, the only way is forward. So a run asks first what the
//! identity says, and does the [`plan::steps`] that are left. Each step looks at what the servers hold, not at what an
//! earlier run believed to have done, and can be done again. The old account is switched off last.
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`] | which steps are left, which handle the account gets |
//! | [`mover`] | the steps, one after the other |
//! | [`journal`] | what a later run has to know |
//! | [`side`] | a server together with the account's session there |
//! | [`xrpc`], [`http`] | calls of a server |
//! | [`desk`] | what the operator of this node may do for the account |
//! | [`person`] | who is asked and told |

mod account;
mod blobs;
pub mod desk;
#[cfg(test)]
mod fake;
pub mod http;
mod identity;
pub mod journal;
pub mod mover;
pub mod person;
pub mod plan;
mod repository;
pub mod side;
#[cfg(test)]
mod tests;
pub mod xrpc;
