//! Routes outside of XRPC: the page, well-known documents, the did:plc directory.

mod browser_secret;
mod guard;
mod missing;
mod page;
mod plc;
mod well_known;
mod words;

pub use browser_secret::{fresh_secret, secret_of};
pub use guard::guard;
pub use missing::{missing, wrong_method};
pub use page::{live, page};
pub use plc::routes as plc_routes;
pub use well_known::{atproto_did, did_document, health, robots};
pub use words::{bytes, grouped};
