//! XRPC: methods over HTTP, described by lexicons.

mod auth;
mod body;
mod call;
mod dispatch;
mod error;
mod method;
mod params;
mod reader;
mod reply;
mod service_auth;
pub mod transcode;

pub use auth::{Auth, Caller, by_token, check_live};
pub use body::{Pieces, Presence, presence};
pub use call::Call;
pub use dispatch::{Dispatcher, dispatch};
pub use error::XrpcError;
pub use method::{Method, Methods, NoLexicon};
pub use params::Params;
pub use reader::{BlockingBody, Feeder, blocking};
pub use reply::Reply;
pub use service_auth::Uses;
