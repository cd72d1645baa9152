//! Routes outside of XRPC: the page, well-known documents, the did:plc directory.

mod guard;
mod page;
mod plc;
mod well_known;
mod words;

pub use guard::guard;
pub use page::{live, page};
pub use plc::routes as plc_routes;
pub use well_known::{atproto_did, did_document, health, robots};
pub use words::{bytes, grouped};
