//! The AT Protocol server: accounts, their repositories over XRPC, the event stream, identities.
//!
//! [`Server`] puts it together over a store and serves it; [`App`] is how an application adds its
//! lexicons, projections, methods and pages. Methods are named, checked and answered as by the
//! official server, so that any client of the network works with it.

mod accounts;
mod app;
mod census;
mod config;
mod context;
mod firehose;
mod identity;
mod limits;
mod log_readers;
mod methods;
mod node_keys;
mod remote_blobs;
mod serve;
mod server;
pub mod upkeep;
mod web;
mod xrpc;

pub use accounts::{Account, AccountError, Accounts, Scope, Session};
pub use app::App;
pub use census::Census;
pub use config::{Config, Connections, Firehose, PlcMode, RateLimits, Sizes, Upkeep};
pub use context::{Context, Parts};
pub use firehose::Hub;
pub use identity::{Identities, IdentityError};
pub use log_readers::LogReaders;
pub use methods::change_handle;
pub use node_keys::{NodeKeys, NodeKeysError};
pub use remote_blobs::{BringBlob, RemoteBlobs};
pub use server::{Server, ServerError};
pub use xrpc::{
    Auth, BlockingBody, Call, Caller, Feeder, Method, NoLexicon, Params, Pieces, Reply, XrpcError,
    blocking,
};

/// Version of this program, as `/xrpc/_health` tells it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
